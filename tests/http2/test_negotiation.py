"""The choice of HTTP/2: by ALPN, by prior knowledge, and only if the pool allows it."""

from __future__ import annotations

import json
import ssl
from typing import TYPE_CHECKING, Any

import httpx
import pytest

import httpcore_rs
from h2_peer import echo, secure_pool
from peers import always as http1_always
from peers import reply

if TYPE_CHECKING:
    from certificates import Certificates
    from flavours import Flavour
    from h2_peer import ServeH2
    from peers import Serve


async def test_alpn_chooses_http2(flavour: Flavour, serve_h2: ServeH2, certificates: Certificates) -> None:
    peer = serve_h2(echo, tls=certificates.server_context(alpn=["h2", "http/1.1"]))
    async with secure_pool(flavour, certificates) as pool:
        for number in range(3):
            response = await pool.request("GET", f"{peer.url}{number}")
            assert response.extensions["http_version"] == b"HTTP/2"
            assert response.extensions["stream_id"] == 2 * number + 1
            assert json.loads(response.content)["target"] == f"/{number}"
        name = flavour.prefixed("HTTPConnection")
        shown = f"'https://{peer.authority}', HTTP/2, IDLE, Request Count: 3"
        assert repr(pool.connections) == f"[<{name} [{shown}]>]"
        assert pool.connections[0].info() == shown
    assert len(peer.connections) == 1
    await flavour.until(lambda: peer.closed(1))


@pytest.mark.parametrize("alpn", [["http/1.1"], []], ids=["only HTTP/1.1", "no ALPN"])
async def test_a_server_without_http2_gets_http1(
    flavour: Flavour, serve: Serve, certificates: Certificates, alpn: list[str]
) -> None:
    peer = serve(http1_always(reply(b"ok")), tls=certificates.server_context(alpn=alpn))
    async with secure_pool(flavour, certificates) as pool:
        for _ in range(2):
            response = await pool.request("GET", peer.url)
            assert response.extensions["http_version"] == b"HTTP/1.1"
        assert "HTTP/1.1, IDLE, Request Count: 2" in repr(pool.connections)


async def test_many_at_once_to_a_server_that_turns_out_to_speak_http1(
    flavour: Flavour, serve: Serve, certificates: Certificates
) -> None:
    peer = serve(http1_always(reply(b"ok")), tls=certificates.server_context())
    async with secure_pool(flavour, certificates, max_connections=4) as pool:
        responses = await flavour.gather(*[lambda: pool.request("GET", peer.url)] * 20)
        assert {response.content for response in responses} == {b"ok"}
        assert len(pool.connections) <= 4
    assert len(peer.requests) == 20


async def test_a_pool_that_did_not_ask_for_http2_gets_none(
    flavour: Flavour, serve: Serve, certificates: Certificates
) -> None:
    peer = serve(http1_always(reply(b"ok")), tls=certificates.server_context(alpn=["h2", "http/1.1"]))
    async with secure_pool(flavour, certificates, http2=False) as pool:
        assert (await pool.request("GET", peer.url)).extensions["http_version"] == b"HTTP/1.1"


async def test_without_tls_http2_requires_a_pool_without_http1(flavour: Flavour, serve: Serve) -> None:
    peer = serve(http1_always(reply(b"ok")))
    async with flavour.pool(http2=True) as pool:
        assert (await pool.request("GET", peer.url)).extensions["http_version"] == b"HTTP/1.1"


@pytest.mark.parametrize("tls", [False, True])
async def test_prior_knowledge(flavour: Flavour, serve_h2: ServeH2, certificates: Certificates, tls: bool) -> None:
    # Over TLS: a server that speaks HTTP/2 and has no ALPN.
    peer = serve_h2(echo, tls=certificates.server_context(alpn=[]) if tls else False)
    async with secure_pool(flavour, certificates, http1=False) as pool:
        response = await pool.request("GET", peer.url)
        assert response.extensions["http_version"] == b"HTTP/2"
        described = json.loads(response.content)
        # In the h2 crate's order, which is not httpcore's.
        assert described["headers"][:4] == [
            [":method", "GET"],
            [":scheme", "https" if tls else "http"],
            [":authority", peer.authority],
            [":path", "/"],
        ]


async def test_a_context_of_the_callers_that_offers_http2(
    flavour: Flavour, serve_h2: ServeH2, certificates: Certificates
) -> None:
    context = ssl.create_default_context(cafile=str(certificates.ca))
    context.set_alpn_protocols(["h2", "http/1.1"])
    peer = serve_h2(echo, tls=True)
    async with secure_pool(flavour, certificates, ssl_context=context) as pool:
        for content in (b"", b"x" * 500_000):
            response = await pool.request("POST", peer.url, content=content)
            assert response.extensions["http_version"] == b"HTTP/2"
            assert json.loads(response.content)["length"] == len(content)
            secured = response.extensions["network_stream"].get_extra_info("ssl_object")
            assert secured.selected_alpn_protocol() == "h2"
    assert len(peer.connections) == 1


# httpx.


async def test_httpx_over_it(flavour: Flavour, serve_h2: ServeH2, certificates: Certificates) -> None:
    peer = serve_h2(echo, tls=True)
    transport = httpcore_rs.AsyncTransport if flavour.is_async else httpcore_rs.SyncTransport
    kind: Any = httpx.AsyncClient if flavour.is_async else httpx.Client
    client = kind(transport=transport(verify=str(certificates.ca), http2=True))
    await flavour.call(client, "__enter__")
    for number in range(3):
        response = await flavour.call(client, "post", f"{peer.url}{number}", json={"number": number})
        assert response.http_version == "HTTP/2"
        assert response.reason_phrase == "OK"
        assert response.json()["target"] == f"/{number}"
    await flavour.call(client, "__exit__", None, None, None)
    assert len(peer.connections) == 1
    assert json.loads(peer.requests[0].body) == {"number": 0}
