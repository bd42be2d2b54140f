"""Error messages: they name the invalid argument or field, and contain no value that may be a secret."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import httpcore
import pytest

import httpcore_rs
from flavours import Pool
from h2_peer import http2_pool
from peers import Connection, answers, reply

if TYPE_CHECKING:
    from flavours import Flavour
    from h2_peer import ServeH2
    from libraries import Library
    from peers import Serve

SECRET = b"TOK3N"
HOST = (b"Host", b"test")


async def shows_nothing(flavour: Flavour, url: Any, arguments: dict[str, Any], *, is_http2: bool = False) -> str:
    """Returns the message for a request that cannot be sent, and asserts that it contains no secret."""
    async with http2_pool(flavour) if is_http2 else flavour.pool() as pool:
        with pytest.raises(httpcore.LocalProtocolError) as raised:
            await pool.request("GET", url, **arguments)
    assert SECRET.decode() not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize("value", [SECRET + b"\n", SECRET + b"\0", b" " + SECRET, SECRET + b"\t"])
async def test_values_of_headers(flavour: Flavour, value: bytes) -> None:
    message = await shows_nothing(flavour, "http://test/", {"headers": [(b"Authorization", value)]})
    assert message.startswith("Illegal header value of Authorization: byte b'")


async def test_names_of_headers(flavour: Flavour) -> None:
    message = await shows_nothing(flavour, "http://test/", {"headers": [(b"X Y", SECRET)]})
    assert message == "Illegal header name b'X Y'"


async def test_lengths(flavour: Flavour) -> None:
    message = await shows_nothing(flavour, "http://test/", {"headers": [(b"Content-Length", SECRET)]})
    assert "Content-Length" in message


async def test_targets(flavour: Flavour) -> None:
    target = b"/?key=" + SECRET + b" x"
    url = httpcore.URL(scheme=b"http", host=b"test", port=80, target=target)
    assert await shows_nothing(flavour, url, {}) == "Illegal target: byte b' ' at index 11"
    assert (await shows_nothing(flavour, "http://test/", {"extensions": {"target": b""}})) == (
        "Illegal target: it is empty"
    )


async def test_trailers(flavour: Flavour, serve: Serve) -> None:
    # It answers no part of a request: an early answer would be the response.
    peer = serve(answers(reply(b"ok")))
    fields = [(b"X-Sum", SECRET + b"\n")]
    arguments = {"content": flavour.parts(b"a"), "extensions": {"trailing_headers": fields}}
    assert "trailer value of X-Sum" in await shows_nothing(flavour, peer.url, arguments)


@pytest.mark.parametrize(
    ("name", "value"), [(b"X", b"\x01" + SECRET), (b"TE", SECRET), (b"Host", b"user:" + SECRET + b"@test")]
)
async def test_invalid_heads_over_http2(flavour: Flavour, serve_h2: ServeH2, name: bytes, value: bytes) -> None:
    peer = serve_h2(lambda session: session.stay())
    arguments = {"headers": [(name, value)]}
    message = await shows_nothing(flavour, peer.url, arguments, is_http2=True)
    assert name.decode() in message


async def test_targets_over_http2(flavour: Flavour, serve_h2: ServeH2) -> None:
    peer = serve_h2(lambda session: session.stay())
    arguments = {"extensions": {"target": b"/#" + SECRET}}
    message = await shows_nothing(flavour, peer.url, arguments, is_http2=True)
    assert message == "Illegal target for HTTP/2"


@pytest.mark.parametrize("auth", [(b"user", SECRET + b"\n")])
def test_headers_for_a_proxy(auth: tuple[bytes, bytes]) -> None:
    headers = [(b"Proxy-Authorization", auth[1])]
    with pytest.raises(httpcore.LocalProtocolError, match="value of Proxy-Authorization") as raised:
        httpcore_rs.ConnectionPool(proxy=httpcore.Proxy("http://127.0.0.1:1", headers=headers))
    assert SECRET.decode() not in str(raised.value)


async def test_a_field_of_a_response_that_cannot_be_read(flavour: Flavour, serve: Serve) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nServer: x\r\nSet Cookie: TOK3N\r\n\r\n")

    async with flavour.pool() as pool:
        with pytest.raises(httpcore.RemoteProtocolError, match=r"invalid header name .* b'Set Cookie'") as raised:
            await pool.request("GET", serve(script).url)
    assert SECRET.decode() not in str(raised.value)


async def test_the_reason_of_a_proxy_is_printable(flavour: Flavour, serve: Serve) -> None:
    def script(connection: Connection) -> None:
        connection.read_head()
        connection.send(b"HTTP/1.1 403 \x1b[31mred\x07 \r\nContent-Length: 0\r\n\r\n")

    async with flavour.pool(proxy=httpcore.Proxy(serve(script).url)) as pool:
        with pytest.raises(httpcore.ProxyError) as raised:
            await pool.request("GET", "https://origin.test/")
    assert str(raised.value).startswith(r"403 \x1b[31mred\x07")
    assert str(raised.value).isprintable()


async def test_a_connection_that_is_in_use(flavour: Flavour, serve: Serve) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        connection.wait_closed()

    peer = serve(script)
    connection = Pool(flavour, getattr(httpcore_rs, flavour.prefixed("HTTPConnection"))(httpcore.URL(peer.url).origin))
    async with connection.stream("GET", peer.url):
        with pytest.raises(httpcore.ConnectionNotAvailable, match=rf"127.0.0.1:{peer.port} takes no request now"):
            await connection.request("GET", peer.url)
    await connection.close()


# Arguments.

NUMBERS = {
    "max_connections": "an integer",
    "max_keepalive_connections": "an integer",
    "max_connections_per_origin": "an integer",
    "max_keepalive_connections_per_origin": "an integer",
    "retries": "an integer",
    "keepalive_expiry": "a number of seconds",
    "expect_continue_timeout": "a number of seconds",
    "http2_ping_interval": "a number of seconds",
    "http2_ping_timeout": "a number of seconds",
    "tcp_keepalive": "a number of seconds",
    "tcp_user_timeout": "a number of seconds",
    "default_timeout": "a number of seconds",
    "total_timeout": "a number of seconds",
}


@pytest.mark.parametrize("cls", ["ConnectionPool", "AsyncConnectionPool"])
@pytest.mark.parametrize(("name", "expected"), NUMBERS.items())
@pytest.mark.parametrize("value", ["3", [], object()])
def test_numbers_of_another_type(cls: str, name: str, expected: str, value: object) -> None:
    kind = type(value).__name__
    with pytest.raises(TypeError, match=f"^{name} must be {expected}, not {kind}$"):
        getattr(httpcore_rs, cls)(**{name: value})


@pytest.mark.parametrize("cls", ["ConnectionPool", "AsyncConnectionPool"])
@pytest.mark.parametrize("value", [0, -1, -sys.maxsize * 3])
def test_a_pool_without_connections(cls: str, value: int) -> None:
    with pytest.raises(ValueError, match="max_connections must be at least 1"):
        getattr(httpcore_rs, cls)(max_connections=value)
    # As in httpcore, none are kept.
    getattr(httpcore_rs, cls)(max_keepalive_connections=value)


@pytest.mark.parametrize(
    ("extensions", "message"),
    [
        ({"timeout": 3}, "the extension timeout must be a dictionary such as .*, not int"),
        ({"timeout": {"read": "x"}}, "the read timeout must be a number of seconds, not str"),
        ({"timeout": {"total": "x"}}, "the total timeout must be a number of seconds, not str"),
        ({"sni_hostname": 3}, "the extension sni_hostname must be a string, not int"),
    ],
)
async def test_extensions_of_another_type(flavour: Flavour, extensions: dict[str, Any], message: str) -> None:
    async with flavour.pool() as pool:
        with pytest.raises(TypeError, match=message):
            await pool.request("GET", "https://127.0.0.1:1/", extensions=extensions)
        with pytest.raises(TypeError, match=message):
            await pool.handle(httpcore.Request("GET", "https://127.0.0.1:1/", headers=[HOST], extensions=extensions))


@pytest.mark.skipif(sys.version_info < (3, 10), reason="before 3.10 Python names no class in these messages")
@pytest.mark.parametrize("name", ["SyncTransport", "AsyncTransport"])
def test_arguments_that_a_transport_does_not_have(library: Library, name: str) -> None:
    cls = getattr(library, name)
    with pytest.raises(TypeError, match=rf"^{name}\.__init__\(\) got an unexpected keyword argument 'proxies'"):
        cls(proxies={})


async def test_http2_pools_say_the_same(flavour: Flavour) -> None:
    async with http2_pool(flavour) as pool:
        with pytest.raises(TypeError, match="the write timeout must be a number of seconds"):
            await pool.request("GET", "http://127.0.0.1:1/", extensions={"timeout": {"write": b"1"}})
