"""Calls of async methods: a call by itself does nothing, the await does all."""

from __future__ import annotations

import asyncio
import collections.abc
import gc
import inspect
import sys
import warnings
from typing import TYPE_CHECKING, Any

import httpcore
import pytest

import httpcore_rs
from peers import always, answers, reply

if TYPE_CHECKING:
    from flavours import Flavour
    from peers import Connection, Serve

# `anext()` is new in CPython 3.10; on 3.9 a function replaces it. It runs in a process of its own, since CPython ends
# with a segmentation fault if an iterator raises `StopAsyncIteration` at the call.
ANEXT = """
async def anext(iterator, *default):
    try:
        return await iterator.__anext__()
    except StopAsyncIteration:
        if default:
            return default[0]
        raise
"""
RUN = """
if sys.argv[2] == "trio":
    import trio
    trio.run(main)
elif sys.argv[2] == "uvloop":
    import uvloop
    uvloop.run(main())
else:
    asyncio.run(main())
"""
READ = """
async def main():
    async with httpcore_rs.AsyncConnectionPool() as pool:
        async with pool.stream("GET", url) as response:
            chunks = aiter(response.stream) if sys.version_info >= (3, 10) else response.stream.__aiter__()
            length = 0
            while (chunk := await anext(chunks, None)) is not None:
                length += len(chunk)
            # As often as it is asked.
            assert await anext(chunks, "end") == "end"
            try:
                await anext(chunks)
            except StopAsyncIteration:
                print(length)
"""


@pytest.mark.parametrize("library", ["asyncio", "uvloop", "trio"])
@pytest.mark.parametrize("length", [0, 5, 300_000])
def test_anext_with_a_default_at_the_end_of_the_body(serve: Serve, program: Any, library: str, length: int) -> None:
    peer = serve(always(reply(b"x" * length)))
    source = (ANEXT if sys.version_info < (3, 10) else "") + READ + RUN
    assert program(source, peer.url, library).output() == f"{length}\n"


async def test_the_end_of_the_body_is_raised_at_the_await(async_flavour: Flavour, serve: Serve) -> None:
    peer = serve(always(reply(b"ok")))
    async with async_flavour.pool() as pool, pool.stream("GET", peer.url) as response:
        chunks = response.raw.stream.__aiter__()
        assert await chunks.__anext__() == b"ok"
        for _ in range(2):
            step = chunks.__anext__()
            assert isinstance(step, collections.abc.Awaitable)
            with pytest.raises(StopAsyncIteration):
                await step


async def test_an_error_is_raised_at_the_await(async_flavour: Flavour, serve: Serve) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort")

    peer = serve(script)
    async with async_flavour.pool() as pool, pool.stream("GET", peer.url) as response:
        chunks = response.raw.stream.__aiter__()
        assert await chunks.__anext__() == b"short"
        # The end has arrived: the error is known without waiting.
        await async_flavour.sleep(0.2)
        step = chunks.__anext__()
        with pytest.raises(httpcore.RemoteProtocolError):
            await step


async def test_a_body_ends_for_good(async_flavour: Flavour, serve: Serve) -> None:
    peer = serve(always(reply(b"ok")))
    async with async_flavour.pool() as pool, pool.stream("GET", peer.url) as response:
        assert [chunk async for chunk in response.raw.stream] == [b"ok"]
        assert [chunk async for chunk in response.raw.stream] == []


# Calls that are not awaited.


