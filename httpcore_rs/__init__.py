"""httpcore's connection pools with the engine in Rust.

Pools, proxies and connections are ours. Data types and exceptions are httpcore's own objects, so `except`
and `isinstance` keep working. `SyncTransport` and `AsyncTransport` put the pools under httpx.

For httpcore's fork httpcore2 and for httpx2 there are `httpcore_rs.httpcore2` and `httpcore_rs.httpx2`. Where only
httpcore2 is installed, the names here are its own.
"""

from __future__ import annotations

import importlib
import os
import threading
import typing

from . import _engine, _streams  # noqa: F401  # Completes the engine's classes.
from ._api import request, stream
from ._async import AsyncConnectionPool
from ._connections import (
    AsyncHTTP2Connection,
    AsyncHTTP11Connection,
    AsyncHTTPConnection,
    HTTP2Connection,
    HTTP11Connection,
    HTTPConnection,
    publish,
)
from ._engine import TLSConfig
from ._install import install, uninstall
from ._package import HTTPCORE
from ._proxies import AsyncHTTPProxy, AsyncSOCKSProxy, HTTPProxy, SOCKSProxy
from ._sync import ConnectionPool

if typing.TYPE_CHECKING:
    from httpcore import (
        SOCKET_OPTION,
        URL,
        AnyIOBackend,
        AsyncConnectionInterface,
        AsyncMockBackend,
        AsyncMockStream,
        AsyncNetworkBackend,
        AsyncNetworkStream,
        ConnectError,
        ConnectionInterface,
        ConnectionNotAvailable,
        ConnectTimeout,
        LocalProtocolError,
        MockBackend,
        MockStream,
        NetworkBackend,
        NetworkError,
        NetworkStream,
        Origin,
        PoolTimeout,
        ProtocolError,
        Proxy,
        ProxyError,
        ReadError,
        ReadTimeout,
        RemoteProtocolError,
        Request,
        Response,
        SyncBackend,
        TimeoutException,
        TrioBackend,
        UnsupportedProtocol,
        WriteError,
        WriteTimeout,
        default_ssl_context,
    )

    from ._httpx import AsyncTransport, SyncTransport

__version__ = "0.1.0"

__all__ = [
    "SOCKET_OPTION",
    "URL",
    "AnyIOBackend",
    "AsyncConnectionInterface",
    "AsyncConnectionPool",
    "AsyncHTTP2Connection",
    "AsyncHTTP11Connection",
    "AsyncHTTPConnection",
    "AsyncHTTPProxy",
    "AsyncMockBackend",
    "AsyncMockStream",
    "AsyncNetworkBackend",
    "AsyncNetworkStream",
    "AsyncSOCKSProxy",
    "AsyncTransport",
    "ConnectError",
    "ConnectTimeout",
    "ConnectionInterface",
    "ConnectionNotAvailable",
    "ConnectionPool",
    "HTTP2Connection",
    "HTTP11Connection",
    "HTTPConnection",
    "HTTPProxy",
    "LocalProtocolError",
    "MockBackend",
    "MockStream",
    "NetworkBackend",
    "NetworkError",
    "NetworkStream",
    "Origin",
    "PoolTimeout",
    "ProtocolError",
    "Proxy",
    "ProxyError",
    "ReadError",
    "ReadTimeout",
    "RemoteProtocolError",
    "Request",
    "Response",
    "SOCKSProxy",
    "SyncBackend",
    "SyncTransport",
    "TLSConfig",
    "TimeoutException",
    "TrioBackend",
    "UnsupportedProtocol",
    "WriteError",
    "WriteTimeout",
    "default_ssl_context",
    "install",
    "request",
    "stream",
    "uninstall",
]

# The thread that runs signal handlers; where threads are monkey-patched, its number is a greenlet's and fits none.
_engine.set_main_thread(threading.main_thread().ident or 0)

# A forked child must not touch its parent's connections.
os.register_at_fork(after_in_child=_engine.forked)

publish(HTTPCORE, globals())

# Everything else is httpcore's. It is imported now, and not by the first task that makes a pool: that takes a while.
for _name in {*__all__} - {*globals(), "SyncTransport", "AsyncTransport"}:
    globals()[_name] = getattr(HTTPCORE.module, _name)

# Known by the name under which they are used.
for _class in [*vars().values()]:
    if isinstance(_class, type) and _class.__module__.startswith("httpcore_rs._"):
        _class.__module__ = __name__


def __getattr__(name: str) -> typing.Any:
    # httpx, httpx2 and httpcore2 are imported by those who use them.
    if name in ("httpcore2", "httpx2"):
        return importlib.import_module(f".{name}", __name__)
    if name in ("SyncTransport", "AsyncTransport"):
        try:
            return getattr(importlib.import_module("._httpx", __name__), name)
        except ModuleNotFoundError as exc:
            if exc.name == "httpx":
                exc.msg = (
                    f"httpcore_rs.{name} needs httpx, which is not installed; httpcore_rs.httpx2.{name} is for httpx2"
                )
            raise
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
