"""Hosts of URLs: one that could be read as more than a host is refused on every route, before anything is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpcore
import pytest

import httpcore_rs
from h2_peer import http2_pool
from peers import always, refused_port, reply

if TYPE_CHECKING:
    from flavours import Flavour
    from h2_peer import ServeH2
    from peers import Serve

OK = always(reply(b"ok"))

INJECTED = b"h HTTP/1.1\r\nHost: internal\r\nX-Inj: 1\r\n\r\nGET /smuggled"
REFUSED = [
    INJECTED,
    b"a b",
    b" a",
    b"a\t",
    b"a\r\nX: 1",
    b"127.0.0.1\0.evil.test",
    b"a\x7f",
    b"a/b",
    b"a?b",
    b"a#b",
    b"user:password@a",
    b"a\\b",
    b'a"b',
    b"a<b>",
    b"a{b}",
    b"a^b",
    b"a|b",
    b"a`b",
    b"a:80",
    b"[127.0.0.1]",
    b"127.0.0.1]",
    b"[[::1]]",
    b"[::1",
    b"::1]",
    b"[]",
    b"::1%",
    b"::1%a b",
]
# None of them exists, but requests may name them.
ACCEPTED = [
    b"under_score.test",
    b"xn--bcher-kva.test",
    b"trailing.dot.test.",
    b"per%20cent.test",
    b"~!$&'()*+,;=.test",
    b"1.2.3",
    b"::1",
    b"[::1]",
    b"::ffff:1.2.3.4",
    b"fe80::1%eth0",
    b"[fe80::1%25eth0]",
]
HOST = [(b"Host", b"host.test")]
TIMEOUT = {"timeout": {"connect": 5.0, "read": 5.0, "write": 5.0, "pool": 5.0}}


def url_of(host: bytes, scheme: bytes = b"http", port: int = 80) -> httpcore.URL:
    return httpcore.URL(scheme=scheme, host=host, port=port, target=b"/")


def route(name: str, proxy_port: int) -> tuple[dict[str, Any], bytes]:
    """Returns the arguments of a pool, and the scheme of URLs, for a route of this kind."""
    http, socks = (httpcore.Proxy(f"{scheme}://127.0.0.1:{proxy_port}") for scheme in ("http", "socks5"))
    return {
        "direct": ({}, b"http"),
        "HTTP/2": ({"http1": False, "http2": True}, b"http"),
        "TLS": ({}, b"https"),
        "forward": ({"proxy": http}, b"http"),
        "tunnel": ({"proxy": http}, b"https"),
        "SOCKS5": ({"proxy": socks}, b"http"),
    }[name]


@pytest.mark.parametrize("name", ["direct", "HTTP/2", "TLS", "forward", "tunnel", "SOCKS5"])
async def test_an_invalid_host_is_refused(flavour: Flavour, serve: Serve, name: str) -> None:
    peer = serve(OK)
    arguments, scheme = route(name, peer.port)
    async with flavour.pool(**arguments) as pool:
        for host in REFUSED:
            url = url_of(host, scheme, peer.port)
            # With a `Host` header of the caller, which would be refused first otherwise.
            for headers in (HOST, []):
                with pytest.raises(httpcore.LocalProtocolError, match="Illegal host") as raised:
                    await pool.request("GET", url, headers=headers, extensions=TIMEOUT)
                assert "password" not in str(raised.value)
            with pytest.raises(httpcore.LocalProtocolError, match="Illegal host"):
                await pool.handle(httpcore.Request("GET", url, headers=HOST, extensions=TIMEOUT))
    assert not peer.connections


async def test_hosts_that_are_forwarded_as_they_are(flavour: Flavour, serve: Serve) -> None:
    peer = serve(OK)
    async with flavour.pool(proxy=httpcore.Proxy(peer.url)) as pool:
        for host in ACCEPTED:
            await pool.request("GET", url_of(host), extensions=TIMEOUT)
    expected = [host if b":" not in host or host.startswith(b"[") else b"[%b]" % host for host in ACCEPTED]
    assert [request.target for request in peer.requests] == [b"http://%b/" % host for host in expected]
    assert [request.header(b"host") for request in peer.requests] == expected


@pytest.mark.parametrize("host", [b"[::1]", b"::1"])
async def test_an_address_of_ipv6_with_and_without_brackets(flavour: Flavour, serve: Serve, host: bytes) -> None:
    peer = serve(OK, host="::1")
    async with flavour.pool() as pool:
        url = url_of(host, port=peer.port)
        assert (await pool.request("GET", url, extensions=TIMEOUT)).content == b"ok"
        assert f"http://[::1]:{peer.port}" in repr(pool.connections[0])


async def test_messages_have_brackets_around_addresses_of_ipv6(flavour: Flavour) -> None:
    with refused_port("::1") as port:
        async with flavour.pool() as pool:
            with pytest.raises(httpcore.ConnectError, match=rf"http://\[::1\]:{port}"):
                await pool.request("GET", url_of(b"::1", port=port), extensions=TIMEOUT)


@pytest.mark.parametrize("cls", ["HTTPConnection", "AsyncHTTPConnection"])
def test_a_single_connection_to_an_invalid_host(cls: str) -> None:
    with pytest.raises(httpcore.LocalProtocolError, match="Illegal host"):
        getattr(httpcore_rs, cls)(httpcore.Origin(b"http", b"a b", 80))


@pytest.mark.parametrize("scheme", [b"http", b"https", b"socks5"])
def test_a_proxy_at_an_invalid_host(scheme: bytes) -> None:
    proxy = httpcore.Proxy(httpcore.URL(scheme=scheme, host=INJECTED, port=8080, target=b"/"))
    with pytest.raises(httpcore.LocalProtocolError, match="Illegal host"):
        httpcore_rs.ConnectionPool(proxy=proxy)


async def test_an_invalid_sni_hostname(flavour: Flavour, serve: Serve) -> None:
    peer = serve(OK)
    async with flavour.pool() as pool:
        for name in ("a b", "a\0b", b"a\r\n", "[a]"):
            with pytest.raises(httpcore.LocalProtocolError, match="Illegal sni_hostname"):
                await pool.request("GET", f"https://127.0.0.1:{peer.port}", extensions={"sni_hostname": name})
    assert not peer.connections


async def test_authorities_of_http2_have_no_user(flavour: Flavour, serve_h2: ServeH2) -> None:
    peer = serve_h2(lambda session: session.stay())
    async with http2_pool(flavour) as pool:
        headers = [(b"Host", b"user:secret@host.test")]
        with pytest.raises(httpcore.LocalProtocolError, match="Illegal Host for HTTP/2") as raised:
            await pool.request("GET", peer.url, headers=headers, extensions=TIMEOUT)
        assert "secret" not in str(raised.value)
    assert not peer.streams
