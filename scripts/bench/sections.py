"""What is measured, section by section. Each gives one or more results."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Callable

import httpcore
import httpx
import urllib3

import httpcore_rs
from bench import async_clients, sync_clients
from bench.async_clients import AsyncClient
from bench.checks import LARGE, SMALL, expect
from bench.measure import Effort, Result, Series, Work, measure
from bench.sync_clients import SyncClient

THREADS = 8
TASKS = (1, 20, 100)
IDLE = (1, 50, 200)

# httpx without a transport has nothing to stream, and sections about the pool leave httpx out.
_NO_BODIES = ("httpx, no I/O",)
_NO_POOL = (*_NO_BODIES, "httpx + httpcore_rs", "httpx", "bare socket", "bare protocol")


@dataclass(frozen=True)
class Setting:
    """The server's ports, where bodies are sent to, which loop to use, and how long to measure."""

    ports: Sequence[int]
    upload: str
    effort: Effort
    new_loop: Callable[[], asyncio.AbstractEventLoop]

    def url(self, path: str, port: int = 0) -> str:
        return f"http://127.0.0.1:{self.ports[port]}{path}"

    @property
    def few(self) -> Effort:
        """For work that takes long."""
        return Effort(max(3, self.effort.rounds // 2), self.effort.seconds)


@contextlib.contextmanager
def _sync(without: Sequence[str] = ()) -> Iterator[dict[str, SyncClient]]:
    makers = sync_clients.candidates()
    clients = {name: make() for name, make in makers.items() if name not in without}
    try:
        yield clients
    finally:
        for client in clients.values():
            client.close()


@contextlib.contextmanager
def _async(
    setting: Setting, without: Sequence[str] = ()
) -> Iterator[tuple[asyncio.AbstractEventLoop, dict[str, AsyncClient]]]:
    """All clients on one event loop, which runs only while one of them is measured."""
    loop = setting.new_loop()

    async def make() -> dict[str, AsyncClient]:
        makers = async_clients.candidates()
        return {name: make() for name, make in makers.items() if name not in without}

    clients = loop.run_until_complete(make())
    try:
        yield loop, clients
    finally:
        for client in clients.values():
            loop.run_until_complete(client.close())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def sync(setting: Setting) -> Iterator[Result]:
    """One thread, one request after the other."""
    with _sync() as clients:
        work = {name: _gets(client, setting.url("/1k")) for name, client in clients.items()}
        yield measure("sync", "GET 1 KiB, sync", work, setting.effort, show_cpu=True)


def threads(setting: Setting) -> Iterator[Result]:
    """Threads that share one client."""
    with _sync() as clients, ThreadPoolExecutor(THREADS) as executor:
        work = {}
        for name, client in clients.items():
            work[name] = _in_threads(executor, _gets(client, setting.url("/1k")))
        title = f"GET 1 KiB, sync, {THREADS} threads"
        yield measure("threads", title, work, setting.effort, at_least=4 * THREADS, show_cpu=True)


def tasks(setting: Setting) -> Iterator[Result]:
    """Tasks that share one client, each with one request after the other."""
    for count in TASKS:
        # New clients: connections that more tasks left behind would be a burden on those that scan them.
        with _async(setting) as (loop, clients):
            work = {name: _async_gets(loop, client, setting.url("/1k"), count) for name, client in clients.items()}
            title = f"GET 1 KiB, async, {count} {'task' if count == 1 else 'tasks'}"
            yield measure(f"async-{count}", title, work, setting.effort, at_least=2 * count, show_cpu=True)


def bodies(setting: Setting) -> Iterator[Result]:
    """Bodies of 64 MiB, streamed."""
    url, upload = setting.url("/64m"), setting.upload

    def down(client: SyncClient) -> None:
        expect(client.download(url), 200, LARGE)

    def up(client: SyncClient) -> None:
        expect(client.upload(upload), 204, 0)

    async def async_down(client: AsyncClient) -> None:
        expect(await client.download(url), 200, LARGE)

    async def async_up(client: AsyncClient) -> None:
        expect(await client.upload(upload), 204, 0)

    few = setting.few
    with _sync(_NO_BODIES) as clients:
        work = {name: _repeat(partial(down, client)) for name, client in clients.items()}
        yield measure("sync-down", "64 MiB down, sync", work, few, show_cpu=True, unit="ms")
        work = {name: _repeat(partial(up, client)) for name, client in clients.items()}
        yield measure("sync-up", "64 MiB up, sync", work, few, show_cpu=True, unit="ms")
    with _async(setting, _NO_BODIES) as (loop, aclients):
        work = {name: _repeat(partial(_run, loop, async_down, client)) for name, client in aclients.items()}
        yield measure("async-down", "64 MiB down, async", work, few, show_cpu=True, unit="ms")
        work = {name: _repeat(partial(_run, loop, async_up, client)) for name, client in aclients.items()}
        yield measure("async-up", "64 MiB up, async", work, few, show_cpu=True, unit="ms")


def idle(setting: Setting) -> Iterator[Result]:
    """One origin is asked, while the pool also holds idle connections to others."""
    if len(setting.ports) < max(IDLE):
        print("  left out: idle connections to many origins need nginx\n")
        return
    with contextlib.ExitStack() as stack:
        work: dict[str, Work] = {}
        for count in IDLE:
            for name, client in stack.enter_context(_sync(_NO_POOL)).items():
                for port in range(count):
                    _gets(client, setting.url("/1k", port))(1)
                work[f"{name}, {count} idle"] = _gets(client, setting.url("/1k"))
        yield measure("sync-idle", "GET 1 KiB, sync, idle connections in the pool", _sorted(work), setting.effort)
    with contextlib.ExitStack() as stack:
        work = {}
        for count in IDLE:
            loop, clients = stack.enter_context(_async(setting, _NO_POOL))
            for name, aclient in clients.items():
                for port in range(count):
                    _async_gets(loop, aclient, setting.url("/1k", port), 1)(1)
                work[f"{name}, {count} idle"] = _async_gets(loop, aclient, setting.url("/1k"), 1)
        yield measure("async-idle", "GET 1 KiB, async, idle connections in the pool", _sorted(work), setting.effort)


def construct(setting: Setting) -> Iterator[Result]:
    """Making a client and closing it unused."""
    loop = setting.new_loop()

    async def session() -> None:
        await async_clients.Aiohttp().close()

    work = {
        "httpcore_rs": _repeat(lambda: httpcore_rs.ConnectionPool().close()),
        "httpx + httpcore_rs": _repeat(lambda: httpx.Client(transport=httpcore_rs.SyncTransport()).close()),
        "httpcore": _repeat(lambda: httpcore.ConnectionPool(ssl_context=httpcore.default_ssl_context()).close()),
        "httpx": _repeat(lambda: httpx.Client().close()),
        "urllib3": _repeat(lambda: urllib3.PoolManager().clear()),
        "aiohttp": _repeat(lambda: loop.run_until_complete(session())),
    }
    if sys.version_info >= (3, 11):
        work["pyreqwest"] = _repeat(lambda: sync_clients.Pyreqwest().close())
    yield measure("construct", "making a client", work, setting.effort)
    loop.close()
    yield _first_clients(setting.few.rounds)


# In the order in which they run.
SECTIONS: dict[str, Callable[[Setting], Iterator[Result]]] = {
    "sync": sync,
    "threads": threads,
    "async": tasks,
    "bodies": bodies,
    "idle": idle,
    "construct": construct,
}


def _run(
    loop: asyncio.AbstractEventLoop, job: Callable[[AsyncClient], Coroutine[None, None, None]], client: AsyncClient
) -> None:
    loop.run_until_complete(job(client))


def _repeat(once: Callable[[], object]) -> Work:
    def work(count: int) -> None:
        for _ in range(count):
            once()

    return work


def _gets(client: SyncClient, url: str) -> Work:
    target = client.target(url)

    def work(count: int) -> None:
        for _ in range(count):
            expect(client.get(target), 200, SMALL)

    return work


def _in_threads(executor: ThreadPoolExecutor, gets: Work) -> Work:
    def work(count: int) -> None:
        share = [count // THREADS + (number < count % THREADS) for number in range(THREADS)]
        for done in [executor.submit(gets, part) for part in share]:
            done.result()

    return work


def _async_gets(loop: asyncio.AbstractEventLoop, client: AsyncClient, url: str, concurrent: int) -> Work:
    target = client.target(url)

    async def task(count: int) -> None:
        for _ in range(count):
            expect(await client.get(target), 200, SMALL)

    async def everybody(count: int) -> None:
        share = [count // concurrent + (number < count % concurrent) for number in range(concurrent)]
        await asyncio.gather(*map(task, share))

    return lambda count: loop.run_until_complete(everybody(count))


def _first_clients(rounds: int) -> Result:
    """A new process for each sample, which times itself: imports do not count."""
    makers = {
        "httpx + httpcore_rs": "httpx.Client(transport=httpcore_rs.SyncTransport())",
        "httpx": "httpx.Client()",
    }
    result = Result("construct-first", "making the first client of a process", {name: Series() for name in makers})
    for _ in range(rounds):
        for name, maker in makers.items():
            code = f"import time, httpx, httpcore_rs; t = time.perf_counter(); {maker}; print(time.perf_counter() - t)"
            done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
            result.series[name].wall.append(float(done.stdout))
            result.series[name].cpu.append(0.0)
    return result


def _sorted(work: dict[str, Work]) -> dict[str, Work]:
    """One candidate's lines beside each other."""
    return dict(sorted(work.items(), key=lambda item: list(work).index(f"{item[0].split(',')[0]}, {IDLE[0]} idle")))
