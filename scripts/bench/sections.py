"""The sections of the benchmark. Each yields one or more results."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Callable

import httpcore
import httpx
import urllib3

import httpcore_rs
from bench import async_clients, http2, sync_clients
from bench.async_clients import AsyncClient
from bench.checks import LARGE, expect
from bench.measure import Result, Series, Work, measure
from bench.setting import Setting, made, made_on_loop
from bench.sync_clients import SyncClient
from bench.work import async_gets, gets, in_threads, repeat, run

THREADS = 8
TASKS = (1, 20, 100)
IDLE = (1, 50, 200)

# Candidates that make their responses up: they stream nothing, and have no pool.
_NO_BODIES = ("httpx, no I/O", "httpx + bare protocol")
_HTTPX = ("httpx + httpcore_rs", "httpx", "httpx2 + httpcore_rs", "httpx2")
_NO_POOL = (*_NO_BODIES, *_HTTPX, "bare socket", "bare protocol")


def sync(setting: Setting) -> Iterator[Result]:
    """One thread, one request after the other."""
    with made(sync_clients.candidates()) as clients:
        work = {name: gets(client, setting.url("/1k")) for name, client in clients.items()}
        yield measure("sync", "GET 1 KiB, sync", work, setting.effort, show_cpu=True)


def threads(setting: Setting) -> Iterator[Result]:
    """Threads that share one client."""
    with made(sync_clients.candidates()) as clients, ThreadPoolExecutor(THREADS) as executor:
        work = {}
        for name, client in clients.items():
            work[name] = in_threads(executor, THREADS, gets(client, setting.url("/1k")))
        title = f"GET 1 KiB, sync, {THREADS} threads"
        yield measure("threads", title, work, setting.effort, at_least=4 * THREADS, show_cpu=True)


def tasks(setting: Setting) -> Iterator[Result]:
    """Tasks that share one client, each with one request after the other."""
    for count in TASKS:
        # New clients: connections of earlier tasks would slow down the candidates that scan them.
        with made_on_loop(setting, async_clients.candidates()) as (loop, clients):
            work = {name: async_gets(loop, client, setting.url("/1k"), count) for name, client in clients.items()}
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
    with made(sync_clients.candidates(), _NO_BODIES) as clients:
        work = {name: repeat(partial(down, client)) for name, client in clients.items()}
        yield measure("sync-down", "64 MiB down, sync", work, few, show_cpu=True, unit="ms")
        work = {name: repeat(partial(up, client)) for name, client in clients.items()}
        yield measure("sync-up", "64 MiB up, sync", work, few, show_cpu=True, unit="ms")
    with made_on_loop(setting, async_clients.candidates(), _NO_BODIES) as (loop, aclients):
        work = {name: repeat(partial(run, loop, async_down, client)) for name, client in aclients.items()}
        yield measure("async-down", "64 MiB down, async", work, few, show_cpu=True, unit="ms")
        work = {name: repeat(partial(run, loop, async_up, client)) for name, client in aclients.items()}
        yield measure("async-up", "64 MiB up, async", work, few, show_cpu=True, unit="ms")


def idle(setting: Setting) -> Iterator[Result]:
    """Requests to one origin, while the pool also has idle connections to others."""
    if len(setting.ports) < max(IDLE):
        print("  left out: idle connections to many origins need nginx\n")
        return
    with contextlib.ExitStack() as stack:
        work: dict[str, Work] = {}
        for count in IDLE:
            for name, client in stack.enter_context(made(sync_clients.candidates(), _NO_POOL)).items():
                for port in range(count):
                    gets(client, setting.url("/1k", port))(1)
                work[f"{name}, {count} idle"] = gets(client, setting.url("/1k"))
        yield measure("sync-idle", "GET 1 KiB, sync, idle connections in the pool", _sorted(work), setting.effort)
    with contextlib.ExitStack() as stack:
        work = {}
        for count in IDLE:
            loop, clients = stack.enter_context(made_on_loop(setting, async_clients.candidates(), _NO_POOL))
            for name, aclient in clients.items():
                for port in range(count):
                    async_gets(loop, aclient, setting.url("/1k", port), 1)(1)
                work[f"{name}, {count} idle"] = async_gets(loop, aclient, setting.url("/1k"), 1)
        yield measure("async-idle", "GET 1 KiB, async, idle connections in the pool", _sorted(work), setting.effort)


def construct(setting: Setting) -> Iterator[Result]:
    """Making a client and closing it unused."""
    loop = setting.new_loop()

    async def session() -> None:
        await async_clients.Aiohttp().close()

    work = {
        "httpcore_rs": repeat(lambda: httpcore_rs.ConnectionPool().close()),
        "httpx + httpcore_rs": repeat(lambda: httpx.Client(transport=httpcore_rs.SyncTransport()).close()),
        "httpcore": repeat(lambda: httpcore.ConnectionPool(ssl_context=httpcore.default_ssl_context()).close()),
        "httpx": repeat(lambda: httpx.Client().close()),
        "urllib3": repeat(lambda: urllib3.PoolManager().clear()),
        "aiohttp": repeat(lambda: loop.run_until_complete(session())),
    }
    if sys.version_info >= (3, 11):
        work["pyreqwest"] = repeat(lambda: sync_clients.Pyreqwest().close())
    yield measure("construct", "making a client", work, setting.effort)
    loop.close()
    yield _first_clients(setting.few.rounds)


# In the order in which they run.
SECTIONS: dict[str, Callable[[Setting], Iterator[Result]]] = {
    "sync": sync,
    "threads": threads,
    "async": tasks,
    "bodies": bodies,
    "http2": http2.requests,
    "http2-bodies": http2.bodies,
    "idle": idle,
    "construct": construct,
}


def _first_clients(rounds: int) -> Result:
    """Starts a new process for each sample, which measures itself without its imports."""
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
    """Sorts the lines of one candidate next to each other."""
    return dict(sorted(work.items(), key=lambda item: list(work).index(f"{item[0].split(',')[0]}, {IDLE[0]} idle")))
