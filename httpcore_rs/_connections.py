"""Single connections, in httpcore's classes: those of a pool, and those that a caller makes and uses himself."""

from __future__ import annotations

import types
import typing

from ._drive import adrive, finish
from ._effects import heed_monkey_patches, is_readable
from ._engine import Connection, Engine
from ._hosts import current_host
from ._package import package_of

if typing.TYPE_CHECKING:
    import ssl

    from httpcore import (
        SOCKET_OPTION,
        AsyncConnectionInterface,
        AsyncNetworkBackend,
        AsyncNetworkStream,
        ConnectionInterface,
        NetworkBackend,
        NetworkStream,
        Origin,
        Request,
        Response,
    )
    from typing_extensions import Self

    from ._engine import TLSConfig
    from ._package import Package
else:
    # `of_package()` adds the interface that is meant.
    AsyncConnectionInterface = ConnectionInterface = object


def _engine(
    origin: Origin,
    ssl_context: ssl.SSLContext | TLSConfig | None = None,
    keepalive_expiry: float | None = None,
    http1: bool = True,
    http2: bool = False,
    retries: int = 0,
    local_address: str | None = None,
    uds: str | None = None,
    network_backend: NetworkBackend | AsyncNetworkBackend | None = None,
    socket_options: typing.Iterable[SOCKET_OPTION] | None = None,
) -> Engine:
    """What a single connection runs on: a pool that has only this one."""
    package = package_of(origin)
    heed_monkey_patches()
    return Engine(
        ssl_context=ssl_context,
        proxy=None,
        max_connections=None,
        max_keepalive_connections=None,
        keepalive_expiry=keepalive_expiry,
        http1=http1,
        http2=http2,
        retries=retries,
        local_address=local_address,
        uds=uds,
        network_backend=network_backend,
        socket_options=socket_options,
        package=package.name,
        http2_ping_interval=None,
        http2_ping_timeout=20.0,
    )


class _View:
    """What can be seen of a connection, whoever uses it. Two views of one connection are equal."""

    _connection: Connection
    # httpcore has no event for the end of a connection that it did not make.
    _logs_close = True

    def info(self) -> str:
        """Origin, protocol, state and number of requests."""
        return self._connection.info()

    def can_handle_request(self, origin: Origin) -> bool:
        """Whether requests to `origin` may go over the connection."""
        return self._connection.can_handle_request(origin)

    def is_available(self) -> bool:
        """Whether the connection can take a request now."""
        return self._connection.is_available()

    def has_expired(self) -> bool:
        """Whether the connection has been idle for longer than it is kept, or was closed by the server meanwhile."""
        expired = self._connection.has_expired()
        return expired if isinstance(expired, bool) else is_readable(expired)

    def is_idle(self) -> bool:
        """Whether the connection has no request on it."""
        return self._connection.is_idle()

    def is_closed(self) -> bool:
        """Whether the connection is closed."""
        return self._connection.is_closed()

    def __eq__(self, other: object) -> bool:
        return self._connection == other._connection if isinstance(other, _View) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._connection)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} [{self.info()}]>"


_AnyView = typing.TypeVar("_AnyView", bound=_View)


_made: dict[tuple[Package, type[typing.Any]], type[typing.Any]] = {}


def of_package(package: Package, cls: type[_AnyView]) -> type[_AnyView]:
    """The class for users of a package: with its interface, whose `request()` and `stream()` make its own requests."""
    made = _made.get((package, cls))
    if made is None:
        module = package.module
        interface = module.AsyncConnectionInterface if issubclass(cls, _AsyncConnection) else module.ConnectionInterface
        members = {"__doc__": cls.__doc__, "__module__": cls.__module__}
        made = _made.setdefault((package, cls), type(cls.__name__, (cls, interface), members))
    return made


