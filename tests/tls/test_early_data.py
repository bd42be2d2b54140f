"""Early data (0-RTT of TLS 1.3). OpenSSL is the oracle: `s_server` tells what came before the end of the handshake."""

from __future__ import annotations

import re
import ssl
from typing import TYPE_CHECKING, Any

import httpcore
import pytest

import httpcore_rs
from openssl_server import OpenSSLServer
from peers import reply
from proxies import socks5, tunnels
from servers import NginxServer, find_nginx, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from certificates import Certificates
    from flavours import Flavour, Pool
    from peers import Serve

OK = reply(b"ok")
TOO_EARLY = reply(b"", status=b"425 Too Early")

# The server writes data at once, and "CIPHER is" when the handshake is complete.
TOKEN = re.compile(rb"CIPHER is|(GET|HEAD|OPTIONS|TRACE|PUT|DELETE|POST) (/\S*) HTTP/1\.1\r\n.*?\r\n\r\n", re.DOTALL)


class EarlyDataServer(OpenSSLServer):
    """Serves one connection after another, each with one request.

    `requests` has the method, the target and whether it was early data of each request, in the order of their arrival.
    """

    def __init__(self, openssl: str, certificates: Certificates) -> None:
        port = free_port()
        self.url = f"https://localhost:{port}/"
        self.requests: list[tuple[str, str, bool]] = []
        self.respond: Callable[[bool], bytes] = lambda _: OK
        # The same port after a restart.
        super().__init__(openssl, certificates, "-accept", f"127.0.0.1:{port}", "-early_data", "-no_anti_replay")
        self.start()

    def play(self) -> None:
        output = b""
        handshakes = requests = 0
        while data := self.read():
            output += data
            while found := TOKEN.search(output):
                output = output[found.end() :]
                if found[1] is None:
                    handshakes += 1
                    continue
                requests += 1
                is_early = handshakes < requests
                self.requests.append((found[1].decode(), found[2].decode(), is_early))
                self.write(self.respond(is_early))

    def restart(self, *arguments: str) -> None:
        """Starts the server anew, with new keys for its tickets."""
        self.stop()
        self.start(*arguments)


@pytest.fixture
def server(openssl: str, certificates: Certificates) -> Iterator[EarlyDataServer]:
    server = EarlyDataServer(openssl, certificates)
    yield server
    server.stop()


@pytest.fixture
def config(certificates: Certificates, tmp_path: Path) -> Any:
    # A file of its own: sessions belong to a configuration, and are found by the name of the server.
    (tmp_path / "ca.pem").write_bytes(certificates.ca.read_bytes())
    return httpcore_rs.TLSConfig(verify=tmp_path / "ca.pem", early_data=True)


def pool_of(flavour: Flavour, config: Any, **arguments: Any) -> Pool:
    """Returns a pool that makes a connection for each request."""
    return flavour.pool(ssl_context=config, max_keepalive_connections=0, **arguments)


async def ask(pool: Pool, url: str, method: str = "GET", **arguments: Any) -> bytes:
    response = await pool.request(method, url, **arguments)
    assert response.status == 200
    return response.content


async def test_a_request_is_sent_early_on_a_resumed_session(
    flavour: Flavour, server: EarlyDataServer, config: Any
) -> None:
    async with pool_of(flavour, config) as pool:
        assert await ask(pool, server.url + "first") == b"ok"
        assert await ask(pool, server.url + "second") == b"ok"
    assert server.requests == [("GET", "/first", False), ("GET", "/second", True)]


@pytest.mark.parametrize("way", ["traced", "closed", "streamed", "informational"])
async def test_requests_that_take_other_ways(flavour: Flavour, server: EarlyDataServer, config: Any, way: str) -> None:
    async def trace(*_: object) -> None:
        pass

    arguments: dict[str, Any] = {
        "traced": {"extensions": {"trace": trace if flavour.is_async else lambda *_: None}},
        "closed": {"headers": {"Connection": "close"}},
        "streamed": {},
        "informational": {"extensions": {"informational": lambda *_: None}},
    }[way]
    async with pool_of(flavour, config) as pool:
        await ask(pool, server.url)
        if way == "streamed":
            async with pool.stream("GET", server.url) as response:
                assert b"".join([chunk async for chunk in response]) == b"ok"
        else:
            assert await ask(pool, server.url, **arguments) == b"ok"
    assert server.requests == [("GET", "/", False), ("GET", "/", True)]


