"""A process that opens many connections, leaves them idle, and prints what each of them holds, in bytes.

Run as `python -m bench.holders NAME KIND COUNT PORT CA`. Each connection leads to another address of 127.0.0.0/8, one
after the other is used once, so that no buffer of an active request is counted; those of the kind `same` lead to one
address, and are used at the same time. The memory is what the process has
allocated for itself (RssAnon), after unused memory was given back to the system, and the growth from COUNT to 2 COUNT
connections, since the first ones use memory that was free.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import importlib
import ssl
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Callable

_NAME = {"sni_hostname": "localhost"}


@dataclass(frozen=True)
class Holder:
    """One library: the function that measures, what it can measure, and the module that it needs."""

    measure: Callable[[str, int, int, str], float]
    kinds: frozenset[str]
    needs: str


def address(number: int) -> str:
    """Returns one of 16 million addresses of this machine."""
    return f"127.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def urls(kind: str, port: int, first: int, count: int) -> list[str]:
    """Returns URLs of `count` origins."""
    scheme = "http" if kind in {"plain", "same"} else "https"
    return [f"{scheme}://{address(256 + number)}:{port}/1k" for number in range(first, first + count)]


def _held() -> int:
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return _status("RssAnon")


def _peak() -> int:
    return _status("VmHWM")


def _status(name: str) -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition(f"{name}:")[2].split()[0]) * 1024


def _pool(library: Any, kind: str, count: int, ca: str, name: str) -> Any:
    """Returns a pool of the class `name`."""
    config = None
    if kind in {"tls", "h2"}:
        ours = library.__name__ == "httpcore_rs"
        config = library.TLSConfig(verify=ca) if ours else ssl.create_default_context(cafile=ca)
    size = 2 * count
    return getattr(library, name)(
        ssl_context=config, max_connections=size, max_keepalive_connections=size, http1=kind != "h2", http2=kind == "h2"
    )


def _use(pool: Any, kind: str, port: int, number: int, count: int) -> None:
    """Uses one connection more for each of `count` requests, up to `number`."""
    if kind != "same":
        for url in urls(kind, port, number - count, count):
            pool.request("GET", url, extensions=_NAME)
        return
    with contextlib.ExitStack() as stack:
        targets = urls(kind, port, 0, 1) * number
        for response in [stack.enter_context(pool.stream("GET", url)) for url in targets]:
            response.read()


def _sync(module: str) -> Callable[[str, int, int, str], float]:
    def measure(kind: str, count: int, port: int, ca: str) -> float:
        library = importlib.import_module(module)
        if kind == "pool":
            return _each(library.ConnectionPool, count)
        with _pool(library, kind, count, ca, "ConnectionPool") as pool:
            if kind == "peak":
                with pool.stream("GET", f"http://127.0.0.1:{port}/64m") as response:
                    assert sum(map(len, response.iter_stream())) == 64 << 20
                return _peak()
            _use(pool, kind, port, count, count)
            before = _held()
            _use(pool, kind, port, 2 * count, count)
            assert len(pool.connections) == 2 * count
            return (_held() - before) / count

    return measure


async def _ause(get: Callable[[str], Any], kind: str, port: int, number: int, count: int) -> None:
    """Does the same for event loops. `get` returns the context of a response."""
    if kind != "same":
        for url in urls(kind, port, number - count, count):
            async with get(url) as response:
                await _read(response)
        return
    async with contextlib.AsyncExitStack() as stack:
        targets = urls(kind, port, 0, 1) * number
        for response in [await stack.enter_async_context(get(url)) for url in targets]:
            await _read(response)


async def _read(response: Any) -> None:
    body = await (response.aread() if hasattr(response, "aread") else response.read())
    assert len(body) == 1024


def _async(module: str) -> Callable[[str, int, int, str], float]:
    async def measured(kind: str, count: int, port: int, ca: str) -> float:
        library = importlib.import_module(module)
        async with _pool(library, kind, count, ca, "AsyncConnectionPool") as pool:
            get = partial(pool.stream, "GET", extensions=_NAME)
            await _ause(get, kind, port, count, count)
            before = _held()
            await _ause(get, kind, port, 2 * count, count)
            assert len(pool.connections) == 2 * count
            return (_held() - before) / count

    return lambda *arguments: asyncio.run(measured(*arguments))


def _aiohttp(kind: str, count: int, port: int, ca: str) -> float:
    import aiohttp

    async def measured() -> float:
        context = ssl.create_default_context(cafile=ca) if kind == "tls" else True
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=3600, ssl=context)
        async with aiohttp.ClientSession(connector=connector) as session:
            if kind == "peak":
                async with session.get(f"http://127.0.0.1:{port}/64m") as response:
                    async for _ in response.content.iter_any():
                        pass
                return _peak()
            get = partial(session.get, server_hostname="localhost")
            await _ause(get, kind, port, count, count)
            before = _held()
            await _ause(get, kind, port, 2 * count, count)
            return (_held() - before) / count

    return asyncio.run(measured())


def _transport(module: str, name: str) -> Callable[[str, int, int, str], float]:
    def measure(_kind: str, count: int, _port: int, _ca: str) -> float:
        return _each(getattr(importlib.import_module(module), name), count)

    return measure


def _each(make: Callable[[], object], count: int) -> float:
    """Returns the memory of one unused object."""
    # Some hold 700 KiB each.
    count = min(count, 100)
    few = [make() for _ in range(count)]
    before = _held()
    many = [make() for _ in range(count)]
    held = (_held() - before) / count
    assert few
    assert many
    return held


_CONNECTIONS = frozenset({"same", "plain", "tls", "h2"})
HOLDERS = {
    "httpcore_rs": Holder(_sync("httpcore_rs"), _CONNECTIONS | {"pool", "peak"}, "httpcore_rs"),
    "httpcore_rs, async": Holder(_async("httpcore_rs"), _CONNECTIONS, "httpcore_rs"),
    "httpcore": Holder(_sync("httpcore"), frozenset({"pool", "peak"}), "httpcore"),
    "httpcore2": Holder(_sync("httpcore2"), _CONNECTIONS | {"pool", "peak"}, "httpcore2"),
    "httpcore2, async": Holder(_async("httpcore2"), _CONNECTIONS, "httpcore2"),
    "aiohttp": Holder(_aiohttp, frozenset({"same", "plain", "tls", "peak"}), "aiohttp"),
    "httpx transport of httpcore_rs": Holder(_transport("httpcore_rs", "SyncTransport"), frozenset({"pool"}), "httpx"),
    "httpx transport": Holder(_transport("httpx", "HTTPTransport"), frozenset({"pool"}), "httpx"),
}

if __name__ == "__main__":
    called, what, number, on, authorities = sys.argv[1:]
    print(HOLDERS[called].measure(what, int(number), int(on), authorities))
