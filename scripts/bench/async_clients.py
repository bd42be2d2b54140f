"""The asynchronous candidates behind one small interface. As in `sync_clients`, URLs are parsed beforehand.

Each is made and closed while the event loop runs.
"""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, Callable, Protocol

import aiohttp
import httpcore
import httpx
import yarl

import httpcore_rs
from bench.bare import BareProtocol
from bench.checks import SMALL, Answer, async_body
from bench.sync_clients import CONNECTIONS, ELSEWHERE, LIMITS, NoTransport


class AsyncClient(Protocol):
    """The interface of a candidate."""

    def target(self, url: str) -> Any: ...
    async def get(self, target: Any) -> Answer: ...
    async def download(self, url: str) -> Answer: ...
    async def upload(self, url: str) -> Answer: ...
    async def close(self) -> None: ...


class AsyncPool:
    """A connection pool of httpcore, of its fork or of httpcore_rs."""

    def __init__(self, module: str, **more: Any) -> None:
        library = importlib.import_module(module)
        limits = {"max_connections": CONNECTIONS, "max_keepalive_connections": CONNECTIONS}
        self._pool = library.AsyncConnectionPool(**limits, **more)
        self._url = library.URL

    def target(self, url: str) -> Any:
        return self._url(url)

    async def get(self, target: Any) -> Answer:
        response = await self._pool.request("GET", target)
        return response.status, len(response.content)

    async def download(self, url: str) -> Answer:
        length = 0
        async with self._pool.stream("GET", url) as response:
            async for chunk in response.aiter_stream():
                length += len(chunk)
            return response.status, length

    async def upload(self, url: str) -> Answer:
        response = await self._pool.request("PUT", url, content=async_body())
        return response.status, len(response.content)

    async def close(self) -> None:
        await self._pool.aclose()


class AsyncHttpx:
    """The client of httpx or of its fork, over the given transport."""

    def __init__(self, transport: Any, library: str = "httpx") -> None:
        module = importlib.import_module(library)
        self._client = module.AsyncClient(transport=transport, timeout=30)
        self._url = module.URL

    def target(self, url: str) -> Any:
        return self._url(url)

    async def get(self, target: Any) -> Answer:
        response = await self._client.get(target)
        return response.status_code, len(response.content)

    async def download(self, url: str) -> Answer:
        length = 0
        async with self._client.stream("GET", url) as response:
            async for chunk in response.aiter_raw():
                length += len(chunk)
            return response.status_code, length

    async def upload(self, url: str) -> Answer:
        response = await self._client.put(url, content=async_body())
        return response.status_code, len(response.content)

    async def close(self) -> None:
        await self._client.aclose()


class _Stream(httpx.AsyncByteStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"x" * SMALL


class NoAsyncTransport(httpx.AsyncBaseTransport):
    """Returns at once the response that nginx would send, so that only the cost of httpx is measured."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:  # noqa: ARG002 (the interface)
        extensions = {"http_version": b"HTTP/1.1", "reason_phrase": b"OK"}
        return httpx.Response(200, headers=list(NoTransport.headers), stream=_Stream(), extensions=extensions)


class BarePool:
    """The least that a pool under httpx's transport costs: prebuilt requests on bare protocols, constant responses."""

    def __init__(self) -> None:
        self._bare = BareProtocol()

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        url = request.url
        address = (url.host.decode(), url.port or 80)
        prebuilt = b"GET %b HTTP/1.1\r\nHost: %b:%d\r\n\r\n" % (url.target, url.host, address[1])
        status, length = await self._bare.get((address, prebuilt))
        extensions = {"http_version": b"HTTP/1.1", "reason_phrase": b"OK"}
        return httpcore.Response(
            status, headers=list(NoTransport.headers), content=b"x" * length, extensions=extensions
        )

    async def aclose(self) -> None:
        await self._bare.close()


def _over_bare_protocols() -> AsyncHttpx:
    transport = httpx.AsyncHTTPTransport(limits=LIMITS)
    transport._pool = BarePool()  # type: ignore[assignment]  # noqa: SLF001
    return AsyncHttpx(transport)


class Aiohttp:
    """aiohttp's session."""

    def __init__(self) -> None:
        connector = aiohttp.TCPConnector(limit=CONNECTIONS, keepalive_timeout=3600)
        self._session = aiohttp.ClientSession(connector=connector)

    def target(self, url: str) -> yarl.URL:
        return yarl.URL(url)

    async def get(self, target: yarl.URL) -> Answer:
        async with self._session.get(target) as response:
            return response.status, len(await response.read())

    async def download(self, url: str) -> Answer:
        length = 0
        async with self._session.get(url) as response:
            async for chunk in response.content.iter_any():
                length += len(chunk)
            return response.status, length

    async def upload(self, url: str) -> Answer:
        async with self._session.put(url, data=async_body()) as response:
            return response.status, len(await response.read())

    async def close(self) -> None:
        await self._session.close()


class AsyncPyreqwest:
    """pyreqwest's asynchronous client."""

    def __init__(self, configured: Callable[[Any], Any] = lambda builder: builder) -> None:
        from pyreqwest.client import ClientBuilder
        from pyreqwest.http import Url

        self._url = Url
        self._client = configured(ClientBuilder().pool_idle_timeout(timedelta(hours=1))).build()

    def target(self, url: str) -> Any:
        return self._url(url)

    async def get(self, target: Any) -> Answer:
        response = await self._client.get(target).build().send()
        return response.status, len(await response.bytes())

    async def download(self, url: str) -> Answer:
        length = 0
        async with self._client.get(url).build_streamed() as response:
            while (chunk := await response.body_reader.read_chunk()) is not None:
                length += len(chunk)
            return response.status, length

    async def upload(self, url: str) -> Answer:
        response = await self._client.put(url).body_stream(async_body()).build().send()
        return response.status, len(await response.bytes())

    async def close(self) -> None:
        await self._client.close()


def candidates() -> dict[str, Callable[[], AsyncClient]]:
    """Returns all candidates, by the names under which they are printed."""
    found: dict[str, Callable[[], AsyncClient]] = {
        "bare protocol": BareProtocol,
        "httpcore_rs": lambda: AsyncPool("httpcore_rs"),
        "httpcore": lambda: AsyncPool("httpcore"),
        "httpcore2": lambda: AsyncPool("httpcore2"),
        "pyreqwest": AsyncPyreqwest,
        "aiohttp": Aiohttp,
        "httpx, no I/O": lambda: AsyncHttpx(NoAsyncTransport()),
        "httpx + bare protocol": _over_bare_protocols,
        "httpx + httpcore_rs": lambda: AsyncHttpx(httpcore_rs.AsyncTransport(limits=LIMITS)),
        "httpx": lambda: AsyncHttpx(httpx.AsyncHTTPTransport(limits=LIMITS)),
        "httpx2 + httpcore_rs": lambda: AsyncHttpx(httpcore_rs.httpx2.AsyncTransport(limits=LIMITS), "httpx2"),
        "httpx2": lambda: AsyncHttpx(importlib.import_module("httpx2").AsyncHTTPTransport(limits=LIMITS), "httpx2"),
    }
    return {name: candidate for name, candidate in found.items() if name not in ELSEWHERE}
