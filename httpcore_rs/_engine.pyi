import os
import ssl
import typing
from collections.abc import Awaitable, Callable, Iterator

from httpcore import SOCKET_OPTION, URL, AsyncNetworkBackend, NetworkBackend, Origin, Proxy, Request, Response

__all__ = [
    "AsyncNetworkStream",
    "AsyncResponseStream",
    "Completed",
    "Connection",
    "Engine",
    "Exchange",
    "Host",
    "NetworkStream",
    "ResponseStream",
    "TLSConfig",
    "forked",
]

@typing.final
class TLSConfig:
    def __new__(
        cls,
        verify: bool | str | os.PathLike[str] | ssl.SSLContext | None = None,
        cert: str | os.PathLike[str] | tuple[str | os.PathLike[str], str | os.PathLike[str]] | None = None,
        trust_env: bool = True,
    ) -> TLSConfig: ...

@typing.final
class Connection:
    def info(self) -> str: ...
    def is_idle(self) -> bool: ...
    def is_available(self) -> bool: ...
    def has_expired(self) -> bool: ...
    def is_closed(self) -> bool: ...
    def can_handle_request(self, origin: Origin) -> bool: ...

@typing.final
class Engine:
    def __new__(
        cls,
        *,
        ssl_context: object,
        proxy: Proxy | None,
        max_connections: int | None,
        max_keepalive_connections: int | None,
        keepalive_expiry: float | None,
        http1: bool,
        http2: bool,
        retries: int,
        local_address: str | None,
        uds: str | None,
        network_backend: NetworkBackend | AsyncNetworkBackend | None,
        socket_options: typing.Iterable[SOCKET_OPTION] | None,
    ) -> Engine: ...
    def handle_request(self, request: Request) -> Response: ...
    def request(
        self,
        method: bytes | str,
        url: URL | bytes | str,
        headers: object,
        content: object,
        extensions: object,
    ) -> Response | None: ...
    def start(self, host: Host, request: Request) -> Exchange: ...
    def fetch(
        self,
        host: Host,
        method: bytes | str,
        url: URL | bytes | str,
        headers: object,
        content: object,
        extensions: object,
    ) -> Exchange | None: ...
    def connections(self, is_async: bool) -> list[Connection]: ...
    def close(self) -> None: ...
    def summary(self) -> str: ...

@typing.final
class Exchange:
    def poll(self, answer: object) -> Awaitable[object] | None: ...
    def throw(self, exception: BaseException) -> Awaitable[object] | None: ...
    def result(self) -> typing.Any: ...

@typing.final
class Host:
    def __new__(
        cls,
        token: object,
        *,
        wait: Callable[[], Awaitable[None]],
        arm: Callable[[float], None],
        checkpoint: Callable[[], Awaitable[None]],
        resolve: Callable[[str, int, float | None], Awaitable[typing.Any]],
        current: Callable[[], typing.Any] | None = None,
        resume: Callable[[typing.Any], None] | None = None,
    ) -> Host: ...
    @property
    def token(self) -> object: ...
    def fileno(self) -> int: ...
    def turn(self) -> None: ...
    def expire(self) -> None: ...

@typing.final
class ResponseStream:
    def __iter__(self) -> ResponseStream: ...
    def __next__(self) -> bytes: ...
    def close(self) -> None: ...

@typing.final
class AsyncResponseStream:
    def __aiter__(self) -> AsyncResponseStream: ...
    def __anext__(self) -> Awaitable[bytes]: ...
    def aclose(self) -> Awaitable[None]: ...

@typing.final
class NetworkStream:
    def read(self, max_bytes: int, timeout: float | None = None) -> bytes: ...
    def write(self, buffer: bytes, timeout: float | None = None) -> None: ...
    def close(self) -> None: ...
    def start_tls(
        self, ssl_context: object, server_hostname: str | None = None, timeout: float | None = None
    ) -> typing.NoReturn: ...
    def get_extra_info(self, info: str) -> typing.Any: ...

@typing.final
class AsyncNetworkStream:
    def read(self, max_bytes: int, timeout: float | None = None) -> Awaitable[bytes]: ...
    def write(self, buffer: bytes, timeout: float | None = None) -> Awaitable[None]: ...
    def aclose(self) -> Awaitable[None]: ...
    def start_tls(
        self, ssl_context: object, server_hostname: str | None = None, timeout: float | None = None
    ) -> typing.NoReturn: ...
    def get_extra_info(self, info: str) -> typing.Any: ...

@typing.final
class Completed:
    def __await__(self) -> typing.Generator[typing.Any, None, typing.Any]: ...
    def __iter__(self) -> Iterator[typing.Any]: ...
    def __next__(self) -> typing.Any: ...

def forked() -> None: ...
