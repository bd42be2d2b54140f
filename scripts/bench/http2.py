"""HTTP/2 on one connection, over TLS for the most part: its candidates, and its sections.

A candidate that fails (httpcore's connections are not always up to several threads) is shown without a time.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Callable

import httpx

import httpcore_rs
from bench.async_clients import AsyncClient, AsyncHttpx, AsyncPool, AsyncPyreqwest
from bench.bare import BareSocket
from bench.checks import LARGE, expect
from bench.measure import Result, measure
from bench.setting import Setting, made, made_on_loop
from bench.sync_clients import ELSEWHERE, LIMITS, Httpx, Pool, Pyreqwest, SyncClient
from bench.work import async_gets, gets, in_threads, repeat, run

THREADS = 8
TASKS = (1, 20, 100)
WINDOW = 8 * 1024 * 1024

# HTTP/2 only, so that no candidate opens more connections until the first one has negotiated.
_ONLY: dict[str, Any] = {"http1": False, "http2": True}


def requests(setting: Setting) -> Iterator[Result]:
    """Small requests, of one thread or several, one task or many."""
    url = f"{setting.secure}/1k"
    with made(_candidates(setting.ca)) as clients:
        work = {name: gets(client, url) for name, client in clients.items()}
        yield measure("h2-sync", "HTTP/2, GET 1 KiB, sync", work, setting.effort, show_cpu=True)
    with made(_candidates(setting.ca)) as clients, ThreadPoolExecutor(THREADS) as executor:
        work = {name: in_threads(executor, THREADS, gets(client, url)) for name, client in clients.items()}
        title = f"HTTP/2, GET 1 KiB, sync, {THREADS} threads"
        yield measure("h2-threads", title, work, setting.effort, at_least=4 * THREADS, show_cpu=True)
    for count in TASKS:
        with made_on_loop(setting, _async_candidates(setting.ca)) as (loop, aclients):
            work = {name: async_gets(loop, client, url, count) for name, client in aclients.items()}
            title = f"HTTP/2, GET 1 KiB, async, {count} {'task' if count == 1 else 'tasks'}"
            yield measure(f"h2-async-{count}", title, work, setting.effort, at_least=2 * count, show_cpu=True)


def bodies(setting: Setting) -> Iterator[Result]:
    """64 MiB down, streamed, over TLS and without it."""

    def down(client: SyncClient, url: str) -> None:
        expect(client.download(url), 200, LARGE)

    async def async_down(client: AsyncClient, url: str) -> None:
        expect(await client.download(url), 200, LARGE)

    # The cost of the server and of TLS, without HTTP/2.
    bare = {"bare TLS socket, HTTP/1.1": lambda: BareSocket(_trusting(setting.ca))}
    for key, title, url, more in (
        ("h2", "HTTP/2", setting.secure, bare),
        ("h2c", "HTTP/2 without TLS", setting.plain, {}),
    ):
        target = f"{url}/64m"
        with made({**more, **_candidates(setting.ca)}) as clients:
            work = {name: repeat(partial(down, client, target)) for name, client in clients.items()}
            yield measure(
                f"{key}-sync-down", f"{title}, 64 MiB down, sync", work, setting.few, show_cpu=True, unit="ms"
            )
        with made_on_loop(setting, _async_candidates(setting.ca)) as (loop, aclients):
            work = {
                name: repeat(partial(run, loop, partial(async_down, url=target), client))
                for name, client in aclients.items()
            }
            yield measure(
                f"{key}-async-down", f"{title}, 64 MiB down, async", work, setting.few, show_cpu=True, unit="ms"
            )


def _candidates(ca: str) -> dict[str, Callable[[], SyncClient]]:
    config = httpcore_rs.TLSConfig(verify=ca)
    found: dict[str, Callable[[], SyncClient]] = {
        "httpcore_rs": lambda: Pool("httpcore_rs", ssl_context=config, **_ONLY),
        "httpcore": lambda: Pool("httpcore", ssl_context=_trusting(ca), **_ONLY),
        "httpcore2": lambda: Pool("httpcore2", ssl_context=_trusting(ca), **_ONLY),
        "pyreqwest": lambda: Pyreqwest(partial(_http2, ca=ca)),
        "httpx + httpcore_rs": lambda: Httpx(httpcore_rs.SyncTransport(verify=ca, limits=LIMITS, **_ONLY)),
        "httpx": lambda: Httpx(httpx.HTTPTransport(verify=_trusting(ca), limits=LIMITS, **_ONLY)),
    }
    return {name: candidate for name, candidate in found.items() if name not in ELSEWHERE}


def _async_candidates(ca: str) -> dict[str, Callable[[], AsyncClient]]:
    config = httpcore_rs.TLSConfig(verify=ca)
    found: dict[str, Callable[[], AsyncClient]] = {
        "httpcore_rs": lambda: AsyncPool("httpcore_rs", ssl_context=config, **_ONLY),
        "httpcore": lambda: AsyncPool("httpcore", ssl_context=_trusting(ca), **_ONLY),
        "httpcore2": lambda: AsyncPool("httpcore2", ssl_context=_trusting(ca), **_ONLY),
        "pyreqwest": lambda: AsyncPyreqwest(partial(_http2, ca=ca)),
        "httpx + httpcore_rs": lambda: AsyncHttpx(httpcore_rs.AsyncTransport(verify=ca, limits=LIMITS, **_ONLY)),
        "httpx": lambda: AsyncHttpx(httpx.AsyncHTTPTransport(verify=_trusting(ca), limits=LIMITS, **_ONLY)),
    }
    return {name: candidate for name, candidate in found.items() if name not in ELSEWHERE}


def _trusting(ca: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca)


def _http2(builder: Any, ca: str) -> Any:
    """Configures pyreqwest with windows that fit the work, those of httpcore_rs."""
    builder = builder.http2_prior_knowledge().add_root_certificate_pem(Path(ca).read_bytes())
    return builder.http2_initial_stream_window_size(WINDOW).http2_initial_connection_window_size(8 * WINDOW)
