"""The scenarios whose instructions are counted: a client, its server, and how its requests are sent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Callable

from bench.checks import SMALL, Answer, expect
from bench.clients.interface import Options
from bench.clients.pools import AsyncPool, Pool
from bench.clients.under_httpx import AsyncHttpx, Httpx, NoTransport, async_over_httpcore_rs, over_httpcore_rs
from counting.relay import Relay, relay_until

TASKS = 20
# The interpreter adapts code that runs often, and pools reach their size.
WARM_UP = 60
# Sends that many requests.
Send = Callable[[int], None]


class Traced(Pool):
    """A pool of httpcore_rs whose requests are traced or logged, or could be."""

    def __init__(self, options: Options, *, level: int | None = None, trace: bool = False) -> None:
        super().__init__("httpcore_rs", options)
        if level is not None:
            for name in ("httpcore", "httpcore.connection", "httpcore.http11"):
                logging.getLogger(name).setLevel(level)
            logging.getLogger("httpcore").addHandler(logging.NullHandler())
        self._extensions = {"trace": lambda *_: None} if trace else None

    def get(self, target: Any) -> Answer:
        response = self.pool.request("GET", target, extensions=self._extensions)
        return response.status, len(response.content)


@dataclass(frozen=True)
class Scenario:
    """A client and the server that it talks to: `plain`, `secure` (TLS) or `h2` (HTTP/2 over TLS).

    Asynchronous clients send from 20 tasks.
    """

    make: Callable[[Options], Any]
    asynchronous: bool = False
    server: str = "plain"


_POOL, _ASYNC_POOL = partial(Pool, "httpcore_rs"), partial(AsyncPool, "httpcore_rs")
_over_nothing = NoTransport()

SCENARIOS = {
    "sync": Scenario(_POOL),
    "sync, parsed URL": Scenario(partial(_POOL, parsed=True)),
    "async": Scenario(_ASYNC_POOL, True),
    "async, parsed URL": Scenario(partial(_ASYNC_POOL, parsed=True), True),
    "sync, TLS": Scenario(_POOL, False, "secure"),
    "async, TLS": Scenario(_ASYNC_POOL, True, "secure"),
    "async, SSLContext": Scenario(partial(_ASYNC_POOL, openssl=True), True, "secure"),
    "sync, HTTP/2": Scenario(_POOL, False, "h2"),
    "async, HTTP/2": Scenario(_ASYNC_POOL, True, "h2"),
    "httpx, sync": Scenario(over_httpcore_rs),
    "httpx, async": Scenario(async_over_httpcore_rs, True),
}
# For comparison: no part of httpcore_rs is in them.
OTHERS = {
    "httpx without I/O, sync": Scenario(lambda _: Httpx(_over_nothing)),
    "httpx without I/O, async": Scenario(lambda _: AsyncHttpx(_over_nothing), True),
    "httpcore, sync": Scenario(partial(Pool, "httpcore")),
    "httpcore, async": Scenario(partial(AsyncPool, "httpcore"), True),
}
TRACED = {
    "no trace, no logs": Scenario(Traced),
    "loggers at WARNING": Scenario(partial(Traced, level=logging.WARNING)),
    "loggers at DEBUG": Scenario(partial(Traced, level=logging.DEBUG)),
    "a trace callback": Scenario(partial(Traced, trace=True)),
}
ALL = {**SCENARIOS, **OTHERS, **TRACED}


def prepared(scenario: Scenario, port: int, server: tuple[str, int], ca: str) -> Iterator[Send]:
    """Yields the function that sends requests, after it has sent some.

    Blocking clients use the relay on `port`, asynchronous ones their own, to `server`.
    """
    options = Options(ca if scenario.server != "plain" else "", http2=scenario.server == "h2")
    yield from (_async if scenario.asynchronous else _sync)(scenario, options, port, server)


def _url(options: Options, port: int) -> str:
    return f"{'https' if options.ca else 'http'}://127.0.0.1:{port}/1k"


def _sync(scenario: Scenario, options: Options, port: int, _: tuple[str, int]) -> Iterator[Send]:
    client = scenario.make(options)
    target = client.target(_url(options, port))

    def send(count: int) -> None:
        for _ in range(count):
            expect(client.get(target), 200, SMALL)

    send(WARM_UP)
    yield send
    client.close()


def _async(scenario: Scenario, options: Options, _: int, server: tuple[str, int]) -> Iterator[Send]:
    loop, relay = asyncio.new_event_loop(), Relay(server)

    async def make() -> Any:
        return scenario.make(options)

    client = loop.run_until_complete(make())
    target = client.target(_url(options, relay.port))

    async def task(count: int) -> None:
        for _ in range(count):
            expect(await client.get(target), 200, SMALL)

    async def all_tasks(count: int) -> None:
        done = asyncio.gather(*(task(count // TASKS) for _ in range(TASKS)))
        await relay_until(relay, done)
        await done

    def send(count: int) -> None:
        loop.run_until_complete(all_tasks(count))

    # Connections are made by several turns of the relay.
    send(TASKS * 3)
    send(WARM_UP)
    yield send
    loop.run_until_complete(client.close())
    relay.close()
    loop.close()
