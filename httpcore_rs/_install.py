"""Our pools under every transport of httpx and httpx2 that is made from now on, whoever makes it."""

from __future__ import annotations

import functools
import importlib
import inspect
import typing

if typing.TYPE_CHECKING:
    from ._transports import OnOurPools

# By library: the module with the transports of ours, and their classes with those that they stand in for.
_LIBRARIES = {"httpx": "_httpx", "httpx2": "httpx2"}
_TRANSPORTS = {"HTTPTransport": "SyncTransport", "AsyncHTTPTransport": "AsyncTransport"}

Init = typing.Callable[..., None]

# Of each class that was changed its own __init__, and what is in its place.
_replaced: dict[type, tuple[Init, Init]] = {}


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
            # httpx2 may have taken the place of httpx (`alias_httpx()`).
            if cls not in _replaced and issubclass(getattr(ours, name), cls):
                _replace(cls, getattr(ours, name))


def uninstall() -> None:
    """Undoes `install()`. Transports that were made meanwhile keep our pools."""
    while _replaced:
        cls, (original, init) = _replaced.popitem()
        # A patch that somebody has put on top stays; ours below it does nothing from now on.
        if vars(cls).get("__init__") is init:
            cls.__init__ = original  # type: ignore[misc]


def _is_installed(library: str) -> bool:
    try:
        importlib.import_module(library)
    except ModuleNotFoundError as exc:
        if exc.name != library:
            raise
        return False
    return True


def _replace(cls: typing.Any, ours: type[OnOurPools]) -> None:
    original: Init = cls.__init__
    signature = inspect.signature(original)

    @functools.wraps(original)
    def init(self: typing.Any, *args: typing.Any, **kwargs: typing.Any) -> None:
        if cls not in _replaced:
            original(self, *args, **kwargs)
            return
        # The order of their arguments differs between versions.
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        arguments = dict(bound.arguments)
        del arguments["self"]
        self._pool = ours.make_pool(**arguments)

    _replaced[cls] = original, init
    cls.__init__ = init
