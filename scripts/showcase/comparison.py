"""httpx over its own transport and over httpcore_rs, a few seconds each, in turn."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

import httpx

import httpcore_rs
from bench.measure import Effort, Work, measure
from showcase.picture import Pair

_EFFORT = Effort(rounds=5, seconds=0.2)
_LIMITS = httpx.Limits(max_connections=100, max_keepalive_connections=100)


def compare(plain: str, tls: str, ca: str) -> Iterator[Pair]:
    """Prints microseconds per request and the ratio of the two, and yields the microseconds."""
    print(f"  {'GET /hello':20}{'httpx':>12}{'httpcore_rs':>12}{'faster':>10}")
    with contextlib.ExitStack() as stack:
        for title, url in (("sync", plain), ("sync, TLS", tls)):
            theirs = httpx.Client(transport=httpx.HTTPTransport(verify=ca, limits=_LIMITS))
            ours = httpx.Client(transport=httpcore_rs.SyncTransport(verify=ca, limits=_LIMITS))
            yield _line(title, *(_sync(stack.enter_context(client), f"{url}/hello") for client in (theirs, ours)))
    for tasks in (1, 20, 50):
        loop = asyncio.new_event_loop()
        clients = [
            httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(limits=_LIMITS)),
            httpx.AsyncClient(transport=httpcore_rs.AsyncTransport(limits=_LIMITS)),
        ]
        title = f"async, {tasks} {'task' if tasks == 1 else 'tasks'}"
        yield _line(title, *(_async(loop, client, f"{plain}/hello", tasks) for client in clients))
        for client in clients:
            loop.run_until_complete(client.aclose())
        loop.close()


def _line(title: str, theirs: Work, ours: Work) -> Pair:
    result = measure(title, title, {"httpx": theirs, "ours": ours}, _EFFORT, at_least=100)
    times = f"{result.time('httpx'):>9.0f} us{result.time('ours'):>9.0f} us"
    print(f"  {title:20}{times}{result.ratio('httpx', 'ours'):>9.1f}x", flush=True)
    return Pair(title, result.time("httpx"), result.time("ours"))


def _sync(client: httpx.Client, url: str) -> Work:
    def work(count: int) -> None:
        for _ in range(count):
            client.get(url).raise_for_status()

    return work


def _async(loop: asyncio.AbstractEventLoop, client: httpx.AsyncClient, url: str, tasks: int) -> Work:
    async def task(count: int) -> None:
        for _ in range(count):
            (await client.get(url)).raise_for_status()

    async def all_tasks(count: int) -> None:
        await asyncio.gather(*(task(count // tasks) for _ in range(tasks)))

    return lambda count: loop.run_until_complete(all_tasks(count))
