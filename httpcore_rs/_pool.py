"""The base class of the connection pools for threads and for event loops."""

from __future__ import annotations

import typing

from ._bases import Backend, Generic, Interface
from ._connections import wrap_connections
from ._effects import detect_monkey_patches
from ._engine import Engine
from ._options import complete
from ._package import HTTPCORE

if typing.TYPE_CHECKING:
    import ssl

    from httpcore import SOCKET_OPTION, Proxy
    from typing_extensions import Unpack

    from ._engine import TLSConfig
    from ._metrics import PoolMetrics
    from ._options import PoolOptions
    from ._package import Package
    from ._retry import Retrier


class PoolRequest(typing.NamedTuple):
    """A request of a pool, as far as `PoolBase._requests` tells about it."""

    is_active: bool

    def is_queued(self) -> bool:
        """Returns whether it waits for a connection."""
        return not self.is_active


class PoolBase(Generic[Backend, Interface]):
    """A pool without the methods that send requests."""

    _package: Package = HTTPCORE
    _is_async: typing.ClassVar[bool]
    # By the route that a connection takes to its origin.
    _connection_classes: typing.Mapping[str, typing.Any]
    # The name of httpcore's class that this one takes the place of, without "Async".
    _httpcore_name = "ConnectionPool"
    # What repeats requests, if the pool has a policy.
    _retrier: Retrier | None = None

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
        network_backend: Backend | None = None,
        socket_options: typing.Iterable[SOCKET_OPTION] | None = None,
        **options: Unpack[PoolOptions],
    ) -> None:
        """Makes a pool; nothing is connected yet.

        Raises `TypeError` for an option of a wrong type and `ValueError` for one of a wrong value.
        """
        if not self._is_async:
            detect_monkey_patches()
        self._engine = Engine(
            {
                "ssl_context": ssl_context,
                "proxy": proxy,
                "max_connections": max_connections,
                "max_keepalive_connections": max_keepalive_connections,
                "keepalive_expiry": keepalive_expiry,
                "http1": http1,
                "http2": http2,
                "retries": retries,
                "local_address": local_address,
                "uds": uds,
                "network_backend": network_backend,
                "python_sockets": self._package.python_sockets(self._is_async),
                "socket_options": socket_options,
                **complete(self, options),
            },
            self._package.name,
        )
        if options.get("retry") is not None:
            from ._retry import make_retrier  # Few programs need it.

            self._retrier = make_retrier(options["retry"], options.get("total_timeout"))

    @classmethod
    def httpcore_class(cls, package: Package) -> typing.Any:
        """Returns the class of httpcore, or of httpcore2, that this class takes the place of."""
        return getattr(package.module, f"Async{cls._httpcore_name}" if cls._is_async else cls._httpcore_name)

    @property  # type: ignore[misc]  # It is not to be assigned.
    def __class__(self) -> typing.Any:
        # For `isinstance(transport._pool, httpcore.HTTPProxy)` and the like, which programs and mocks ask. The type is
        # another one: what httpcore's class inherits and does has no place here.
        return self.httpcore_class(self._package)

    @property
    def connections(self) -> typing.Sequence[Interface]:
        """The connections that the pool has now, in the order in which they were made."""
        return wrap_connections(self._package, self._connection_classes, self._engine.connections())

    def metrics(self) -> PoolMetrics:
        """Returns what the pool has done so far and is doing now, in numbers.

        They are always counted, which costs next to nothing. `close()` does not reset them; a forked child begins
        anew.
        """
        from ._metrics import of_engine  # Most programs do not ask.

        return of_engine(self._engine)

    @property
    def _requests(self) -> list[PoolRequest]:
        """An entry for each request, those that wait included. Users of httpcore count them, to find leaks."""
        active, queued = self._engine.requests()
        return [PoolRequest(is_active=True)] * active + [PoolRequest(is_active=False)] * queued

    @property
    def _network_backend(self) -> Backend:
        """The object that makes the connections. Users of httpcore assign to it, to put a guard in its place."""
        backend: Backend = self._engine.network_backend or self._default_backend
        return backend

    @_network_backend.setter
    def _network_backend(self, network_backend: Backend) -> None:
        # The default backend is there to be wrapped. Where it is assigned unchanged, the engine connects by itself.
        self._engine.network_backend = None if network_backend is self._default_backend else network_backend

    @property
    def _default_backend(self) -> Backend:
        """The network backend of httpcore, which does with Python's sockets what the engine does by itself."""
        attributes = self.__dict__
        backend: Backend | None = attributes.get("_httpcore_backend")
        if backend is None:
            # Threads that make one at the same time get the same one. `functools.cached_property` does not see to that.
            backend = attributes.setdefault("_httpcore_backend", self._make_default_backend())
        return backend

    def _make_default_backend(self) -> Backend:
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<{type(self).__name__} [{self._engine.summary()}]>"
