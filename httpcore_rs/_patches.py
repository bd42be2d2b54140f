"""Patches of httpcore's own pools and connections: requests go through what is in the place of their methods.

Mocks (respx, vcrpy), instrumentation and guards replace `handle_request()` or `handle_async_request()` of httpcore's
classes. While a class is patched, requests of the pools of this package take the same way as in httpcore: an object of
httpcore's class gets the request, and calls the patch. The patch may answer, raise, or call the method that it has
replaced. That makes a connection, which is one of this module: it sends the request by the engine.

The engine tells whether a class is patched (`src/python/patches.rs`), at a cost of a few instructions for each request.
"""

from __future__ import annotations

import collections
import functools
import types
import typing

from ._drive import adrive, finish
from ._hosts import current_host
from ._package import HTTPCORE, HTTPCORE2, Package, package_of

if typing.TYPE_CHECKING:
    from httpcore import Origin, Request, Response

    from ._async import AsyncConnectionPool
    from ._connections import ConnectionBase
    from ._sync import ConnectionPool

    Send = typing.Callable[[Request], typing.Any]

_METHODS = ("handle_request", "handle_async_request")
_CLASSES = ("ConnectionPool", "HTTPProxy", "SOCKSProxy", "HTTPConnection")


def watched_classes(package: str, is_async: bool) -> list[type]:
    """Returns the classes of httpcore or httpcore2 that may be patched, for threads or for event loops."""
    module = _package(package).module
    found = [getattr(module, _name(name, is_async)) for name in _CLASSES]
    # Without socksio, httpcore has another class in the place of its SOCKS pool.
    return [cls for cls in found if hasattr(cls, _METHODS[is_async])]


def is_patched(package: str, is_async: bool) -> bool:
    """Returns whether the method of one of these classes is not the one that httpcore defines."""
    return not all(_is_own(cls, _METHODS[is_async]) for cls in watched_classes(package, is_async))


def send(pool: ConnectionPool, request: Request) -> Response:
    """Sends a request of a pool through the patches."""

    def by_engine(request: Request) -> typing.Any:
        return finish(pool._engine.handle_request(request))  # noqa: SLF001  # Beside the patches.

    package = package_of(request)
    if not _is_pool_patched(package, pool, is_async=False):
        response: Response = by_engine(request)
        return response
    return typing.cast("Response", _httpcore_pool(package, pool, by_engine, is_async=False).handle_request(request))


async def asend(pool: AsyncConnectionPool, request: Request) -> Response:
    """Sends a request of a pool through the patches."""

    async def by_engine(request: Request) -> typing.Any:
        return await adrive(pool._engine.start(current_host(), request))  # noqa: SLF001  # Beside the patches.

    package = package_of(request)
    if not _is_pool_patched(package, pool, is_async=True):
        response: Response = await by_engine(request)
        return response
    httpcore_pool = _httpcore_pool(package, pool, by_engine, is_async=True)
    return typing.cast("Response", await httpcore_pool.handle_async_request(request))


def send_on(connection: ConnectionBase, request: Request) -> Response:
    """Sends a request of a single connection through the patches."""

    def by_engine(request: Request) -> typing.Any:
        return finish(connection._connection.handle_request(request))  # noqa: SLF001  # Beside the patches.

    patched = _httpcore_connection(package_of(request), request.url.origin, by_engine, is_async=False)
    return typing.cast("Response", patched.handle_request(request))


async def asend_on(connection: ConnectionBase, request: Request) -> Response:
    """Sends a request of a single connection through the patches."""

    async def by_engine(request: Request) -> typing.Any:
        return await adrive(connection._connection.start(current_host(), request))  # noqa: SLF001  # Beside the patches.

    patched = _httpcore_connection(package_of(request), request.url.origin, by_engine, is_async=True)
    return typing.cast("Response", await patched.handle_async_request(request))


class _EngineConnection:
    """A connection for one request, with the methods by which httpcore's pools and connections use it."""

    def __init__(self, origin: Origin, by_engine: Send) -> None:
        self._origin = origin
        self.handle_request = self.handle_async_request = by_engine

    def can_handle_request(self, origin: Origin) -> bool:
        return origin == self._origin

    def is_closed(self) -> bool:
        # So the pool forgets it with its request.
        return True

    def is_connected(self) -> bool:
        return True

    def is_available(self) -> bool:
        return False

    def is_idle(self) -> bool:
        return False

    def has_expired(self) -> bool:
        return False

    def can_multiplex(self) -> bool:
        return False

    def info(self) -> str:
        return f"{self._origin}, httpcore_rs"

    def close(self) -> None:
        pass

    async def aclose(self) -> None:
        pass


class _PoolMixin:
    """The part of a pool of httpcore's that stands for a pool of this package, for one request."""

    _by_engine: tuple[Package, Send, bool]

    def create_connection(self, origin: Origin) -> typing.Any:
        """Returns a connection that sends by the engine."""
        package, by_engine, is_async = self._by_engine
        return _httpcore_connection(package, origin, by_engine, is_async)


def _httpcore_pool(package: Package, pool: typing.Any, by_engine: Send, is_async: bool) -> typing.Any:
    cls = pool.httpcore_class(package)
    plain = getattr(package.module, _name("ConnectionPool", is_async))
    if not issubclass(cls, plain):
        cls = plain  # Without socksio, httpcore has another class in the place of its SOCKS pool.
    subclass = _subclass(cls)
    made = subclass.__new__(subclass)
    # The constructors of httpcore's pools with a proxy take other arguments.
    plain.__init__(made, network_backend=pool._network_backend)  # noqa: SLF001  # As in httpcore.
    vars(made).update({name: value for name, value in vars(pool).items() if name.startswith("_proxy_")})
    made._by_engine = (package, by_engine, is_async)  # noqa: SLF001  # Of the class above.
    return made


def _httpcore_connection(package: Package, origin: Origin, by_engine: Send, is_async: bool) -> typing.Any:
    connection = getattr(package.module, _name("HTTPConnection", is_async))(origin)
    # In httpcore, this is the connection over HTTP/1.1 or HTTP/2, once it has been made.
    connection._connection = _EngineConnection(origin, by_engine)  # noqa: SLF001
    return connection


@functools.cache
def _subclass(cls: type) -> typing.Any:
    return type(cls.__name__, (_PoolMixin, cls), {"__module__": cls.__module__, "__doc__": cls.__doc__})


def _is_pool_patched(package: Package, pool: typing.Any, is_async: bool) -> bool:
    classes = (pool.httpcore_class(package), getattr(package.module, _name("HTTPConnection", is_async)))
    return not all(_is_own(cls, _METHODS[is_async]) for cls in classes)


def _is_own(cls: type, method: str) -> bool:
    """Returns whether a method is the one that its class was made with: it stands in the file of most others."""
    defining = next((base for base in cls.__mro__ if method in vars(base)), None)
    if defining is None:
        return True
    functions = {name: value for name, value in vars(defining).items() if isinstance(value, types.FunctionType)}
    found = functions.get(method)
    files = collections.Counter(function.__code__.co_filename for function in functions.values())
    return (
        found is not None
        and found.__code__.co_name == method
        and found.__code__.co_filename == files.most_common(1)[0][0]
    )


def _name(cls: str, is_async: bool) -> str:
    return f"Async{cls}" if is_async else cls


def _package(name: str) -> Package:
    return HTTPCORE2 if name == "httpcore2" else HTTPCORE
