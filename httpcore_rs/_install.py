"""`install()` and `uninstall()`: the pools of this package in the transports that httpx and httpx2 make themselves."""

from __future__ import annotations

import functools
import importlib
import inspect
import typing

from ._drive import adrive
from ._fork_lock import ForkLock
from ._options import DEFAULTS

if typing.TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._fast_path import AsyncPath, SyncPath
    from ._options import PoolOptions
    from ._transports import RustPoolTransportMixin

# The module with the transports of this package, by library. httpx2 comes first: it may have taken the place of httpx
# (`alias_httpx()`).
_LIBRARIES = {"httpx2": "httpx2", "httpx": "_httpx"}
# The classes of a library, and the classes of this package that make the pools for them.
_TRANSPORTS = {"HTTPTransport": "SyncTransport", "AsyncHTTPTransport": "AsyncTransport"}

Init = typing.Callable[..., None]


class _State:
    """The options of `install()`, and the replacements of methods by class."""

    is_installed = False
    options: typing.ClassVar[PoolOptions] = {}
    changed: typing.ClassVar[dict[typing.Any, list[_Replacement]]] = {}


# Held while the classes are changed.
_changes = ForkLock()


class _Replacement(typing.NamedTuple):
    """A method of a class, and the one that replaces it."""

    name: str
    original: typing.Any
    replacing: typing.Any

    def put(self, cls: typing.Any) -> None:
        """Replaces the method, unless something else is in its place."""
        if getattr(cls, self.name) is self.original:
            setattr(cls, self.name, self.replacing)

    def undo(self, cls: typing.Any) -> None:
        """Puts the original back. A patch on top of the replacement stays; from now on that calls the original."""
        if getattr(cls, self.name) is self.replacing:
            setattr(cls, self.name, self.original)


def install(**options: Unpack[PoolOptions]) -> None:
    """Puts the pools of this package into each `HTTPTransport` and `AsyncHTTPTransport` that httpx and httpx2 make.

    This covers every client that is not given a transport of another kind, the clients inside SDKs, and the proxies
    that clients take from the environment. The arguments of the transports keep their meaning; TLS is done by rustls
    unless `verify` is an `ssl.SSLContext`. Subclasses of the transports are covered as well, and patches of
    `handle_request()` keep working. Transports that exist already stay as they are. A further call only replaces the
    options.

    Parameters:
        options: `http2_ping_interval` and `http2_ping_timeout`, in seconds, for all pools, as `ConnectionPool` takes
            them. The transports take them as well while this is in effect, and also `network_backend`.

    Raises `ModuleNotFoundError` if neither library is installed, and `TypeError` for an option that does not exist.
    `uninstall()` undoes it.
    """
    for name in options:
        if name not in DEFAULTS:
            raise TypeError(f"install() got an unexpected keyword argument {name!r}")
    found = [library for library in _LIBRARIES if _is_installed(library)]
    if not found:
        raise ModuleNotFoundError("httpcore_rs.install() needs httpx or httpx2, and neither is installed")
    # Imported without the lock: another thread may import them, and wait for the lock.
    transports = {library: importlib.import_module(f".{_LIBRARIES[library]}", __package__) for library in found}
    with _changes.lock:
        for library in found:
            for replaced, name in _TRANSPORTS.items():
                _replace(getattr(importlib.import_module(library), replaced), getattr(transports[library], name))
        _State.options = options
        _State.is_installed = True


def uninstall() -> None:
    """Undoes `install()`. Transports that were made in between keep their pools."""
    with _changes.lock:
        _State.is_installed = False
        for cls, replacements in _State.changed.items():
            for replacement in replacements:
                replacement.undo(cls)


def _replace(cls: typing.Any, transport: typing.Any) -> None:
    if cls not in _State.changed:
        _State.changed[cls] = [_constructor(cls, transport), *_handlers(transport._fast_path)]  # noqa: SLF001
    for replacement in _State.changed[cls]:
        replacement.put(cls)


def _is_installed(library: str) -> bool:
    try:
        importlib.import_module(library)
    except ModuleNotFoundError as exc:
        if exc.name != library:
            raise
        return False
    return True


def _constructor(cls: typing.Any, transport: type[RustPoolTransportMixin[typing.Any]]) -> _Replacement:
    """Returns the `__init__()` that makes a pool of this package."""
    original: Init = cls.__init__
    # The order of the arguments differs between versions of httpx.
    signature = inspect.signature(original)
    if "verify" not in signature.parameters:
        # A patch with a signature of its own, such as `*args, **kwargs`.
        signature = inspect.signature(transport.__init__)
    added = {"network_backend", *DEFAULTS} - {*signature.parameters}

    @functools.wraps(original)
    def init(self: typing.Any, *args: typing.Any, **kwargs: typing.Any) -> None:
        if not _State.is_installed:
            original(self, *args, **kwargs)
            return
        options = {name: kwargs.pop(name) for name in added & kwargs.keys()}
        try:
            bound = signature.bind(self, *args, **kwargs)
        except TypeError as exc:
            raise TypeError(f"{cls.__qualname__}.__init__() {exc}") from None
        bound.apply_defaults()
        arguments = {**_State.options, **bound.arguments, **options}
        del arguments["self"]
        own = {name: arguments.pop(name) for name in ("verify", "cert", "trust_env", "limits", "proxy", "uds")}
        self._pool = transport.make_pool(**own, arguments=arguments)

    return _Replacement("__init__", original, init)


def _handlers(path: SyncPath | AsyncPath) -> typing.Iterator[_Replacement]:
    """Yields the method that takes the fast path with pools of this package."""
    original = path.own_handler
    if original is not None:
        # A patch that is in place now stays there, and its requests take the slow path.
        make: typing.Any = _async_handler if inspect.iscoroutinefunction(original) else _sync_handler
        yield _Replacement(original.__name__, original, make(path, original))


def _sync_handler(path: SyncPath, original: typing.Any) -> typing.Any:
    @functools.wraps(original)
    def handle_request(self: typing.Any, request: typing.Any) -> typing.Any:
        response = path.handle(self._pool, request)
        return original(self, request) if response is None else response

    return handle_request


def _async_handler(path: AsyncPath, original: typing.Any) -> typing.Any:
    @functools.wraps(original)
    async def handle_async_request(self: typing.Any, request: typing.Any) -> typing.Any:
        operation = path.start(self._pool, request)
        if operation is None:
            return await original(self, request)
        try:
            return await adrive(operation)
        except Exception:
            with path.map_exceptions():
                raise

    return handle_async_request
