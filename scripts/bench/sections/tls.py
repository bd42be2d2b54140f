"""Small requests over TLS and HTTP/1.1: on open connections, and with a new client for each."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Callable

import certifi

from bench.checks import SMALL, expect
from bench.clients.candidates import ASYNC, SYNC, makers
from bench.clients.interface import AsyncClient, Options, SyncClient
from bench.measure import measure
from bench.results import Result
from bench.sections.requests import SHOWS
from bench.setting import Setting, made, made_on_loop
from bench.work import async_gets, gets, repeat


def requests(setting: Setting) -> Iterator[Result]:
    """One thread, and 20 tasks."""
    url, options = f"{setting.servers.secure}/1k", Options(setting.servers.ca)
    with made(makers(SYNC, options)) as clients:
        work = {name: gets(client, url) for name, client in clients.items()}
        yield measure("tls-sync", "TLS, GET 1 KiB, sync", work, setting.effort, base="bare socket", shows=SHOWS)
    with made_on_loop(setting, makers(ASYNC, options)) as (loop, aclients):
        work = {name: async_gets(loop, client, url, 20) for name, client in aclients.items()}
        title, base = "TLS, GET 1 KiB, async, 20 tasks", "bare protocol"
        yield measure("tls-async-20", title, work, setting.effort, base=base, at_least=40, shows=SHOWS)


def cold(setting: Setting) -> Iterator[Result]:
    """A new client, one request, and its end. All trust the authorities of certifi, and that of the server."""
    url = f"{setting.servers.secure}/1k"
    shows = ("wall", "cpu", "x")
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder, "authorities.pem")
        bundle.write_bytes(Path(certifi.where()).read_bytes() + Path(setting.servers.ca).read_bytes())
        options = Options(str(bundle))
        work = {name: repeat(partial(_once, make, url)) for name, make in makers(SYNC, options).items()}
        title = "TLS, a new client and one request, sync"
        yield measure("tls-cold-sync", title, work, setting.few, base="bare socket", unit="ms", shows=shows)
        loop = setting.new_loop()
        work = {name: repeat(partial(_run, loop, make, url)) for name, make in makers(ASYNC, options).items()}
        title = "TLS, a new client and one request, async"
        yield measure("tls-cold-async", title, work, setting.few, base="bare protocol", unit="ms", shows=shows)
        loop.close()


def _once(make: Callable[[], SyncClient], url: str) -> None:
    client = make()
    try:
        expect(client.get(client.target(url)), 200, SMALL)
    finally:
        client.close()


def _run(loop: asyncio.AbstractEventLoop, make: Callable[[], AsyncClient], url: str) -> None:
    loop.run_until_complete(_async_once(make, url))


async def _async_once(make: Callable[[], AsyncClient], url: str) -> None:
    client = make()
    try:
        expect(await client.get(client.target(url)), 200, SMALL)
    finally:
        await client.close()
