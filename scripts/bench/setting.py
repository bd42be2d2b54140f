"""Shared by all sections: the servers, the duration of a measurement, and clients that are closed in the end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Callable

from bench.async_clients import AsyncClient
from bench.measure import Effort
from bench.sync_clients import SyncClient


@dataclass(frozen=True)
class Setting:
    """The servers' addresses, the event loop, and the duration of a measurement.

    `ports` speak HTTP/1.1. `plain` is the URL of HTTP/2, `secure` that of HTTP/2 over TLS, and `ca` the file of who
    signed its certificate. Bodies are sent to `upload`.
    """

    ports: Sequence[int]
    plain: str
    secure: str
    ca: str
    upload: str
    effort: Effort
    new_loop: Callable[[], asyncio.AbstractEventLoop]

    def url(self, path: str, port: int = 0) -> str:
        return f"http://127.0.0.1:{self.ports[port]}{path}"

    @property
    def few(self) -> Effort:
        """Returns the effort for long work."""
        return Effort(max(3, self.effort.rounds // 2), self.effort.seconds)


@contextlib.contextmanager
def made(
    makers: Mapping[str, Callable[[], SyncClient]], without: Sequence[str] = ()
) -> Iterator[dict[str, SyncClient]]:
    """Yields the clients, except those in `without`."""
    clients = {name: make() for name, make in makers.items() if name not in without}
    try:
        yield clients
    finally:
        for client in clients.values():
            client.close()


@contextlib.contextmanager
def made_on_loop(
    setting: Setting, makers: Mapping[str, Callable[[], AsyncClient]], without: Sequence[str] = ()
) -> Iterator[tuple[asyncio.AbstractEventLoop, dict[str, AsyncClient]]]:
    """Yields the clients, except those in `without`, on one event loop, which runs only during a measurement."""
    loop = setting.new_loop()

    async def make() -> dict[str, AsyncClient]:
        return {name: make() for name, make in makers.items() if name not in without}

    clients = loop.run_until_complete(make())
    try:
        yield loop, clients
    finally:
        for client in clients.values():
            loop.run_until_complete(client.close())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