@pytest.mark.parametrize(
    ("method", "content", "is_early"),
    [
        ("HEAD", None, True),
        ("OPTIONS", None, True),
        ("TRACE", None, True),
        ("PUT", None, False),
        ("DELETE", None, False),
        ("POST", None, False),
        ("GET", b"body", False),
    ],
)
async def test_only_safe_methods_without_a_body(
    flavour: Flavour, server: EarlyDataServer, config: Any, method: str, content: bytes | None, is_early: bool
) -> None:
    async with pool_of(flavour, config) as pool:
        await ask(pool, server.url)
        server.respond = lambda _: reply(b"")
        await ask(pool, server.url, method, content=content)
    assert server.requests[1:] == [(method, "/", is_early)]


async def test_an_upgrade_waits_for_the_handshake(flavour: Flavour, server: EarlyDataServer, config: Any) -> None:
    async with pool_of(flavour, config) as pool:
        await ask(pool, server.url)
        await ask(pool, server.url, headers={"Connection": "upgrade", "Upgrade": "other"})
    assert server.requests[1:] == [("GET", "/", False)]


async def test_without_the_option(flavour: Flavour, server: EarlyDataServer, config: Any) -> None:
    async with pool_of(flavour, httpcore_rs.TLSConfig(verify=config.verify)) as pool:
        for _ in range(2):
            await ask(pool, server.url)
    # They have the same sessions.
    async with pool_of(flavour, config) as pool:
        await ask(pool, server.url)
    assert [is_early for _, _, is_early in server.requests] == [False, False, True]


async def test_rejected_early_data_is_sent_after_the_handshake(
    flavour: Flavour, server: EarlyDataServer, config: Any
) -> None:
    async with pool_of(flavour, config) as pool:
        await ask(pool, server.url)
        server.restart()
        assert await ask(pool, server.url + "again") == b"ok"
        assert await ask(pool, server.url + "new") == b"ok"
    assert server.requests[1:] == [("GET", "/again", False), ("GET", "/new", True)]


async def test_a_server_that_has_gone_back_to_tls_1_2(flavour: Flavour, server: EarlyDataServer, config: Any) -> None:
    """It does not know early data, and ends the handshake (RFC 8446, D.3)."""
    async with pool_of(flavour, config) as pool:
        await ask(pool, server.url)
        server.restart("-tls1_2")
        assert await ask(pool, server.url) == b"ok"
    assert server.requests[1:] == [("GET", "/", False)]


async def test_too_early(flavour: Flavour, server: EarlyDataServer, config: Any) -> None:
    server.respond = lambda is_early: TOO_EARLY if is_early else OK
    async with pool_of(flavour, config) as pool:
        await ask(pool, server.url)
        assert await ask(pool, server.url) == b"ok"
    # Again on a resumed session, which has had no early data.
    assert server.requests == [("GET", "/", False), ("GET", "/", True), ("GET", "/", False)]


async def test_too_early_for_good(flavour: Flavour, server: EarlyDataServer, config: Any) -> None:
    """The second 425 is the response, and so is one to a request that was no early data."""
    server.respond = lambda _: TOO_EARLY
    async with pool_of(flavour, config) as pool:
        assert (await pool.request("GET", server.url)).status == 425
        assert (await pool.request("GET", server.url)).status == 425
    assert [is_early for _, _, is_early in server.requests] == [False, True, False]


