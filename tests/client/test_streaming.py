"""Streaming: data is passed on as it arrives, and no data is fetched for a response that is not read."""

from __future__ import annotations

import hashlib
import select
import threading
from typing import TYPE_CHECKING

import httpcore
import pytest

from peers import always, reply, silence

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from flavours import Flavour
    from peers import Connection, Serve

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@pytest.mark.parametrize(
    ("head", "pieces", "end"),
    [
        pytest.param(LENGTH, [b"first", b"other", b"third"], b"", id="content-length"),
        pytest.param(CHUNKED, [chunk(b"first"), chunk(b"other"), chunk(b"third")], b"0\r\n\r\n", id="chunked"),
        pytest.param(UNTIL_CLOSE, [b"first", b"other", b"third"], b"", id="until close"),
        pytest.param(CHUNKED, [b"f\r\nfirst", b"other", b"third\r\n"], b"0\r\n\r\n", id="within one chunk"),
    ],
)
async def test_pieces_are_passed_on_as_they_arrive(
    flavour: Flavour, serve: Serve, head: bytes, pieces: list[bytes], end: bytes
) -> None:
    # The server sends the next piece only when the test has read the one before.
    read = [threading.Event() for _ in range(4)]

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(head)
        for event, piece in zip(read, pieces):
            connection.wait(event)
            connection.send(piece)
        connection.wait(read[3])
        connection.send(end)

    peer = serve(script)
    extensions = {"timeout": {"read": 5}}
    async with flavour.pool() as pool, pool.stream("GET", peer.url, extensions=extensions) as response:
        assert response.status == 200  # the head, before any of the body
        chunks = response.__aiter__()
        for event, data in zip(read, [b"first", b"other", b"third"]):
            event.set()
            assert await chunks.__anext__() == data
        read[3].set()
        with pytest.raises(StopAsyncIteration):
            await chunks.__anext__()


async def test_a_request_body_is_sent_as_it_is_produced(flavour: Flavour, serve: Serve) -> None:
    # The body's next piece is produced only when the server has got the one before.
    got = [threading.Event() for _ in range(3)]

    def script(connection: Connection) -> None:
        connection.read_head()
        for event in got:
            connection.read_until(b"5\r\npiece\r\n")
            event.set()
        connection.read_until(b"0\r\n\r\n")
        connection.send(reply(b"all three"))

    async def body() -> AsyncIterator[bytes]:
        for event in got:
            yield b"piece"
            await flavour.until(event.is_set)

    peer = serve(script)
    async with flavour.pool() as pool:
        response = await pool.request("POST", peer.url, content=flavour.body(body()))
    assert response.content == b"all three"


TOTAL = 64 * 1024 * 1024


async def test_a_server_waits_while_the_response_is_not_read(flavour: Flavour, serve: Serve) -> None:
    block = bytes(65536)
    written = 0
    held_back = threading.Event()

    def script(connection: Connection) -> None:
        nonlocal written
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % TOTAL)
        while written < TOTAL:
            if not select.select([], [connection.socket], [], 0.5)[1]:
                held_back.set()
            connection.send(block)
            written += len(block)

    peer = serve(script)
    async with flavour.pool() as pool, pool.stream("GET", peer.url) as response:
        chunks = response.__aiter__()
        length = len(await chunks.__anext__())
        await flavour.until(held_back.is_set)
        assert written < TOTAL / 2  # the buffers of two sockets, a few MiB each
        async for data in chunks:
            length += len(data)
    assert length == TOTAL


async def test_closing_early_closes_the_connection_and_frees_its_slot(flavour: Flavour, serve: Serve) -> None:
    def script(connection: Connection) -> None:
        if connection.read_request().target == b"/endless":
            connection.send(CHUNKED)
            while True:
                connection.send(chunk(b"x" * 10_000))
        connection.send(reply(b"ok"))
        silence(connection)

    peer = serve(script)
    async with flavour.pool(max_connections=1) as pool:
        for count in range(1, 4):
            async with pool.stream("GET", peer.url + "endless") as response:
                await response.__aiter__().__anext__()
            assert pool.connections == []
            await flavour.until(lambda: peer.closed(count))  # noqa: B023  (called before the next round)
        assert (await pool.request("GET", peer.url)).content == b"ok"


async def test_an_exception_in_the_readers_block_closes_the_connection(flavour: Flavour, serve: Serve) -> None:
    peer = serve(always(reply(b"x" * 10_000_000)))
    async with flavour.pool(max_connections=1) as pool:

        async def read() -> None:
            async with pool.stream("GET", peer.url) as response:
                async for _ in response:
                    raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await read()
        assert pool.connections == []
        await flavour.until(lambda: peer.closed(1))


async def test_an_unread_response_of_a_head_alone_leaves_its_connection(flavour: Flavour, serve: Serve) -> None:
    peer = serve(always(b"HTTP/1.1 204 No Content\r\n\r\n"))
    async with flavour.pool(max_connections=1) as pool:
        for _ in range(3):
            async with pool.stream("GET", peer.url) as response:
                await response.read()
    assert len(peer.connections) == 1


async def test_a_response_may_be_closed_repeatedly(flavour: Flavour, serve: Serve) -> None:
    peer = serve(always(reply(b"ok")))
    async with flavour.pool(max_connections=1) as pool:
        response = await pool.handle(httpcore.Request("GET", peer.url, headers={"Host": "test"}))
        await response.read()
        for _ in range(3):
            await response.close()
        await pool.request("GET", peer.url)
        assert response.raw.content == b"ok"
        assert "Requests: 0 active, 0 queued | Connections: 0 active, 1 idle" in repr(pool)
    assert len(peer.connections) == 1


async def test_64_mib_down(flavour: Flavour, serve: Serve) -> None:
    block = bytes(range(251)) * 4177  # about a MiB, no power of two: lost or repeated pieces change the result

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (64 * len(block)))
        for _ in range(64):
            connection.send(block)

    peer = serve(script)
    received = hashlib.sha256()
    async with flavour.pool() as pool, pool.stream("GET", peer.url) as response:
        async for data in response:
            received.update(data)
    assert received.digest() == hashlib.sha256(block * 64).digest()
