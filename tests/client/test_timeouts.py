"""The four timeouts. Each bounds one operation: one connect, one read, one write, one wait for the pool."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import httpcore
import pytest

from leaks import descriptors
from peers import always, deafness, full_backlog, reply, silence

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from flavours import Flavour, Pool
    from peers import Connection, Serve

BIG = b"x" * 32 * 1024 * 1024


def within(**seconds: float) -> dict[str, Any]:
    return {"timeout": seconds}


def check(raised: pytest.ExceptionInfo[BaseException], phase: str, authority: str, seconds: str) -> None:
    """Asserts that the message names the phase, the peer and the limit."""
    message = str(raised.value)
    assert phase in message.lower()
    assert authority in message
    assert f"{seconds} s" in message


async def test_connect(flavour: Flavour) -> None:
    with full_backlog() as (host, port):
        async with flavour.pool() as pool:
            with pytest.raises(httpcore.ConnectTimeout) as raised:
                await pool.request("GET", f"http://{host}:{port}/", extensions=within(connect=0.1))
            assert pool.connections == []
    check(raised, "connect", f"{host}:{port}", "0.1")


async def test_connect_covers_the_tls_handshake(flavour: Flavour, serve: Serve) -> None:
    peer = serve(silence)
    async with flavour.pool() as pool:
        with pytest.raises(httpcore.ConnectTimeout) as raised:
            await pool.request("GET", f"https://{peer.authority}/", extensions=within(connect=0.2))
        assert pool.connections == []
        await flavour.until(lambda: peer.closed(1))
    check(raised, "tls", peer.authority, "0.2")


def sending_first(start: bytes) -> Any:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(start)
        silence(connection)

    return script


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\nContent-", b"HTTP/1.1 103 Early Hints\r\n\r\n"])
async def test_read_of_the_head(flavour: Flavour, serve: Serve, start: bytes) -> None:
    peer = serve(sending_first(start))
    async with flavour.pool(max_connections=1) as pool:
        with pytest.raises(httpcore.ReadTimeout) as raised:
            await pool.request("GET", peer.url, extensions=within(read=0.1))
        assert pool.connections == []
        await flavour.until(lambda: peer.closed(1))
    check(raised, "read", peer.authority, "0.1")


@pytest.mark.parametrize(
    "start",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n12345",
    ],
)
async def test_read_of_the_body(flavour: Flavour, serve: Serve, start: bytes) -> None:
    peer = serve(sending_first(start))
    async with flavour.pool(max_connections=1) as pool:
        # The head arrives within the limit, on a busy machine as well.
        async with pool.stream("GET", peer.url, extensions=within(read=1.5)) as response:
            chunks = response.__aiter__()
            assert await chunks.__anext__() == b"12345"
            with pytest.raises(httpcore.ReadTimeout) as raised:
                await chunks.__anext__()
        assert pool.connections == []
        await flavour.until(lambda: peer.closed(1))
    check(raised, "read", peer.authority, "1.5")


@pytest.mark.parametrize("kind", ["bytes", "parts"])
async def test_write(flavour: Flavour, serve: Serve, kind: str) -> None:
    # The peer reads nothing, so that the sockets' buffers fill. The request does not end with the write: a response may
    # have arrived, and is read next. There is none.
    peer = serve(deafness)
    content = BIG if kind == "bytes" else flavour.parts(*[BIG[:65536]] * 512)
    async with flavour.pool(max_connections=1) as pool:
        with pytest.raises(httpcore.WriteTimeout) as raised:
            await pool.request("POST", peer.url, content=content, extensions=within(write=0.1))
        assert pool.connections == []
    check(raised, "writ", peer.authority, "0.1")


async def test_pool(flavour: Flavour, serve: Serve) -> None:
    peer = serve(always(reply(b"ok")))
    async with flavour.pool(max_connections=1) as pool, pool.stream("GET", peer.url):
        with pytest.raises(httpcore.PoolTimeout) as raised:
            await pool.request("GET", peer.url, extensions=within(pool=0.1))
    check(raised, "pool", peer.authority, "0.1")


async def test_a_slow_but_steady_response_is_not_cut(flavour: Flavour, serve: Serve) -> None:
    pause = threading.Event()  # never set: waiting for it is a pause

    def script(connection: Connection) -> None:
        connection.read_request()
        for piece in (b"HTTP/1.1 ", b"200 OK\r\n", b"Content-Length: 6\r\n", b"\r\n", b"12", b"3", b"45", b"6"):
            connection.send(piece)
            pause.wait(0.4)

    peer = serve(script)
    async with flavour.pool() as pool:
        response = await pool.request("GET", peer.url, extensions=within(read=2.5))
    assert response.content == b"123456"


async def test_the_time_of_the_caller_does_not_count(flavour: Flavour, serve: Serve) -> None:
    peer = serve(always(reply(b"x" * 1_000_000)))

    async def slow() -> AsyncIterator[bytes]:
        for _ in range(2):
            await flavour.sleep(1.2)
            yield b"chunk"

    async with flavour.pool(max_connections=1) as pool:
        extensions = within(connect=1.0, read=1.0, write=1.0, pool=1.0)
        async with pool.stream("POST", peer.url, content=flavour.body(slow()), extensions=extensions) as response:
            length = 0
            async for chunk in response:
                if length == 0:
                    await flavour.sleep(1.2)
                length += len(chunk)
    assert length == 1_000_000


@pytest.mark.parametrize(
    "extensions",
    [{}, within(), {"timeout": {"connect": None, "read": None, "write": None, "pool": None}}, within(read=60)],
)
async def test_without_a_timeout_requests_wait(flavour: Flavour, serve: Serve, extensions: dict[str, Any]) -> None:
    go = threading.Event()

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.wait(go)
        connection.send(reply(b"late"))

    peer = serve(script)
    async with flavour.pool() as pool:

        async def get() -> bytes:
            return (await pool.request("GET", peer.url, extensions=extensions)).content

        task = flavour.start(get)
        await flavour.until(lambda: peer.requests)
        await flavour.sleep(0.1)
        assert not task.done
        go.set()
        assert await task.wait() == b"late"


async def stall(pool: Pool, phase: str, hanging: str, silent: str, deaf: str) -> None:
    """Sends one request that ends by a timeout in the given phase."""
    if phase == "connect":
        with pytest.raises(httpcore.ConnectTimeout):
            await pool.request("GET", hanging, extensions=within(connect=0.03))
    elif phase == "tls":
        with pytest.raises(httpcore.ConnectTimeout):
            await pool.request("GET", silent.replace("http:", "https:"), extensions=within(connect=0.03))
    elif phase == "write":
        with pytest.raises(httpcore.WriteTimeout):
            await pool.request("POST", deaf, content=BIG, extensions=within(write=0.03))
    else:
        with pytest.raises(httpcore.ReadTimeout):
            await pool.request("GET", silent, extensions=within(read=0.03))


async def test_servers_that_stall_in_every_phase_cost_no_slot_and_no_descriptor(flavour: Flavour, serve: Serve) -> None:
    silent, deaf, good = serve(silence), serve(deafness), serve(always(reply(b"ok")))
    with full_backlog() as (host, port):
        async with flavour.pool(max_connections=2, retries=0) as pool:
            await pool.request("GET", good.url)
            before = descriptors()

            async def suffer() -> None:
                for phase in ("connect", "tls", "write", "read"):
                    await stall(pool, phase, f"http://{host}:{port}/", silent.url, deaf.url)

            await flavour.gather(*[suffer] * 4)
            assert "[Requests: 0 active, 0 queued | Connections: 0 active" in repr(pool)
            assert (await pool.request("GET", good.url)).content == b"ok"
            deaf.close()
            await flavour.until(lambda: descriptors() <= before)


async def test_timeouts_too_large_for_a_clock(flavour: Flavour, serve: Serve) -> None:
    peer = serve(always(reply(b"hello")))
    limits = dict.fromkeys(("connect", "read", "write", "pool"), 1e18)
    async with flavour.pool() as pool:
        assert (await pool.request("GET", peer.url, extensions={"timeout": limits})).content == b"hello"