def unawaited(call: Any) -> None:
    """Makes the call without awaiting it, and asserts that the only warning is Python's own."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made = call()
        assert inspect.isawaitable(made)
        del made
        gc.collect()
    for warning in caught:
        assert warning.category is RuntimeWarning
        assert "was never awaited" in str(warning.message)


def test_a_call_requires_no_running_loop(serve: Serve) -> None:
    peer = serve(always(reply(b"ok")))
    pool = httpcore_rs.AsyncConnectionPool()

    async def start() -> httpcore.Response:
        return await pool.handle_async_request(httpcore.Request("GET", peer.url, headers={"Host": "x"}))

    async def finish() -> bytes:
        body = await response.aread()
        await response.aclose()
        await pool.aclose()
        return body

    loop = asyncio.new_event_loop()
    try:
        response = loop.run_until_complete(start())
        connection = httpcore_rs.AsyncHTTPConnection(httpcore.URL(peer.url).origin)
        network_stream = response.extensions["network_stream"]
        unawaited(lambda: pool.request("GET", peer.url))
        unawaited(lambda: pool.handle_async_request(httpcore.Request("GET", peer.url)))
        unawaited(lambda: connection.request("GET", peer.url))
        unawaited(connection.aclose)
        unawaited(pool.aclose)
        unawaited(response.aclose)
        unawaited(response.stream.aclose)
        unawaited(lambda: network_stream.write(b"bytes"))
        unawaited(lambda: network_stream.read(100))
        unawaited(network_stream.aclose)
        assert loop.run_until_complete(finish()) == b"ok"
    finally:
        loop.close()
    assert len(peer.requests) == 1


async def test_a_request_that_is_not_awaited_is_not_sent(async_flavour: Flavour, serve: Serve) -> None:
    peer = serve(always(reply(b"ok")))
    async with async_flavour.pool(max_connections=1) as pool:
        for _ in range(3):
            unawaited(lambda: pool.raw.request("GET", peer.url))
            unawaited(lambda: pool.raw.handle_async_request(httpcore.Request("GET", peer.url)))
        assert "Requests: 0 active, 0 queued | Connections: 0 active, 0 idle" in repr(pool)
        assert (await pool.request("GET", peer.url)).content == b"ok"
    assert len(peer.requests) == 1
    assert len(peer.connections) == 1


async def test_a_close_that_is_not_awaited_closes_nothing(async_flavour: Flavour, serve: Serve) -> None:
    peer = serve(always(reply(b"x" * 300_000)))
    pool = async_flavour.pool(max_connections=1)
    async with pool.stream("GET", peer.url) as response:
        unawaited(response.raw.stream.aclose)
        unawaited(response.raw.aclose)
        unawaited(pool.raw.aclose)
        assert sum([len(chunk) async for chunk in response.raw.stream]) == 300_000
    unawaited(pool.raw.aclose)
    (connection,) = pool.connections
    unawaited(connection.aclose)
    assert "0 active, 1 idle" in repr(pool)
    await pool.request("GET", peer.url)
    assert len(peer.connections) == 1
    await pool.close()
    await async_flavour.until(lambda: peer.closed(1))


async def test_a_network_stream_does_nothing_unless_awaited(async_flavour: Flavour, serve: Serve) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nfirst")
        received.append(connection.read_until(b"\n"))
        connection.send(b"second")

    received: list[bytes] = []
    peer = serve(script)
    headers = {"Connection": "upgrade", "Upgrade": "echo"}
    async with async_flavour.pool() as pool, pool.stream("GET", peer.url, headers=headers) as response:
        stream = response.extensions["network_stream"]
        await async_flavour.sleep(0.1)
        unawaited(lambda: stream.read(100))
        unawaited(lambda: stream.write(b"not this\n"))
        unawaited(stream.aclose)
        assert await stream.read(100, timeout=5.0) == b"first"
        await stream.write(b"this\n", timeout=5.0)
        assert await stream.read(100, timeout=5.0) == b"second"
    assert received == [b"this\n"]


async def test_methods_make_tasks(asyncio_flavour: Flavour, serve: Serve) -> None:
    """`create_task` accepts coroutines only."""
    peer = serve(answers(reply(b"ok"), reply(b"ok")))
    pool = httpcore_rs.AsyncConnectionPool()
    loop = asyncio.get_running_loop()
    assert (await loop.create_task(pool.request("GET", peer.url))).content == b"ok"
    async with pool.stream("GET", peer.url) as response:
        assert b"".join([chunk async for chunk in response.stream]) == b"ok"
        await loop.create_task(response.stream.aclose())
    await loop.create_task(pool.aclose())
