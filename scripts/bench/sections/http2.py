"""Small requests over HTTP/2 and TLS, on one connection.

A candidate that fails (not every one is up to several threads) is shown without a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from bench.clients.candidates import ASYNC, SYNC, makers
from bench.clients.interface import Options
from bench.measure import measure
from bench.results import Result
from bench.sections.requests import SHOWS, TASKS, THREADS, in_parallel
from bench.setting import Setting, made, made_on_loop
from bench.work import async_gets, gets

# No bare socket speaks HTTP/2: ratios are to httpcore_rs.
BASE = "httpcore_rs"


def requests(setting: Setting) -> Iterator[Result]:
    """Small requests, of one thread or several, one task or many."""
    url, options = f"{setting.servers.h2}/1k", Options(setting.servers.ca, http2=True)
    with made(makers(SYNC, options)) as clients:
        work = {name: gets(client, url) for name, client in clients.items()}
        yield measure("h2-sync", "HTTP/2, GET 1 KiB, sync", work, setting.effort, base=BASE, shows=SHOWS)
    with made(makers(SYNC, options)) as clients, ThreadPoolExecutor(THREADS) as executor:
        work = in_parallel(executor, clients, url)
        title, least = f"HTTP/2, GET 1 KiB, sync, {THREADS} threads", 4 * THREADS
        yield measure("h2-threads", title, work, setting.effort, base=BASE, at_least=least, shows=SHOWS)
    for count in TASKS:
        with made_on_loop(setting, makers(ASYNC, options)) as (loop, aclients):
            work = {name: async_gets(loop, client, url, count) for name, client in aclients.items()}
            title = f"HTTP/2, GET 1 KiB, async, {count} {'task' if count == 1 else 'tasks'}"
            least = count
            yield measure(f"h2-async-{count}", title, work, setting.effort, base=BASE, at_least=least, shows=SHOWS)
