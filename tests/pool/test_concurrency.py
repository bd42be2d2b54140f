"""Many requests at once: threads, tasks and event loops share a pool, and each gets its own response."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import httpcore
import pytest

from flavours import FLAVOURS
from peers import echo, reply, silence
from scenarios import asking, close_under

if TYPE_CHECKING:
    from collections.abc import Callable

    from flavours import Flavour
    from peers import Connection, Serve


async def test_32_callers_share_a_pool(flavour: Flavour, serve: Serve) -> None:
    peer = serve(echo)
    async with flavour.pool(max_connections=8) as pool:
        await flavour.gather(*[asking(pool, peer.url, f"caller{number}", 25) for number in range(32)])
        assert "Requests: 0 active, 0 queued | Connections: 0 active" in repr(pool)
    assert len(peer.requests) == 32 * 25
    assert len(peer.connections) <= 8


async def test_100_callers_and_as_many_connections(flavour: Flavour, serve: Serve) -> None:
    peer = serve(echo)
    async with flavour.pool(max_connections=100) as pool:
        await flavour.gather(*[asking(pool, peer.url, f"caller{number}", 5) for number in range(100)])
    assert len(peer.requests) == 500
    assert len(peer.connections) <= 100


async def test_several_origins_and_fewer_connections_than_origins(flavour: Flavour, serve: Serve) -> None:
    peers = [serve(echo) for _ in range(4)]
    async with flavour.pool(max_connections=2) as pool:
        jobs = [asking(pool, peers[number % 4].url, f"caller{number}", 10) for number in range(16)]
        await flavour.gather(*jobs)
        assert len(pool.connections) <= 2
    assert [len(peer.requests) for peer in peers] == [40] * 4


def in_threads(*jobs: Callable[[], None]) -> None:
    """Runs each function in a thread of its own, and raises the exception that one of them raised."""
    errors: list[BaseException] = []

    def guarded(job: Callable[[], None]) -> None:
        try:
            job()
        except BaseException as exc:  # noqa: BLE001  (raised again by the thread that started it)
            errors.append(exc)

    threads = [threading.Thread(target=guarded, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    if errors:
        raise errors[0]


@pytest.mark.parametrize("kinds", [("asyncio", "asyncio"), ("asyncio", "trio"), ("uvloop", "asyncio")])
def test_event_loops_of_two_threads_share_a_pool(serve: Serve, kinds: tuple[str, str]) -> None:
    peer = serve(echo)
    flavours = [FLAVOURS[kind]() for kind in kinds]
    pool = flavours[0].pool(max_connections=3)

    def running(flavour: Flavour) -> Callable[[], None]:
        async def main() -> None:
            await flavour.gather(*[asking(pool, peer.url, f"{id(flavour)}-{number}", 20) for number in range(5)])

        return lambda: flavour.run(main())

    in_threads(*map(running, flavours))
    assert len(peer.requests) == 200
    assert "Requests: 0 active, 0 queued | Connections: 0 active" in repr(pool)
    FLAVOURS["asyncio"]().run(pool.close())


@pytest.mark.parametrize("first", ["asyncio", "uvloop", "trio"])
@pytest.mark.parametrize("second", ["asyncio", "uvloop", "trio"])
def test_a_pool_outlives_its_event_loop(serve: Serve, first: str, second: str) -> None:
    peer = serve(echo)
    pool = FLAVOURS["asyncio"]().pool(max_connections=2)
    for number, kind in enumerate((first, second, first)):
        # Idle connections of the loop that has ended are still there, and are used.
        assert len(pool.connections) == min(number, 1)
        FLAVOURS[kind]().run(asking(pool, peer.url, f"run{number}", 3)())
    assert len(peer.connections) == 1
    FLAVOURS[first]().run(pool.close())
    assert pool.connections == []


@pytest.mark.parametrize("kind", ["asyncio", "uvloop", "trio"])
def test_a_response_that_its_loop_left_open_is_closed_in_the_next(serve: Serve, kind: str) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")
        silence(connection)

    peer = serve(script)
    pool = FLAVOURS[kind]().pool(max_connections=1)
    kept: list[Any] = []

    async def leave_open() -> None:
        kept.append(await pool.handle(httpcore.Request("GET", peer.url, headers={"Host": "test"})))

    async def close() -> None:
        await kept[0].close()
        await pool.flavour.until(lambda: peer.closed(1))

    pool.flavour.run(leave_open())
    pool.flavour = FLAVOURS[kind]()
    pool.flavour.run(close())
    assert pool.connections == []


@pytest.mark.parametrize("phase", ["head", "body"])
async def test_closing_a_pool_from_another_thread_ends_its_readers(flavour: Flavour, serve: Serve, phase: str) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        if phase == "body":
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")
        silence(connection)

    peer = serve(script)
    pool = flavour.pool(max_connections=3)
    readers = [flavour.start(lambda: pool.request("GET", peer.url)) for _ in range(3)]
    await flavour.until(lambda: len(peer.requests) == 3)
    await flavour.sleep(0.05)
    await close_under(flavour, pool, readers)
    await flavour.until(lambda: peer.closed(3))
    assert "[Requests: 0 active, 0 queued | Connections: 0 active, 0 idle]" in repr(pool)


async def test_a_slow_caller_delays_no_other_request(flavour: Flavour, serve: Serve) -> None:
    go = threading.Event()

    def script(connection: Connection) -> None:
        while True:
            if connection.read_request().target == b"/slow":
                connection.wait(go)
            connection.send(reply(b"ok"))

    peer = serve(script)
    async with flavour.pool(max_connections=2) as pool:
        slow = flavour.start(lambda: pool.request("GET", peer.url + "slow"))
        await flavour.until(lambda: peer.requests)
        for _ in range(20):
            assert (await pool.request("GET", peer.url)).content == b"ok"
        assert not slow.done
        go.set()
        assert (await slow.wait()).content == b"ok"
