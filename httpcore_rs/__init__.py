"""httpcore's connection pools with the engine in Rust.

Pools, proxies and connections are classes of this package. Data types and exceptions are httpcore's own objects, so
`except` and `isinstance` keep working. `SyncTransport` and `AsyncTransport` are httpx's transports on these pools.

`httpcore_rs.httpcore2` and `httpcore_rs.httpx2` do the same for httpcore's fork httpcore2 and for httpx2. Where
httpcore2 is installed and httpcore is not, the data types and exceptions here are those of httpcore2.
"""

from __future__ import annotations

import importlib
import os
import threading
import typing

from . import _implementation  # noqa: F401  # Before the engine is imported.

# isort: split

# `_streams` and `_timings` complete the engine's classes.
from . import _connections, _engine, _names, _streams, _timings  # noqa: F401
from ._api import make_request, make_stream
from ._async import AsyncConnectionPool as AsyncConnectionPool
from ._engine import Deadline as Deadline
from ._engine import PublicAddressesOnly as PublicAddressesOnly
from ._engine import Timings as Timings
from ._engine import TLSConfig as TLSConfig
from ._install import cover_postponed
from ._install import install as install
from ._install import uninstall as uninstall
from ._installation import Installation as Installation
from ._package import HTTPCORE
from ._proxies import AsyncHTTPProxy as AsyncHTTPProxy
from ._proxies import AsyncSOCKSProxy as AsyncSOCKSProxy
from ._proxies import HTTPProxy as HTTPProxy
from ._proxies import SOCKSProxy as SOCKSProxy
from ._sync import ConnectionPool as ConnectionPool

if typing.TYPE_CHECKING:
    from . import httpcore2 as httpcore2
    from . import httpx2 as httpx2

    # isort: split
    from httpcore import SOCKET_OPTION as SOCKET_OPTION
    from httpcore import URL as URL
    from httpcore import AnyIOBackend as AnyIOBackend
    from httpcore import AsyncConnectionInterface as AsyncConnectionInterface
    from httpcore import AsyncMockBackend as AsyncMockBackend
    from httpcore import AsyncMockStream as AsyncMockStream
    from httpcore import AsyncNetworkBackend as AsyncNetworkBackend
    from httpcore import AsyncNetworkStream as AsyncNetworkStream
    from httpcore import ConnectError as ConnectError
    from httpcore import ConnectionInterface as ConnectionInterface
    from httpcore import ConnectionNotAvailable as ConnectionNotAvailable
    from httpcore import ConnectTimeout as ConnectTimeout
    from httpcore import LocalProtocolError as LocalProtocolError
    from httpcore import MockBackend as MockBackend
    from httpcore import MockStream as MockStream
    from httpcore import NetworkBackend as NetworkBackend
    from httpcore import NetworkError as NetworkError
    from httpcore import NetworkStream as NetworkStream
    from httpcore import Origin as Origin
    from httpcore import PoolTimeout as PoolTimeout
    from httpcore import ProtocolError as ProtocolError
    from httpcore import Proxy as Proxy
    from httpcore import ProxyError as ProxyError
    from httpcore import ReadError as ReadError
    from httpcore import ReadTimeout as ReadTimeout
    from httpcore import RemoteProtocolError as RemoteProtocolError
    from httpcore import Request as Request
    from httpcore import Response as Response
    from httpcore import SyncBackend as SyncBackend
    from httpcore import TimeoutException as TimeoutException
    from httpcore import TrioBackend as TrioBackend
    from httpcore import UnsupportedProtocol as UnsupportedProtocol
    from httpcore import WriteError as WriteError
    from httpcore import WriteTimeout as WriteTimeout
    from httpcore import default_ssl_context as default_ssl_context

    from ._connect_policy import ConnectAddress as ConnectAddress
    from ._connections import AsyncHTTP2Connection as AsyncHTTP2Connection
    from ._connections import AsyncHTTP11Connection as AsyncHTTP11Connection
    from ._connections import AsyncHTTPConnection as AsyncHTTPConnection
    from ._connections import HTTP2Connection as HTTP2Connection
    from ._connections import HTTP11Connection as HTTP11Connection
    from ._connections import HTTPConnection as HTTPConnection
    from ._httpx import AsyncClient as AsyncClient
    from ._httpx import AsyncTransport as AsyncTransport
    from ._httpx import Client as Client
    from ._httpx import SyncTransport as SyncTransport
    from ._metrics import Counters as Counters
    from ._metrics import Histogram as Histogram
    from ._metrics import PoolMetrics as PoolMetrics
    from ._metrics import RequestInFlight as RequestInFlight
    from ._pool_wait import Holder as Holder
    from ._pool_wait import PoolWait as PoolWait
    from ._proxy_challenge import ProxyChallenge as ProxyChallenge
    from ._resolvers import CachingResolver as CachingResolver
    from ._resolvers import StaticHosts as StaticHosts
    from ._resolvers import SystemResolver as SystemResolver
    from ._retry import RetryPolicy as RetryPolicy
else:
    __all__ = list(_names.PUBLIC)

__version__ = "0.1.0"

request = make_request(ConnectionPool, ConnectionPool.request, __name__)
stream = make_stream(ConnectionPool, ConnectionPool.stream, __name__)

globals().update(_connections.connection_classes(HTTPCORE))

# httpcore's objects are imported now and not when the first pool is made: that takes a while, and may be in a task.
globals().update(_names.shared(HTTPCORE))

# Users import these from here.
for _object in (Deadline, PublicAddressesOnly, TLSConfig, Timings, Installation, install, uninstall):
    _object.__module__ = __name__

cover_postponed("httpcore")

# Signal handlers run in the main thread. Where threads are monkey-patched, the number is that of a greenlet.
_engine.set_main_thread(threading.main_thread().ident or 0)

# A forked child must not touch its parent's connections.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_engine.forked)


if not typing.TYPE_CHECKING:  # With this function, type checkers would accept any name.

    def __getattr__(name: str) -> object:
        # httpx, httpx2 and httpcore2 are imported only by programs that use them.
        if name in ("httpcore2", "httpx2"):
            return importlib.import_module(f".{name}", __name__)
        if name in _names.LATE:
            return getattr(importlib.import_module(f".{_names.LATE[name]}", __name__), name)
        if name in _names.TRANSPORTS:
            try:
                return getattr(importlib.import_module("._httpx", __name__), name)
            except ModuleNotFoundError as exc:
                if exc.name == "httpx":
                    exc.msg = (
                        f"httpcore_rs.{name} needs httpx, which is not installed; "
                        f"httpcore_rs.httpx2.{name} is for httpx2"
                    )
                raise
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
