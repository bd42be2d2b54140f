"""Requests whose body goes on while the response arrives, each depending on the other."""

from __future__ import annotations

import contextvars
import gc
import threading
from typing import TYPE_CHECKING, Any

import httpcore
import pytest

from h2_peer import http2_pool, only_root, still_works

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from flavours import Flavour, Pool
    from h2_peer import H2Peer, ServeH2
    from h2_session import Session

ROUNDS = 5


def answering(session: Session) -> None:
    """Answers each question of a conversation, and then any other request."""
    stream = session.read_head()
    session.head(stream, 200)
    for number in range(ROUNDS):
        session.until(lambda number=number: stream.body.endswith(b"question %d" % number))
        session.data(stream, b"answer %d" % number)
    session.until(lambda: stream.ended)
    session.data(stream, b"", end=True)
    only_root(session)


def listening(session: Session) -> None:
    """Begins to answer, and waits for the end of a body; then answers any other request."""
    stream = session.read_head()
    session.head(stream, 200)
    session.data(stream, b"go on")
    session.until(lambda: stream.done or stream.ended)
    only_root(session)


async def settled(flavour: Flavour, pool: Pool) -> int:
    """Returns the number of tasks when the engine has started in the loop and no request is under way."""
    with pytest.raises(httpcore.ConnectError):
        await pool.request("GET", "http://127.0.0.1:1/")
    return flavour.living()


async def talk(pool: Pool, url: str, content: Any, heard: list[bytes]) -> None:
    """Sends a body that depends on what was received so far."""
    async with pool.stream("POST", url, content=content) as response:
        async for chunk in response:
            heard.append(chunk)  # noqa: PERF401  (at once)


class Waiting:
    """A body that has a first part and then waits for something that never happens."""

    def __init__(self, flavour: Flavour) -> None:
        self.flavour = flavour
        self.state = "not begun"

    async def parts(self) -> AsyncIterator[bytes]:
        self.state = "begun"
        try:
            yield b"first"
            while True:
                await self.flavour.sleep(0.01)
        finally:
            self.state = "ended"


async def questions(flavour: Flavour, heard: list[bytes]) -> AsyncIterator[bytes]:
    """Yields a body whose every part depends on the answer to the one before.

    In a thread it cannot wait: it yields empty parts until there is an answer.
    """
    for number in range(ROUNDS):
        yield b"question %d" % number
        while len(heard) <= number:
            await flavour.sleep(0.001)
            if not flavour.is_async:
                yield b""


async def test_a_conversation(flavour: Flavour, serve_h2: ServeH2) -> None:
    peer = serve_h2(answering)
    heard: list[bytes] = []

    async with http2_pool(flavour, max_connections=1) as pool:
        await talk(pool, peer.url, flavour.body(questions(flavour, heard)), heard)
        await still_works(pool, peer)
    assert heard == [b"answer %d" % number for number in range(ROUNDS)]


async def test_two_conversations_on_one_connection(async_flavour: Flavour, serve_h2: ServeH2) -> None:
    def script(session: Session) -> None:
        streams = [session.read_head() for _ in range(2)]
        for stream in streams:
            session.head(stream, 200)
        for number in range(ROUNDS):
            for stream in streams:
                session.until(lambda number=number, stream=stream: stream.body.endswith(b"question %d" % number))
                session.data(stream, stream.target)
        for stream in streams:
            session.until(lambda stream=stream: stream.ended)
            session.data(stream, b"", end=True)
        only_root(session)

    async def ask(name: str) -> list[bytes]:
        heard: list[bytes] = []
        await talk(pool, peer.url + name, questions(async_flavour, heard), heard)
        return heard

    peer = serve_h2(script)
    async with http2_pool(async_flavour, max_connections=1) as pool:
        for name, heard in zip("ab", await async_flavour.gather(lambda: ask("a"), lambda: ask("b"))):
            assert heard == [b"/%b" % name.encode()] * ROUNDS
        await still_works(pool, peer)


