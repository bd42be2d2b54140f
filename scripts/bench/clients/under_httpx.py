"""httpx and its fork over a transport: their own, one of another library, or one that makes the response up."""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpcore
import httpx

from bench.bare import BareProtocol, BareSocket
from bench.checks import SMALL, Answer, async_body, body
from bench.clients.interface import EXPIRY, Options

# The headers that nginx would send.
_HEADERS = (
    (b"Server", b"nginx/1.22.1"),
    (b"Date", b"Mon, 01 Jan 2024 00:00:00 GMT"),
    (b"Content-Type", b"application/octet-stream"),
    (b"Content-Length", b"1024"),
    (b"Last-Modified", b"Mon, 01 Jan 2024 00:00:00 GMT"),
    (b"Connection", b"keep-alive"),
    (b"ETag", b'"65920080-400"'),
    (b"Accept-Ranges", b"bytes"),
)


class Httpx:
    """The blocking client of httpx or of its fork, over the given transport."""

    def __init__(self, transport: Any, library: str = "httpx") -> None:
        self._client = importlib.import_module(library).Client(transport=transport, timeout=30)

    def target(self, url: str) -> Any:
        return url

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


class AsyncHttpx:
    """The client of httpx or of its fork for event loops, over the given transport."""

    def __init__(self, transport: Any, library: str = "httpx") -> None:
        self._client = importlib.import_module(library).AsyncClient(transport=transport, timeout=30)

    def target(self, url: str) -> Any:
        return url

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


def limits(options: Options, library: str = "httpx") -> Any:
    """Returns the limits of a transport."""
    most = {"max_connections": options.connections, "max_keepalive_connections": options.connections}
    return importlib.import_module(library).Limits(**most, keepalive_expiry=EXPIRY)


def over_httpcore_rs(options: Options, library: str = "httpx") -> Httpx:
    """Returns a client over the transport of httpcore_rs."""
    module = importlib.import_module("httpcore_rs" if library == "httpx" else f"httpcore_rs.{library}")
    arguments = {"verify": options.ca or True, "limits": limits(options, library), **options.versions}
    return Httpx(module.SyncTransport(**arguments), library)


def async_over_httpcore_rs(options: Options, library: str = "httpx") -> AsyncHttpx:
    """Returns a client for event loops over the transport of httpcore_rs."""
    module = importlib.import_module("httpcore_rs" if library == "httpx" else f"httpcore_rs.{library}")
    arguments = {"verify": options.ca or True, "limits": limits(options, library), **options.versions}
    return AsyncHttpx(module.AsyncTransport(**arguments), library)


def over_its_own(options: Options, library: str = "httpx") -> Httpx:
    """Returns a client over the library's own transport."""
    arguments = {"verify": options.context() or True, "limits": limits(options, library), **options.versions}
    return Httpx(importlib.import_module(library).HTTPTransport(**arguments), library)


def async_over_its_own(options: Options, library: str = "httpx") -> AsyncHttpx:
    """Returns a client for event loops over the library's own transport."""
    arguments = {"verify": options.context() or True, "limits": limits(options, library), **options.versions}
    return AsyncHttpx(importlib.import_module(library).AsyncHTTPTransport(**arguments), library)


class _Stream(httpx.SyncByteStream, httpx.AsyncByteStream):
    def __iter__(self) -> Iterator[bytes]:
        yield b"x" * SMALL

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"x" * SMALL


class NoTransport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Returns at once the response that nginx would send, so that only the cost of httpx is measured."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:  # noqa: ARG002 (the interface)
        extensions = {"http_version": b"HTTP/1.1", "reason_phrase": b"OK"}
        return httpx.Response(200, headers=list(_HEADERS), stream=_Stream(), extensions=extensions)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return self.handle_request(request)


def _prebuilt(request: httpcore.Request) -> tuple[tuple[str, int], bytes]:
    url = request.url
    address = (url.host.decode(), url.port or 80)
    return address, b"GET %b HTTP/1.1\r\nHost: %b:%d\r\n\r\n" % (url.target, url.host, address[1])


def _response(answer: Answer) -> httpcore.Response:
    extensions = {"http_version": b"HTTP/1.1", "reason_phrase": b"OK"}
    return httpcore.Response(answer[0], headers=list(_HEADERS), content=b"x" * answer[1], extensions=extensions)


class _BarePool:
    """The least that a pool under httpx's transport costs: prebuilt requests on bare sockets, constant responses."""

    def __init__(self) -> None:
        self._bare = BareSocket()

    def handle_request(self, request: httpcore.Request) -> httpcore.Response:
        return _response(self._bare.get(_prebuilt(request)))

    def close(self) -> None:
        self._bare.close()


class _AsyncBarePool:
    """The same with bare protocols."""

    def __init__(self) -> None:
        self._bare = BareProtocol()

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        return _response(await self._bare.get(_prebuilt(request)))

    async def aclose(self) -> None:
        await self._bare.close()


def over_bare_sockets() -> Httpx:
    """Returns httpx over its own transport, with bare sockets in place of the pool."""
    transport = httpx.HTTPTransport()
    transport._pool = _BarePool()  # type: ignore[assignment]  # noqa: SLF001
    return Httpx(transport)


def async_over_bare_protocols() -> AsyncHttpx:
    """Returns httpx over its own transport, with bare protocols in place of the pool."""
    transport = httpx.AsyncHTTPTransport()
    transport._pool = _AsyncBarePool()  # type: ignore[assignment]  # noqa: SLF001
    return AsyncHttpx(transport)
