"""A request that ends early (cancelled, dropped, abandoned) releases its slot and its descriptor at once."""

from __future__ import annotations

import asyncio
import gc
import random
import ssl
import threading
from typing import TYPE_CHECKING, Any

import httpcore
import pytest

import httpcore_rs
from leaks import descriptors
from peers import always, deafness, describe, echo, full_backlog, reply, silence
from proxies import socks5, tunnels
from scenarios import IDLE, cancel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from certificates import Certificates
    from flavours import Flavour
    from peers import Connection, Serve

OK = always(reply(b"ok"))
BIG = b"x" * 32 * 1024 * 1024


async def test_while_waiting_for_a_slot(async_flavour: Flavour, serve: Serve) -> None:
    peer = serve(OK)
    async with async_flavour.pool(max_connections=1) as pool:
        async with pool.stream("GET", peer.url) as response:
            busy = "[Requests: 1 active, 0 queued | Connections: 1 active, 0 idle]"
            for _ in range(3):
                await cancel(pool, lambda: pool.request("GET", peer.url), lambda: "1 queued" in repr(pool), busy)
            await response.read()
        assert (await pool.request("GET", peer.url)).content == b"ok"
    assert len(peer.connections) == 1


async def test_while_connecting(async_flavour: Flavour, serve: Serve) -> None:
    peer = serve(OK)
    with full_backlog() as (host, port):
        async with async_flavour.pool(max_connections=1) as pool:
            await cancel(pool, lambda: pool.request("GET", f"http://{host}:{port}/"), lambda: pool.connections)
            assert pool.connections == []
            assert (await pool.request("GET", peer.url)).content == b"ok"


async def test_within_the_tls_handshake(async_flavour: Flavour, serve: Serve) -> None:
    peer = serve(silence)
    async with async_flavour.pool(max_connections=1) as pool:
        url = f"https://{peer.authority}/"
        await cancel(pool, lambda: pool.request("GET", url), lambda: peer.connections)
        assert pool.connections == []
        await async_flavour.until(lambda: peer.closed(1))


@pytest.mark.parametrize("kind", ["bytes", "parts"])
async def test_while_sending(async_flavour: Flavour, serve: Serve, kind: str) -> None:
    peer = serve(deafness)
    content: Any = BIG if kind == "bytes" else async_flavour.parts(*[BIG[:65536]] * 512)
    async with async_flavour.pool(max_connections=1) as pool:
        await cancel(pool, lambda: pool.request("POST", peer.url, content=content), lambda: peer.connections)
        assert pool.connections == []


async def test_within_the_callers_body(async_flavour: Flavour, serve: Serve) -> None:
    began: list[str] = []
    ended: list[str] = []

    async def body() -> AsyncIterator[bytes]:
        yield b"first"
        try:
            began.append("here")
            await async_flavour.sleep(60)
        finally:
            ended.append("here")  # the cancellation was raised in the body itself, which can clean up
        yield b"never"

    peer = serve(echo)
    async with async_flavour.pool(max_connections=1) as pool:
        await cancel(pool, lambda: pool.request("POST", peer.url, content=body()), lambda: began)
        assert ended == ["here"]
        await async_flavour.until(lambda: peer.closed(1))


async def test_while_waiting_for_the_head(async_flavour: Flavour, serve: Serve) -> None:
    peer = serve(lambda connection: (connection.read_request(), silence(connection)))
    async with async_flavour.pool(max_connections=1) as pool:
        await cancel(pool, lambda: pool.request("GET", peer.url), lambda: peer.requests)
        assert pool.connections == []
        await async_flavour.until(lambda: peer.closed(1))


async def test_while_reading_the_body(async_flavour: Flavour, serve: Serve) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")
        silence(connection)

    peer = serve(script)
    async with async_flavour.pool(max_connections=1) as pool:
        read: list[bytes] = []

        async def job() -> None:
            async with pool.stream("GET", peer.url) as response:
                async for chunk in response:
                    read.append(chunk)  # noqa: PERF401  (one by one: the test looks at it meanwhile)

        await cancel(pool, job, lambda: read)
        assert read == [b"12345"]
        assert pool.connections == []
        await async_flavour.until(lambda: peer.closed(1))


