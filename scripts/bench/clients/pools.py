"""Connection pools of httpcore, of its fork and of httpcore_rs, which share one interface."""

from __future__ import annotations

import importlib
from typing import Any

from bench.checks import Answer, async_body, body
from bench.clients.interface import EXPIRY, Options


def _arguments(module: str, options: Options, openssl: bool) -> dict[str, Any]:
    """Returns a pool's arguments. httpcore_rs does TLS by rustls, unless `openssl` asks for Python's `ssl`."""
    ours = module == "httpcore_rs"
    config: Any = options.context() if openssl or not ours else None
    if options.ca and config is None:
        config = importlib.import_module(module).TLSConfig(verify=options.ca)
    return {
        "max_connections": options.connections,
        "max_keepalive_connections": options.connections,
        "keepalive_expiry": EXPIRY,
        "ssl_context": config,
        **options.versions,
    }


class Pool:
    """A blocking pool. It gets URLs as strings, or parsed."""

    def __init__(self, module: str, options: Options, *, parsed: bool = False, openssl: bool = False) -> None:
        library = importlib.import_module(module)
        self.pool: Any = library.ConnectionPool(**_arguments(module, options, openssl))
        self._parse = library.URL if parsed else str

    def target(self, url: str) -> Any:
        return self._parse(url)

    def get(self, target: Any) -> Answer:
        response = self.pool.request("GET", target)
        return response.status, len(response.content)

    def download(self, url: str) -> Answer:
        with self.pool.stream("GET", url) as response:
            return response.status, sum(map(len, response.iter_stream()))

    def upload(self, url: str) -> Answer:
        response = self.pool.request("PUT", url, content=body())
        return response.status, len(response.content)

    def close(self) -> None:
        self.pool.close()


class AsyncPool:
    """A pool for event loops. It gets URLs as strings, or parsed."""

    def __init__(self, module: str, options: Options, *, parsed: bool = False, openssl: bool = False) -> None:
        library = importlib.import_module(module)
        self.pool: Any = library.AsyncConnectionPool(**_arguments(module, options, openssl))
        self._parse = library.URL if parsed else str

    def target(self, url: str) -> Any:
        return self._parse(url)

    async def get(self, target: Any) -> Answer:
        response = await self.pool.request("GET", target)
        return response.status, len(response.content)

    async def download(self, url: str) -> Answer:
        length = 0
        async with self.pool.stream("GET", url) as response:
            async for chunk in response.aiter_stream():
                length += len(chunk)
            return response.status, length

    async def upload(self, url: str) -> Answer:
        response = await self.pool.request("PUT", url, content=async_body())
        return response.status, len(response.content)

    def open(self, url: str) -> Any:
        """Returns the context of a response whose body is not read yet."""
        return self.pool.stream("GET", url)

    async def read(self, response: Any) -> bytes:
        """Reads the body of such a response."""
        body: bytes = await response.aread()
        return body

    async def close(self) -> None:
        await self.pool.aclose()
