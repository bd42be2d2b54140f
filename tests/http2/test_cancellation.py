"""A client that no longer wants a response resets its stream with CANCEL: the connection and its neighbours go on."""

from __future__ import annotations

import asyncio
import functools
import gc
import threading
from typing import TYPE_CHECKING, Any

import httpcore
import pytest
from h2.errors import ErrorCodes
from hyperframe.frame import DataFrame, WindowUpdateFrame

import scenarios
from flavours import Asyncio
from h2_peer import MAX_CONCURRENT_STREAMS, OK, http2_pool, silence, still_works

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from flavours import Flavour
    from h2_peer import ServeH2
    from h2_session import Session, Stream

BIG = b"x" * 4_000_000


def by_target(session: Session) -> None:
    """Leaves `/never` unanswered, answers `/half` in part, `/big` with a lot, and everything else at once."""
    while True:
        stream = session.read_head()
        if stream.target == b"/half":
            session.head(stream, 200)
            session.data(stream, b"half")
        elif stream.target == b"/big":
            session.respond(stream, BIG)
        elif stream.target != b"/never":
            session.respond(stream, b"ok")


# Left, dropped, timed out.


async def test_left_early(flavour: Flavour, serve_h2: ServeH2) -> None:
    peer = serve_h2(by_target)
    async with http2_pool(flavour, max_connections=1) as pool:
        async with pool.stream("GET", peer.url + "half"):
            pass
        async with pool.stream("GET", peer.url + "half") as response:
            assert await response.__aiter__().__anext__() == b"half"
        await still_works(pool, peer)
    assert [stream.reset for stream in peer.streams] == [ErrorCodes.CANCEL, ErrorCodes.CANCEL, None]


async def test_closed_without_reading_the_body(flavour: Flavour, serve_h2: ServeH2) -> None:
    peer = serve_h2(by_target)
    async with http2_pool(flavour, max_connections=1) as pool:
        for target in ("half", "big", "small"):
            response = await pool.handle(httpcore.Request("GET", peer.url + target, headers={"Host": "test"}))
            await response.close()
            await response.close()
        await still_works(pool, peer)


@pytest.mark.parametrize("target", ["half", "big", "small"])
async def test_200_responses_dropped_unread(flavour: Flavour, serve_h2: ServeH2, target: str) -> None:
    peer = serve_h2(by_target)
    async with http2_pool(flavour, max_connections=1) as pool:
        request = httpcore.Request(
            "GET", peer.url + target, headers={"Host": "test"}, extensions={"timeout": {"pool": 5}}
        )
        for _ in range(200):
            response = await pool.handle(request)
            assert response.status == 200
        del response
        gc.collect()
        await flavour.until(lambda: "Requests: 0 active, 0 queued | Connections: 0 active, 1 idle" in repr(pool))
        await still_works(pool, peer)


async def test_iterations_abandoned_midway(flavour: Flavour, serve_h2: ServeH2) -> None:
    peer = serve_h2(by_target)
    async with http2_pool(flavour, max_connections=1) as pool:
        request = httpcore.Request("GET", peer.url + "half", headers={"Host": "test"})
        for _ in range(20):
            response = await pool.handle(request)
            chunks = response.__aiter__()
            assert await chunks.__anext__() == b"half"
            del response, chunks
            gc.collect()
            await flavour.until(peer.all_closed)
        await still_works(pool, peer)


async def test_a_read_timeout_ends_the_request_and_not_the_connection(flavour: Flavour, serve_h2: ServeH2) -> None:
    peer = serve_h2(by_target)
    async with http2_pool(flavour, max_connections=1) as pool:
        beside = flavour.start(lambda: pool.request("GET", peer.url + "never", extensions={"timeout": {"read": 30}}))
        await flavour.until(lambda: peer.streams)
        with pytest.raises(httpcore.ReadTimeout) as raised:
            await pool.request("GET", peer.url + "never", extensions={"timeout": {"read": 0.1}})
        assert "0.1" in str(raised.value)
        async with pool.stream("GET", peer.url + "half", extensions={"timeout": {"read": 1.5}}) as response:
            with pytest.raises(httpcore.ReadTimeout):
                await response.read()
        assert (await pool.request("GET", peer.url)).content == b"ok"
        await flavour.until(lambda: [stream.reset for stream in peer.streams][1:3] == [ErrorCodes.CANCEL] * 2)
        assert not beside.done
        peer.sessions[0].when(lambda: True, lambda: peer.sessions[0].respond(peer.streams[0], b"at last"))
        assert (await beside.wait()).content == b"at last"
    assert len(peer.connections) == 1


async def test_an_exception_of_the_callers_body_is_the_callers(flavour: Flavour, serve_h2: ServeH2) -> None:
    class OfTheCaller(Exception):
        pass

    async def body() -> AsyncIterator[bytes]:
        yield b"first"
        raise OfTheCaller

    peer = serve_h2(by_target)
    async with http2_pool(flavour, max_connections=1) as pool:
        for _ in range(3):
            with pytest.raises(OfTheCaller):
                await pool.request("POST", peer.url + "never", content=flavour.body(body()))
        await still_works(pool, peer)
    assert [stream.reset for stream in peer.streams[:3]] == [ErrorCodes.CANCEL] * 3


