"""Other clients for event loops. Each is imported when it is made, since not every library exists for every Python."""

from __future__ import annotations

from typing import Any

from bench.checks import Answer, async_body
from bench.clients.interface import EXPIRY, Options
from bench.clients.sync_peers import configured, niquests_session, pyqwest_arguments
from bench.clients.under_httpx import AsyncHttpx, limits


class Aiohttp:
    """aiohttp's session."""

    def __init__(self, options: Options) -> None:
        import aiohttp

        connector = aiohttp.TCPConnector(
            limit=options.connections, keepalive_timeout=EXPIRY, ssl=options.context() or True
        )
        self._session = aiohttp.ClientSession(connector=connector)

    def target(self, url: str) -> str:
        return url

    async def get(self, target: str) -> Answer:
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

    def open(self, url: str) -> Any:
        """Returns the context of a response whose body is not read yet."""
        return self._session.get(url)

    async def read(self, response: Any) -> bytes:
        """Reads the body of such a response."""
        body: bytes = await response.read()
        return body

    async def close(self) -> None:
        await self._session.close()


def httpx_over_aiohttp(options: Options) -> AsyncHttpx:
    """Returns httpx over the transport of httpx-aiohttp."""
    from httpx_aiohttp import AiohttpTransport

    return AsyncHttpx(AiohttpTransport(verify=options.context() or True, limits=limits(options)))


class AsyncPyreqwest:
    """pyreqwest's asynchronous client."""

    def __init__(self, options: Options) -> None:
        from pyreqwest.client import ClientBuilder

        self._client = configured(ClientBuilder(), options).build()

    def target(self, url: str) -> Any:
        return url

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


def httpx_over_pyreqwest(options: Options) -> AsyncHttpx:
    """Returns httpx over the transport that pyreqwest brings."""
    from pyreqwest.client import ClientBuilder
    from pyreqwest.compatibility.httpx import HttpxTransport

    return AsyncHttpx(HttpxTransport(configured(ClientBuilder(), options).build()))


class AsyncPyqwest:
    """pyqwest's asynchronous client."""

    def __init__(self, options: Options) -> None:
        import pyqwest

        self._transport = pyqwest.HTTPTransport(**pyqwest_arguments(options))
        self._client = pyqwest.Client(self._transport)

    def target(self, url: str) -> Any:
        return url

    async def get(self, target: Any) -> Answer:
        response = await self._client.get(target)
        return response.status, len(response.content)

    async def download(self, url: str) -> Answer:
        length = 0
        async with self._client.stream("GET", url) as response:
            async for chunk in response.content:
                length += len(chunk)
            return response.status, length

    async def upload(self, url: str) -> Answer:
        response = await self._client.put(url, content=async_body())
        return response.status, len(response.content)

    async def close(self) -> None:
        await self._transport.aclose()


def httpx_over_pyqwest(options: Options) -> AsyncHttpx:
    """Returns httpx over the transport that pyqwest brings."""
    import pyqwest
    from pyqwest.httpx import AsyncPyqwestTransport

    return AsyncHttpx(AsyncPyqwestTransport(pyqwest.HTTPTransport(**pyqwest_arguments(options))))


class Punkreq:
    """punkreq's client, on httpunk."""

    def __init__(self, options: Options) -> None:
        import punkreq
        from punkreq.asyncio import Client

        self._client = Client(
            limits=punkreq.Limits(max_connections=options.connections, keepalive_expiry=EXPIRY),
            verify=options.context() or True,
            **options.versions,
        )

    def target(self, url: str) -> str:
        return url

    async def get(self, target: str) -> Answer:
        async with self._client.get(target) as response:
            return response.status_code, len(await response.read())

    async def download(self, url: str) -> Answer:
        length = 0
        async with self._client.get(url) as response:
            async for chunk in response.iter_raw():
                length += len(chunk)
            return response.status_code, length

    async def upload(self, url: str) -> Answer:
        async with self._client.put(url, content=async_body()) as response:
            return response.status_code, len(await response.read())

    async def close(self) -> None:
        await self._client.close()


class AsyncNiquests:
    """An asynchronous session of niquests."""

    def __init__(self, options: Options) -> None:
        self._session = niquests_session("AsyncSession", options)

    def target(self, url: str) -> str:
        return url

    async def get(self, target: str) -> Answer:
        response = await self._session.get(target)
        return response.status_code or 0, len(response.content or b"")

    async def download(self, url: str) -> Answer:
        length = 0
        response = await self._session.get(url, stream=True)
        async for chunk in await response.iter_content(64 * 1024):
            length += len(chunk)
        return response.status_code or 0, length

    async def upload(self, url: str) -> Answer:
        response = await self._session.put(url, data=async_body())
        return response.status_code or 0, len(response.content or b"")

    async def close(self) -> None:
        await self._session.close()