async def test_between_two_retries(async_flavour: Flavour, serve: Serve) -> None:
    peer = serve(lambda connection: connection.reset())
    async with async_flavour.pool(max_connections=1, retries=5) as pool:
        url = f"https://{peer.authority}/"
        await cancel(pool, lambda: pool.request("GET", url), lambda: len(peer.connections) == 3)
        assert pool.connections == []


async def test_a_cancelled_request_gives_its_slot_to_the_next_waiter(async_flavour: Flavour, serve: Serve) -> None:
    silent, peer = serve(silence), serve(OK)
    async with async_flavour.pool(max_connections=1) as pool:
        stuck = async_flavour.start(lambda: pool.request("GET", silent.url))
        await async_flavour.until(lambda: silent.connections)
        waiting = async_flavour.start(lambda: pool.request("GET", peer.url))
        await async_flavour.until(lambda: "1 queued" in repr(pool))
        stuck.cancel()
        assert (await waiting.wait()).content == b"ok"


@pytest.mark.parametrize("order", ["handed over first", "cancelled first"])
async def test_at_the_moment_a_slot_is_handed_over(async_flavour: Flavour, serve: Serve, order: str) -> None:
    peer = serve(OK)
    async with async_flavour.pool(max_connections=1) as pool:
        for _ in range(20):
            response = await pool.handle(httpcore.Request("GET", peer.url, headers={"Host": "test"}))
            task = async_flavour.start(lambda: pool.request("GET", peer.url))
            await async_flavour.until(lambda: "1 queued" in repr(pool))
            if order == "cancelled first":
                task.cancel()
            # The end of the body passes the connection to the waiter.
            await response.read()
            task.cancel()
            await response.close()
            await task.finished()
            response = await pool.request("GET", peer.url, extensions={"timeout": {"pool": 5}})
            assert response.content == b"ok"
        assert "Requests: 0 active, 0 queued | Connections: 0 active" in repr(pool)


@pytest.mark.parametrize("way", ["direct", "once more", "rustls", "Python's ssl", "a tunnel", "SOCKS5"])
async def test_500_requests_cancelled_at_random_times(
    async_flavour: Flavour, serve: Serve, certificates: Certificates, way: str
) -> None:
    dice = random.Random(way)
    pause = threading.Event()  # never set: waiting for it is a pause

    def script(connection: Connection) -> None:
        # Pauses of different lengths, in different places.
        while True:
            request = connection.read_request()
            response = reply(describe(request) + b" " * 200_000)
            pause.wait(0.003 * (len(request.body) % 3))
            connection.send(response[:20])
            pause.wait(0.003 * (connection.number % 2))
            connection.send(response[20:])

    arguments: dict[str, Any] = {}
    if way in ("a tunnel", "SOCKS5"):
        proxy = serve(tunnels if way == "a tunnel" else socks5())
        scheme = "http" if way == "a tunnel" else "socks5"
        arguments["proxy"] = httpcore.Proxy(f"{scheme}://{proxy.authority}")
    is_plain = way in ("direct", "once more")
    if way == "Python's ssl":
        arguments["ssl_context"] = ssl.create_default_context(cafile=str(certificates.ca))
    elif not is_plain:
        arguments["ssl_context"] = httpcore_rs.TLSConfig(verify=certificates.ca)
    peer = serve(script, tls=None if is_plain else certificates.server_context())
    async with async_flavour.pool(max_connections=10, **arguments) as pool:
        await pool.request("GET", peer.url)
        await pool.close()
        await async_flavour.until(lambda: peer.closed(1))
        await async_flavour.sleep(0.02)
        before, living = descriptors(), async_flavour.living()
        tasks = []
        for _ in range(500):
            size = dice.randrange(4)
            content = dice.choice([b"x" * size, b"x" * 300_000, async_flavour.parts(*[b"x" * 5000] * size)])
            job = lambda content=content: pool.request("POST", peer.url, content=content)  # noqa: E731
            tasks.append((async_flavour.start(job), dice.random() * 0.03))
            if len(tasks) == 25:
                for task, delay in sorted(tasks, key=lambda pair: pair[1]):
                    await async_flavour.sleep(delay / 5)
                    task.cancel()
                for task, _ in tasks:
                    await task.finished()
                    assert task.error is None
                tasks.clear()
        assert "Requests: 0 active, 0 queued | Connections: 0 active" in repr(pool)

        async def works() -> None:
            response = await pool.request("GET", peer.url, extensions={"timeout": {"pool": 5, "read": 5}})
            assert b'"GET"' in response.content

        await async_flavour.gather(*[works] * 20)
        assert len(pool.connections) <= 10
        await pool.close()
        await async_flavour.until(lambda: descriptors() <= before)
        await async_flavour.until(lambda: async_flavour.living() <= living)


