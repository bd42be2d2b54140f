"""`install()` and `uninstall()`: the pools of this package in the transports that httpx and httpx2 make themselves."""

from __future__ import annotations

import functools
import importlib
import inspect
import typing

from ._options import DEFAULTS

if typing.TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._options import PoolOptions
    from ._transports import RustPoolTransportMixin

# The module with the transports of this package, by library. httpx2 comes first: it may have taken the place of httpx
# (`alias_httpx()`).
_LIBRARIES = {"httpx2": "httpx2", "httpx": "_httpx"}
# The classes of a library, and the classes of this package that make the pools for them.
_TRANSPORTS = {"HTTPTransport": "SyncTransport", "AsyncHTTPTransport": "AsyncTransport"}

Init = typing.Callable[..., None]


class _State:
    """The options of `install()`, and for each changed class its own `__init__` and the one that replaces it."""

    is_installed = False
    options: typing.ClassVar[PoolOptions] = {}
    changed: typing.ClassVar[dict[typing.Any, tuple[Init, Init]]] = {}


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
    for library in found:
        transports = importlib.import_module(f".{_LIBRARIES[library]}", __package__)
        for replaced, name in _TRANSPORTS.items():
            cls = getattr(importlib.import_module(library), replaced)
            original, init = _State.changed.get(cls) or _prepare(cls, getattr(transports, name))
            if cls.__init__ is original:
                cls.__init__ = init
    _State.options = options
    _State.is_installed = True


def uninstall() -> None:
    """Undoes `install()`. Transports that were made in between keep their pools."""
    _State.is_installed = False
    for cls, (original, init) in _State.changed.items():
        # A patch on top of it stays in place. The `__init__` below calls the original one from now on.
        if cls.__init__ is init:
            cls.__init__ = original


def _is_installed(library: str) -> bool:
    try:
        importlib.import_module(library)
    except ModuleNotFoundError as exc:
        if exc.name != library:
            raise
        return False
    return True


def _prepare(cls: typing.Any, transport: type[RustPoolTransportMixin[typing.Any]]) -> tuple[Init, Init]:
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

    _State.changed[cls] = original, init
    return original, init