@pytest.mark.parametrize("end", ["closed", "forgotten", "cancelled"])
async def test_a_body_that_waits_ends_with_its_exchange(async_flavour: Flavour, serve_h2: ServeH2, end: str) -> None:
    peer = serve_h2(listening)
    waiting = Waiting(async_flavour)
    async with http2_pool(async_flavour, max_connections=1) as pool:
        living = await settled(async_flavour, pool)
        response = await pool.handle(request(peer, waiting.parts()))
        assert await response.raw.stream.__aiter__().__anext__() == b"go on"
        # The peer answers the head: the body's own task may still be about to begin.
        await async_flavour.until(lambda: waiting.state == "begun")
        if end == "closed":
            await response.close()
        elif end == "forgotten":
            del response
            gc.collect()
        else:
            task = async_flavour.start(response.read)
            await async_flavour.sleep(0.02)
            task.cancel()
            await task.finished()
        await async_flavour.until(lambda: waiting.state == "ended")
        await async_flavour.until(lambda: async_flavour.living() == living)
        await still_works(pool, peer)


async def test_a_body_that_waits_ends_with_a_request_that_is_cancelled(
    async_flavour: Flavour, serve_h2: ServeH2
) -> None:
    peer = serve_h2(only_root)
    waiting = Waiting(async_flavour)
    async with http2_pool(async_flavour, max_connections=1) as pool:
        living = await settled(async_flavour, pool)
        task = async_flavour.start(lambda: pool.request("POST", peer.url + "never", content=waiting.parts()))
        await async_flavour.until(lambda: peer.streams and peer.streams[0].body == b"first")
        task.cancel()
        await task.finished()
        assert task.cancelled
        await async_flavour.until(lambda: waiting.state == "ended")
        await async_flavour.until(lambda: async_flavour.living() == living)
        await still_works(pool, peer)


def request(peer: H2Peer, content: Any, **extensions: Any) -> httpcore.Request:
    headers = {"Host": "test", "Transfer-Encoding": "chunked"}
    return httpcore.Request("POST", peer.url, headers=headers, content=content, extensions=extensions)


@pytest.mark.parametrize("when", ["head", "body"])
async def test_the_exception_of_a_body_is_the_callers(async_flavour: Flavour, serve_h2: ServeH2, when: str) -> None:
    peer = serve_h2(listening if when == "body" else only_root)
    heard: list[bytes] = []

    async def body() -> AsyncIterator[bytes]:
        yield b"first"
        while when == "body" and not heard:
            await async_flavour.sleep(0.001)
        raise ZeroDivisionError("of the body's own")

    async with http2_pool(async_flavour, max_connections=1) as pool:
        with pytest.raises(ZeroDivisionError, match="own"):
            await talk(pool, peer.url if when == "body" else peer.url + "never", body(), heard)
        assert heard == ([b"go on"] if when == "body" else [])
        await still_works(pool, peer)


async def test_a_body_of_something_else_than_bytes(async_flavour: Flavour, serve_h2: ServeH2) -> None:
    peer = serve_h2(only_root)
    async with http2_pool(async_flavour, max_connections=1) as pool:
        with pytest.raises(TypeError, match="str"):
            await pool.request("POST", peer.url, content=async_flavour.parts(b"first", "second"))  # type: ignore[arg-type]
        await still_works(pool, peer)


async def test_a_stream_that_is_reset_while_the_body_waits(async_flavour: Flavour, serve_h2: ServeH2) -> None:
    def script(session: Session) -> None:
        stream = session.read_head()
        session.head(stream, 200)
        session.until(lambda: stream.body == b"first")
        session.reset(stream)
        only_root(session)

    peer = serve_h2(script)
    waiting = Waiting(async_flavour)
    async with http2_pool(async_flavour, max_connections=1) as pool:
        living = await settled(async_flavour, pool)
        with pytest.raises(httpcore.RemoteProtocolError, match="reset the stream"):
            await pool.request("POST", peer.url, content=waiting.parts())
        await async_flavour.until(lambda: waiting.state == "ended")
        await async_flavour.until(lambda: async_flavour.living() == living)
        await still_works(pool, peer)


