"""The public names of `httpcore_rs` and of `httpcore_rs.httpcore2`.

Type checkers do not run this: both modules also import these names under `TYPE_CHECKING`.
"""

from __future__ import annotations

import typing

if typing.TYPE_CHECKING:
    from ._package import Package

    Class = typing.TypeVar("Class", bound=type)

# Classes and functions of this project, of which both modules have their own.
OWN = """
    AsyncConnectionPool AsyncHTTP11Connection AsyncHTTP2Connection AsyncHTTPConnection AsyncHTTPProxy AsyncSOCKSProxy
    ConnectionPool Deadline HTTP11Connection HTTP2Connection HTTPConnection HTTPProxy RetryPolicy SOCKSProxy TLSConfig
    request stream
""".split()  # noqa: SIM905  # A list would have a line for each.

# Data types, exceptions, interfaces and backends: the objects of httpcore or of httpcore2 themselves.
SHARED = """
    AnyIOBackend AsyncConnectionInterface AsyncMockBackend AsyncMockStream AsyncNetworkBackend AsyncNetworkStream
    ConnectError ConnectTimeout ConnectionInterface ConnectionNotAvailable LocalProtocolError MockBackend MockStream
    NetworkBackend NetworkError NetworkStream Origin PoolTimeout ProtocolError Proxy ProxyError ReadError ReadTimeout
    RemoteProtocolError Request Response SOCKET_OPTION SyncBackend TimeoutException TrioBackend URL UnsupportedProtocol
    WriteError WriteTimeout default_ssl_context
""".split()  # noqa: SIM905  # A list would have a line for each.

# Names that `httpcore_rs` alone has. Clients and transports are imported when they are asked for, with httpx.
TRANSPORTS = ["AsyncClient", "AsyncTransport", "Client", "SyncTransport"]
METRICS = ["Counters", "Histogram", "Holder", "PoolMetrics", "PoolWait", "RequestInFlight", "Timings"]
CONNECTING = [
    "CachingResolver",
    "ConnectAddress",
    "ProxyChallenge",
    "PublicAddressesOnly",
    "StaticHosts",
    "SystemResolver",
]
# By name: the modules that are imported when a program asks for the name, or by the first use of what it describes.
LATE = {
    "CachingResolver": "_resolvers",
    "ConnectAddress": "_connect_policy",
    "Counters": "_metrics",
    "Histogram": "_metrics",
    "Holder": "_pool_wait",
    "PoolMetrics": "_metrics",
    "PoolWait": "_pool_wait",
    "ProxyChallenge": "_proxy_challenge",
    "RequestInFlight": "_metrics",
    "RetryPolicy": "_retry",
    "StaticHosts": "_resolvers",
    "SystemResolver": "_resolvers",
}
INSTALLATION = ["Installation", "install", "uninstall"]

PUBLIC = OWN + SHARED + TRANSPORTS + CONNECTING + METRICS + INSTALLATION


def public(cls: Class) -> Class:
    """Names the module that users import a class from, where it is not the one that defines the class."""
    cls.__module__ = "httpcore_rs"
    return cls


def shared(package: Package) -> dict[str, object]:
    """Returns the objects of a package that are public in the module that stands for it, by name."""
    return {name: package.proxy if name == "Proxy" else getattr(package.module, name) for name in SHARED}
