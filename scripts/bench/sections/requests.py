"""Small requests over HTTP/1.1: of one thread or several, of one task or many, and to a server that takes its time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from bench.clients.candidates import ASYNC, NO_IO, PARSED, SYNC, makers
from bench.clients.interface import Options, SyncClient
from bench.measure import Work, measure
from bench.results import Result
from bench.setting import Setting, made, made_on_loop
from bench.work import async_gets, gets, in_threads

THREADS = 8
TASKS = (1, 20, 100)
SHOWS = ("wall", "cpu", "p50", "p99", "x")
# These do not share connections between threads, or say nothing that other sections do not say.
_NOT_IN_THREADS = (PARSED, NO_IO, "httpx + bare socket")


def in_parallel(
    executor: ThreadPoolExecutor, clients: Mapping[str, SyncClient], url: str, threads: int = THREADS
) -> dict[str, Work]:
    """Returns the work of threads that share one client."""
    return {name: in_threads(executor, threads, gets(client, url)) for name, client in clients.items()}


def sync(setting: Setting) -> Iterator[Result]:
    """One thread, one request after the other."""
    with made(makers(SYNC, Options())) as clients:
        work = {name: gets(client, f"{setting.servers.plain}/1k") for name, client in clients.items()}
        yield measure("sync", "GET 1 KiB, sync", work, setting.effort, base="bare socket", shows=SHOWS)


def threads(setting: Setting) -> Iterator[Result]:
    """Threads that share one client."""
    with made(makers(SYNC, Options(), without=_NOT_IN_THREADS)) as clients, ThreadPoolExecutor(THREADS) as executor:
        work = in_parallel(executor, clients, f"{setting.servers.plain}/1k")
        title = f"GET 1 KiB, sync, {THREADS} threads"
        least = 4 * THREADS
        yield measure("threads", title, work, setting.effort, base="bare socket", at_least=least, shows=SHOWS)


def tasks(setting: Setting) -> Iterator[Result]:
    """Tasks that share one client, each with one request after the other."""
    for count in TASKS:
        title = f"GET 1 KiB, async, {count} {'task' if count == 1 else 'tasks'}"
        yield _tasks(setting, f"async-{count}", title, f"{setting.servers.plain}/1k", count)


def delayed(setting: Setting) -> Iterator[Result]:
    """The same, to a server that answers after 8 ms."""
    url = f"{setting.servers.delayed}/1k"
    with made(makers(SYNC, Options(), without=_NOT_IN_THREADS)) as clients, ThreadPoolExecutor(THREADS) as executor:
        title = f"GET 1 KiB, answered after 8 ms, sync, {THREADS} threads"
        work = in_parallel(executor, clients, url)
        least = 4 * THREADS
        yield measure("delayed-threads", title, work, setting.effort, base="bare socket", at_least=least, shows=SHOWS)
    title = "GET 1 KiB, answered after 8 ms, async, 20 tasks"
    yield _tasks(setting, "delayed-async-20", title, url, 20, without=(NO_IO, "httpx + bare protocol"))


def _tasks(setting: Setting, key: str, title: str, url: str, count: int, without: Sequence[str] = ()) -> Result:
    # New clients for each result: connections of earlier tasks would slow down the candidates that scan them.
    with made_on_loop(setting, makers(ASYNC, Options(), without=without)) as (loop, clients):
        work = {name: async_gets(loop, client, url, count) for name, client in clients.items()}
        return measure(key, title, work, setting.effort, base="bare protocol", at_least=count, shows=SHOWS)
