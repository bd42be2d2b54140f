"""HTTP/2 connections and event loops and threads that begin and end, and `close()` by any of them."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import httpcore
import pytest

from flavours import FLAVOURS, Asyncio
from h2_peer import (
    OK,
    always,
    echo,
    http2_pool,
    only_root,
    still_works,
)
from leaks import descriptors
from scenarios import asking, close_under

if TYPE_CHECKING:
    from flavours import Flavour
    from h2_peer import ServeH2
    from h2_session import Session


def test_a_pool_serves_one_loop_after_the_other(serve_h2: ServeH2) -> None:
    peer = serve_h2(echo)
    flavours = [FLAVOURS[name]() for name in ("asyncio", "asyncio", "trio", "uvloop", "asyncio")]
    pool = http2_pool(flavours[0])
    for number, flavour in enumerate(flavours):
        pool.flavour = flavour

        async def main(number: int = number, flavour: Flavour = flavour) -> None:
            await flavour.gather(*[asking(pool, peer.url, f"loop{number}-{task}", 5) for task in range(5)])

        flavour.run(main())
    assert "Requests: 0 active, 0 queued" in repr(pool)
    # The connection went from loop to loop.
    assert len(peer.connections) == 1


@pytest.mark.parametrize("kinds", [("asyncio", "asyncio"), ("asyncio", "trio"), ("uvloop", "asyncio")])
def test_event_loops_of_two_threads_share_a_pool(serve_h2: ServeH2, kinds: tuple[str, str]) -> None:
    peer = serve_h2(echo)
    flavours = [FLAVOURS[kind]() for kind in kinds]
    pool = http2_pool(flavours[0], max_connections=3)
    errors: list[BaseException] = []

    def run(flavour: Flavour) -> None:
        async def main() -> None:
            mine = http2_pool(flavour)
            mine.raw = pool.raw
            await flavour.gather(*[asking(mine, peer.url, f"{id(flavour)}-{task}", 10) for task in range(10)])

        try:
            flavour.run(main())
        except BaseException as exc:  # noqa: BLE001  (raised again below)
            errors.append(exc)

    threads = [threading.Thread(target=run, args=(flavour,)) for flavour in flavours]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    if errors:
        raise errors[0]
    assert len(peer.requests) == 200
    assert "Requests: 0 active, 0 queued" in repr(pool)


def test_a_response_begun_on_one_loop_is_closed_on_another(serve_h2: ServeH2) -> None:
    peer = serve_h2(always(lambda session, stream: session.head(stream, 200)))
    pool = http2_pool(Asyncio(), max_connections=1)
    kept: list[Any] = []

    async def leave_open() -> None:
        kept.append(await pool.handle(httpcore.Request("GET", peer.url, headers={"Host": "test"})))

    async def close() -> None:
        await kept[0].close()
        await pool.flavour.until(peer.all_closed)

    pool.flavour.run(leave_open())
    pool.flavour.run(close())
    assert "Requests: 0 active, 0 queued | Connections: 0 active" in repr(pool)


# Closing.


@pytest.mark.parametrize("phase", ["head", "body"])
async def test_closing_a_pool_from_another_thread_ends_its_readers(
    flavour: Flavour, serve_h2: ServeH2, phase: str
) -> None:
    def script(session: Session) -> None:
        while True:
            stream = session.read_head()
            if phase == "body":
                session.head(stream, 200)
                session.data(stream, b"begun")

    peer = serve_h2(script)
    pool = http2_pool(flavour, max_connections=1)
    readers = [flavour.start(lambda: pool.request("GET", peer.url)) for _ in range(5)]
    await flavour.until(lambda: len(peer.streams) == 5)
    await flavour.sleep(0.05)
    await close_under(flavour, pool, readers)
    await flavour.until(lambda: peer.closed(1))
    assert "[Requests: 0 active, 0 queued | Connections: 0 active, 0 idle]" in repr(pool)


@pytest.mark.parametrize("size", [10, 10_000_000])
async def test_close_may_be_called_while_a_response_is_open(flavour: Flavour, serve_h2: ServeH2, size: int) -> None:
    peer = serve_h2(always(lambda session, stream: session.respond(stream, b"x" * size)))
    pool = http2_pool(flavour, max_connections=1)
    response = await pool.handle(httpcore.Request("GET", peer.url, headers={"Host": "test"}))
    await pool.close()
    assert pool.connections == []
    await response.close()
    assert "[Requests: 0 active, 0 queued | Connections: 0 active, 0 idle]" in repr(pool)
    await flavour.until(lambda: peer.closed(1))
    assert len((await pool.request("GET", peer.url)).content) == size
    await pool.close()


async def test_closing_releases_all_descriptors(flavour: Flavour, serve_h2: ServeH2) -> None:
    peer = serve_h2(OK)
    async with http2_pool(flavour) as pool:
        await pool.request("GET", peer.url)  # descriptors that are opened once per process or loop are open now
    await flavour.until(lambda: peer.closed(1))
    await flavour.sleep(0.02)
    before = descriptors()
    for _ in range(5):
        async with http2_pool(flavour) as pool:
            await flavour.gather(*[lambda pool=pool: pool.request("GET", peer.url)] * 10)
    await flavour.until(lambda: descriptors() <= before)


def test_the_end_of_the_loop_ends_requests_that_wait(serve_h2: ServeH2) -> None:
    """`asyncio.run` cancels tasks that still wait; their streams are reset, and the pool works as before."""
    peer = serve_h2(only_root)
    pool = http2_pool(Asyncio(), max_connections=1)

    async def begin() -> None:
        for _ in range(10):
            asyncio.get_running_loop().create_task(pool.request("GET", peer.url + "never"))
        await pool.flavour.until(lambda: len(peer.streams) == 10)

    async def again() -> None:
        await still_works(pool, peer)
        await pool.close()

    pool.flavour.run(begin())
    assert "Requests: 0 active, 0 queued" in repr(pool)
    pool.flavour.run(again())
