"""HTTP/2 requests as the server receives them."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import httpcore
import pytest

from h2_peer import OK, echo, http2_pool, secure_pool

if TYPE_CHECKING:
    from certificates import Certificates
    from flavours import Flavour
    from h2_peer import ServeH2
    from h2_session import Session


async def test_names_are_lower_case_and_keep_their_order(flavour: Flavour, serve_h2: ServeH2) -> None:
    peer = serve_h2(OK)
    headers = [("Host", "named.test"), ("X-Zulu", "1"), ("Accept", "*/*"), ("X-alpha", "A b"), ("COOKIE", "a=1; b=2")]
    async with http2_pool(flavour) as pool:
        await pool.request("GET", peer.url, headers=headers)
        assert peer.requests[0].headers[4:] == [
            (b"x-zulu", b"1"),
            (b"accept", b"*/*"),
            (b"x-alpha", b"A b"),
            (b"cookie", b"a=1; b=2"),
        ]
        assert peer.requests[0].header(b":authority") == b"named.test"


async def test_several_headers_of_one_name(flavour: Flavour, serve_h2: ServeH2) -> None:
    peer = serve_h2(OK)
    async with http2_pool(flavour) as pool:
        await pool.request("GET", peer.url, headers=[("X-One", "1"), ("X-Two", "2"), ("x-one", "3")])
        sent = peer.requests[0].headers[4:]
        assert [value for name, value in sent if name == b"x-one"] == [b"1", b"3"]
        assert (b"x-two", b"2") in sent


async def test_headers_of_the_connection_are_not_sent(flavour: Flavour, serve_h2: ServeH2) -> None:
    peer = serve_h2(OK)
    headers = {
        "Connection": "keep-alive, X-Mine",
        "Keep-Alive": "timeout=5",
        "Proxy-Connection": "keep-alive",
        "Transfer-Encoding": "chunked",
        "Upgrade": "websocket",
        "TE": "trailers",
        "X-Kept": "1",
    }
    async with http2_pool(flavour) as pool:
        await pool.request("POST", peer.url, headers=headers, content=b"body")
    request = peer.requests[0]
    assert request.body == b"body"
    assert [name for name, _ in request.headers if not name.startswith(b":")] == [b"te", b"x-kept"]


async def test_values_are_bytes(flavour: Flavour, serve_h2: ServeH2) -> None:
    peer = serve_h2(OK)
    value = bytes(range(0x21, 0x7F)) + bytes(range(0x80, 0x100))
    async with http2_pool(flavour) as pool:
        await pool.request("GET", peer.url, headers=[(b"x-bytes", value), (b"x-empty", b"")])
    assert peer.requests[0].headers[4:] == [(b"x-bytes", value), (b"x-empty", b"")]


async def test_the_path_is_the_target(flavour: Flavour, serve_h2: ServeH2) -> None:
    peer = serve_h2(OK)
    async with http2_pool(flavour) as pool:
        await pool.request("GET", f"{peer.url}a%20b?c=d&e=%C3%A9")
        await pool.request("OPTIONS", peer.url, extensions={"target": b"*"})
        await pool.request("PROPFIND", peer.url, extensions={"target": b"/as|it{is}"})
    assert [(request.method, request.target) for request in peer.requests] == [
        (b"GET", b"/a%20b?c=d&e=%C3%A9"),
        (b"OPTIONS", b"*"),
        (b"PROPFIND", b"/as|it{is}"),
    ]


async def test_a_request_needs_a_host(flavour: Flavour, serve_h2: ServeH2) -> None:
    """It is checked before the protocol is known: it becomes HTTP/1.1's `Host` or HTTP/2's `:authority`."""
    peer = serve_h2(OK)
    async with http2_pool(flavour) as pool:
        with pytest.raises(httpcore.LocalProtocolError, match="Host"):
            await pool.handle(httpcore.Request("GET", peer.url))
    assert peer.requests == []


BAD = [b"\r", b"\n", b"\0", b"\r\n"]
FORGED: dict[str, list[dict[str, Any]]] = {
    "a name": [{"headers": [(b"x-a" + bad + b"b", b"1")]} for bad in (*BAD, b" ", b":")],
    "no name": [{"headers": [(b"", b"1")]}],
    "a pseudo-header": [{"headers": [(b":path", b"/other")]}],
    "a value": [{"headers": [(b"x-a", b"1" + bad + b"x-forged: 1")]} for bad in BAD],
    "the host": [{"headers": [(b"host", b"named.test" + bad)]} for bad in BAD],
    "the target": [{"extensions": {"target": b"/a" + bad + b"b"}} for bad in BAD],
    "the method": [{"method": b"GET" + bad + b"POST"} for bad in BAD],
}


@pytest.mark.parametrize("place", FORGED)
async def test_a_head_that_cannot_be_expressed_is_not_sent(flavour: Flavour, serve_h2: ServeH2, place: str) -> None:
    peer = serve_h2(OK)
    async with http2_pool(flavour) as pool:
        await pool.request("GET", peer.url)
        for forged in FORGED[place]:
            arguments = {"method": b"GET", "url": peer.url, **forged}
            with pytest.raises(httpcore.LocalProtocolError) as raised:
                await pool.request(**arguments)
            assert str(raised.value)
        assert (await pool.request("GET", peer.url)).content == b"ok"
        assert "HTTP/2, IDLE, Request Count:" in repr(pool.connections)
    assert len(peer.connections) == 1
    assert len(peer.streams) == 2


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "POST", "PUT", "PATCH"])
async def test_without_a_body_the_head_ends_the_request(flavour: Flavour, serve_h2: ServeH2, method: str) -> None:
    seen: list[bool] = []

    def script(session: Session) -> None:
        while True:
            stream = session.read_head()
            # The frames that came with the head have been handled by now.
            seen.append(stream.ended)
            session.respond(stream, b"" if stream.method == b"HEAD" else b"ok")

    peer = serve_h2(script)
    async with http2_pool(flavour) as pool:
        await pool.request(method, peer.url)
    assert seen == [True]
    assert peer.requests[0].header(b"content-length") is None


CONTENTS = {"bytes": b"some data", "one part": [b"some data"], "parts": [b"some", b" ", b"", b"data"], "none": []}


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS.keys())
async def test_bodies(flavour: Flavour, serve_h2: ServeH2, content: Any) -> None:
    peer = serve_h2(echo)
    expected = content if isinstance(content, bytes) else b"".join(content)
    async with http2_pool(flavour) as pool:
        body = content if isinstance(content, bytes) else flavour.parts(*content)
        await pool.request("POST", peer.url, content=body)
    (request,) = peer.requests
    assert request.body == expected
    assert request.header(b"content-length") == (b"9" if isinstance(content, bytes) else None)


@pytest.mark.parametrize("kind", ["bytes", "parts"])
async def test_a_big_body(flavour: Flavour, serve_h2: ServeH2, certificates: Certificates, kind: str) -> None:
    peer = serve_h2(echo, tls=True)
    block = bytes(range(256)) * 256
    content: Any = block * 64 if kind == "bytes" else flavour.parts(*[block] * 64)
    async with secure_pool(flavour, certificates) as pool:
        described = json.loads((await pool.request("POST", peer.url, content=content)).content)
    assert described["sha256"] == hashlib.sha256(block * 64).hexdigest()


async def test_it_asks_for_no_pushes(flavour: Flavour, serve_h2: ServeH2) -> None:
    peer = serve_h2(OK)
    async with http2_pool(flavour) as pool:
        await pool.request("GET", peer.url)
        await flavour.until(lambda: peer.sessions[0].acknowledged)
    assert peer.sessions[0].settings[2] == 0  # ENABLE_PUSH