# The client cancels it.


cancel = functools.partial(scenarios.cancel, left="[Requests: 0 active, 0 queued | Connections: 0 active, 1 idle]")


async def test_cancelled_while_waiting_for_the_head(async_flavour: Flavour, serve_h2: ServeH2) -> None:
    peer = serve_h2(by_target)
    async with http2_pool(async_flavour, max_connections=1) as pool:
        await cancel(pool, lambda: pool.request("GET", peer.url + "never"), lambda: peer.streams)
        await still_works(pool, peer)
    assert peer.streams[0].reset == ErrorCodes.CANCEL


async def test_cancelled_while_reading_the_body(async_flavour: Flavour, serve_h2: ServeH2) -> None:
    peer = serve_h2(by_target)
    async with http2_pool(async_flavour, max_connections=1) as pool:
        read: list[bytes] = []

        async def job() -> None:
            async with pool.stream("GET", peer.url + "half") as response:
                async for chunk in response:
                    read.append(chunk)  # noqa: PERF401  (one by one: the test looks at it meanwhile)

        await cancel(pool, job, lambda: read)
        await still_works(pool, peer)
    assert peer.streams[0].reset == ErrorCodes.CANCEL


@pytest.mark.parametrize("kind", ["bytes", "parts"])
async def test_cancelled_while_sending_the_body(async_flavour: Flavour, serve_h2: ServeH2, kind: str) -> None:
    def script(session: Session) -> None:
        session.credit = False  # the body stops where the window ends
        by_target(session)

    peer = serve_h2(script)
    content: Any = BIG if kind == "bytes" else async_flavour.parts(*[BIG[:65_536]] * 60)
    async with http2_pool(async_flavour, max_connections=1) as pool:

        async def job() -> None:
            await pool.request("POST", peer.url + "never", content=content)

        await cancel(pool, job, lambda: peer.streams and len(peer.streams[0].body) == 65_535)
        await still_works(pool, peer)
    assert peer.streams[0].reset == ErrorCodes.CANCEL


async def test_cancelled_within_the_callers_body(async_flavour: Flavour, serve_h2: ServeH2) -> None:
    began: list[str] = []
    ended: list[str] = []

    async def body() -> AsyncIterator[bytes]:
        yield b"first"
        try:
            began.append("here")
            await async_flavour.sleep(60)
        finally:
            ended.append("here")
        yield b"never"

    peer = serve_h2(by_target)
    async with http2_pool(async_flavour, max_connections=1) as pool:
        job = lambda: pool.request("POST", peer.url + "never", content=body())  # noqa: E731
        await cancel(pool, job, lambda: began and peer.streams and peer.streams[0].body == b"first")
        # The body is cancelled in a task of its own, for which the request does not wait.
        await async_flavour.until(lambda: ended)
        await still_works(pool, peer)
    assert peer.streams[0].reset == ErrorCodes.CANCEL


async def test_cancelled_while_others_wait_on_the_same_connection(async_flavour: Flavour, serve_h2: ServeH2) -> None:
    peer = serve_h2(by_target)
    async with http2_pool(async_flavour, max_connections=1) as pool:
        tasks = [async_flavour.start(lambda: pool.request("GET", peer.url + "never")) for _ in range(10)]
        await async_flavour.until(lambda: len(peer.streams) == 10)
        for task in tasks[:9]:
            task.cancel()
        await async_flavour.until(lambda: len(peer.sessions[0].open()) == 1)
        assert "[Requests: 1 active, 0 queued | Connections: 1 active, 0 idle]" in repr(pool)
        assert (await pool.request("GET", peer.url)).content == b"ok"
        assert not tasks[9].done
        tasks[9].cancel()
        await still_works(pool, peer)


async def test_cancelled_while_connecting_for_others_too(async_flavour: Flavour, serve_h2: ServeH2) -> None:
    """The request that began to connect may be cancelled: those that wait for the same connection still get one."""
    go = threading.Event()

    def script(session: Session) -> None:
        session.connection.wait(go)  # neither SETTINGS nor answers until then
        by_target(session)

    peer = serve_h2(script)
    async with http2_pool(async_flavour, max_connections=1) as pool:
        first = async_flavour.start(lambda: pool.request("GET", peer.url + "never"))
        await async_flavour.until(lambda: peer.connections)
        others = [async_flavour.start(lambda: pool.request("GET", peer.url)) for _ in range(5)]
        await async_flavour.sleep(0.02)
        first.cancel()
        await first.finished()
        go.set()
        for other in others:
            assert (await other.wait()).content == b"ok"
    assert len(peer.connections) <= 2


