"""Single connections, in httpcore's classes: those of a pool, and those that are made and used without one.

`HTTPConnection` connects to an origin by itself. `HTTP11Connection` and `HTTP2Connection` take a network stream that is
connected already. The other classes only occur in the `connections` of a pool with a proxy.
"""

from __future__ import annotations

import types
import typing

from ._bases import (
    AsyncConnectionInterface,
    AsyncContextManager,
    AsyncNetworkBackend,
    AsyncNetworkStream,
    Backend,
    ConnectionInterface,
    Generic,
    NetworkBackend,
    NetworkStream,
    Stream,
    SyncContextManager,
)
from ._drive import adrive, finish
from ._effects import detect_monkey_patches, is_readable
from ._engine import Connection, Engine, is_patched
from ._hosts import current_host
from ._options import DEFAULTS, complete, constructor
from ._package import package_of
from ._patches import asend_on, send_on

if typing.TYPE_CHECKING:
    import ssl

    from httpcore import SOCKET_OPTION, Origin, Request, Response
    from typing_extensions import Unpack

    from ._engine import TLSConfig
    from ._options import EngineOptions, PoolOptions
    from ._package import Package

# The options of the engine behind a connection that is not a pool's: a pool that holds only this connection.
_DEFAULTS: EngineOptions = {
    "ssl_context": None,
    "proxy": None,
    "max_connections": None,
    "max_keepalive_connections": None,
    "keepalive_expiry": None,
    "http1": True,
    "http2": False,
    "retries": 0,
    "local_address": None,
    "uds": None,
    "network_backend": None,
    "python_sockets": None,
    "socket_options": None,
    **DEFAULTS,
}


def _engine(origin: Origin, options: EngineOptions) -> Engine:
    detect_monkey_patches()
    if options["retry"] is not None:
        from ._retry import checked  # Few programs need it.

        checked(options["retry"])
        raise ValueError("retry must be None for a single connection: pools and transports repeat requests")
    return Engine(options, package_of(origin).name)


class ConnectionBase:
    """The state of a connection, for threads and for event loops. Two objects for one connection are equal."""

    _connection: Connection
    # Whether requests go through patches of httpcore's `HTTPConnection`.
    _may_be_patched = True
    # httpcore logs no "close" event for a connection over a stream that the caller made.
    _logs_close = True

    def info(self) -> str:
        """Returns origin, protocol, state and number of requests, as text."""
        return self._connection.info()

    def can_handle_request(self, origin: Origin) -> bool:
        """Returns whether requests to `origin` may use the connection."""
        return self._connection.can_handle_request(origin)

    def is_available(self) -> bool:
        """Returns whether the connection can take a request now."""
        return self._connection.is_available()

    def has_expired(self) -> bool:
        """Returns whether the connection was idle for longer than `keepalive_expiry`, or the server has closed it."""
        expired = self._connection.has_expired()
        return expired if isinstance(expired, bool) else is_readable(expired)

    def is_idle(self) -> bool:
        """Returns whether the connection has no request."""
        return self._connection.is_idle()

    def is_closed(self) -> bool:
        """Returns whether the connection is closed."""
        return self._connection.is_closed()

    def __eq__(self, other: object) -> bool:
        return self._connection == other._connection if isinstance(other, ConnectionBase) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._connection)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} [{self.info()}]>"


class _SyncConnection(ConnectionBase, SyncContextManager, ConnectionInterface):
    _is_async: typing.ClassVar = False

    def handle_request(self, request: Request) -> Response:
        """Sends a request and returns its response when the head has arrived; the body is read from `response.stream`.

        Raises httpcore's exceptions, and `RuntimeError` for a request to another origin.
        """
        if self._may_be_patched and is_patched(request, False):
            return send_on(self, request)
        response: Response = finish(self._connection.handle_request(request))
        return response

    def close(self) -> None:
        """Closes the connection. A thread that waits for a response gets a `ReadError`."""
        closing = self._connection.close(log=self._logs_close)
        if closing is not None:
            closing()