def views(
    package: Package, classes: typing.Mapping[str, type[_AnyView]], connections: list[Connection]
) -> list[_AnyView]:
    """The connections of a pool as its users see them: each in the class for the way that it leads to its origin."""

    def view(connection: Connection) -> _AnyView:
        cls = of_package(package, classes[connection.route()])
        made = cls.__new__(cls)
        made._connection = connection  # noqa: SLF001  # An instance that its __init__ does not make.
        return made

    return [view(connection) for connection in connections]


class _SyncConnection(_View, ConnectionInterface):
    def handle_request(self, request: Request) -> Response:
        """Sends a request and returns its response when the head has arrived; its body is read from `.stream`."""
        response: Response = finish(self._connection.handle_request(request))
        return response

    def close(self) -> None:
        """Closes the connection. A thread that waits for a response gets a `ReadError`."""
        closing = self._connection.close(log=self._logs_close)
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


class _AsyncConnection(_View, AsyncConnectionInterface):
    async def handle_async_request(self, request: Request) -> Response:
        """Sends a request and returns its response when the head has arrived; its body is read from `.stream`."""
        response: Response = await adrive(self._connection.start(current_host(), request))
        return response

    async def aclose(self) -> None:
        """Closes the connection. A task that waits for a response gets a `ReadError`."""
        if self._connection.aclose(log=self._logs_close):
            closing = self._connection.close_streams(current_host())
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


class _HTTP2View:
    """What is looked at of httpcore's HTTP/2 connections beside their interface: the limits of concurrent streams."""

    _connection: Connection

    @property
    def _max_streams(self) -> int:
        """How many requests there may be at a time: one until the peer's settings have come."""
        return min(self._connection.max_requests() or 1, 100)

    @property
    def _h2_state(self) -> types.SimpleNamespace:
        """The limits of both sides: a connection carries as many requests as both admit."""
        remote = types.SimpleNamespace(max_concurrent_streams=self._connection.max_requests() or 1)
        local = types.SimpleNamespace(max_concurrent_streams=100)
        return types.SimpleNamespace(remote_settings=remote, local_settings=local)


class HTTPConnection(_SyncConnection):
    """A connection to one origin, made by the first request. It takes one request at a time, over HTTP/2 many.

    A request that it cannot take now raises `ConnectionNotAvailable`; over HTTP/2 it waits until there is room, within
    the `pool` timeout. One to another origin raises `RuntimeError`.
    """

    def __init__(
        self,
        origin: Origin,
        ssl_context: ssl.SSLContext | TLSConfig | None = None,
        keepalive_expiry: float | None = None,
        http1: bool = True,
        http2: bool = False,
        retries: int = 0,
        local_address: str | None = None,
        uds: str | None = None,
        network_backend: NetworkBackend | None = None,
        socket_options: typing.Iterable[SOCKET_OPTION] | None = None,
    ) -> None:
        engine = _engine(
            origin,
            ssl_context,
            keepalive_expiry,
            http1,
            http2,
            retries,
            local_address,
            uds,
            network_backend,
            socket_options,
        )
        self._connection = Connection.to(engine, origin)


class HTTP11Connection(_SyncConnection):
    """A connection that speaks HTTP/1.1 over a network stream of the caller's. It takes one request at a time."""

    _logs_close = False

    def __init__(self, origin: Origin, stream: NetworkStream, keepalive_expiry: float | None = None) -> None:
        engine = _engine(origin, keepalive_expiry=keepalive_expiry)
        self._connection = Connection.over(engine, origin, stream, is_async=False, http2=False)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} [{self._connection.state()}]>"


class HTTP2Connection(_HTTP2View, _SyncConnection):
    """A connection that speaks HTTP/2 over a network stream of the caller's. It takes many requests at a time."""

    _logs_close = False

    def __init__(self, origin: Origin, stream: NetworkStream, keepalive_expiry: float | None = None) -> None:
        engine = _engine(origin, keepalive_expiry=keepalive_expiry)
        self._connection = Connection.over(engine, origin, stream, is_async=False, http2=True)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} [{self._connection.state()}]>"


