"""Request bodies on their way: which chunks travel together, and which are sent before the next one is there."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import TYPE_CHECKING

import httpcore
import pytest

import engines
from httpcore_rs import _ready_chunks
from peers import reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from certificates import Certificates
    from flavours import Flavour, Pool
    from peers import Connection, Peer, Serve

QUICK = 20  # chunks: more than have to be quick before others are taken together


@pytest.fixture
def generous(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes chunks that are at hand together from the first one on, on a slow machine as well."""
    monkeypatch.setattr(_ready_chunks, "_QUICK", 60.0)
    monkeypatch.setattr(_ready_chunks, "_AT_MOST", 60.0)
    monkeypatch.setattr(_ready_chunks, "_PROVEN", 1)


class Server:
    """A server that reads the chunks of a request, over plain TCP or TLS."""

    def __init__(self, serve: Serve, certificates: Certificates, over: str) -> None:
        self.certificates = certificates
        self.body = b""
        tls = None if over == "plain" else certificates.server_context()
        self.peer: Peer = serve(self._script, tls=tls)

    def _script(self, connection: Connection) -> None:
        connection.read_head()
        while left := int(connection.read_until(b"\r\n"), 16):
            while left:
                connection.unread = connection.unread or connection.receive()
                piece = connection.unread[:left]
                connection.unread = connection.unread[left:]
                self.body += piece
                left -= len(piece)
            connection.read_exactly(2)
        connection.read_exactly(2)
        connection.send(reply(b"%d" % len(self.body)))

    def pool(self, flavour: Flavour, **arguments: object) -> Pool:
        return flavour.pool(ssl_context=engines.current.trusting(self.certificates), **arguments)


@pytest.fixture(params=["plain", "rustls", "ssl"])
def server(request: pytest.FixtureRequest, serve: Serve, certificates: Certificates) -> Iterator[Server]:
    engines.current.name = request.param
    yield Server(serve, certificates, request.param)
    engines.current.name = "rustls"


async def test_chunks_arrive_before_the_next_one_is_there(flavour: Flavour, server: Server) -> None:
    # Quick ones, which may travel together, and after some of them a pause until the server has them all.
    sent = 0

    def has_all() -> bool:
        return len(server.body) == sent

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        for burst in [1, 1, 1, QUICK, 1, 3, 2 * QUICK, 1, 1]:
            for _ in range(burst):
                sent += 1000
                yield b"x" * 1000
            await flavour.until(has_all)

    sending = body()
    async with server.pool(flavour) as pool:
        response = await pool.request("POST", server.peer.url, content=flavour.body(sending))
    assert int(response.content) == sent
    await sending.aclose()


async def test_the_first_chunks_do_not_wait_for_a_generator_that_blocks(
    asyncio_flavour: Flavour, server: Server
) -> None:
    arrived = threading.Event()

    async def body() -> AsyncIterator[bytes]:
        for number in range(1, 8):
            yield b"x"
            while len(server.body) < number:
                arrived.wait(0.001)

    async with server.pool(asyncio_flavour) as pool:
        response = await pool.request("POST", server.peer.url, content=body())
    assert response.content == b"7"


@pytest.mark.usefixtures("generous")
async def test_what_the_socket_does_not_accept_follows_while_the_generator_waits(
    asyncio_flavour: Flavour, server: Server
) -> None:
    small = 8192
    server.peer.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, small)
    options = [(socket.SOL_SOCKET, socket.SO_SNDBUF, small)]
    chunk = bytes(range(250)) * 800

    async def body() -> AsyncIterator[bytes]:
        yield b"first"
        await asyncio_flavour.until(lambda: server.body == b"first")
        yield chunk
        await asyncio.sleep(0.01)
        await asyncio_flavour.until(lambda: server.body == b"first" + chunk)
        yield b"last"

    async with server.pool(asyncio_flavour, socket_options=options) as pool:
        response = await pool.request("POST", server.peer.url, content=body())
    assert server.body == b"first" + chunk + b"last"
    assert int(response.content) == len(server.body)


@pytest.mark.usefixtures("generous")
async def test_chunks_before_a_failure_of_the_generator_are_sent(
    asyncio_flavour: Flavour, serve: Serve, certificates: Certificates
) -> None:
    # Over TLS the close may reset the connection, with bytes that the server has still to read.
    server = Server(serve, certificates, "plain")

    class FailureError(Exception):
        pass

    async def body() -> AsyncIterator[bytes]:
        for _ in range(QUICK):
            yield b"x" * 1000
        raise FailureError

    async with server.pool(asyncio_flavour) as pool:
        with pytest.raises(FailureError):
            await pool.request("POST", server.peer.url, content=body())
        assert pool.connections == []
    await asyncio_flavour.until(lambda: len(server.body) == QUICK * 1000)


@pytest.mark.usefixtures("generous")
async def test_a_body_that_is_too_long_fails_at_its_first_excess_byte(asyncio_flavour: Flavour, server: Server) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"12"
        yield b"345"
        yield b"6"
        pytest.fail("the generator was asked for more")

    sending = body()
    async with server.pool(asyncio_flavour) as pool:
        with pytest.raises(httpcore.LocalProtocolError, match="Too much data"):
            await pool.request("POST", server.peer.url, headers=[("Content-Length", "5")], content=sending)
    await sending.aclose()


@pytest.mark.usefixtures("generous")
async def test_a_chunk_of_a_wrong_type_is_a_type_error(asyncio_flavour: Flavour, server: Server) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"x"
        yield "text"  # type: ignore[misc]
        pytest.fail("the generator was asked for more")

    sending = body()
    async with server.pool(asyncio_flavour) as pool:
        with pytest.raises(TypeError, match="a chunk is of type str"):
            await pool.request("POST", server.peer.url, content=sending)
    await sending.aclose()


@pytest.mark.usefixtures("generous")
async def test_a_generator_keeps_its_own_timeouts_and_cancellations(asyncio_flavour: Flavour, server: Server) -> None:
    async def body() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x"
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(asyncio.get_running_loop().create_future(), 0.01)
            task = asyncio.current_task()
            assert task is not None
            asyncio.get_running_loop().call_soon(task.cancel)
            with pytest.raises(asyncio.CancelledError):
                await asyncio.sleep(60)
            getattr(task, "uncancel", lambda: None)()

    async with server.pool(asyncio_flavour) as pool:
        response = await pool.request("POST", server.peer.url, content=body())
    assert response.content == b"3"


@pytest.mark.usefixtures("generous")
async def test_cancelling_a_request_cancels_what_its_generator_waits_for(
    asyncio_flavour: Flavour, server: Server
) -> None:
    waits = asyncio.get_running_loop().create_future()
    ended = []

    async def body() -> AsyncIterator[bytes]:
        try:
            for _ in range(QUICK):
                yield b"x"
            await waits
        finally:
            ended.append(waits.cancelled())

    async with server.pool(asyncio_flavour) as pool:
        task = asyncio_flavour.start(lambda: pool.request("POST", server.peer.url, content=body()))
        await asyncio_flavour.until(lambda: len(server.body) == QUICK)
        task.cancel()
        await task.finished()
        assert task.cancelled
        assert pool.connections == []
    assert ended == [True]
