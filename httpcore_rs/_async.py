"""The connection pool for event loops."""

from __future__ import annotations

import contextlib
import typing

from ._bases import AsyncConnectionInterface, AsyncContextManager, AsyncNetworkBackend
from ._connections import ASYNC_CONNECTION_CLASSES
from ._drive import adrive
from ._engine import is_patched
from ._hosts import current_host
from ._interface import build_request
from ._options import constructor
from ._patches import asend
from ._pool import PoolBase

if typing.TYPE_CHECKING:
    from httpcore import URL, Request, Response
    from httpcore._models import Extensions, HeaderTypes


@constructor
class AsyncConnectionPool(PoolBase[AsyncNetworkBackend, AsyncConnectionInterface], AsyncContextManager):
    """A connection pool for making HTTP requests under asyncio, uvloop or trio.

    The awaiting task moves its own bytes; no thread is started. The pool is not bound to one event loop: it can be used
    in one `asyncio.run` after another, and by the loops of several threads at a time.

    Cancelling a task at any point of its request closes its connection, and serves the next waiting task, before the
    cancellation goes on.
    """

    _is_async = True
    _connection_classes = ASYNC_CONNECTION_CLASSES

    def _make_default_backend(self) -> AsyncNetworkBackend:
        backend: AsyncNetworkBackend = self._package.async_backend()
        return backend

    async def request(
        self,
        method: bytes | str,
        url: URL | bytes | str,
        *,
        headers: HeaderTypes = None,
        content: bytes | typing.AsyncIterable[bytes] | None = None,
        extensions: Extensions | None = None,
    ) -> Response:
        """Sends a request and returns its response, whose body has been read to the end.

        Raises httpcore's exceptions.
        """
        # Where a subclass or a patch replaces `handle_async_request()`, it handles these requests as well. A policy
        # needs an `httpcore.Request`.
        if type(self).handle_async_request is _handle_async_request and self._retrier is None:
            operation = self._engine.fetch(current_host(), method, url, headers, content, extensions)
            if operation is not None:
                response: Response = await adrive(operation)
                return response
        return await _request(self, build_request(self._package, method, url, headers, content, extensions))

    @contextlib.asynccontextmanager
    async def stream(
        self,
        method: bytes | str,
        url: URL | bytes | str,
        *,
        headers: HeaderTypes = None,
        content: bytes | typing.AsyncIterable[bytes] | None = None,
        extensions: Extensions | None = None,
    ) -> typing.AsyncIterator[Response]:
        """Sends a request; its response can be read within the `async with` block and is closed at its end.

        Raises httpcore's exceptions.
        """
        request = build_request(self._package, method, url, headers, content, extensions)
        response = await self.handle_async_request(request)
        try:
            yield response
        finally:
            await response.aclose()

    async def handle_async_request(self, request: Request) -> Response:
        """Sends a request and returns its response when the head has arrived; the body is read from `response.stream`.

        Raises httpcore's exceptions. An exception of the body of `request` passes through unchanged.
        """
        if self._retrier is not None:
            return await self._retrier.ahandle(self, _asend, request)
        if is_patched(request, True):
            return await asend(self, request)
        response: Response = await adrive(self._engine.start(current_host(), request))
        return response

    async def aclose(self) -> None:
        """Closes every connection; tasks that wait for one get a `ReadError`. The pool can be used again."""
        if self._engine.aclose():
            closing = self._engine.close_streams(current_host())
            if closing is not None:
                await closing


_handle_async_request = AsyncConnectionPool.handle_async_request


async def _asend(pool: AsyncConnectionPool, request: Request) -> Response:
    """Does what `handle_async_request()` does without a policy."""
    if is_patched(request, True):
        return await asend(pool, request)
    operation = pool._engine.start(current_host(), request)  # noqa: SLF001  # An attempt of the pool.
    response: Response = await adrive(operation)
    return response


async def _request(pool: AsyncConnectionPool, request: Request) -> Response:
    """Does what `request()` does, by means of `handle_async_request()`."""
    response = await pool.handle_async_request(request)
    try:
        await response.aread()
    finally:
        await response.aclose()
    return response
