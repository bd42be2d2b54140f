"""Streams that the peer ends early, and early responses: no other stream is affected."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import httpcore
import pytest
from h2.errors import ErrorCodes

from h2_peer import always, http2_pool, says, still_works

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from flavours import Flavour
    from h2_peer import ServeH2
    from h2_session import Session, Stream

BIG = b"x" * 4_000_000

# The peer ends the stream.

REASONS = [
    ErrorCodes.NO_ERROR,
    ErrorCodes.PROTOCOL_ERROR,
    ErrorCodes.INTERNAL_ERROR,
    ErrorCodes.CANCEL,
    ErrorCodes.ENHANCE_YOUR_CALM,
    ErrorCodes.INADEQUATE_SECURITY,
    ErrorCodes.HTTP_1_1_REQUIRED,
]


@pytest.mark.parametrize("reason", REASONS, ids=[reason.name for reason in REASONS])
async def test_a_reset_names_its_reason(flavour: Flavour, serve_h2: ServeH2, reason: ErrorCodes) -> None:
    def respond(session: Session, stream: Stream) -> None:
        if stream.target == b"/reset":
            session.reset(stream, reason)
        elif stream.target == b"/midway":
            session.head(stream, 200)
            session.data(stream, b"midway")
            session.flush()
            session.wait(go)
            session.reset(stream, reason)
        else:
            session.respond(stream, b"ok")

    go = threading.Event()
    peer = serve_h2(always(respond))
    async with http2_pool(flavour, max_connections=1) as pool:
        with pytest.raises(httpcore.RemoteProtocolError, match=reason.name):
            await pool.request("POST", peer.url + "reset")
        async with pool.stream("GET", peer.url + "midway") as response:
            chunks = response.__aiter__()
            assert await chunks.__anext__() == b"midway"
            go.set()
            with pytest.raises(httpcore.RemoteProtocolError, match=reason.name):
                await chunks.__anext__()
        await still_works(pool, peer)


async def test_1500_resets_leave_the_connection_as_it_is(flavour: Flavour, serve_h2: ServeH2) -> None:
    def respond(session: Session, stream: Stream) -> None:
        if stream.target == b"/":
            session.respond(stream, b"ok")
        else:
            session.reset(stream)

    peer = serve_h2(always(respond))
    async with http2_pool(flavour, max_connections=1) as pool:

        async def ask() -> None:
            for _ in range(100):
                with pytest.raises(httpcore.RemoteProtocolError, match="INTERNAL_ERROR"):
                    await pool.request("GET", peer.url + "reset")

        await flavour.gather(*[ask] * 15)
        await still_works(pool, peer)


async def test_a_reset_for_an_unknown_reason(flavour: Flavour, serve_h2: ServeH2) -> None:
    def respond(session: Session, stream: Stream) -> None:
        if stream.id == 1:
            session.frame(session.reset_frame(stream.id, 0xBEEF))
            stream.refused = True
        else:
            session.respond(stream, b"ok")

    peer = serve_h2(always(respond))
    async with http2_pool(flavour) as pool:
        with pytest.raises(httpcore.RemoteProtocolError, match=r"(?i)beef|48879"):
            await pool.request("GET", peer.url)
        await still_works(pool, peer)


async def test_a_reset_ends_one_of_many(flavour: Flavour, serve_h2: ServeH2) -> None:
    def script(session: Session) -> None:
        streams = [session.read_head() for _ in range(10)]
        for stream in streams[::2]:
            session.reset(stream)
        for stream in streams[1::2]:
            session.respond(stream, stream.target)

    peer = serve_h2(script)
    async with http2_pool(flavour) as pool:
        tasks = [flavour.start(lambda n=n: pool.request("GET", f"{peer.url}{n}")) for n in range(10)]
        outcomes = []
        for number, task in enumerate(tasks):
            await task.finished()
            outcomes.append(task.error is None)
            if task.error is None:
                assert task.value.content == b"/%d" % number
            else:
                assert isinstance(task.error, httpcore.RemoteProtocolError)
        assert outcomes.count(True) == 5


WRONG_LENGTHS = {"too short": (b"1234", b"10"), "too long": (b"1234", b"2"), "two lengths": (b"1234", b"4, 5")}


@pytest.mark.parametrize("wrong", WRONG_LENGTHS)
async def test_a_body_of_another_length_than_announced(flavour: Flavour, serve_h2: ServeH2, wrong: str) -> None:
    body, length = WRONG_LENGTHS[wrong]

    def respond(session: Session, stream: Stream) -> None:
        if stream.id == 1:
            session.respond(stream, body, headers=[(b"content-length", length)], length=False)
        else:
            session.respond(stream, b"ok")

    peer = serve_h2(always(respond))
    async with http2_pool(flavour) as pool:
        with pytest.raises(httpcore.RemoteProtocolError):
            await pool.request("GET", peer.url)
        await still_works(pool, peer)


@pytest.mark.parametrize("head", [[], [(b":status", b"abc")], [(b":status", b"200"), (b"X-Upper", b"1")]], ids=str)
async def test_an_invalid_head(flavour: Flavour, serve_h2: ServeH2, head: list[tuple[bytes, bytes]]) -> None:
    def respond(session: Session, stream: Stream) -> None:
        if stream.target == b"/bad":
            session.frame(session.head_frame(stream, head, "END_HEADERS", "END_STREAM"))
            stream.answered = True
        else:
            session.respond(stream, b"ok")

    peer = serve_h2(always(respond))
    async with http2_pool(flavour) as pool:
        with pytest.raises(httpcore.RemoteProtocolError):
            await pool.request("GET", peer.url + "bad")
        assert (await pool.request("GET", peer.url)).content == b"ok"


# Early responses.


async def test_an_early_head_reaches_the_caller_while_the_body_goes_on(flavour: Flavour, serve_h2: ServeH2) -> None:
    headed = threading.Event()
    count = 50

    def script(session: Session) -> None:
        stream = session.read_head()
        session.until(lambda: stream.body)
        session.head(stream, 200)
        session.data(stream, b"early ")
        session.flush()
        headed.set()
        session.until(lambda: stream.ended)
        session.data(stream, b"%d" % len(stream.body), end=True)

    sent = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(count):
            sent += 1
            yield b"x" * 1000
            await flavour.until(headed.is_set)
            await flavour.sleep(0.002)

    peer = serve_h2(script)
    async with http2_pool(flavour) as pool:
        async with pool.stream("POST", peer.url, content=flavour.body(body())) as response:
            assert response.status == 200
            assert sent < count
            content = b"".join([chunk async for chunk in response])
        assert content == b"early %d" % (1000 * count)
        assert sent == count
        await flavour.until(peer.all_closed)
        assert "IDLE, Request Count: 1]" in repr(pool.connections)


@pytest.mark.parametrize("kind", ["bytes", "parts"])
@pytest.mark.parametrize("reset", [True, False], ids=["and reset", "and silent"])
async def test_a_refusal_arrives_before_the_body_was_taken(
    flavour: Flavour, serve_h2: ServeH2, kind: str, reset: bool
) -> None:
    def script(session: Session) -> None:
        session.credit = False
        while True:
            stream = session.read_head()
            if stream.method == b"GET":
                session.respond(stream, b"ok")
                continue
            session.until(lambda stream=stream: len(stream.body) > 1000)
            session.respond(stream, b"too large", status=413)
            if reset:
                session.reset(stream, ErrorCodes.NO_ERROR)

    peer = serve_h2(script)
    async with http2_pool(flavour, max_connections=1) as pool:
        content: Any = BIG if kind == "bytes" else flavour.parts(*[b"x" * 10_000] * 3, *[BIG[:65_536]] * 30)
        response = await pool.request("POST", peer.url, content=content)
        assert (response.status, response.content) == (413, b"too large")
        await still_works(pool, peer)


async def test_big_responses_one_after_the_other(flavour: Flavour, serve_h2: ServeH2) -> None:
    peer = serve_h2(says(BIG))
    async with http2_pool(flavour) as pool:
        for _ in range(5):
            assert (await pool.request("GET", peer.url)).content == BIG
    assert len(peer.connections) == 1
