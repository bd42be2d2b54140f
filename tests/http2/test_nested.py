"""Bodies in both directions at once, and requests from within a request over the same connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpcore
import pytest

from h2_peer import always, http2_pool, only_root, still_works

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from flavours import Flavour
    from h2_peer import ServeH2
    from h2_session import Session, Stream

BLOCK = bytes(range(256)) * 256
COUNT = 320  # 20 MiB: more than any window of either side


def both_ways(session: Session) -> None:
    """Sends all data back as it arrives."""
    stream = session.read_head()
    session.head(stream, 200)
    sent = 0
    while not stream.ended:
        session.pump()
        session.data(stream, bytes(stream.body[sent:]))
        sent = len(stream.body)
    session.data(stream, bytes(stream.body[sent:]), end=True)


@pytest.mark.parametrize("kind", ["bytes", "parts"])
async def test_a_body_comes_back_while_it_is_sent(flavour: Flavour, serve_h2: ServeH2, kind: str) -> None:
    peer = serve_h2(both_ways)
    content: Any = BLOCK * COUNT if kind == "bytes" else flavour.parts(*[BLOCK] * COUNT)
    async with http2_pool(flavour) as pool:
        async with pool.stream("POST", peer.url, content=content) as response:
            got = b"".join([chunk async for chunk in response])
        assert got == BLOCK * COUNT
        await flavour.until(peer.all_closed)


async def test_a_response_is_the_body_of_a_request(flavour: Flavour, serve_h2: ServeH2) -> None:
    """Data that is read from one stream is sent on another one of the same connection."""

    def respond(session: Session, stream: Stream) -> None:
        session.respond(stream, BLOCK * 100 if stream.method == b"GET" else bytes(stream.body))

    peer = serve_h2(always(respond))
    async with http2_pool(flavour, max_connections=1) as pool:
        response = await pool.handle(httpcore.Request("GET", peer.url, headers={"Host": "test"}))
        again = await pool.request("POST", peer.url, content=response.raw.stream)
        assert again.content == BLOCK * 100
        await response.close()
        assert "[Requests: 0 active, 0 queued | Connections: 0 active, 1 idle]" in repr(pool)
    assert len(peer.connections) == 1


@pytest.mark.parametrize("used_before", [True, False])
async def test_a_body_sends_requests_itself(flavour: Flavour, serve_h2: ServeH2, used_before: bool) -> None:
    def script(session: Session) -> None:
        while True:
            stream = session.read_request()
            session.respond(stream, b"ok" if stream.method == b"GET" else bytes(stream.body))

    async def body() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield (await pool.request("GET", peer.url)).content

    peer = serve_h2(script)
    async with http2_pool(flavour, max_connections=1) as pool:
        if used_before:
            await pool.request("GET", peer.url)  # from now on the client knows that there may be two streams
        for _ in range(3):
            assert (await pool.request("POST", peer.url, content=flavour.body(body()))).content == b"ok" * 5
        assert "[Requests: 0 active, 0 queued | Connections: 0 active, 1 idle]" in repr(pool)
    assert len(peer.connections) == 1


async def test_a_request_between_two_chunks_of_a_response(flavour: Flavour, serve_h2: ServeH2) -> None:
    def respond(session: Session, stream: Stream) -> None:
        session.respond(stream, BLOCK * 100 if stream.target == b"/big" else b"ok")

    peer = serve_h2(always(respond))
    async with http2_pool(flavour, max_connections=1) as pool:
        async with pool.stream("GET", peer.url + "big") as response:
            length = 0
            async for chunk in response:
                length += len(chunk)
                assert (await pool.request("GET", peer.url)).content == b"ok"
        assert length == len(BLOCK) * 100
        await still_works(pool, peer)


async def test_a_body_that_sends_a_request_which_fails(flavour: Flavour, serve_h2: ServeH2) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"first"
        await pool.request("GET", peer.url + "never", extensions={"timeout": {"read": 0.05}})
        yield b"second"

    peer = serve_h2(only_root)
    async with http2_pool(flavour, max_connections=1) as pool:
        await pool.request("GET", peer.url)
        with pytest.raises(httpcore.ReadTimeout):
            await pool.request("POST", peer.url + "never", content=flavour.body(body()))
        await still_works(pool, peer)
