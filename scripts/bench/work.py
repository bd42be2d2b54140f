"""The work of a sample: requests of one client, one after the other, in threads, or in tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Callable

from bench.async_clients import AsyncClient
from bench.checks import SMALL, expect
from bench.measure import Work
from bench.sync_clients import SyncClient


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
    """Returns work that sends one small request after the other."""
    target = client.target(url)

    def work(count: int) -> None:
        for _ in range(count):
            expect(client.get(target), 200, SMALL)

    return work


def in_threads(executor: ThreadPoolExecutor, threads: int, gets: Work) -> Work:
    """Returns the work divided among that many threads."""

    def work(count: int) -> None:
        share = [count // threads + (number < count % threads) for number in range(threads)]
        for done in [executor.submit(gets, part) for part in share]:
            done.result()

    return work


def async_gets(loop: asyncio.AbstractEventLoop, client: AsyncClient, url: str, concurrent: int) -> Work:
    """Returns small requests of that many tasks, each with one after the other."""
    target = client.target(url)

    async def task(count: int) -> None:
        for _ in range(count):
            expect(await client.get(target), 200, SMALL)

    async def all_tasks(count: int) -> None:
        share = [count // concurrent + (number < count % concurrent) for number in range(concurrent)]
        await asyncio.gather(*map(task, share))

    return lambda count: loop.run_until_complete(all_tasks(count))
