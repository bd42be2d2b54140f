"""Shared by all sections: the servers, the duration of a measurement, and clients that are closed in the end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Callable

from bench.clients.interface import AsyncClient, SyncClient
from bench.measure import Effort


@dataclass(frozen=True)
class Servers:
    """The base URLs of the servers: HTTP/1.1 and HTTP/2, plain and over TLS.

    `ca` is the file of the authority that signed the certificates. `delayed` answers after 8 ms, bodies are sent to
    `sink` and `secure_sink`. `name` is what stands behind the first four.
    """

    name: str
    plain: str
    secure: str
    h2c: str
    h2: str
    delayed: str
    sink: str
    secure_sink: str
    ca: str

    @property
    def many_origins(self) -> bool:
        """Returns true if the first four answer at all addresses of 127.0.0.0/8, and hold 10,000 connections."""
        return self.name.startswith("nginx")


@dataclass(frozen=True)
class Setting:
    """The servers, the event loop, and the duration of a measurement."""

    servers: Servers
    effort: Effort
    quick: bool
    new_loop: Callable[[], asyncio.AbstractEventLoop]

    @property
    def few(self) -> Effort:
        """Returns the effort for long work."""
        return Effort(max(3, self.effort.rounds // 3), self.effort.seconds)


@contextlib.contextmanager
def made(makers: Mapping[str, Callable[[], SyncClient]]) -> Iterator[dict[str, SyncClient]]:
    """Yields the clients, and closes them in the end."""
    clients = {name: make() for name, make in makers.items()}
    try:
        yield clients
    finally:
        for client in clients.values():
            client.close()


@contextlib.contextmanager
def made_on_loop(
    setting: Setting, makers: Mapping[str, Callable[[], AsyncClient]]
) -> Iterator[tuple[asyncio.AbstractEventLoop, dict[str, AsyncClient]]]:
    """Yields the clients on one event loop, which runs only during a measurement."""
    loop = setting.new_loop()

    async def make() -> dict[str, AsyncClient]:
        return {name: make() for name, make in makers.items()}

    clients = loop.run_until_complete(make())
    try:
        yield loop, clients
    finally:
        for client in clients.values():
            loop.run_until_complete(client.close())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