class _AsyncConnection(ConnectionBase, AsyncContextManager, AsyncConnectionInterface):
    _is_async: typing.ClassVar = True

    async def handle_async_request(self, request: Request) -> Response:
        """Sends a request and returns its response when the head has arrived; the body is read from `response.stream`.

        Raises httpcore's exceptions, and `RuntimeError` for a request to another origin.
        """
        if self._may_be_patched and is_patched(request, True):
            return await asend_on(self, request)
        response: Response = await adrive(self._connection.start(current_host(), request))
        return response

    async def aclose(self) -> None:
        """Closes the connection. A task that waits for a response gets a `ReadError`."""
        if self._connection.aclose(log=self._logs_close):
            closing = self._connection.close_streams(current_host())
            if closing is not None:
                await closing


class _OriginConnection(Generic[Backend]):
    """The constructor of connections that connect to their origin."""

    _is_async: typing.ClassVar[bool]
    _descriptions: typing.ClassVar = {
        "origin": """
        The scheme, host and port of all requests.""",
    }

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
        network_backend: Backend | None = None,
        socket_options: typing.Iterable[SOCKET_OPTION] | None = None,
        **options: Unpack[PoolOptions],
    ) -> None:
        """Makes the object; nothing is connected yet.

        Raises `TypeError` for an option of a wrong type and `ValueError` for one of a wrong value.
        """
        engine = _engine(
            origin,
            {
                "ssl_context": ssl_context,
                "proxy": None,
                "max_connections": None,
                "max_keepalive_connections": None,
                "keepalive_expiry": keepalive_expiry,
                "http1": http1,
                "http2": http2,
                "retries": retries,
                "local_address": local_address,
                "uds": uds,
                "network_backend": network_backend,
                "python_sockets": package_of(origin).python_sockets(self._is_async),
                "socket_options": socket_options,
                **complete(self, options),
            },
        )
        self._connection = Connection.to(engine, origin)


class _StreamConnection(Generic[Stream]):
    """The constructor of connections over a network stream that the caller has connected."""

    _descriptions: typing.ClassVar = {
        "origin": """
        The scheme, host and port of all requests.""",
        "stream": """
        The connected stream, in TLS already where the origin is `https`. It is closed with the connection.""",
    }
    _is_async: typing.ClassVar[bool]
    _is_http2: typing.ClassVar[bool]
    _connection: Connection
    _may_be_patched = _logs_close = False

    def __init__(
        self,
        origin: Origin,
        stream: Stream,
        keepalive_expiry: float | None = None,
        **options: Unpack[PoolOptions],
    ) -> None:
        """Makes the object; nothing is sent yet.

        Raises `TypeError` for an option of a wrong type and `ValueError` for one of a wrong value.
        """
        engine = _engine(origin, {**_DEFAULTS, "keepalive_expiry": keepalive_expiry, **complete(self, options)})
        if options.get("connect_policy") is not None:
            raise ValueError("connect_policy cannot check the address of a stream that is connected already")
        self._connection = Connection.over(engine, origin, stream, is_async=self._is_async, http2=self._is_http2)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} [{self._connection.state()}]>"


class _HTTP2Limits:
    """Attributes of httpcore's HTTP/2 connections that programs read: the limits of concurrent streams."""

    _connection: Connection

    @property
    def _max_streams(self) -> int:
        """The largest number of requests at a time: one until the settings of the peer have arrived."""
        return min(self._connection.max_requests() or 1, 100)

    @property
    def _h2_state(self) -> types.SimpleNamespace:
        """The limits of both sides; the lower one applies."""
        remote = types.SimpleNamespace(max_concurrent_streams=self._connection.max_requests() or 1)
        local = types.SimpleNamespace(max_concurrent_streams=100)
        return types.SimpleNamespace(remote_settings=remote, local_settings=local)


@constructor
class HTTPConnection(_OriginConnection[NetworkBackend], _SyncConnection):
    """A connection to one origin. The first request connects it.

    Over HTTP/1.1 it takes one request at a time, and raises `ConnectionNotAvailable` for a further one. Over HTTP/2 it
    takes as many as the server allows; a further one waits, within its `pool` timeout.
    """


@constructor
class AsyncHTTPConnection(_OriginConnection[AsyncNetworkBackend], _AsyncConnection):
    """A connection to one origin. The first request connects it.

    Over HTTP/1.1 it takes one request at a time, and raises `ConnectionNotAvailable` for a further one. Over HTTP/2 it
    takes as many as the server allows; a further one waits, within its `pool` timeout.
    """


