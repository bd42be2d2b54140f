"""The work of a sample: requests of one client, one after the other, in threads, or in tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from time import perf_counter
from typing import Callable

from bench.checks import SMALL, expect
from bench.clients.interface import AsyncClient, SyncClient
from bench.measure import Work


def run(
    loop: asyncio.AbstractEventLoop, job: Callable[[AsyncClient], Coroutine[None, None, None]], client: AsyncClient
) -> None:
    """Runs one asynchronous job on the clients' loop."""
    loop.run_until_complete(job(client))


def repeat(once: Callable[[], object]) -> Work:
    """Returns work that repeats one call."""

    def work(count: int) -> None:
        for _ in range(count):
            once()

    return work


def gets(client: SyncClient, url: str) -> Work:
    """Returns work that sends one small request after the other, and times each."""
    target = client.target(url)

    def work(count: int) -> list[float]:
        times = [perf_counter()]
        for _ in range(count):
            expect(client.get(target), 200, SMALL)
            times.append(perf_counter())
        return _differences(times)

    return work


def in_threads(executor: ThreadPoolExecutor, threads: int, gets: Work) -> Work:
    """Returns the work divided among that many threads."""

    def work(count: int) -> list[float]:
        parts = [executor.submit(gets, part) for part in _shares(count, threads)]
        return [*chain.from_iterable(part.result() or () for part in parts)]

    return work


def async_gets(loop: asyncio.AbstractEventLoop, client: AsyncClient, url: str, concurrent: int) -> Work:
    """Returns small requests of that many tasks, each with one after the other, and times each."""
    target = client.target(url)

    async def task(count: int) -> list[float]:
        times = [perf_counter()]
        for _ in range(count):
            expect(await client.get(target), 200, SMALL)
            times.append(perf_counter())
        return _differences(times)

    async def all_tasks(count: int) -> list[float]:
        return [*chain.from_iterable(await asyncio.gather(*map(task, _shares(count, concurrent))))]

    return lambda count: loop.run_until_complete(all_tasks(count))


def _shares(count: int, workers: int) -> list[int]:
    return [count // workers + (number < count % workers) for number in range(workers)]


def _differences(times: list[float]) -> list[float]:
    return [after - before for before, after in zip(times, times[1:])]
