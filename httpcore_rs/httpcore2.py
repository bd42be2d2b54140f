"""httpcore2's connection pools with the engine in Rust: `import httpcore_rs.httpcore2 as httpcore2`.

This module is to httpcore2 what `httpcore_rs` is to httpcore. Data types and exceptions are httpcore2's own objects,
loggers have its names, and without an `ssl_context` the authorities of the operating system are trusted, as in
httpcore2.
"""

from __future__ import annotations

import typing

from . import _async, _bases, _connections, _names, _proxies, _sync
from ._api import make_request, make_stream
from ._engine import TLSConfig as TLSConfig
from ._options import constructor
from ._package import HTTPCORE2

if typing.TYPE_CHECKING:
    from httpcore2 import SOCKET_OPTION as SOCKET_OPTION
    from httpcore2 import URL as URL
    from httpcore2 import AnyIOBackend as AnyIOBackend
    from httpcore2 import AsyncConnectionInterface as AsyncConnectionInterface
    from httpcore2 import AsyncMockBackend as AsyncMockBackend
    from httpcore2 import AsyncMockStream as AsyncMockStream
    from httpcore2 import AsyncNetworkBackend as AsyncNetworkBackend
    from httpcore2 import AsyncNetworkStream as AsyncNetworkStream
    from httpcore2 import ConnectError as ConnectError
    from httpcore2 import ConnectionInterface as ConnectionInterface
    from httpcore2 import ConnectionNotAvailable as ConnectionNotAvailable
    from httpcore2 import ConnectTimeout as ConnectTimeout
    from httpcore2 import LocalProtocolError as LocalProtocolError
    from httpcore2 import MockBackend as MockBackend
    from httpcore2 import MockStream as MockStream
    from httpcore2 import NetworkBackend as NetworkBackend
    from httpcore2 import NetworkError as NetworkError
    from httpcore2 import NetworkStream as NetworkStream
    from httpcore2 import Origin as Origin
    from httpcore2 import PoolTimeout as PoolTimeout
    from httpcore2 import ProtocolError as ProtocolError
    from httpcore2 import Proxy as Proxy
    from httpcore2 import ProxyError as ProxyError
    from httpcore2 import ReadError as ReadError
    from httpcore2 import ReadTimeout as ReadTimeout
    from httpcore2 import RemoteProtocolError as RemoteProtocolError
    from httpcore2 import Request as Request
    from httpcore2 import Response as Response
    from httpcore2 import SyncBackend as SyncBackend
    from httpcore2 import TimeoutException as TimeoutException
    from httpcore2 import TrioBackend as TrioBackend
    from httpcore2 import UnsupportedProtocol as UnsupportedProtocol
    from httpcore2 import WriteError as WriteError
    from httpcore2 import WriteTimeout as WriteTimeout
    from httpcore2 import default_ssl_context as default_ssl_context

    from ._connections import AsyncHTTP2Connection as AsyncHTTP2Connection
    from ._connections import AsyncHTTP11Connection as AsyncHTTP11Connection
    from ._connections import AsyncHTTPConnection as AsyncHTTPConnection
    from ._connections import HTTP2Connection as HTTP2Connection
    from ._connections import HTTP11Connection as HTTP11Connection
    from ._connections import HTTPConnection as HTTPConnection
else:
    __all__ = list(_names.OWN + _names.SHARED)


class ConnectionPool(_sync.ConnectionPool):
    """A connection pool for making HTTP requests with httpcore2's types. See `httpcore_rs.ConnectionPool`."""

    _package = HTTPCORE2


class AsyncConnectionPool(_async.AsyncConnectionPool):
    """A connection pool for event loops, with httpcore2's types. See `httpcore_rs.AsyncConnectionPool`."""

    _package = HTTPCORE2


@constructor
class HTTPProxy(_proxies.HTTPProxyMixin[_bases.NetworkBackend, _bases.ConnectionInterface], ConnectionPool):
    """A `ConnectionPool` whose requests go through an HTTP proxy. See `httpcore_rs.HTTPProxy`."""


@constructor
class AsyncHTTPProxy(
    _proxies.HTTPProxyMixin[_bases.AsyncNetworkBackend, _bases.AsyncConnectionInterface], AsyncConnectionPool
):
    """An `AsyncConnectionPool` whose requests go through an HTTP proxy. See `httpcore_rs.AsyncHTTPProxy`."""


@constructor
class SOCKSProxy(_proxies.SOCKSProxyMixin[_bases.NetworkBackend, _bases.ConnectionInterface], ConnectionPool):
    """A `ConnectionPool` whose requests go through a SOCKS5 proxy. See `httpcore_rs.SOCKSProxy`."""


@constructor
class AsyncSOCKSProxy(
    _proxies.SOCKSProxyMixin[_bases.AsyncNetworkBackend, _bases.AsyncConnectionInterface], AsyncConnectionPool
):
    """An `AsyncConnectionPool` whose requests go through a SOCKS5 proxy. See `httpcore_rs.AsyncSOCKSProxy`."""


request = make_request(ConnectionPool, ConnectionPool.request, __name__)
stream = make_stream(ConnectionPool, ConnectionPool.stream, __name__)

globals().update(_connections.connection_classes(HTTPCORE2))
globals().update(_names.shared(HTTPCORE2))