async def test_a_response_that_is_complete_ends_the_body(async_flavour: Flavour, serve_h2: ServeH2) -> None:
    def script(session: Session) -> None:
        session.respond(session.read_head(), b"enough")
        only_root(session)

    peer = serve_h2(script)
    waiting = Waiting(async_flavour)
    async with http2_pool(async_flavour, max_connections=1) as pool:
        assert (await pool.request("POST", peer.url, content=waiting.parts())).content == b"enough"
        await async_flavour.until(lambda: waiting.state in ("ended", "not begun"))
        await still_works(pool, peer)


async def test_no_read_timeout_while_the_body_waits(async_flavour: Flavour, serve_h2: ServeH2) -> None:
    """As in httpcore, which begins to read when all is sent. The write timeout is independent of this."""

    async def slow(pause: float) -> AsyncIterator[bytes]:
        for _ in range(2):
            await async_flavour.sleep(pause)
            yield b"part"

    def script(session: Session) -> None:
        stream = session.read_head()
        session.head(stream, 200)
        session.until(lambda: stream.ended)
        session.data(stream, bytes(stream.body), end=True)
        session.read_head()
        session.stay()

    peer = serve_h2(script)
    async with http2_pool(async_flavour, max_connections=1) as pool:
        longer = {"timeout": {"read": 1.2, "write": 1.2}}  # within it the peer has to answer the first
        assert (await pool.request("POST", peer.url, content=slow(1.5), extensions=longer)).content == b"part" * 2
        short = {"timeout": {"read": 0.5, "write": 0.5}}
        with pytest.raises(httpcore.ReadTimeout):
            await pool.request("POST", peer.url, content=slow(0.7), extensions=short)


async def test_a_body_that_is_not_taken_times_out(async_flavour: Flavour, serve_h2: ServeH2) -> None:
    def script(session: Session) -> None:
        session.head(session.read_head(), 200)
        session.connection.wait(over)

    over = threading.Event()
    peer = serve_h2(script)
    async with http2_pool(async_flavour, max_connections=1) as pool:
        with pytest.raises(httpcore.WriteTimeout):
            await pool.request(
                "POST",
                peer.url,
                content=async_flavour.parts(*[bytes(65_536)] * 400),
                extensions={"timeout": {"read": 0.05, "write": 0.1}},
            )
        over.set()


async def test_a_body_sees_the_callers_context(async_flavour: Flavour, serve_h2: ServeH2) -> None:
    variable = contextvars.ContextVar("variable", default=b"unset")

    async def body() -> AsyncIterator[bytes]:
        yield variable.get()

    def script(session: Session) -> None:
        while True:
            stream = session.read_request()
            session.respond(stream, bytes(stream.body))

    peer = serve_h2(script)
    async with http2_pool(async_flavour) as pool:
        variable.set(b"set by the caller")
        assert (await pool.request("POST", peer.url, content=body())).content == b"set by the caller"


async def test_a_pool_that_is_closed_ends_a_body_that_waits(async_flavour: Flavour, serve_h2: ServeH2) -> None:
    peer = serve_h2(listening)
    waiting = Waiting(async_flavour)
    async with http2_pool(async_flavour, max_connections=1) as pool:
        living = await settled(async_flavour, pool)
        task = async_flavour.start(lambda: asking(pool, peer, waiting))
        await async_flavour.until(lambda: waiting.state == "begun")
        await pool.close()
        with pytest.raises(httpcore.ReadError):
            await task.wait()
        await async_flavour.until(lambda: waiting.state == "ended")
        await async_flavour.until(lambda: async_flavour.living() == living)


async def asking(pool: Pool, peer: H2Peer, waiting: Waiting) -> None:
    await pool.request("POST", peer.url, content=waiting.parts())
