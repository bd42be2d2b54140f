"""httpcore2's connection pools with the engine in Rust: `import httpcore_rs.httpcore2 as httpcore2`.

This module is to httpcore2 what `httpcore_rs` is to httpcore. Data types and exceptions are httpcore2's own objects,
loggers have its names, and without an `ssl_context` the authorities of the operating system are trusted, as in
httpcore2.

Type checkers read `httpcore2.pyi`.
"""

from __future__ import annotations

from . import _async, _bases, _connections, _names, _proxies, _sync
from ._api import make_request, make_stream
from ._engine import Deadline, TLSConfig  # noqa: F401  # Public names.
from ._install import cover_postponed
from ._options import constructor
from ._package import HTTPCORE2
from ._retry import RetryPolicy  # noqa: F401  # A public name.

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
cover_postponed("httpcore2")
