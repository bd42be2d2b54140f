"""Scale: the cost of a request beside many idle connections, origins and waiting requests.

A cost that is flat does not depend on their number. Ratios are to the smallest number of the same client.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
from collections.abc import Iterator, Sequence
from typing import Any, Callable

from bench.checks import SMALL, expect
from bench.clients.async_peers import Aiohttp
from bench.clients.interface import Options
from bench.clients.pools import AsyncPool, Pool
from bench.holders import urls
from bench.measure import Work, measure
from bench.results import Result
from bench.setting import Setting, made, made_on_loop
from bench.work import async_gets, gets

COUNTS = (1, 1000, 10_000)
WAITING = (100, 1000, 10_000)
# The connections of a client whose other requests wait.
_CONNECTIONS = 10
_ASYNC: dict[str, Callable[[Options], Any]] = {
    "httpcore_rs": lambda options: AsyncPool("httpcore_rs", options),
    "httpcore2": lambda options: AsyncPool("httpcore2", options),
    "aiohttp": Aiohttp,
}


def everything(setting: Setting) -> Iterator[Result]:
    """Idle connections to one origin, connections to many origins, and requests that wait for a connection."""
    if not setting.servers.many_origins:
        print("  left out: connections to many origins need nginx\n")
        return
    port = int(setting.servers.plain.rpartition(":")[2])
    for key, title, same in (
        ("idle", "idle connections to one origin", True),
        ("origins", "idle connections, each to another origin", False),
    ):
        for name in ("httpcore_rs",) if setting.quick else ("httpcore_rs", "httpcore2"):
            yield _sync(setting, f"{key}-sync-{name}", f"{name}, sync, GET 1 KiB beside {title}", name, port, same)
        for name in _names(setting):
            yield _async(setting, f"{key}-async-{name}", f"{name}, async, GET 1 KiB beside {title}", name, port, same)
    for name in _names(setting):
        yield _waiting(setting, name)
    yield _cancelled(setting)


def _names(setting: Setting) -> list[str]:
    """Returns the asynchronous clients. httpcore2 takes minutes."""
    return [name for name in _ASYNC if not (setting.quick and name == "httpcore2")]


def _counts(name: str, counts: Sequence[int]) -> list[int]:
    """Returns the numbers that a client is measured with, and that the limit of descriptors allows."""
    # httpcore2 looks at every connection for every request, and a thousand shows it.
    most = 1000 if name == "httpcore2" else resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 2000
    return [count for count in counts if count <= most]


def _targets(port: int, count: int, same: bool) -> list[str]:
    return [f"http://127.0.0.1:{port}/1k"] * count if same else urls("plain", port, 0, count)


def _label(count: int) -> str:
    return f"beside {count:,}"


def _sync(setting: Setting, key: str, title: str, name: str, port: int, same: bool) -> Result:
    counts = _counts(name, COUNTS)
    with made({_label(count): lambda: Pool(name, Options(connections=20_000)) for count in counts}) as clients:
        work = {}
        for count, (label, client) in zip(counts, clients.items()):
            targets = _targets(port, count, same)
            assert isinstance(client, Pool)
            _fill(client, targets)
            work[label] = gets(client, targets[0])
        return measure(key, title, work, setting.effort, base=_label(counts[0]))


def _async(setting: Setting, key: str, title: str, name: str, port: int, same: bool) -> Result:
    counts = _counts(name, COUNTS)
    makers = {_label(count): lambda: _ASYNC[name](Options(connections=20_000)) for count in counts}
    with made_on_loop(setting, makers) as (loop, clients):
        work = {}
        for count, (label, client) in zip(counts, clients.items()):
            targets = _targets(port, count, same)
            loop.run_until_complete(_afill(client, targets))
            work[label] = async_gets(loop, client, targets[0], 1)
        return measure(key, title, work, setting.effort, base=_label(counts[0]))


def _fill(client: Pool, targets: Sequence[str]) -> None:
    """Opens a connection for each target, all at the same time, and leaves them idle."""
    with contextlib.ExitStack() as stack:
        for response in [stack.enter_context(client.pool.stream("GET", url)) for url in targets]:
            expect((response.status, len(response.read())), 200, SMALL)


async def _afill(client: Any, targets: Sequence[str]) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for response in [await stack.enter_async_context(client.open(url)) for url in targets]:
            await client.read(response)


def _waiting(setting: Setting, name: str) -> Result:
    """Returns the time per request of many requests that are started at once, over few connections."""
    counts = _counts(name, WAITING)
    makers = {f"{count:,} at once": lambda: _ASYNC[name](Options(connections=_CONNECTIONS)) for count in counts}
    url = f"{setting.servers.plain}/1k"
    with made_on_loop(setting, makers) as (loop, clients):
        work = {}
        for count, (label, client) in zip(counts, clients.items()):
            work[label] = _batches(async_gets(loop, client, url, count), count)
        title = f"{name}, async, GET 1 KiB, that many at once over {_CONNECTIONS} connections"
        base = f"{counts[0]:,} at once"
        return measure(f"waiting-{name}", title, work, setting.few, base=base, at_least=max(counts))


def _batches(work: Work, size: int) -> Work:
    """Returns work that is done in batches of that size."""

    def batches(count: int) -> None:
        for _ in range(max(1, count // size)):
            work(size)

    return batches


def _cancelled(setting: Setting) -> Result:
    """Returns the time per request of as many waiting requests that are served, and that are cancelled."""
    count, url = WAITING[-1], f"{setting.servers.plain}/1k"
    makers = {
        name: lambda: AsyncPool("httpcore_rs", Options(connections=_CONNECTIONS)) for name in ("served", "cancelled")
    }
    with made_on_loop(setting, makers) as (loop, clients):
        pool = clients["cancelled"]
        assert isinstance(pool, AsyncPool)
        work = {
            "served": _batches(async_gets(loop, clients["served"], url, count), count),
            "cancelled": _batches(lambda size: loop.run_until_complete(_cancel(pool, url, size)), count),
        }
        title = f"httpcore_rs, async, {count:,} waiting requests"
        return measure("cancelled", title, work, setting.few, base="served", at_least=count, at_most=count)


async def _cancel(client: AsyncPool, url: str, count: int) -> None:
    """Starts requests while all connections are busy, cancels them, and sends one more."""
    async with contextlib.AsyncExitStack() as stack:
        busy = [await stack.enter_async_context(client.open(url)) for _ in range(_CONNECTIONS)]
        waiting = [asyncio.ensure_future(client.get(url)) for _ in range(count)]
        await asyncio.sleep(0)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        for response in busy:
            await client.read(response)
    assert all(task.cancelled() for task in waiting)
    expect(await client.get(url), 200, SMALL)
