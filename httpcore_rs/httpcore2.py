"""httpcore2's connection pools with the engine in Rust: `import httpcore_rs.httpcore2 as httpcore2`.

What `httpcore_rs` itself is for users of httpcore. Data types and exceptions are httpcore2's own objects, loggers have
its names, and without an `ssl_context` those are trusted whom httpcore2 trusts: the operating system's authorities.
"""

from __future__ import annotations

from httpcore2 import (
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

from . import _async, _proxies, _sync
from ._api import API
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
from ._package import HTTPCORE2

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


class ConnectionPool(_sync.ConnectionPool):
    """A `ConnectionPool` for users of httpcore2."""

    _package = HTTPCORE2


class AsyncConnectionPool(_async.AsyncConnectionPool):
    """An `AsyncConnectionPool` for users of httpcore2."""

    _package = HTTPCORE2


class HTTPProxy(_proxies.ByHTTP, ConnectionPool):
    """A `ConnectionPool` whose requests go through an HTTP proxy."""


class AsyncHTTPProxy(_proxies.ByHTTP, AsyncConnectionPool):
    """An `AsyncConnectionPool` whose requests go through an HTTP proxy."""


class SOCKSProxy(_proxies.BySOCKS, ConnectionPool):
    """A `ConnectionPool` whose requests go through a SOCKS5 proxy."""


class AsyncSOCKSProxy(_proxies.BySOCKS, AsyncConnectionPool):
    """An `AsyncConnectionPool` whose requests go through a SOCKS5 proxy."""


publish(HTTPCORE2, globals())

_api = API(ConnectionPool)
request = _api.request
stream = _api.stream
