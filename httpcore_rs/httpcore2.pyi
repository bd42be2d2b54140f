# The types of `httpcore_rs.httpcore2`: those of `httpcore_rs`, with httpcore2's classes in the place of httpcore's.

import ssl
from collections.abc import AsyncIterable, Iterable, Mapping, MutableMapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any

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
from typing_extensions import TypeAlias, Unpack

from ._bases import AsyncContextManager, SyncContextManager
from ._engine import Deadline as Deadline
from ._engine import TLSConfig as TLSConfig
from ._metrics import PoolMetrics
from ._options import PoolOptions
from ._retry import RetryPolicy as RetryPolicy

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
    "Deadline",
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
    "RetryPolicy",
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

_HeaderTypes: TypeAlias = Sequence[tuple[bytes | str, bytes | str]] | Mapping[bytes | str, bytes | str] | None
_Extensions: TypeAlias = MutableMapping[str, Any]

def request(
    method: bytes | str,
    url: URL | bytes | str,
    *,
    headers: _HeaderTypes = None,
    content: bytes | Iterable[bytes] | None = None,
    extensions: _Extensions | None = None,
) -> Response: ...
def stream(
    method: bytes | str,
    url: URL | bytes | str,
    *,
    headers: _HeaderTypes = None,
    content: bytes | Iterable[bytes] | None = None,
    extensions: _Extensions | None = None,
) -> AbstractContextManager[Response]: ...

class ConnectionPool(SyncContextManager):
    def __init__(
        self,
        ssl_context: ssl.SSLContext | TLSConfig | None = None,
        proxy: Proxy | None = None,
        max_connections: int | None = 10,
        max_keepalive_connections: int | None = None,
        keepalive_expiry: float | None = None,
        http1: bool = True,
        http2: bool = False,
        retries: int = 0,
        local_address: str | None = None,
        uds: str | None = None,
        network_backend: NetworkBackend | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
        **options: Unpack[PoolOptions],
    ) -> None: ...
    @property
    def connections(self) -> Sequence[ConnectionInterface]: ...
    def metrics(self) -> PoolMetrics: ...
    def request(
        self,
        method: bytes | str,
        url: URL | bytes | str,
        *,
        headers: _HeaderTypes = None,
        content: bytes | Iterable[bytes] | None = None,
        extensions: _Extensions | None = None,
    ) -> Response: ...
    def stream(
        self,
        method: bytes | str,
        url: URL | bytes | str,
        *,
        headers: _HeaderTypes = None,
        content: bytes | Iterable[bytes] | None = None,
        extensions: _Extensions | None = None,
    ) -> AbstractContextManager[Response]: ...
    def handle_request(self, request: Request) -> Response: ...
    def close(self) -> None: ...

class AsyncConnectionPool(AsyncContextManager):
    def __init__(
        self,
        ssl_context: ssl.SSLContext | TLSConfig | None = None,
        proxy: Proxy | None = None,
        max_connections: int | None = 10,
        max_keepalive_connections: int | None = None,
        keepalive_expiry: float | None = None,
        http1: bool = True,
        http2: bool = False,
        retries: int = 0,
        local_address: str | None = None,
        uds: str | None = None,
        network_backend: AsyncNetworkBackend | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
        **options: Unpack[PoolOptions],
    ) -> None: ...
    @property
    def connections(self) -> Sequence[AsyncConnectionInterface]: ...
    def metrics(self) -> PoolMetrics: ...
    async def request(
        self,
        method: bytes | str,
        url: URL | bytes | str,
        *,
        headers: _HeaderTypes = None,
        content: bytes | AsyncIterable[bytes] | None = None,
        extensions: _Extensions | None = None,
    ) -> Response: ...
    def stream(
        self,
        method: bytes | str,
        url: URL | bytes | str,
        *,
        headers: _HeaderTypes = None,
        content: bytes | AsyncIterable[bytes] | None = None,
        extensions: _Extensions | None = None,
    ) -> AbstractAsyncContextManager[Response]: ...
    async def handle_async_request(self, request: Request) -> Response: ...
    async def aclose(self) -> None: ...

class HTTPProxy(ConnectionPool):
    def __init__(
        self,
        proxy_url: URL | bytes | str,
        proxy_auth: tuple[bytes | str, bytes | str] | None = None,
        proxy_headers: _HeaderTypes = None,
        ssl_context: ssl.SSLContext | TLSConfig | None = None,
        proxy_ssl_context: ssl.SSLContext | TLSConfig | None = None,
        max_connections: int | None = 10,
        max_keepalive_connections: int | None = None,
        keepalive_expiry: float | None = None,
        http1: bool = True,
        http2: bool = False,
        retries: int = 0,
        local_address: str | None = None,
        uds: str | None = None,
        network_backend: NetworkBackend | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
        **options: Unpack[PoolOptions],
    ) -> None: ...

