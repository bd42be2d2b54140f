"""The synchronous candidates behind one small interface.

Each gets the URL in its library's own parsed form, if there is one: parsing is not compared.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Callable, Protocol

import httpx
import urllib3

import httpcore_rs
from bench.bare import BareSocket
from bench.checks import SMALL, Answer, body

# More connections than any section opens at once, so that no limit is reached.
CONNECTIONS = 300
LIMITS = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS, keepalive_expiry=3600)


class SyncClient(Protocol):
    """The interface of a candidate."""

    def target(self, url: str) -> Any: ...
    def get(self, target: Any) -> Answer: ...
    def download(self, url: str) -> Answer: ...
    def upload(self, url: str) -> Answer: ...
    def close(self) -> None: ...


# These exist for newer versions of CPython only.
ELSEWHERE = ("pyreqwest", "httpcore2", "httpx2 + httpcore_rs", "httpx2") if sys.version_info < (3, 11) else ()


class Pool:
    """A connection pool of httpcore, of its fork or of httpcore_rs."""

    def __init__(self, module: str, **more: Any) -> None:
        library = importlib.import_module(module)
        limits = {"max_connections": CONNECTIONS, "max_keepalive_connections": CONNECTIONS}
        self._pool = library.ConnectionPool(**limits, **more)
        self._url = library.URL

    def target(self, url: str) -> Any:
        return self._url(url)

    def get(self, target: Any) -> Answer:
        response = self._pool.request("GET", target)
        return response.status, len(response.content)

    def download(self, url: str) -> Answer:
        with self._pool.stream("GET", url) as response:
            return response.status, sum(map(len, response.iter_stream()))

    def upload(self, url: str) -> Answer:
        response = self._pool.request("PUT", url, content=body())
        return response.status, len(response.content)

    def close(self) -> None:
        self._pool.close()


class Httpx:
    """The client of httpx or of its fork, over the given transport."""

    def __init__(self, transport: Any, library: str = "httpx") -> None:
        module = importlib.import_module(library)
        self._client = module.Client(transport=transport, timeout=30)
        self._url = module.URL

    def target(self, url: str) -> Any:
        return self._url(url)

    def get(self, target: Any) -> Answer:
        response = self._client.get(target)
        return response.status_code, len(response.content)

    def download(self, url: str) -> Answer:
        with self._client.stream("GET", url) as response:
            return response.status_code, sum(map(len, response.iter_raw()))

    def upload(self, url: str) -> Answer:
        response = self._client.put(url, content=body())
        return response.status_code, len(response.content)

    def close(self) -> None:
        self._client.close()


class _Stream(httpx.SyncByteStream):
    def __iter__(self) -> Iterator[bytes]:
        yield b"x" * SMALL


class NoTransport(httpx.BaseTransport):
    """Returns at once the response that nginx would send, so that only the cost of httpx is measured."""

    headers = (
        (b"Server", b"nginx/1.22.1"),
        (b"Date", b"Mon, 01 Jan 2024 00:00:00 GMT"),
        (b"Content-Type", b"application/octet-stream"),
        (b"Content-Length", b"1024"),
        (b"Last-Modified", b"Mon, 01 Jan 2024 00:00:00 GMT"),
        (b"Connection", b"keep-alive"),
        (b"ETag", b'"65920080-400"'),
        (b"Accept-Ranges", b"bytes"),
    )

    def handle_request(self, request: httpx.Request) -> httpx.Response:  # noqa: ARG002 (the interface)
        extensions = {"http_version": b"HTTP/1.1", "reason_phrase": b"OK"}
        return httpx.Response(200, headers=list(self.headers), stream=_Stream(), extensions=extensions)


class Pyreqwest:
    """pyreqwest's blocking client."""

    def __init__(self, configured: Callable[[Any], Any] = lambda builder: builder) -> None:
        from pyreqwest.client import SyncClientBuilder
        from pyreqwest.http import Url

        self._url = Url
        self._client = configured(SyncClientBuilder().pool_idle_timeout(timedelta(hours=1))).build()

    def target(self, url: str) -> Any:
        return self._url(url)

    def get(self, target: Any) -> Answer:
        response = self._client.get(target).build().send()
        return response.status, len(response.bytes())

    def download(self, url: str) -> Answer:
        length = 0
        with self._client.get(url).build_streamed() as response:
            while (chunk := response.body_reader.read_chunk()) is not None:
                length += len(chunk)
            return response.status, length

    def upload(self, url: str) -> Answer:
        response = self._client.put(url).body_stream(body()).build().send()
        return response.status, len(response.bytes())

    def close(self) -> None:
        self._client.close()


class Urllib3:
    """urllib3's pool manager."""

    def __init__(self) -> None:
        self._pool = urllib3.PoolManager(num_pools=CONNECTIONS, maxsize=32, retries=False)

    def target(self, url: str) -> str:
        return url

    def get(self, target: str) -> Answer:
        response = self._pool.request("GET", target)
        return response.status, len(response.data)

    def download(self, url: str) -> Answer:
        response = self._pool.request("GET", url, preload_content=False)
        length = sum(map(len, response.stream(64 * 1024)))
        response.release_conn()
        return response.status, length

    def upload(self, url: str) -> Answer:
        response = self._pool.request("PUT", url, body=body(), chunked=True)
        return response.status, len(response.data)

    def close(self) -> None:
        self._pool.clear()


def candidates() -> dict[str, Callable[[], SyncClient]]:
    """Returns all candidates, by the names under which they are printed."""
    found: dict[str, Callable[[], SyncClient]] = {
        "bare socket": BareSocket,
        "httpcore_rs": lambda: Pool("httpcore_rs"),
        "httpcore": lambda: Pool("httpcore"),
        "httpcore2": lambda: Pool("httpcore2"),
        "pyreqwest": Pyreqwest,
        "urllib3": Urllib3,
        "httpx, no I/O": lambda: Httpx(NoTransport()),
        "httpx + httpcore_rs": lambda: Httpx(httpcore_rs.SyncTransport(limits=LIMITS)),
        "httpx": lambda: Httpx(httpx.HTTPTransport(limits=LIMITS)),
        "httpx2 + httpcore_rs": lambda: Httpx(httpcore_rs.httpx2.SyncTransport(limits=LIMITS), "httpx2"),
        "httpx2": lambda: Httpx(importlib.import_module("httpx2").HTTPTransport(limits=LIMITS), "httpx2"),
    }
    return {name: candidate for name, candidate in found.items() if name not in ELSEWHERE}
