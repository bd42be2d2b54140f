"""SOCKS5 proxies (RFC 1928, RFC 1929): the handshake in its variants, and its failures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpcore
import pytest

import engines
import httpcore_rs
from h2_peer import echo as h2_echo
from peers import Connection, describe, echo, reply
from proxies import ACCEPTED, CONNECTED, CREDENTIALS, NO_AUTHENTICATION, read_socks5, socks5

if TYPE_CHECKING:
    from certificates import Certificates
    from flavours import Flavour
    from h2_peer import ServeH2
    from peers import Peer, Serve

AUTH = ("user", "pass:word")


def way(peer: Peer, **arguments: Any) -> httpcore.Proxy:
    return httpcore_rs.Proxy(f"socks5://{peer.authority}", **arguments)


@pytest.fixture
def trust(certificates: Certificates, engine: str) -> dict[str, Any]:
    """Returns an `ssl_context` argument for the engine that the fixture `engine` has set."""
    return {"ssl_context": engines.current.trusting(certificates)}


REPLIES = {
    "an address": CONNECTED,
    "an address of IPv6": b"\x05\x00\x00\x04" + b"\x00" * 15 + b"\x01\x04\x38",
    "a name": b"\x05\x00\x00\x03\x09localhost\x04\x38",
    "an empty name": b"\x05\x00\x00\x03\x00\x04\x38",
    "a long name": b"\x05\x00\x00\x03\xff" + b"a" * 255 + b"\x04\x38",
}


@pytest.mark.parametrize("pieces", [False, True], ids=["at once", "in pieces"])
@pytest.mark.parametrize("answer", REPLIES.values(), ids=REPLIES.keys())
async def test_replies(flavour: Flavour, serve: Serve, answer: bytes, pieces: bool) -> None:
    origin, peer = serve(echo), serve(socks5(reply=answer, pieces=pieces))
    async with flavour.pool(proxy=way(peer)) as pool:
        for _ in range(2):
            assert (await pool.request("GET", origin.url)).status == 200
        name = flavour.prefixed("Socks5Connection")
        assert repr(pool.connections) == f"[<{name} ['{origin.url[:-1]}', HTTP/1.1, IDLE, Request Count: 2]>]"
    assert len(peer.connections) == 1


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
async def test_origins(
    flavour: Flavour, serve: Serve, certificates: Certificates, trust: dict[str, Any], scheme: str
) -> None:
    asked: list[tuple[bytes, int]] = []

    def script(connection: Connection) -> None:
        assert connection.read_exactly(3) == b"\x05\x01\x00"
        connection.send(NO_AUTHENTICATION)
        asked.append(read_socks5(connection))
        connection.send(CONNECTED)
        port = asked[-1][1]
        if port == secure.port:
            connection.socket = certificates.server_context().wrap_socket(connection.socket, server_side=True)
        connection.send(reply(describe(connection.read_request())))

    secure, peer = serve(echo, tls=certificates.server_context()), serve(script)
    async with flavour.pool(proxy=httpcore_rs.Proxy(f"{scheme}://{peer.authority}"), **trust) as pool:
        for url in ("http://a.test/", "http://127.0.0.1:8080/", "http://[::1]/", f"https://localhost:{secure.port}/"):
            assert (await pool.request("GET", url)).status == 200
    assert asked == [
        (b"\x03a.test", 80),
        (b"\x01\x7f\x00\x00\x01", 8080),
        (b"\x04" + b"\x00" * 15 + b"\x01", 80),
        (b"\x03localhost", secure.port),
    ]


async def test_credentials(flavour: Flavour, serve: Serve) -> None:
    origin, peer = serve(echo), serve(socks5(credentials=(b"user", b"pass:word")))
    async with flavour.pool(proxy=way(peer, auth=AUTH)) as pool:
        response = await pool.request("GET", origin.url)
        assert response.status == 200
    assert all(b"uthorization" not in name for name, _ in origin.requests[0].headers)
    async with flavour.pool(proxy=way(peer, auth=("user", "wrong")), max_connections=1) as pool:
        for _ in range(2):
            with pytest.raises(httpcore.ProxyError, match=r"^Invalid username/password$"):
                await pool.request("GET", origin.url)
            assert pool.connections == []


@pytest.mark.parametrize("auth", [("", "pass"), ("user", ""), ("u" * 256, "pass"), ("user", "p" * 256)])
def test_credentials_that_cannot_be_sent(auth: tuple[str, str]) -> None:
    for pool in (httpcore_rs.ConnectionPool, httpcore_rs.AsyncConnectionPool):
        with pytest.raises(httpcore.LocalProtocolError, match="SOCKS takes 1 to 255") as caught:
            pool(proxy=httpcore_rs.Proxy("socks5://localhost", auth=auth))
        assert all(secret not in str(caught.value) for secret in ("pppp", "uuuu"))


async def test_http2_through_socks(flavour: Flavour, serve: Serve, serve_h2: ServeH2, trust: dict[str, Any]) -> None:
    peer = serve(socks5())
    for tls in (True, False):
        origin = serve_h2(h2_echo, tls=tls)
        async with flavour.pool(proxy=way(peer), http1=tls, http2=True, **trust) as pool:
            jobs = [lambda pool=pool, url=origin.url: pool.request("GET", url)] * 20
            assert {each.extensions["http_version"] for each in await flavour.gather(*jobs)} == {b"HTTP/2"}
        assert len(origin.connections) == 1


async def test_an_origin_that_sends_first(flavour: Flavour, serve: Serve) -> None:
    """A stream of a backend may return more bytes than were requested: an HTTP/2 server may send first."""
    settings = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
    head = b"\x00\x00\x01\x01\x05\x00\x00\x00\x01\x88"
    scripted = [NO_AUTHENTICATION, CONNECTED + settings, head]
    backend: Any = httpcore.AsyncMockBackend(scripted) if flavour.is_async else httpcore.MockBackend(scripted)
    proxy = httpcore_rs.Proxy("socks5://localhost")
    async with flavour.pool(proxy=proxy, network_backend=backend, http1=False, http2=True) as pool:
        assert (await pool.request("GET", "http://origin.test/")).status == 200


REFUSALS = {
    b"\x01": "General SOCKS server failure",
    b"\x02": "Connection not allowed by ruleset",
    b"\x05": "Connection refused",
    b"\x08": "Address type not supported",
}


@pytest.mark.parametrize(("code", "text"), REFUSALS.items(), ids=REFUSALS.values())
async def test_a_refused_connection_has_httpcores_message(
    flavour: Flavour, serve: Serve, code: bytes, text: str
) -> None:
    def script(connection: Connection) -> None:
        connection.read_exactly(3)
        connection.send(NO_AUTHENTICATION)
        read_socks5(connection)
        connection.send(b"\x05" + code + CONNECTED[2:])

    peer = serve(script)
    async with flavour.pool(proxy=way(peer), max_connections=1) as pool:
        for number in (1, 2):
            with pytest.raises(httpcore.ProxyError) as caught:
                await pool.request("GET", "http://origin.test/")
            assert str(caught.value) == f"Proxy Server could not connect: {text}."
            assert pool.connections == []
            await flavour.until(lambda number=number: peer.closed(number))


@pytest.mark.parametrize(
    ("auth", "method"),
    [(None, b"\x01"), (None, b"\x02"), (None, b"\xff"), (AUTH, b"\x00"), (AUTH, b"\x7f"), (AUTH, b"\xff")],
)
async def test_a_method_that_was_not_offered(flavour: Flavour, serve: Serve, auth: Any, method: bytes) -> None:
    def script(connection: Connection) -> None:
        connection.read_exactly(3)
        connection.send(b"\x05" + method)
        connection.wait_closed()

    peer = serve(script)
    async with flavour.pool(proxy=way(peer, auth=auth)) as pool:
        requested = "NO AUTHENTICATION REQUIRED" if auth is None else "USERNAME/PASSWORD"
        with pytest.raises(httpcore.ProxyError, match=f"^Requested {requested} from proxy server, but got [A-Z /]+.$"):
            await pool.request("GET", "http://origin.test/")
        assert pool.connections == []
    await flavour.until(lambda: peer.closed(1))


GARBAGE = {
    "another version": [b"\x04\x00"],
    "HTTP": [b"HTTP/1.1 400 Bad Request\r\n\r\n"],
    "no version of the credentials": [CREDENTIALS, b"\x05\x00"],
    "another version in the reply": [CREDENTIALS, ACCEPTED, b"\x04" + CONNECTED[1:]],
    "an address of no type": [CREDENTIALS, ACCEPTED, b"\x05\x00\x00\x02\x00\x00\x00\x00\x00\x00"],
    "nothing": [],
    "half of the method": [b"\x05"],
    "nothing behind the method": [CREDENTIALS],
    "half of a reply": [CREDENTIALS, ACCEPTED, CONNECTED[:6]],
}


@pytest.mark.parametrize("answers", GARBAGE.values(), ids=GARBAGE.keys())
async def test_a_proxy_that_answers_badly(flavour: Flavour, serve: Serve, answers: list[bytes]) -> None:
    def script(connection: Connection) -> None:
        for answer in answers:
            connection.receive()
            connection.send(answer)

    peer = serve(script)
    async with flavour.pool(proxy=way(peer, auth=AUTH), max_connections=1) as pool:
        with pytest.raises(httpcore.ProxyError, match=r"does not speak SOCKS5|in the middle of the handshake"):
            await pool.request("GET", "http://origin.test/")
        assert pool.connections == []
    await flavour.until(lambda: peer.closed(1))


@pytest.mark.parametrize("by", ["ourselves", "a backend"])
@pytest.mark.parametrize("steps", range(4))
async def test_a_proxy_that_stalls_costs_the_connect_timeout(
    flavour: Flavour, serve: Serve, steps: int, by: str
) -> None:
    def script(connection: Connection) -> None:
        for answer in [CREDENTIALS, ACCEPTED, CONNECTED[:6]][:steps]:
            connection.receive()
            connection.send(answer)
        connection.wait_closed()

    peer = serve(script)
    arguments: dict[str, Any] = {}
    if by == "a backend":
        arguments["network_backend"] = flavour.backend()
    async with flavour.pool(proxy=way(peer, auth=AUTH), max_connections=1, **arguments) as pool:
        # The limit covers the connect as well, which must succeed.
        timeouts = {"connect": 1.0, "read": 5.0, "write": 5.0, "pool": 5.0}
        with pytest.raises(httpcore.ConnectTimeout, match=r"handshake with the proxy .* took longer than 1\.0 s"):
            await pool.request("GET", "http://origin.test/", extensions={"timeout": timeouts})
        assert pool.connections == []
    await flavour.until(lambda: peer.closed(1))


async def test_cancelling_closes_the_connection_to_the_proxy(async_flavour: Flavour, serve: Serve) -> None:
    greeted = 0

    def script(connection: Connection) -> None:
        nonlocal greeted
        connection.read_exactly(3)
        greeted += 1
        connection.wait_closed()

    peer = serve(script)
    async with async_flavour.pool(proxy=way(peer), max_connections=1) as pool:
        for number in range(1, 4):
            task = async_flavour.start(lambda: pool.request("GET", "http://origin.test/"))
            await async_flavour.until(
                lambda number=number: sum(bool(each.received) for each in peer.connections) == number
            )
            task.cancel()
            await task.finished()
            assert pool.connections == []
            await async_flavour.until(lambda number=number: peer.closed(number))


async def test_host_names_that_no_proxy_takes(flavour: Flavour, serve: Serve) -> None:
    peer = serve(socks5())
    async with flavour.pool(proxy=way(peer)) as pool:
        with pytest.raises(httpcore.ProxyError, match="host names of 1 to 255 bytes"):
            await pool.request("GET", f"http://{'a' * 256}.test/")
        with pytest.raises(httpcore.ConnectError, match="123456 is not a port"):
            await pool.request("GET", httpcore.URL(scheme="http", host="origin.test", port=123456, target="/"))
        assert pool.connections == []


async def test_the_classes_for_socks(flavour: Flavour, serve: Serve) -> None:
    origin, peer = serve(echo), serve(socks5(credentials=(b"user", b"pass:word")))
    pool = getattr(httpcore_rs, flavour.prefixed("SOCKSProxy"))(f"socks5://{peer.authority}", proxy_auth=AUTH)
    assert (await flavour.call(pool, "request", "GET", origin.url)).status == 200
    await flavour.call(pool, "close")
