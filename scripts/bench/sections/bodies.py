"""Bodies of 64 MiB, streamed down and up: HTTP/1.1 plain and over TLS, HTTP/2."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Callable

from bench.checks import LARGE, expect
from bench.clients.candidates import ASYNC, SYNC, makers
from bench.clients.interface import AsyncClient, Options, SyncClient
from bench.measure import Work, measure
from bench.results import Result
from bench.setting import Setting, made, made_on_loop
from bench.work import repeat, run


def plain(setting: Setting) -> Iterator[Result]:
    """Over HTTP/1.1."""
    servers = setting.servers
    yield from _both(setting, "", "64 MiB", Options(), f"{servers.plain}/64m", servers.sink)


def secure(setting: Setting) -> Iterator[Result]:
    """Over TLS and HTTP/1.1."""
    servers = setting.servers
    yield from _both(setting, "tls-", "TLS, 64 MiB", Options(servers.ca), f"{servers.secure}/64m", servers.secure_sink)


def http2(setting: Setting) -> Iterator[Result]:
    """Down over HTTP/2, with TLS and without it."""
    servers = setting.servers
    options = Options(servers.ca, http2=True)
    yield from _both(setting, "h2-", "HTTP/2, 64 MiB", options, f"{servers.h2}/64m")
    options = Options(http2=True)
    yield from _both(setting, "h2c-", "HTTP/2 without TLS, 64 MiB", options, f"{servers.h2c}/64m")


def _both(setting: Setting, prefix: str, title: str, options: Options, down: str, up: str = "") -> Iterator[Result]:
    with made(makers(SYNC, options, streams=True)) as clients:
        base = "httpcore_rs" if options.http2 else "bare socket"
        yield _measure(setting, f"{prefix}sync-down", f"{title} down, sync", base, _work(clients, _down, down))
        if up:
            yield _measure(setting, f"{prefix}sync-up", f"{title} up, sync", base, _work(clients, _up, up))
    with made_on_loop(setting, makers(ASYNC, options, streams=True)) as (loop, aclients):
        base = "httpcore_rs" if options.http2 else "bare protocol"
        work = {
            name: repeat(partial(run, loop, partial(_adown, url=down), client)) for name, client in aclients.items()
        }
        yield _measure(setting, f"{prefix}async-down", f"{title} down, async", base, work)
        if up:
            work = {
                name: repeat(partial(run, loop, partial(_aup, url=up), client)) for name, client in aclients.items()
            }
            yield _measure(setting, f"{prefix}async-up", f"{title} up, async", base, work)


def _work(clients: Mapping[str, SyncClient], job: Callable[[SyncClient, str], None], url: str) -> dict[str, Work]:
    return {name: repeat(partial(job, client, url)) for name, client in clients.items()}


def _measure(setting: Setting, key: str, title: str, base: str, work: Mapping[str, Work]) -> Result:
    return measure(key, title, work, setting.few, base=base, unit="ms")


def _down(client: SyncClient, url: str) -> None:
    expect(client.download(url), 200, LARGE)


def _up(client: SyncClient, url: str) -> None:
    expect(client.upload(url), 204, 0)


async def _adown(client: AsyncClient, url: str) -> None:
    expect(await client.download(url), 200, LARGE)


async def _aup(client: AsyncClient, url: str) -> None:
    expect(await client.upload(url), 204, 0)