class AsyncHTTPConnection(_AsyncConnection):
    """A connection to one origin, made by the first request. It takes one request at a time, over HTTP/2 many.

    A request that it cannot take now raises `ConnectionNotAvailable`; over HTTP/2 it waits until there is room, within
    the `pool` timeout. One to another origin raises `RuntimeError`.
    """

    def __init__(
        self,
        origin: Origin,
        ssl_context: ssl.SSLContext | TLSConfig | None = None,
        keepalive_expiry: float | None = None,
        http1: bool = True,
        http2: bool = False,
        retries: int = 0,
        local_address: str | None = None,
        uds: str | None = None,
        network_backend: AsyncNetworkBackend | None = None,
        socket_options: typing.Iterable[SOCKET_OPTION] | None = None,
    ) -> None:
        engine = _engine(
            origin,
            ssl_context,
            keepalive_expiry,
            http1,
            http2,
            retries,
            local_address,
            uds,
            network_backend,
            socket_options,
        )
        self._connection = Connection.to(engine, origin)


class AsyncHTTP11Connection(_AsyncConnection):
    """A connection that speaks HTTP/1.1 over a network stream of the caller's. It takes one request at a time."""

    _logs_close = False

    def __init__(self, origin: Origin, stream: AsyncNetworkStream, keepalive_expiry: float | None = None) -> None:
        engine = _engine(origin, keepalive_expiry=keepalive_expiry)
        self._connection = Connection.over(engine, origin, stream, is_async=True, http2=False)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} [{self._connection.state()}]>"


class AsyncHTTP2Connection(_HTTP2View, _AsyncConnection):
    """A connection that speaks HTTP/2 over a network stream of the caller's. It takes many requests at a time."""

    _logs_close = False

    def __init__(self, origin: Origin, stream: AsyncNetworkStream, keepalive_expiry: float | None = None) -> None:
        engine = _engine(origin, keepalive_expiry=keepalive_expiry)
        self._connection = Connection.over(engine, origin, stream, is_async=True, http2=True)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} [{self._connection.state()}]>"


class ForwardHTTPConnection(_SyncConnection):
    """A connection to an HTTP proxy that passes on requests to one origin."""


class TunnelHTTPConnection(_SyncConnection):
    """A connection to an origin through the tunnel of an HTTP proxy."""


class Socks5Connection(_SyncConnection):
    """A connection to an origin through a SOCKS5 proxy."""


class AsyncForwardHTTPConnection(_AsyncConnection):
    """A connection to an HTTP proxy that passes on requests to one origin."""


class AsyncTunnelHTTPConnection(_AsyncConnection):
    """A connection to an origin through the tunnel of an HTTP proxy."""


class AsyncSocks5Connection(_AsyncConnection):
    """A connection to an origin through a SOCKS5 proxy."""


SYNC_VIEWS: dict[str, type[_SyncConnection]] = {
    "direct": HTTPConnection,
    "forward": ForwardHTTPConnection,
    "tunnel": TunnelHTTPConnection,
    "socks5": Socks5Connection,
}
ASYNC_VIEWS: dict[str, type[_AsyncConnection]] = {
    "direct": AsyncHTTPConnection,
    "forward": AsyncForwardHTTPConnection,
    "tunnel": AsyncTunnelHTTPConnection,
    "socks5": AsyncSocks5Connection,
}


def publish(package: Package, namespace: dict[str, typing.Any]) -> None:
    """Puts those that a caller can make himself among the names of a module."""
    for cls in (
        HTTPConnection,
        HTTP11Connection,
        HTTP2Connection,
        AsyncHTTPConnection,
        AsyncHTTP11Connection,
        AsyncHTTP2Connection,
    ):
        made: type[_View] = of_package(package, cls)
        made.__module__ = namespace["__name__"]
        namespace[cls.__name__] = made
