"""Fuzzes what Python sees: random arguments, bodies, callbacks and backends for every public class and function.

Only documented exceptions may come back, and a pool that was treated so still works. Started by scripts/fuzz; alone:

    .venv/bin/python scripts/fuzz_border.py --seconds 60
    .venv/bin/python scripts/fuzz_border.py --seed 7 --case 1234     # one case again
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import faulthandler
import gc
import inspect
import logging
import os
import random
import ssl
import sys
import time
import traceback
from typing import Any

import httpcore

import httpcore_rs
from border.server import Server
from border.values import HostileError, Values

# The exceptions that a caller may get: for wrong arguments, from the network, and from code of the caller.
DOCUMENTED = (
    TypeError,
    ValueError,
    OverflowError,
    AttributeError,
    RuntimeError,
    NotImplementedError,
    httpcore.ConnectionNotAvailable,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.TimeoutException,
    httpcore.UnsupportedProtocol,
    HostileError,
)
# Texts of a `RuntimeError` of httpcore's, for calls in a wrong place; the engine has another for faults of its own.
MISUSE = ("Attempted to", "not allowed for the http scheme")
# A case that takes longer hangs, in seconds.
CASE_TIMEOUT = 60
TIMEOUTS = {"connect": 0.5, "read": 0.5, "write": 0.5, "pool": 0.5}
POOLS = ("ConnectionPool", "HTTPProxy", "SOCKSProxy", "HTTPConnection", "HTTP11Connection", "HTTP2Connection")
# Change the whole process.
LEFT_OUT = {"install", "uninstall", "forked", "set_green", "set_main_thread"}


class Undocumented(Exception):  # A finding, and no error of the fuzzer.
    """An exception that no caller expects."""


def is_of_httpcore(exc: BaseException) -> bool:
    """Returns whether code of httpcore itself has raised it: a mistake of its own in the face of odd arguments."""
    return f"{os.sep}httpcore{os.sep}" in traceback.extract_tb(exc.__traceback__)[-1].filename


class Case:
    """One random use of the package."""

    def __init__(self, seed: int, number: int, server: Server, counts: collections.Counter[str]) -> None:
        self.random = random.Random(f"{seed}/{number}")  # noqa: S311
        self.values = Values(self.random)
        self.server = server
        self.counts = counts

    @contextlib.contextmanager
    def judged(self) -> Any:
        """Swallows what a caller expects."""
        try:
            yield
        except DOCUMENTED as exc:
            if type(exc) is RuntimeError and not any(words in str(exc) for words in MISUSE):
                raise Undocumented from exc
            self.counts[type(exc).__name__] += 1
        except asyncio.CancelledError:
            raise
        except BaseException as exc:
            if not is_of_httpcore(exc):
                raise Undocumented from exc
            self.counts["httpcore's own"] += 1
        else:
            self.counts["no exception"] += 1

    def arguments(self, function: Any, **usual: Any) -> dict[str, Any]:
        """Returns arguments by name: some as usual, some left out, some of any kind."""
        try:
            parameters = inspect.signature(function).parameters
        except (TypeError, ValueError):
            return {}
        chosen = {}
        odd = self.random.choice([*parameters, None]) if self.random.random() < 0.4 else None
        for name, parameter in parameters.items():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD) or name == "self":
                continue
            if name == odd:
                chosen[name] = self.values.any()
            elif name in usual:
                chosen[name] = usual[name]
            elif parameter.default is parameter.empty:
                chosen[name] = self.values.any()
        return chosen

    def construct(self, prefix: str = "") -> Any:
        """Makes a pool, a proxy or a connection of any kind."""
        name = prefix + self.random.choice(POOLS)
        origin = httpcore.Origin(b"http", b"127.0.0.1", self.server.port)
        usual: dict[str, Any] = {
            "proxy_url": self.server.url if "HTTP" in name else self.server.url.replace("http", "socks5"),
            "origin": origin,
            "stream": httpcore.AsyncMockStream(self.values.responses()) if prefix else self.mock_stream(),
            "max_connections": self.random.choice([1, 2, 10, None]),
            "retries": self.random.choice([0, 1]),
        }
        if self.random.random() < 0.3:
            backend = httpcore.AsyncMockBackend if prefix else httpcore.MockBackend
            usual["network_backend"] = self.random.choice([backend(self.values.responses()), self.values.backend()])
        if self.random.random() < 0.2:
            usual["ssl_context"] = self.random.choice(
                [httpcore_rs.TLSConfig(verify=False), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)]
            )
        maker = getattr(httpcore_rs, name)
        return maker(**self.arguments(maker.__init__, **usual))

    def mock_stream(self) -> httpcore.MockStream:
        """Returns a stream that gives random responses."""
        return httpcore.MockStream(self.values.responses())

    def request(self, function: Any) -> dict[str, Any]:
        """Returns the arguments of a request."""
        extensions: Any = {"timeout": dict(TIMEOUTS)}
        if self.random.random() < 0.3:
            extensions["trace"] = self.values.callback()
        if self.random.random() < 0.2:
            extensions[self.random.choice(["timeout", "target", "sni_hostname", "trailing_headers", "trace"])] = (
                self.values.any()
            )
        return self.arguments(
            function,
            method=self.random.choice(["GET", "POST", "HEAD", b"PUT", "OPTIONS", "CONNECT"]),
            url=self.server.url + self.random.choice(["", "a", "close", "junk", "chunked", "large", "early", "101"]),
            headers=self.values.headers(),
            content=self.values.body(is_async="Async" in function.__qualname__),
            extensions=extensions,
        )

    def poke(self, thing: Any) -> None:
        """Calls any method of an object, or reads a property."""
        names = [name for name in dir(thing) if name not in LEFT_OUT and not name.startswith("__")]
        if not names:
            return
        value = getattr(thing, self.random.choice(names))
        if callable(value):
            result = value(*[self.values.any() for _ in range(self.random.choice([0, 0, 1, 1, 2, 3]))])
            if inspect.iscoroutine(result):
                result.close()
            elif inspect.isgenerator(result):
                for _ in range(3):
                    next(result, None)

    def in_a_thread(self) -> None:
        """Uses a pool of threads."""
        with self.judged():
            pool = self.construct()
            with self.judged(), contextlib.closing(pool):
                for _ in range(self.random.randint(1, 4)):
                    self.use(pool)

    def use(self, pool: Any) -> None:
        """One request, or something else."""
        with self.judged():
            kind = self.random.randrange(6)
            if kind < 3:
                pool.request(**self.request(type(pool).request))
            elif kind == 3:
                with pool.stream(**self.request(type(pool).stream)) as response:
                    self.read(response)
            elif kind == 4:
                self.poke(pool)
            else:
                self.poke(self.random.choice([httpcore_rs, getattr(pool, "_engine", pool), *pool.connections]))

    def read(self, response: httpcore.Response) -> None:
        """Reads a response in part, or in another way."""
        stream: Any = response.stream
        with self.judged():
            for _ in range(self.random.randint(0, 3)):
                next(iter(stream), None)
        with self.judged():
            self.poke(self.random.choice([response, stream, response.extensions.get("network_stream")]))
        with self.judged():
            self.random.choice([response.read, response.close])()

    async def in_a_loop(self) -> None:
        """Uses a pool of an event loop."""
        with self.judged():
            pool = self.construct("Async")
            try:
                for _ in range(self.random.randint(1, 4)):
                    task = asyncio.ensure_future(self.ause(pool))
                    if self.random.random() < 0.3:
                        await asyncio.sleep(self.random.random() / 200)
                        task.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await task
            finally:
                await pool.aclose()

    async def ause(self, pool: Any) -> None:
        """One request, or something else."""
        with self.judged():
            kind = self.random.randrange(5)
            if kind < 3:
                await pool.request(**self.request(type(pool).request))
            elif kind == 3:
                async with pool.stream(**self.request(type(pool).stream)) as response:
                    with self.judged():
                        self.poke(self.random.choice([response, response.stream]))
                    if self.random.random() < 0.5:
                        await response.aread()
            else:
                self.poke(self.random.choice([pool, getattr(pool, "_engine", pool), *pool.connections]))

    def functions(self) -> None:
        """Calls what is no pool."""
        with self.judged():
            names = [
                name
                for name in dir(httpcore_rs)
                if name not in LEFT_OUT and name[0] != "_" and callable(getattr(httpcore_rs, name))
            ]
            maker = getattr(httpcore_rs, self.random.choice(names))
            made = maker(**self.arguments(maker)) if self.random.random() < 0.5 else maker(*[self.values.any()])
            if inspect.iscoroutine(made):
                made.close()
            else:
                self.poke(made)

    def run(self) -> None:
        """Runs the case."""
        kind = self.random.randrange(10)
        if kind < 5:
            self.in_a_thread()
        elif kind < 9:
            asyncio.run(self.in_a_loop())
        else:
            self.functions()


def check(unraisable: list[Any]) -> None:
    """Raises if something else than what hostile values raise came where it cannot be raised."""
    events, unraisable[:] = list(unraisable), []
    for event in events:
        if not isinstance(event.exc_value, DOCUMENTED):
            raise Undocumented from event.exc_value


def still_works(pool: httpcore_rs.ConnectionPool, server: Server) -> None:
    """Raises unless a pool serves a request as ever."""
    response = pool.request("POST", server.url, content=b"still", extensions={"timeout": dict.fromkeys(TIMEOUTS, 20.0)})
    if (response.status, response.content) != (200, b"still"):
        raise Undocumented(f"a pool answers {response.status} {response.content!r}")


def main() -> int:
    """Runs cases until the time is over, or one of them finds something."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))  # noqa: S311
    parser.add_argument("--case", type=int, help="run this one only")
    options = parser.parse_args()

    print(f"seed {options.seed}", flush=True)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    unraisable: list[Any] = []
    sys.unraisablehook = unraisable.append
    counts: collections.Counter[str] = collections.Counter()
    end = time.monotonic() + options.seconds
    number = first = options.case or 0
    with Server() as server, httpcore_rs.ConnectionPool(max_connections=2) as pool:
        while time.monotonic() < end and (options.case is None or number == first):
            faulthandler.dump_traceback_later(CASE_TIMEOUT, exit=True)
            try:
                Case(options.seed, number, server, counts).run()
                still_works(pool, server)
                gc.collect(0)
                check(unraisable)
            except BaseException:  # noqa: BLE001
                traceback.print_exc()
                print(f"scripts/fuzz_border.py --seed {options.seed} --case {number}", file=sys.stderr)
                return 1
            number += 1
    faulthandler.cancel_dump_traceback_later()
    print(f"{number - first} cases: {dict(counts.most_common())}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
