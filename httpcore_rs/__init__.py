"""httpcore's connection pools with the engine in Rust.

Pools, proxies and connections are ours. Data types and exceptions are httpcore's own objects, so `except`
and `isinstance` keep working. `SyncTransport` and `AsyncTransport` put the pools under httpx, and need it only then.
"""

from __future__ import annotations

import os
import typing

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

from . import _engine
from ._api import request, stream
from ._async import AsyncConnectionPool
from ._connections import (
    AsyncHTTP2Connection,
    AsyncHTTP11Connection,
    AsyncHTTPConnection,
    HTTP2Connection,
    HTTP11Connection,
    HTTPConnection,
)
from ._engine import TLSConfig
from ._proxies import AsyncHTTPProxy, AsyncSOCKSProxy, HTTPProxy, SOCKSProxy
from ._sync import ConnectionPool

if typing.TYPE_CHECKING:
    from ._transports import AsyncTransport, SyncTransport

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
    "request",
    "stream",
]

# A forked child must not touch its parent's connections.
os.register_at_fork(after_in_child=_engine.forked)


def __getattr__(name: str) -> typing.Any:
    if name in ("SyncTransport", "AsyncTransport"):
        # httpx is imported by those who use it.
        from . import _transports

        return getattr(_transports, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