class AsyncHTTPProxy(AsyncConnectionPool):
    def __init__(
        self,
        proxy_url: URL | bytes | str,
        proxy_auth: tuple[bytes | str, bytes | str] | None = None,
        proxy_headers: _HeaderTypes = None,
        ssl_context: ssl.SSLContext | TLSConfig | None = None,
        proxy_ssl_context: ssl.SSLContext | TLSConfig | None = None,
        max_connections: int | None = 10,
        max_keepalive_connections: int | None = None,
        keepalive_expiry: float | None = None,
        http1: bool = True,
        http2: bool = False,
        retries: int = 0,
        local_address: str | None = None,
        uds: str | None = None,
        network_backend: AsyncNetworkBackend | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
        **options: Unpack[PoolOptions],
    ) -> None: ...

class SOCKSProxy(ConnectionPool):
    def __init__(
        self,
        proxy_url: URL | bytes | str,
        proxy_auth: tuple[bytes | str, bytes | str] | None = None,
        ssl_context: ssl.SSLContext | TLSConfig | None = None,
        max_connections: int | None = 10,
        max_keepalive_connections: int | None = None,
        keepalive_expiry: float | None = None,
        http1: bool = True,
        http2: bool = False,
        retries: int = 0,
        network_backend: NetworkBackend | None = None,
        *,
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
        **options: Unpack[PoolOptions],
    ) -> None: ...

class AsyncSOCKSProxy(AsyncConnectionPool):
    def __init__(
        self,
        proxy_url: URL | bytes | str,
        proxy_auth: tuple[bytes | str, bytes | str] | None = None,
        ssl_context: ssl.SSLContext | TLSConfig | None = None,
        max_connections: int | None = 10,
        max_keepalive_connections: int | None = None,
        keepalive_expiry: float | None = None,
        http1: bool = True,
        http2: bool = False,
        retries: int = 0,
        network_backend: AsyncNetworkBackend | None = None,
        *,
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
        **options: Unpack[PoolOptions],
    ) -> None: ...

class _SyncConnection(SyncContextManager, ConnectionInterface):
    def info(self) -> str: ...
    def can_handle_request(self, origin: Origin) -> bool: ...
    def is_available(self) -> bool: ...
    def has_expired(self) -> bool: ...
    def is_idle(self) -> bool: ...
    def is_closed(self) -> bool: ...
    def handle_request(self, request: Request) -> Response: ...
    def close(self) -> None: ...

class _AsyncConnection(AsyncContextManager, AsyncConnectionInterface):
    def info(self) -> str: ...
    def can_handle_request(self, origin: Origin) -> bool: ...
    def is_available(self) -> bool: ...
    def has_expired(self) -> bool: ...
    def is_idle(self) -> bool: ...
    def is_closed(self) -> bool: ...
    async def handle_async_request(self, request: Request) -> Response: ...
    async def aclose(self) -> None: ...

class HTTPConnection(_SyncConnection):
    def __init__(
        self,
        origin: Origin,
        ssl_context: ssl.SSLContext | TLSConfig | None = None,
        keepalive_expiry: float | None = None,
        http1: bool = True,
        http2: bool = False,
        retries: int = 0,
        local_address: str | None = None,
        uds: str | None = None,
        network_backend: NetworkBackend | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
        **options: Unpack[PoolOptions],
    ) -> None: ...

class AsyncHTTPConnection(_AsyncConnection):
    def __init__(
        self,
        origin: Origin,
        ssl_context: ssl.SSLContext | TLSConfig | None = None,
        keepalive_expiry: float | None = None,
        http1: bool = True,
        http2: bool = False,
        retries: int = 0,
        local_address: str | None = None,
        uds: str | None = None,
        network_backend: AsyncNetworkBackend | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
        **options: Unpack[PoolOptions],
    ) -> None: ...

class HTTP11Connection(_SyncConnection):
    def __init__(
        self,
        origin: Origin,
        stream: NetworkStream,
        keepalive_expiry: float | None = None,
        **options: Unpack[PoolOptions],
    ) -> None: ...

class AsyncHTTP11Connection(_AsyncConnection):
    def __init__(
        self,
        origin: Origin,
        stream: AsyncNetworkStream,
        keepalive_expiry: float | None = None,
        **options: Unpack[PoolOptions],
    ) -> None: ...

class HTTP2Connection(_SyncConnection):
    def __init__(
        self,
        origin: Origin,
        stream: NetworkStream,
        keepalive_expiry: float | None = None,
        **options: Unpack[PoolOptions],
    ) -> None: ...

class AsyncHTTP2Connection(_AsyncConnection):
    def __init__(
        self,
        origin: Origin,
        stream: AsyncNetworkStream,
        keepalive_expiry: float | None = None,
        **options: Unpack[PoolOptions],
    ) -> None: ...
