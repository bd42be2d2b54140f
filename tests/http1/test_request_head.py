"""The request head is sent exactly as the caller passed it, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpcore
import pytest

from peers import always, reply

if TYPE_CHECKING:
    from flavours import Flavour
    from peers import Serve

OK = always(reply(b"ok"))


async def test_names_values_order_and_duplicates_are_kept(flavour: Flavour, serve: Serve) -> None:
    peer = serve(OK)
    headers = [
        (b"hOsT", peer.authority.encode()),
        (b"X-Second", b"2"),
        (b"x-first", b"1"),
        (b"X-SECOND", b"again"),
        (b"Accept", b"*/*"),
        (b"x-Second", b"2"),
        (b"X-Empty", b""),
        (b"X-Latin", b"caf\xe9"),
        (b"!#$%&'*+-.^_`|~09", b'( a , "b" )'),
    ]
    async with flavour.pool() as pool:
        response = await pool.handle(httpcore.Request("GET", peer.url, headers=headers))
        await response.read()
        await response.close()
    lines = [name + b": " + value for name, value in headers]
    assert peer.requests[0].head == b"\r\n".join([b"GET / HTTP/1.1", *lines, b"", b""])


async def test_host_need_not_come_first(flavour: Flavour, serve: Serve) -> None:
    peer = serve(OK)
    headers = [(b"Accept", b"*/*"), (b"host", b"elsewhere.test"), (b"Zebra", b"1")]
    async with flavour.pool() as pool:
        response = await pool.handle(httpcore.Request("GET", peer.url, headers=headers))
        await response.close()
    assert peer.requests[0].headers == headers


async def test_a_second_request_of_a_connection_has_its_own_head(flavour: Flavour, serve: Serve) -> None:
    peer = serve(OK)
    async with flavour.pool() as pool:
        await pool.request("GET", peer.url + "one", headers=[(b"X-Case", b"1")])
        await pool.request("PUT", peer.url + "two", headers=[(b"x-cASE", b"2")], content=b"body")
    host = peer.authority.encode()
    assert [request.head for request in peer.requests] == [
        b"GET /one HTTP/1.1\r\nHost: %b\r\nX-Case: 1\r\n\r\n" % host,
        b"PUT /two HTTP/1.1\r\nHost: %b\r\nx-cASE: 2\r\nContent-Length: 4\r\n\r\n" % host,
    ]
    assert len(peer.connections) == 1


async def test_300_headers_and_a_value_of_80_kib(flavour: Flavour, serve: Serve) -> None:
    peer = serve(OK)
    headers = [(b"X-%d" % number, b"%d" % number) for number in range(300)] + [(b"X-Long", b"v" * 80 * 1024)]
    async with flavour.pool() as pool:
        await pool.request("GET", peer.url, headers=headers)
    assert peer.requests[0].headers[1:] == headers


@pytest.mark.parametrize(
    ("method", "target"),
    [
        (b"OPTIONS", b"*"),
        (b"GET", b"http://other.test:8080/absolute?a=b"),
        (b"GET", b"/a/../b//./%7Euser/%2f"),
        (b"GET", b'/?q=%FF%00&x={}|^`"<>\\[]&&=;?#'),
        (b"GET", b"?only=query"),
        (b"GET", b"no-slash"),
        (b"GET", b"/" + b"long" * 10_000),
        (b"purge", b"/"),
        (b"M-SEARCH", b"/"),
    ],
)
async def test_any_method_and_target(flavour: Flavour, serve: Serve, method: bytes, target: bytes) -> None:
    peer = serve(OK)
    url = httpcore.URL(scheme=b"http", host=b"127.0.0.1", port=peer.port, target=target)
    async with flavour.pool() as pool:
        response = await pool.request(method, url)
        assert response.content == b"ok"
    assert peer.requests[0].head.startswith(method + b" " + target + b" HTTP/1.1\r\n")


async def test_the_target_extension_replaces_the_urls(flavour: Flavour, serve: Serve) -> None:
    peer = serve(OK)
    async with flavour.pool() as pool:
        await pool.request("GET", peer.url + "path", extensions={"target": b"//special?"})
    assert peer.requests[0].target == b"//special?"


BAD = [b"a\rb", b"a\nb", b"a\r\nX-Injected: 1", b"a\0b"]


@pytest.mark.parametrize("place", ["method", "target", "header name", "header value"])
@pytest.mark.parametrize("bad", BAD)
async def test_cr_lf_and_nul_are_refused_and_nothing_is_sent(
    flavour: Flavour, serve: Serve, place: str, bad: bytes
) -> None:
    peer = serve(OK)
    method = bad if place == "method" else b"GET"
    target = b"/" + bad if place == "target" else b"/"
    headers = [(b"Host", peer.authority.encode())]
    if place == "header name":
        headers.append((bad, b"value"))
    if place == "header value":
        headers.append((b"X-Name", bad))
    url = httpcore.URL(scheme=b"http", host=b"127.0.0.1", port=peer.port, target=target)
    async with flavour.pool(max_connections=1) as pool:
        with pytest.raises(httpcore.LocalProtocolError) as raised:
            await pool.handle(httpcore.Request(method, url, headers=headers))
        assert str(raised.value)
        assert (await pool.request("GET", peer.url)).content == b"ok"  # and the pool still works
    assert b"".join(connection.received for connection in peer.connections).count(b"HTTP/1.1") == 1
    assert b"Injected" not in b"".join(connection.received for connection in peer.connections)


@pytest.mark.parametrize(
    ("method", "target", "name"),
    [
        (b"GET ", b"/", b"X"),
        (b"", b"/", b"X"),
        (b"GET", b"/ HTTP/1.1", b"X"),
        (b"GET", b"", b"X"),
        (b"GET", b"/", b""),
        (b"GET", b"/", b"X Y"),
        (b"GET", b"/", b"X:"),
        (b"GET", b"/", b"caf\xe9"),
    ],
)
async def test_a_head_that_a_server_would_read_differently_is_refused(
    flavour: Flavour, serve: Serve, method: bytes, target: bytes, name: bytes
) -> None:
    peer = serve(OK)
    url = httpcore.URL(scheme=b"http", host=b"127.0.0.1", port=peer.port, target=target)
    async with flavour.pool() as pool:
        with pytest.raises(httpcore.LocalProtocolError):
            await pool.request(method, url, headers=[(name, b"value")])
        assert pool.connections == []
    assert all(connection.received == b"" for connection in peer.connections)


async def test_a_missing_host_is_refused(flavour: Flavour, serve: Serve) -> None:
    peer = serve(OK)
    async with flavour.pool() as pool:
        with pytest.raises(httpcore.LocalProtocolError, match="Host"):
            await pool.handle(httpcore.Request("GET", peer.url, headers=[(b"Accept", b"*/*")]))
    assert peer.requests == []


@pytest.mark.parametrize("excess", [0, 1, 65536, 2**31, 2**63])
async def test_a_port_beyond_65535_is_a_connect_error(flavour: Flavour, serve: Serve, excess: int) -> None:
    # The peer's own port plus a multiple of 65536 must not be mistaken for the peer's port.
    peer = serve(OK)
    url = httpcore.URL(scheme=b"http", host=b"127.0.0.1", port=peer.port + 65536 + excess, target=b"/")
    async with flavour.pool() as pool:
        with pytest.raises(httpcore.ConnectError) as raised:
            await pool.request("GET", url)
        assert "port" in str(raised.value)
        assert pool.connections == []
    assert peer.connections == []


@pytest.mark.parametrize("port", [-1, 0])
async def test_a_port_below_one_is_a_connect_error(flavour: Flavour, port: int) -> None:
    url = httpcore.URL(scheme=b"http", host=b"127.0.0.1", port=port, target=b"/")
    async with flavour.pool() as pool:
        with pytest.raises(httpcore.ConnectError) as raised:
            await pool.request("GET", url)
        assert str(raised.value)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://127.0.0.1/", "Request URL has an unsupported protocol 'ftp://'."),
        ("HTTP2://127.0.0.1/", "Request URL has an unsupported protocol 'http2://'."),
        ("//127.0.0.1/", "Request URL is missing an 'http://' or 'https://' protocol."),
        ("/", "Request URL is missing an 'http://' or 'https://' protocol."),
    ],
)
async def test_other_schemes_are_refused_in_httpcores_words(flavour: Flavour, url: str, message: str) -> None:
    async with flavour.pool() as pool:
        with pytest.raises(httpcore.UnsupportedProtocol) as raised:
            await pool.request("GET", url)
        assert str(raised.value) == message
        assert pool.connections == []


async def test_ws_is_served_like_http(flavour: Flavour, serve: Serve) -> None:
    peer = serve(OK)
    async with flavour.pool() as pool:
        assert (await pool.request("GET", f"ws://{peer.authority}/")).content == b"ok"
        assert "'ws://" in repr(pool.connections[0])
