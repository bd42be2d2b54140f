"""Our pools under every transport of httpx and httpx2 that is made from now on, whoever makes it."""

from __future__ import annotations

import functools
import importlib
import inspect
import typing

if typing.TYPE_CHECKING:
    from ._transports import OnOurPools

# By library: the module with the transports of ours, and their classes with those that they stand in for. httpx2 comes
# first: it may have taken the place of httpx (`alias_httpx()`).
_LIBRARIES = {"httpx2": "httpx2", "httpx": "_httpx"}
_TRANSPORTS = {"HTTPTransport": "SyncTransport", "AsyncHTTPTransport": "AsyncTransport"}

Init = typing.Callable[..., None]


class _State:
    """What was done to the classes: of each its own __init__, and the one that can stand in its place."""

    is_installed = False
    changed: typing.ClassVar[dict[typing.Any, tuple[Init, Init]]] = {}


def install() -> None:
    """Puts our pools under every `HTTPTransport` and `AsyncHTTPTransport` of httpx and httpx2 that is made from now on.

    That is every client that is not given a transport of another kind, also those that an SDK makes for itself, and
    the proxies that they take from the environment. Arguments keep their meaning; TLS is done by rustls unless `verify`
    is an `ssl.SSLContext`. Subclasses of the transports are served as well, and patches of `handle_request()` keep
    working. Transports that were made before stay as they are. Calling it again changes nothing.

    Raises `ModuleNotFoundError` if neither library is installed. `uninstall()` undoes it.
    """
    found = [library for library in _LIBRARIES if _is_installed(library)]
    if not found:
        raise ModuleNotFoundError("httpcore_rs.install() needs httpx or httpx2, and neither is installed")
    for library in found:
        ours = importlib.import_module(f".{_LIBRARIES[library]}", __package__)
        for theirs, name in _TRANSPORTS.items():
            cls = getattr(importlib.import_module(library), theirs)
            original, init = _State.changed.get(cls) or _prepare(cls, getattr(ours, name))
            if cls.__init__ is original:
                cls.__init__ = init
    _State.is_installed = True


def uninstall() -> None:
    """Undoes `install()`. Transports that were made meanwhile keep our pools."""
    _State.is_installed = False
    for cls, (original, init) in _State.changed.items():
        # A patch that somebody has put on top stays; ours below it does nothing from now on.
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


def _prepare(cls: typing.Any, ours: type[OnOurPools]) -> tuple[Init, Init]:
    original: Init = cls.__init__
    # The order of the arguments differs between versions of httpx.
    signature = inspect.signature(original)
    if "verify" not in signature.parameters:
        # Somebody's patch, which does not tell.
        signature = inspect.signature(ours.__init__)

    @functools.wraps(original)
    def init(self: typing.Any, *args: typing.Any, **kwargs: typing.Any) -> None:
        if not _State.is_installed:
            original(self, *args, **kwargs)
            return
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        arguments = dict(bound.arguments)
        del arguments["self"]
        self._pool = ours.make_pool(**arguments)

    _State.changed[cls] = original, init
    return original, init