def test_a_request_whose_loop_is_closed_releases_its_stream(serve_h2: ServeH2) -> None:
    peer = serve_h2(silence)
    pool = http2_pool(Asyncio(), max_connections=1)
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)  # "Task was destroyed but it is pending!"

    async def begin() -> None:
        asyncio.get_running_loop().create_task(pool.request("GET", peer.url))
        await asyncio.sleep(0.2)

    loop.run_until_complete(begin())
    assert "1 active" in repr(pool)
    loop.close()
    del loop
    gc.collect()
    assert "[Requests: 0 active, 0 queued | Connections: 0 active" in repr(pool)


# Frames for a stream that is gone.


async def test_frames_for_streams_that_were_cancelled(flavour: Flavour, serve_h2: ServeH2) -> None:
    def script(session: Session) -> None:
        while True:
            stream = session.read_head()
            if stream.target == b"/":
                session.respond(stream, b"ok")
                continue
            session.head(stream, 200)
            # The library allows no more frames on this stream; a server that has them under way sends them anyway.
            session.when(lambda stream=stream: stream.reset is not None, lambda stream=stream: late(session, stream))

    def late(session: Session, stream: Stream) -> None:
        session.frame(
            WindowUpdateFrame(stream.id, window_increment=1000),
            DataFrame(stream.id, b"x" * 10_000),
            DataFrame(stream.id, b"x" * 10_000, flags=["END_STREAM"]),
            session.reset_frame(stream.id, ErrorCodes.STREAM_CLOSED),
        )

    peer = serve_h2(script)
    async with http2_pool(flavour, max_connections=1) as pool:
        for _ in range(50):
            async with pool.stream("GET", peer.url + "left"):
                pass
            assert (await pool.request("GET", peer.url)).content == b"ok"
        await still_works(pool, peer)


async def test_thousands_of_frames_for_streams_that_were_cancelled(flavour: Flavour, serve_h2: ServeH2) -> None:
    """Frames that were under way when big responses were cancelled are no protocol error, however many there are."""
    count = 100

    def script(session: Session) -> None:
        streams = [session.read_head() for _ in range(count)]
        for stream in streams:
            session.head(stream, 200)
        session.until(lambda: all(stream.reset is not None for stream in streams))
        for _ in range(50):
            session.frame(*[DataFrame(stream.id, b"x" * 1000) for stream in streams])
            session.flush()
        OK(session)

    peer = serve_h2(script)
    async with http2_pool(flavour, max_connections=1) as pool:
        request = httpcore.Request("GET", peer.url, headers={"Host": "test"})
        responses = await flavour.gather(*[lambda: pool.handle(request)] * count)
        for response in responses:
            await response.close()
        for _ in range(3):
            assert (await pool.request("GET", peer.url)).content == b"ok"
        await still_works(pool, peer)


async def test_a_head_for_a_stream_that_was_cancelled(flavour: Flavour, serve_h2: ServeH2) -> None:
    """Its headers change the state of the compression, and so must be decoded even if the stream was cancelled."""

    def script(session: Session) -> None:
        while True:
            stream = session.read_head()
            if stream.target == b"/never":
                session.when(lambda stream=stream: stream.reset is not None, lambda s=stream: late(session, s))
            else:
                session.respond(stream, b"ok", headers=[(b"x-name-%d" % (stream.id // 4), b"value")])

    def late(session: Session, stream: Stream) -> None:
        headers = [(b":status", b"200"), (b"x-name-%d" % (stream.id // 4), b"value")]
        session.frame(session.head_frame(stream, headers, "END_HEADERS", "END_STREAM"))

    peer = serve_h2(script)
    async with http2_pool(flavour, max_connections=1) as pool:
        for number in range(20):
            with pytest.raises(httpcore.ReadTimeout):
                await pool.request("GET", peer.url + "never", extensions={"timeout": {"read": 0.01}})
            response = await pool.request("GET", peer.url)
            assert response.headers[0] == (b"x-name-%d" % number, b"value")
        await still_works(pool, peer)


async def test_a_cancelled_stream_is_free_for_the_next_waiter(flavour: Flavour, serve_h2: ServeH2) -> None:
    peer = serve_h2(by_target, settings={MAX_CONCURRENT_STREAMS: 1})
    async with http2_pool(flavour, max_connections=1) as pool:
        response = await pool.handle(httpcore.Request("GET", peer.url + "half", headers={"Host": "test"}))
        waiting = flavour.start(lambda: pool.request("GET", peer.url))
        await flavour.until(lambda: "1 queued" in repr(pool))
        await response.close()
        assert (await waiting.wait()).content == b"ok"
        await still_works(pool, peer)


async def test_a_pool_dropped_with_an_idle_connection_closes_it(flavour: Flavour, serve_h2: ServeH2) -> None:
    peer = serve_h2(OK)
    pool = http2_pool(flavour)
    await pool.request("GET", peer.url)
    del pool
    gc.collect()
    await flavour.until(lambda: peer.closed(1))
