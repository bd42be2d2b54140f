"""The connection pool for threads."""

from __future__ import annotations

import contextlib
import functools
import typing

from ._connections import SYNC_VIEWS, views
from ._drive import finish
from ._effects import heed_monkey_patches
from ._engine import Engine
from ._interface import build_request
from ._package import HTTPCORE

if typing.TYPE_CHECKING:
    import ssl
    import types

    from httpcore import SOCKET_OPTION, URL, ConnectionInterface, NetworkBackend, Proxy, Request, Response
    from httpcore._models import Extensions, HeaderTypes
    from typing_extensions import Self

    from ._engine import TLSConfig


class ConnectionPool:
    """A connection pool for making HTTP requests, safe to share between threads.

    The calling thread moves its own bytes; the interpreter is released meanwhile and Ctrl-C is answered at once.
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
        network_backend: NetworkBackend | None = None,
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
                `HTTPProxy` and `SOCKSProxy`.
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
                `httpcore.NetworkBackend`. Its streams carry the bytes, its timeouts count, and it does TLS.
            socket_options: `setsockopt` arguments that are applied to every socket.
            http2_ping_interval: After so many seconds without a byte an HTTP/2 server is sent a PING. `None` for never.
            http2_ping_timeout: For how many seconds its answer is awaited; then the connection counts as dead.
        """
        heed_monkey_patches()
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
    def connections(self) -> typing.Sequence[ConnectionInterface]:
        """The connections in the pool at the moment, in the order in which they were made."""
        return views(self._package, SYNC_VIEWS, self._engine.connections())

    @property
    def _network_backend(self) -> NetworkBackend:
        """What makes the connections. httpcore's users assign to it to put a guard in its place."""
        return self._engine.network_backend or self._own_backend

    @_network_backend.setter
    def _network_backend(self, network_backend: NetworkBackend) -> None:
        # Ours is only there to be wrapped: if it comes back as it was, the engine needs no detour.
        self._engine.network_backend = None if network_backend is self._own_backend else network_backend

    @functools.cached_property
    def _own_backend(self) -> NetworkBackend:
        """httpcore's, which does by Python's sockets what the engine does by itself."""
        backend: NetworkBackend = self._package.sync_backend()
        return backend

    def request(
        self,
        method: bytes | str,
        url: URL | bytes | str,
        *,
        headers: HeaderTypes = None,
        content: bytes | typing.Iterable[bytes] | None = None,
        extensions: Extensions | None = None,
    ) -> Response:
        """Sends a request and returns its response, read to the end."""
        # Whoever handles requests himself, in a subclass or by a patch, handles those of `request()` as well.
        if type(self).handle_request is _handle_request:
            result = self._engine.request(method, url, headers, content, extensions)
            if result is not None:
                whole: Response = finish(result)
                return whole
        return _request(self, build_request(self._package, method, url, headers, content, extensions))

    @contextlib.contextmanager
    def stream(
        self,
        method: bytes | str,
        url: URL | bytes | str,
        *,
        headers: HeaderTypes = None,
        content: bytes | typing.Iterable[bytes] | None = None,
        extensions: Extensions | None = None,
    ) -> typing.Iterator[Response]:
        """Sends a request; its response can be read within the `with` block and is closed at its end."""
        response = self.handle_request(build_request(self._package, method, url, headers, content, extensions))
        try:
            yield response
        finally:
            response.close()

    def handle_request(self, request: Request) -> Response:
        """Sends a request and returns its response when the head has arrived; the body is read from `response.stream`.

        Raises httpcore's exceptions. If the body of `request` raises, that exception passes through unchanged.
        """
        response: Response = finish(self._engine.handle_request(request))
        return response

    def close(self) -> None:
        """Closes every connection; threads that wait for one get a `ReadError`. The pool can be used again."""
        closing = self._engine.close()
        if closing is not None:
            closing()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: types.TracebackType | None = None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} [{self._engine.summary()}]>"


_handle_request = ConnectionPool.handle_request


def _request(pool: ConnectionPool, request: Request) -> Response:
    """`request()` by way of `handle_request()`."""
    response = pool.handle_request(request)
    try:
        response.read()
    finally:
        response.close()
    return response
