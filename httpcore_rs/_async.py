"""The connection pool for event loops."""

from __future__ import annotations

import contextlib
import functools
import typing

from ._connections import ASYNC_VIEWS, views
from ._drive import adrive
from ._engine import Engine
from ._hosts import current_host
from ._interface import build_request
from ._package import HTTPCORE

if typing.TYPE_CHECKING:
    import ssl
    import types

    from httpcore import SOCKET_OPTION, URL, AsyncConnectionInterface, AsyncNetworkBackend, Proxy, Request, Response
    from httpcore._models import Extensions, HeaderTypes
    from typing_extensions import Self

    from ._engine import TLSConfig


class AsyncConnectionPool:
    """A connection pool for making HTTP requests under asyncio, uvloop or trio.

    The awaiting task moves its own bytes, no thread is started. The pool belongs to no loop: it can be used in one
    `asyncio.run` after another, and by the loops of several threads at a time.

    Cancelling a task at any point of its request closes that connection, and serves the next task in line, there and
    then.
    """

    _package = HTTPCORE

    def __init__(
        self,
        ssl_context: ssl.SSLContext | TLSConfig | None = None,
        proxy: Proxy | None = None,
        max_connections: int | None = 10,
        max_keepalive_connections: int | None = None,
        keepalive_expiry: float | None = None,
        http1: bool = True,
        http2: bool = False,
        retries: int = 0,
        local_address: str | None = None,
        uds: str | None = None,
        network_backend: AsyncNetworkBackend | None = None,
        socket_options: typing.Iterable[SOCKET_OPTION] | None = None,
        *,
        http2_ping_interval: float | None = None,
        http2_ping_timeout: float = 20.0,
    ) -> None:
        """Makes a pool; nothing is connected yet.

        Parameters:
            ssl_context: A `TLSConfig`, or `None` to verify against certifi's authorities. With an `ssl.SSLContext`
                Python's `ssl` does TLS, exactly as it is told, on the engine's own sockets; that is slower. With
                `http2=True` its ALPN list is set before each handshake.
            proxy: The `httpcore.Proxy` that all requests go through: `http`, `https`, `socks5` or `socks5h`. See
                `AsyncHTTPProxy` and `AsyncSOCKSProxy`.
            max_connections: How many connections there may be at a time; further requests wait, first come, first
                served. `None` for no limit.
            max_keepalive_connections: How many idle connections are kept. `None` for no limit.
            keepalive_expiry: For how many seconds an idle connection is kept. `None` for ever.
            http1: Whether HTTP/1.1 is spoken.
            http2: Whether HTTP/2 is spoken: where TLS chooses it (ALPN), or, without `http1`, everywhere. Requests to
                one origin then share a connection, as many at a time as the server allows.
            retries: How often a connection that fails to be made (`ConnectError`, `ConnectTimeout`) is tried again,
                after 0, 0.5, 1, 2, 4 ... seconds.
            local_address: The IP address to connect from; also chooses the address family.
            uds: The path of a Unix domain socket to connect to, whatever the URL's host. Without effect if there is a
                proxy, as in httpcore.
            network_backend: What makes the connections in the engine's place: an object with the methods of
                `httpcore.AsyncNetworkBackend`. Its streams carry the bytes, its timeouts count, and it does TLS.
            socket_options: `setsockopt` arguments that are applied to every socket.
            http2_ping_interval: After so many seconds without a byte an HTTP/2 server is sent a PING. `None` for never.
            http2_ping_timeout: For how many seconds its answer is awaited; then the connection counts as dead.
        """
        self._engine = Engine(
            ssl_context=ssl_context,
            proxy=proxy,
            max_connections=max_connections,
            max_keepalive_connections=max_keepalive_connections,
            keepalive_expiry=keepalive_expiry,
            http1=http1,
            http2=http2,
            retries=retries,
            local_address=local_address,
            uds=uds,
            network_backend=network_backend,
            socket_options=socket_options,
            http2_ping_interval=http2_ping_interval,
            http2_ping_timeout=http2_ping_timeout,
            package=self._package.name,
        )

    @property
    def connections(self) -> typing.Sequence[AsyncConnectionInterface]:
        """The connections in the pool at the moment, in the order in which they were made."""
        return views(self._package, ASYNC_VIEWS, self._engine.connections())

    @property
    def _network_backend(self) -> AsyncNetworkBackend:
        """What makes the connections. httpcore's users assign to it to put a guard in its place."""
        return self._engine.network_backend or self._own_backend

    @_network_backend.setter
    def _network_backend(self, network_backend: AsyncNetworkBackend) -> None:
        # Ours is only there to be wrapped: if it comes back as it was, the engine needs no detour.
        self._engine.network_backend = None if network_backend is self._own_backend else network_backend

    @functools.cached_property
    def _own_backend(self) -> AsyncNetworkBackend:
        """httpcore's, which does by Python's sockets what the engine does by itself."""
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
        """Sends a request and returns its response, read to the end."""
        # Whoever handles requests himself, in a subclass or by a patch, handles those of `request()` as well.
        if type(self).handle_async_request is _handle_async_request:
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
        """Sends a request; its response can be read within the `async with` block and is closed at its end."""
        response = await self.handle_async_request(
            build_request(self._package, method, url, headers, content, extensions)
        )
        try:
            yield response
        finally:
            await response.aclose()

    async def handle_async_request(self, request: Request) -> Response:
        """Sends a request and returns its response when the head has arrived; the body is read from `response.stream`.

        Raises httpcore's exceptions. If the body of `request` raises, that exception passes through unchanged.
        """
        response: Response = await adrive(self._engine.start(current_host(), request))
        return response

    async def aclose(self) -> None:
        """Closes every connection; tasks that wait for one get a `ReadError`. The pool can be used again."""
        if self._engine.aclose():
            closing = self._engine.close_streams(current_host())
            if closing is not None:
                await closing

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: types.TracebackType | None = None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} [{self._engine.summary()}]>"


_handle_async_request = AsyncConnectionPool.handle_async_request


async def _request(pool: AsyncConnectionPool, request: Request) -> Response:
    """`request()` by way of `handle_async_request()`."""
    response = await pool.handle_async_request(request)
    try:
        await response.aread()
    finally:
        await response.aclose()
    return response
