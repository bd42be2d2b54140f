"""Notices replacements of Python's sockets, and connects by them.

Guards (pytest-socket), recorders and proxies (PySocks) put classes and functions of their own in the place of those in
the module `socket`. The engine opens sockets by itself and would pass them by. So it asks before each connection, and
where something has been replaced, a network backend of httpcore's makes the connection.
"""

from __future__ import annotations

import _socket
import socket
import sys
import types
import typing

# The methods of `socket.socket` that guards replace. They are those of the C class that it derives from.
_METHODS = ("__new__", "connect", "connect_ex", "send", "sendall", "recv", "recv_into")
# What httpcore's backends for event loops connect by: the function, and the module that defines it.
_ASYNC_CONNECTS = (
    ("anyio", "connect_tcp", "anyio._core._sockets"),
    ("trio", "open_tcp_stream", "trio._highlevel_open_tcp_stream"),
)
# With their sockets, threads are greenlets: the engine has a way of its own to wait there (`_effects.wait`).
_GREENLET_LIBRARIES = ("gevent.", "eventlet.")


class PythonSockets:
    """A network backend that connects as httpcore does. It makes one of httpcore's for each call.

    httpcore's backend for event loops can be used with one kind of them only.
    """

    def __init__(self, backend: typing.Callable[[], typing.Any]) -> None:
        self._backend = backend

    def connect_tcp(self, *args: typing.Any, **kwargs: typing.Any) -> typing.Any:
        """Connects to a host and port."""
        return self._backend().connect_tcp(*args, **kwargs)

    def connect_unix_socket(self, *args: typing.Any, **kwargs: typing.Any) -> typing.Any:
        """Connects to a Unix domain socket."""
        return self._backend().connect_unix_socket(*args, **kwargs)

    def sleep(self, seconds: float) -> typing.Any:
        """Waits between two attempts to connect."""
        return self._backend().sleep(seconds)


def socket_patches(is_async: bool) -> str | None:
    """Returns what has been replaced: "sockets", or "lookups" for `socket.getaddrinfo` alone, or `None`."""
    connects = _are_async_connects_own() if is_async else _is_own(socket.create_connection)
    if not connects or not _is_own_class(socket.socket):
        return "sockets"
    return None if _is_own(socket.getaddrinfo) else "lookups"


def _is_own_class(cls: typing.Any) -> bool:
    if not isinstance(cls, type):
        return False
    if cls.__module__.startswith(_GREENLET_LIBRARIES):
        return True
    return _is_own(vars(cls).get("__init__")) and all(
        getattr(cls, name) is getattr(_socket.socket, name) for name in _METHODS
    )


def _is_own(function: typing.Any) -> bool:
    """Returns whether a function is one that the module `socket` defines, or one of a greenlet library."""
    if type(function) is not types.FunctionType:
        return False
    return function.__globals__ is vars(socket) or str(function.__module__).startswith(_GREENLET_LIBRARIES)


def _are_async_connects_own() -> bool:
    for library, name, home in _ASYNC_CONNECTS:
        module, defining = sys.modules.get(library), sys.modules.get(home)
        if module is not None and defining is not None:
            function = getattr(module, name, None)
            if type(function) is not types.FunctionType or function.__globals__ is not vars(defining):
                return False
    return True
