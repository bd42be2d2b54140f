"""HTTP proxies: the requests that they receive, the headers that origins do not receive, and failures."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING, Any

import httpcore
import pytest

import engines
import httpcore_rs
from h2_peer import echo as h2_echo
from peers import Connection, always, describe, echo, refused_port, reply
from proxies import ESTABLISHED, read_connect, tunnels
from tracing import both

if TYPE_CHECKING:
    from certificates import Certificates
    from flavours import Flavour
    from h2_peer import ServeH2
    from peers import Serve

AUTH = ("user", "pass:word")
BASIC = b"Basic dXNlcjpwYXNzOndvcmQ="

# These compare with httpcore's own pool, given the same `Proxy`.
needs_proxies_of_httpcore = pytest.mark.skipif(
    not hasattr(httpcore, "Proxy"), reason="httpcore's pools take a Proxy from 1.0.7 on"
)


def proxy(url: str, **arguments: Any) -> httpcore.Proxy:
    return httpcore_rs.Proxy(url, **arguments)


@pytest.fixture
def trust(certificates: Certificates, engine: str) -> dict[str, Any]:
    """Returns an `ssl_context` argument for the engine that the fixture `engine` has set."""
    return {"ssl_context": engines.current.trusting(certificates)}


# Requests.


@needs_proxies_of_httpcore
@pytest.mark.parametrize("path", ["", "a/b?c=d", "caf%C3%A9"])
async def test_a_forwarded_request_is_httpcores(flavour: Flavour, serve: Serve, path: str) -> None:
    peer = serve(echo)
    arguments = {"proxy": proxy(peer.url, auth=AUTH, headers={"X-Proxy": "1", "x-mine": "theirs"})}
    for pool in both(flavour, **arguments):
        await flavour.call(
            pool, "request", "POST", f"http://origin.test/{path}", headers={"X-Mine": "1"}, content=b"hello"
        )
        await flavour.call(pool, "request", "GET", "http://origin.test:8080/")
        await flavour.call(pool, "close")
    reference, tested = peer.requests[:2], peer.requests[2:]
    assert tested == reference
    assert reference[0].target == f"http://origin.test/{path}".encode()
    assert (reference[0].header(b"host"), reference[0].header(b"proxy-authorization")) == (b"origin.test", BASIC)
    assert reference[1].target == b"http://origin.test:8080/"


@needs_proxies_of_httpcore
async def test_a_request_for_a_tunnel_is_httpcores(flavour: Flavour, serve: Serve, certificates: Certificates) -> None:
    origin = serve(echo, tls=certificates.server_context())
    peer = serve(tunnels)
    context = ssl.create_default_context(cafile=str(certificates.ca))
    arguments = {"proxy": proxy(peer.url, auth=AUTH, headers={"X-Proxy": "1"}), "ssl_context": context}
    for pool in both(flavour, **arguments):
        assert (await flavour.call(pool, "request", "GET", origin.url)).status == 200
        await flavour.call(pool, "close")
    reference, tested = peer.requests
    assert tested == reference
    assert tested.head.startswith(
        b"CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % (origin.port, origin.port)
    )


@needs_proxies_of_httpcore
@pytest.mark.parametrize("given", [{"Host": "other.test"}, {"accept": "text/html"}])
async def test_headers_for_the_proxy_replace_those_of_a_tunnel(
    flavour: Flavour, serve: Serve, given: dict[str, str]
) -> None:
    def refuses(connection: Connection) -> None:
        read_connect(connection)
        connection.send(reply(status=b"403 No"))

    peer = serve(refuses)
    for pool in both(flavour, proxy=proxy(peer.url, headers=given)):
        with pytest.raises(httpcore.ProxyError, match=r"^403 No$"):
            await flavour.call(pool, "request", "GET", "https://origin.test/")
        await flavour.call(pool, "close")
    reference, tested = peer.requests
    assert tested == reference


async def test_nothing_for_the_proxy_reaches_an_origin_through_a_tunnel(
    flavour: Flavour, serve: Serve, certificates: Certificates, trust: dict[str, Any]
) -> None:
    origin = serve(echo, tls=certificates.server_context())
    peer = serve(tunnels)
    way = proxy(peer.url, auth=AUTH, headers={"X-Proxy": "1"})
    async with flavour.pool(proxy=way, **trust) as pool:
        for _ in range(2):
            assert (await pool.request("GET", origin.url)).status == 200
    assert len(origin.requests) == 2
    assert {name.lower() for request in origin.requests for name, _ in request.headers} == {b"host"}
    assert [request.method for request in peer.requests] == [b"CONNECT"]


async def test_addresses_of_ipv6_have_brackets(flavour: Flavour, serve: Serve) -> None:
    peer = serve(always(reply(status=b"403 No")))
    async with flavour.pool(proxy=proxy(peer.url)) as pool:
        assert (await pool.request("GET", "http://[::1]/")).status == 403
        assert (await pool.request("GET", "http://[::1]:8080/")).status == 403
        with pytest.raises(httpcore.ProxyError, match="403 No"):
            await pool.request("GET", "https://[::1]/")
    assert [request.target for request in peer.requests] == [b"http://[::1]/", b"http://[::1]:8080/", b"[::1]:443"]
    assert [request.header(b"host") for request in peer.requests] == [b"[::1]", b"[::1]:8080", b"[::1]:443"]


@pytest.mark.parametrize(
    ("target", "forwarded"),
    [
        ("*", b"http://origin.test"),
        ("http://elsewhere.test/x", b"http://elsewhere.test/x"),
        ("/x", b"http://origin.test/x"),
    ],
)
async def test_the_target_extension_is_forwarded(flavour: Flavour, serve: Serve, target: str, forwarded: bytes) -> None:
    peer = serve(echo)
    async with flavour.pool(proxy=proxy(peer.url)) as pool:
        await pool.request("OPTIONS", "http://origin.test/", extensions={"target": target.encode()})
    assert peer.requests[0].target == forwarded


# Connections.


async def test_connections_and_what_they_can_do(
    flavour: Flavour, serve: Serve, certificates: Certificates, trust: dict[str, Any]
) -> None:
    origin = serve(echo, tls=certificates.server_context())
    forwarding, tunnelling = serve(echo), serve(tunnels)
    forward, tunnel = flavour.prefixed("ForwardHTTPConnection"), flavour.prefixed("TunnelHTTPConnection")
    async with flavour.pool(proxy=proxy(forwarding.url)) as pool:
        for _ in range(2):
            await pool.request("GET", "http://a.test/")
        await pool.request("GET", "http://b.test/")
        shown = f"<{forward} ['http://{forwarding.authority}', HTTP/1.1, IDLE, Request Count: "
        assert [repr(each) for each in pool.connections] == [f"{shown}2]>", f"{shown}1]>"]
        first = pool.connections[0]
        assert first.can_handle_request(httpcore.Origin(b"http", b"a.test", 80))
        assert not first.can_handle_request(httpcore.Origin(b"http", b"b.test", 80))
        assert not first.can_handle_request(httpcore.Origin(b"http", b"127.0.0.1", forwarding.port))
    assert len(forwarding.connections) == 2
    async with flavour.pool(proxy=proxy(tunnelling.url), **trust) as pool:
        for _ in range(2):
            await pool.request("GET", origin.url)
        shown = f"<{tunnel} ['https://127.0.0.1:{origin.port}', HTTP/1.1, IDLE, Request Count: 2]>"
        assert [repr(each) for each in pool.connections] == [shown]
        assert pool.connections[0].can_handle_request(httpcore.Origin(b"https", b"127.0.0.1", origin.port))
    assert len(tunnelling.connections) == 1


async def test_http2_through_a_tunnel(flavour: Flavour, serve: Serve, serve_h2: ServeH2, trust: dict[str, Any]) -> None:
    origin, peer = serve_h2(h2_echo, tls=True), serve(tunnels)
    async with flavour.pool(proxy=proxy(peer.url), http2=True, **trust) as pool:
        responses = await flavour.gather(
            *[lambda number=number: pool.request("GET", f"{origin.url}{number}") for number in range(20)]
        )
        assert {response.extensions["http_version"] for response in responses} == {b"HTTP/2"}
        assert "HTTP/2, IDLE, Request Count: 20]" in repr(pool.connections)
    assert len(peer.connections) == 1


async def test_what_is_forwarded_is_http1(flavour: Flavour, serve: Serve) -> None:
    peer = serve(echo)
    async with flavour.pool(proxy=proxy(peer.url), http1=False, http2=True) as pool:
        jobs = [lambda: pool.request("GET", "http://origin.test/")] * 3
        assert {each.extensions["http_version"] for each in await flavour.gather(*jobs)} == {b"HTTP/1.1"}


async def test_plain_websockets_go_through_a_tunnel(flavour: Flavour, serve: Serve) -> None:
    def switches(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\nwelcome")

    origin, peer = serve(switches), serve(tunnels)
    async with flavour.pool(proxy=proxy(peer.url)) as pool:
        upgrade = {"Connection": "upgrade", "Upgrade": "websocket"}
        async with pool.stream("GET", f"ws://{origin.authority}/", headers=upgrade) as response:
            assert response.status == 101
            stream = response.extensions["network_stream"]
            read = stream.read(100)
            assert (await read if flavour.is_async else read) == b"welcome"
    assert [request.method for request in peer.requests] == [b"CONNECT"]


# TLS with the proxy.


@pytest.mark.parametrize("by", ["rustls", "ssl", "backend"])
async def test_a_proxy_over_tls(
    flavour: Flavour, serve: Serve, certificates: Certificates, trust: dict[str, Any], by: str
) -> None:
    # The TLS of the origin by each engine, within the TLS of the proxy.
    context: Any = httpcore_rs.TLSConfig(verify=str(certificates.ca))
    arguments = dict(trust)
    if by == "ssl":
        context = ssl.create_default_context(cafile=str(certificates.ca))
    elif by == "backend":
        arguments["network_backend"] = flavour.backend()
    origin = serve(echo, tls=certificates.server_context())
    tunnelling = serve(tunnels, tls=certificates.server_context())
    way = proxy(tunnelling.url.replace("127.0.0.1", "localhost"), ssl_context=context)
    body = bytes(range(256)) * 2000
    async with flavour.pool(proxy=way, **arguments) as pool:
        for _ in range(2):
            response = await pool.request("POST", origin.url, content=body)
            assert b'"length": 512000' in response.content
    assert len(tunnelling.connections) == 1
    forwarding = serve(echo, tls=certificates.server_context())
    way = proxy(forwarding.url, ssl_context=context)
    async with flavour.pool(proxy=way, **arguments) as pool:
        assert (await pool.request("GET", "http://origin.test/")).status == 200
    assert forwarding.requests[0].target == b"http://origin.test/"


async def test_a_proxy_is_verified_by_its_own_context(
    flavour: Flavour, serve: Serve, certificates: Certificates, trust: dict[str, Any]
) -> None:
    origin = serve(echo, tls=certificates.server_context())
    peer = serve(tunnels, tls=certificates.server_context())
    async with flavour.pool(proxy=proxy(peer.url), **trust) as pool:  # by the authorities of certifi
        with pytest.raises(httpcore.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await pool.request("GET", origin.url)
    trusted = httpcore_rs.TLSConfig(verify=str(certificates.ca))
    async with flavour.pool(proxy=proxy(peer.url, ssl_context=trusted)) as pool:
        with pytest.raises(httpcore.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await pool.request("GET", origin.url)
        assert pool.connections == []
    assert origin.requests == []


async def test_sni_hostname_is_the_origins(
    flavour: Flavour, serve: Serve, certificates: Certificates, trust: dict[str, Any]
) -> None:
    origin = serve(echo, tls=certificates.server_context())
    peer = serve(tunnels, tls=certificates.server_context())
    async with flavour.pool(proxy=proxy(peer.url, **trust), **trust) as pool:
        response = await pool.request("GET", origin.url, extensions={"sni_hostname": "named.test"})
        assert response.status == 200
        with pytest.raises(httpcore.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await pool.request("GET", origin.url, extensions={"sni_hostname": "other.test"})


# Failures.


@pytest.mark.parametrize("status", [b"403 Permission Denied", b"502 ", b"302 Found"])
async def test_a_refused_tunnel(flavour: Flavour, serve: Serve, status: bytes) -> None:
    peer = serve(always(reply(b"a page that explains it", status=status)))
    async with flavour.pool(proxy=proxy(peer.url), max_connections=1) as pool:
        for _ in range(3):
            with pytest.raises(httpcore.ProxyError) as caught:
                await pool.request("GET", "https://origin.test/")
            assert str(caught.value) == status.decode()
            assert pool.connections == []
        assert (await pool.request("GET", "http://origin.test/")).status == int(status[:3])
    await flavour.until(lambda: peer.closed(4))


async def test_a_proxy_that_wants_credentials(flavour: Flavour, serve: Serve) -> None:
    challenge = (b"Proxy-Authenticate", b'Basic realm="office"')
    wanted = reply(status=b"407 Proxy Authentication Required", headers=[challenge, (b"Set-Cookie", b"secret=1")])
    peer = serve(always(wanted))
    text = f'the proxy http://{peer.authority} %s (Proxy-Authenticate: Basic realm="office"); %s'
    for auth, problem, advice in (
        (None, "wants credentials", "pass a user name and a password, in the URL of the proxy or as Proxy(auth=...)"),
        ((b"name", b"secret"), "refuses the credentials that it was sent", "check user name and password"),
    ):
        async with flavour.pool(proxy=httpcore_rs.Proxy(peer.url, auth=auth)) as pool:
            with pytest.raises(httpcore.ProxyError) as caught:
                await pool.request("GET", "https://origin.test/")
            # It begins with httpcore's text.
            assert str(caught.value) == f"407 Proxy Authentication Required: {text % (problem, advice)}"
            # A forwarded request gets the proxy's response.
            response = await pool.request("GET", "http://origin.test/")
            assert response.status == 407
            assert challenge in response.headers


ANSWERS = {
    "nothing": b"",
    "half a head": b"HTTP/1.1 200 Conn",
    "garbage": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "data that was not requested": ESTABLISHED + b"HTTP/1.1 200 OK\r\n\r\n",
    "a head without end": b"HTTP/1.1 200 OK\r\n" + b"X-Filler: abcdefgh\r\n" * 10_000,
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())
async def test_a_proxy_that_answers_badly(flavour: Flavour, serve: Serve, answer: bytes) -> None:
    def script(connection: Connection) -> None:
        read_connect(connection)
        connection.send(answer)

    peer = serve(script)
    async with flavour.pool(proxy=proxy(peer.url), max_connections=1) as pool:
        with pytest.raises((httpcore.ProxyError, httpcore.RemoteProtocolError)) as caught:
            await pool.request("GET", "https://origin.test/")
        assert str(caught.value)
        assert pool.connections == []
    await flavour.until(lambda: peer.closed(1))


@pytest.mark.parametrize("stall", ["tls", "connect", "origin tls"])
async def test_a_proxy_that_stalls_costs_the_connect_timeout(
    flavour: Flavour, serve: Serve, certificates: Certificates, trust: dict[str, Any], stall: str
) -> None:
    def script(connection: Connection) -> None:
        if stall == "origin tls":
            read_connect(connection)
            connection.send(ESTABLISHED)
        connection.wait_closed()

    peer = serve(script)
    url = peer.url.replace("http:", "https:") if stall == "tls" else peer.url
    async with flavour.pool(proxy=proxy(url), max_connections=1, **trust) as pool:
        timeouts = {"connect": 0.1, "read": 5.0, "write": 5.0, "pool": 5.0}
        for _ in range(2):
            with pytest.raises(httpcore.ConnectTimeout, match=r"took longer than 0\.1 s"):
                await pool.request("GET", "https://origin.test/", extensions={"timeout": timeouts})
        assert pool.connections == []
    await flavour.until(lambda: peer.closed(2))


async def test_a_stream_of_a_backend_that_stalls(flavour: Flavour, serve: Serve) -> None:
    def script(connection: Connection) -> None:
        connection.wait_closed()

    peer = serve(script)
    async with flavour.pool(proxy=proxy(peer.url), network_backend=flavour.backend()) as pool:
        with pytest.raises(httpcore.ConnectTimeout, match=r"handshake with the proxy .* took longer than 1\.0 s"):
            await pool.request("GET", "https://origin.test/", extensions={"timeout": {"connect": 1.0}})
        assert pool.connections == []
    await flavour.until(lambda: peer.closed(1))


async def test_a_proxy_that_is_not_there(flavour: Flavour) -> None:
    with refused_port() as port:
        async with flavour.pool(proxy=proxy(f"http://127.0.0.1:{port}"), retries=1) as pool:
            for scheme in ("http", "https"):
                with pytest.raises(httpcore.ConnectError, match=f"the proxy http://127.0.0.1:{port} failed"):
                    await pool.request("GET", f"{scheme}://origin.test/")
            assert pool.connections == []


async def test_cancelling_closes_the_connection_to_the_proxy(async_flavour: Flavour, serve: Serve) -> None:
    def script(connection: Connection) -> None:
        read_connect(connection)
        connection.wait_closed()

    peer = serve(script)
    async with async_flavour.pool(proxy=proxy(peer.url), max_connections=1) as pool:
        for number in range(1, 4):
            task = async_flavour.start(lambda: pool.request("GET", "https://origin.test/"))
            await async_flavour.until(lambda number=number: len(peer.requests) == number)
            task.cancel()
            await task.finished()
            assert pool.connections == []
            await async_flavour.until(lambda number=number: peer.closed(number))


async def test_a_tunnel_that_ended_while_idle_is_replaced(
    flavour: Flavour, serve: Serve, certificates: Certificates, trust: dict[str, Any]
) -> None:
    def once(connection: Connection) -> None:
        connection.send(reply(describe(connection.read_request())))
        socket.socket.shutdown(connection.socket, socket.SHUT_RDWR)

    origin, peer = serve(once, tls=certificates.server_context()), serve(tunnels)
    async with flavour.pool(proxy=proxy(peer.url), **trust) as pool:
        for number in range(1, 4):
            assert (await pool.request("GET", origin.url)).status == 200
            await flavour.until(lambda number=number: peer.closed(number))
    assert len(origin.requests) == 3


@pytest.mark.parametrize("headers", [{"X-A": "b\r\nc: d"}, {"Content-Length": "5"}, {"Transfer-Encoding": "chunked"}])
def test_headers_that_cannot_be_sent_to_a_proxy(headers: dict[str, str]) -> None:
    for pool in (httpcore_rs.ConnectionPool, httpcore_rs.AsyncConnectionPool):
        with pytest.raises(httpcore.LocalProtocolError):
            pool(proxy=httpcore_rs.Proxy("http://localhost", headers=headers))


@pytest.mark.parametrize("url", ["ftp://localhost", "socks4://localhost", "localhost"])
def test_unknown_kinds_of_proxies(url: str) -> None:
    for pool in (httpcore_rs.ConnectionPool, httpcore_rs.AsyncConnectionPool):
        with pytest.raises(httpcore.UnsupportedProtocol, match="Proxy protocol must be either"):
            pool(proxy=httpcore_rs.Proxy(url))
        with pytest.raises(TypeError, match=r"proxy must be an httpcore\.Proxy, not str"):
            pool(proxy=url)  # type: ignore[arg-type]


def test_a_context_for_a_proxy_that_has_no_tls() -> None:
    context = ssl.create_default_context()
    for pool in (httpcore_rs.HTTPProxy, httpcore_rs.AsyncHTTPProxy):
        with pytest.raises(RuntimeError, match="`proxy_ssl_context` argument is not allowed for the http scheme"):
            pool("http://localhost", proxy_ssl_context=context)


async def test_the_classes_for_proxies(
    flavour: Flavour, serve: Serve, certificates: Certificates, trust: dict[str, Any]
) -> None:
    origin, peer = serve(echo, tls=certificates.server_context()), serve(tunnels)
    kind = getattr(httpcore_rs, flavour.prefixed("HTTPProxy"))
    pool = kind(peer.url, proxy_auth=AUTH, proxy_headers={"X-Proxy": "1"}, **trust)
    assert (await flavour.call(pool, "request", "GET", origin.url)).status == 200
    await flavour.call(pool, "close")
    assert peer.requests[0].header(b"proxy-authorization") == BASIC
    assert peer.requests[0].header(b"x-proxy") == b"1"