@constructor
class HTTP11Connection(_StreamConnection[NetworkStream], _SyncConnection):
    """A connection that uses HTTP/1.1 over a network stream of the caller's. It takes one request at a time."""

    _is_async = _is_http2 = False


@constructor
class AsyncHTTP11Connection(_StreamConnection[AsyncNetworkStream], _AsyncConnection):
    """A connection that uses HTTP/1.1 over a network stream of the caller's. It takes one request at a time."""

    _is_async, _is_http2 = True, False


@constructor
class HTTP2Connection(_StreamConnection[NetworkStream], _HTTP2Limits, _SyncConnection):
    """A connection that uses HTTP/2 over a network stream of the caller's. It takes many requests at a time."""

    _is_async, _is_http2 = False, True


@constructor
class AsyncHTTP2Connection(_StreamConnection[AsyncNetworkStream], _HTTP2Limits, _AsyncConnection):
    """A connection that uses HTTP/2 over a network stream of the caller's. It takes many requests at a time."""

    _is_async = _is_http2 = True


class ForwardHTTPConnection(_SyncConnection):
    """A connection to an HTTP proxy that forwards requests to one origin."""


class TunnelHTTPConnection(_SyncConnection):
    """A connection to an origin through the tunnel of an HTTP proxy."""


class Socks5Connection(_SyncConnection):
    """A connection to an origin through a SOCKS5 proxy."""


class AsyncForwardHTTPConnection(_AsyncConnection):
    """A connection to an HTTP proxy that forwards requests to one origin."""


class AsyncTunnelHTTPConnection(_AsyncConnection):
    """A connection to an origin through the tunnel of an HTTP proxy."""


class AsyncSocks5Connection(_AsyncConnection):
    """A connection to an origin through a SOCKS5 proxy."""


# By the name that the engine has for the route to the origin.
SYNC_CONNECTION_CLASSES: dict[str, type[_SyncConnection]] = {
    "direct": HTTPConnection,
    "forward": ForwardHTTPConnection,
    "tunnel": TunnelHTTPConnection,
    "socks5": Socks5Connection,
}
ASYNC_CONNECTION_CLASSES: dict[str, type[_AsyncConnection]] = {
    "direct": AsyncHTTPConnection,
    "forward": AsyncForwardHTTPConnection,
    "tunnel": AsyncTunnelHTTPConnection,
    "socks5": AsyncSocks5Connection,
}

_AnyConnection = typing.TypeVar("_AnyConnection", bound=ConnectionBase)

_package_classes: dict[tuple[Package, type[typing.Any]], type[typing.Any]] = {}


def class_for_package(package: Package, cls: type[_AnyConnection]) -> type[_AnyConnection]:
    """Returns a subclass of `cls` with the interface of a package, whose methods `request()` and `stream()` it gets."""
    complete_class = _package_classes.get((package, cls))
    if complete_class is None:
        module = package.module
        interface = module.AsyncConnectionInterface if issubclass(cls, _AsyncConnection) else module.ConnectionInterface
        members = {"__doc__": cls.__doc__, "__module__": package.public_module}
        complete_class = type(cls.__name__, (cls, interface), members)
        complete_class = _package_classes.setdefault((package, cls), complete_class)
    return complete_class


def wrap_connections(
    package: Package, classes: typing.Mapping[str, type[_AnyConnection]], connections: list[Connection]
) -> list[_AnyConnection]:
    """Returns the connections of a pool as objects of httpcore's classes, by the route that each of them takes."""

    def wrap(connection: Connection) -> _AnyConnection:
        cls = class_for_package(package, classes[connection.route()])
        # The constructor would make a connection.
        wrapped = cls.__new__(cls)
        wrapped._connection = connection  # noqa: SLF001  # Takes the place of the constructor.
        return wrapped

    return [wrap(connection) for connection in connections]


def connection_classes(package: Package) -> dict[str, type[ConnectionBase]]:
    """Returns the classes that can be used without a pool, by name, with the interface of a package."""
    classes: tuple[type[ConnectionBase], ...] = (
        HTTPConnection,
        HTTP11Connection,
        HTTP2Connection,
        AsyncHTTPConnection,
        AsyncHTTP11Connection,
        AsyncHTTP2Connection,
    )
    return {cls.__name__: class_for_package(package, cls) for cls in classes}