async def test_a_head_that_is_longer_than_the_server_permits(
    flavour: Flavour, server: EarlyDataServer, config: Any
) -> None:
    async with pool_of(flavour, config) as pool:
        await ask(pool, server.url)
        assert await ask(pool, server.url, headers={"X-Long": "x" * 20_000}) == b"ok"
    assert server.requests[1:] == [("GET", "/", False)]


async def test_a_server_that_does_not_answer(flavour: Flavour, server: EarlyDataServer, config: Any) -> None:
    async with pool_of(flavour, config) as pool:
        await ask(pool, server.url)
        server.respond = lambda _: b""
        with pytest.raises(httpcore.ReadTimeout, match=r".+"):
            await ask(pool, server.url, extensions={"timeout": {"read": 0.3}})
    await flavour.until(lambda: len(server.requests) == 2)
    assert server.requests[1:] == [("GET", "/", True)]


async def test_a_server_that_ends_the_connection(flavour: Flavour, server: EarlyDataServer, config: Any) -> None:
    """A request on a new connection is not sent again, early data or not."""
    async with pool_of(flavour, config) as pool:
        await ask(pool, server.url)
        server.respond = lambda _: b"q\n"
        with pytest.raises(httpcore.RemoteProtocolError, match=r".+"):
            await ask(pool, server.url)
    assert server.requests[1:] == [("GET", "/", True)]


@pytest.mark.parametrize("kind", ["tunnel", "SOCKS5"])
async def test_through_a_proxy(flavour: Flavour, serve: Serve, server: EarlyDataServer, config: Any, kind: str) -> None:
    proxy = serve(tunnels if kind == "tunnel" else socks5())
    scheme = "http" if kind == "tunnel" else "socks5"
    async with pool_of(flavour, config, proxy=httpcore.Proxy(f"{scheme}://{proxy.authority}")) as pool:
        for _ in range(2):
            assert await ask(pool, server.url) == b"ok"
    assert [is_early for _, _, is_early in server.requests] == [False, True]


async def test_nginx(flavour: Flavour, certificates: Certificates, config: Any, tmp_path: Path) -> None:
    """The responses do not depend on whether nginx looks before the handshake is complete, which is a race."""
    if find_nginx() is None:
        pytest.skip("nginx is not installed")
    home = tmp_path / "nginx"
    home.mkdir()
    too_early = "location /early { if ($ssl_early_data) { return 425; } return 200 $request_uri; }"
    directives = f"ssl_protocols TLSv1.3; ssl_early_data on; {too_early}"
    with NginxServer(certificates, home, "ssl", directives) as nginx:
        async with pool_of(flavour, config) as pool:
            for number in range(10):
                assert await ask(pool, f"{nginx.url}early/{number}") == b"/early/%d" % number


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"maximum_version": ssl.TLSVersion.TLSv1_2}, "TLS 1.3"),
        ({"ciphers": "ECDHE-ECDSA-AES256-GCM-SHA384"}, "TLS 1.3"),
        ({"session_cache_size": 0}, "session_cache_size"),
        ({"cert": lambda _: None}, "client certificate"),
    ],
)
def test_options_that_contradict_early_data(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=f"early_data.*{words}"):
        httpcore_rs.TLSConfig(early_data=True, **options)


def test_pools_that_cannot_have_it() -> None:
    config = httpcore_rs.TLSConfig(early_data=True)
    for options in ({"http2": True}, {"replay": "never"}, {"replay": "unsent"}):
        with pytest.raises(ValueError, match=f"early_data.*{next(iter(options))}"):
            httpcore_rs.ConnectionPool(ssl_context=config, **options)
    with pytest.raises(ValueError, match=r"early_data.*proxy"):
        httpcore_rs.ConnectionPool(proxy=httpcore.Proxy("https://localhost:1", ssl_context=config))


async def test_python_ssl_does_not_have_it(flavour: Flavour, server: EarlyDataServer, config: Any) -> None:
    async with flavour.pool(ssl_context=config, network_backend=flavour.backend()) as pool:
        with pytest.raises(ValueError, match="early_data"):
            await pool.request("GET", server.url)