@pytest.mark.parametrize("body", [b"", b"unread", b"x" * 1_000_000])
async def test_500_responses_dropped_unread(flavour: Flavour, serve: Serve, body: bytes) -> None:
    peer = serve(always(reply(body)))
    async with flavour.pool(max_connections=10) as pool:
        request = httpcore.Request("GET", peer.url, headers={"Host": "test"}, extensions={"timeout": {"pool": 5}})
        for _ in range(500):
            response = await pool.handle(request)
            assert response.status == 200
        del response
        gc.collect()
        await flavour.until(lambda: "Requests: 0 active, 0 queued | Connections: 0 active" in repr(pool))
        assert (await pool.request("GET", peer.url)).content == body


async def test_iterations_abandoned_midway(flavour: Flavour, serve: Serve) -> None:
    peer = serve(always(reply(b"x" * 1_000_000)))
    async with flavour.pool(max_connections=2) as pool:
        request = httpcore.Request("GET", peer.url, headers={"Host": "test"}, extensions={"timeout": {"pool": 5}})
        for count in range(1, 21):
            response = await pool.handle(request)
            chunks = response.__aiter__()
            assert await chunks.__anext__()
            del response, chunks
            gc.collect()
            await flavour.until(lambda: peer.closed(count))  # noqa: B023  (called before the next round)
        assert IDLE in repr(pool)


async def test_a_pool_dropped_with_idle_connections_closes_them(flavour: Flavour, serve: Serve) -> None:
    peer = serve(OK)
    pool = flavour.pool()
    await pool.request("GET", peer.url)
    del pool
    gc.collect()
    await flavour.until(lambda: peer.closed(1))


async def test_a_task_without_references_lives_on(asyncio_flavour: Flavour, serve: Serve) -> None:
    """The loop keeps a task that waits for its response or for a connection, as it does with its own transports."""
    go = threading.Event()

    def script(connection: Connection) -> None:
        while True:
            connection.read_request()
            go.wait(10)
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    peer = serve(script)
    statuses: list[int] = []
    async with asyncio_flavour.pool(max_connections=1) as pool:

        async def request() -> None:
            statuses.append((await pool.request("GET", peer.url)).status)

        for _ in range(3):
            asyncio.get_running_loop().create_task(request())
        await asyncio_flavour.until(lambda: "1 active, 2 queued" in repr(pool))
        gc.collect()
        go.set()
        await asyncio_flavour.until(lambda: statuses == [200] * 3)


def test_a_request_whose_loop_is_closed_releases_its_slot(serve: Serve) -> None:
    peer = serve(silence)
    pool = httpcore_rs.AsyncConnectionPool(max_connections=1)
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)  # "Task was destroyed but it is pending!"

    async def begin() -> None:
        asyncio.get_running_loop().create_task(pool.request("GET", peer.url))
        await asyncio.sleep(0.2)

    loop.run_until_complete(begin())
    assert len(pool.connections) == 1
    loop.close()
    del loop
    gc.collect()
    assert pool.connections == []
