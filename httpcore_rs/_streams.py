"""Methods of the engine's streams that drive operations. They are added to the classes here.

They are Python functions, so that the code of users that they call (the iterator of a body, a trace callback, a signal
handler) has no frame of the engine below it. Those of the async streams are coroutine functions: nothing happens before
they are awaited.
"""

from __future__ import annotations

import typing

from . import _tls_stream
from ._drive import adrive, finish
from ._engine import AsyncNetworkStream, AsyncResponseStream, NetworkStream, Operation, ResponseStream
from ._hosts import current_host

if typing.TYPE_CHECKING:
    import ssl

    import httpcore

    from ._engine import TLSConfig

    Method = typing.TypeVar("Method", bound=typing.Callable[..., object])


def _method(cls: type[object], name: str) -> typing.Callable[[Method], Method]:
    """Returns a decorator that makes a function a method of one of the engine's classes."""

    def add(function: Method) -> Method:
        function.__name__, function.__qualname__ = name, f"{cls.__name__}.{name}"
        setattr(cls, name, function)
        return function

    return add


@_method(ResponseStream, "__iter__")
def _iter(self: ResponseStream) -> ResponseStream:
    return self


@_method(ResponseStream, "__next__")
def _next(self: ResponseStream) -> bytes:
    chunk: bytes | None = finish(self.next_chunk())
    if chunk is None:
        raise StopIteration
    return chunk


@_method(ResponseStream, "close")
def _close_response(self: ResponseStream) -> None:
    """Ends the response and gives the connection back. A thread that waits for a chunk gets a `ReadError`."""
    closing = self.end()
    if closing is not None:
        closing()


@_method(AsyncResponseStream, "__aiter__")
def _aiter(self: AsyncResponseStream) -> AsyncResponseStream:
    return self


@_method(AsyncResponseStream, "__anext__")
async def _anext(self: AsyncResponseStream) -> bytes:
    chunk = self.next_chunk()
    if isinstance(chunk, Operation):
        chunk = await adrive(chunk)
    if chunk is None:
        raise StopAsyncIteration
    return typing.cast("bytes", chunk)


@_method(AsyncResponseStream, "aclose")
async def _aclose_response(self: AsyncResponseStream) -> None:
    """Ends the response and gives the connection back. A task that waits for a chunk gets a `ReadError`."""
    closing = self.end()
    if closing is not None:
        await closing


@_method(NetworkStream, "read")
def _read(self: NetworkStream, max_bytes: int, timeout: float | None = None) -> bytes:
    """Returns 1 to `max_bytes` received bytes, and `b""` at the end of the stream.

    Raises `ReadTimeout` after `timeout` seconds (`None` for no limit), and `ReadError`.
    """
    data: bytes = finish(self.start_read(max_bytes, timeout))
    return data


@_method(NetworkStream, "write")
def _write(self: NetworkStream, buffer: bytes, timeout: float | None = None) -> None:
    """Sends all bytes of `buffer`.

    Raises `WriteTimeout` if that takes more than `timeout` seconds (`None` for no limit), and `WriteError`.
    """
    finish(self.start_write(buffer, timeout))


@_method(NetworkStream, "start_tls")
def _start_tls(
    self: NetworkStream,
    ssl_context: ssl.SSLContext | TLSConfig,
    server_hostname: str | None = None,
    timeout: float | None = None,
) -> httpcore.NetworkStream:
    """Begins TLS by Python's `ssl` after an upgrade or CONNECT, and returns the stream to use from then on.

    Raises `ConnectTimeout` if a read or write of the handshake takes more than `timeout` seconds (`None` for no limit),
    `ConnectError`, and `ValueError` if the context checks names and `server_hostname` is missing.
    """
    stream = typing.cast("httpcore.NetworkStream", self)
    return _tls_stream.start_tls(self.package, stream, ssl_context, server_hostname, timeout)


@_method(AsyncNetworkStream, "read")
async def _aread(self: AsyncNetworkStream, max_bytes: int, timeout: float | None = None) -> bytes:
    """Returns 1 to `max_bytes` received bytes, and `b""` at the end of the stream.

    Raises `ReadTimeout` after `timeout` seconds (`None` for no limit), and `ReadError`.
    """
    data: bytes = await adrive(self.start_read(current_host(), max_bytes, timeout))
    return data


@_method(AsyncNetworkStream, "write")
async def _awrite(self: AsyncNetworkStream, buffer: bytes, timeout: float | None = None) -> None:
    """Sends all bytes of `buffer`.

    Raises `WriteTimeout` if that takes more than `timeout` seconds (`None` for no limit), and `WriteError`.
    """
    await adrive(self.start_write(current_host(), buffer, timeout))


@_method(AsyncNetworkStream, "aclose")
async def _aclose_stream(self: AsyncNetworkStream) -> None:
    """Shuts the connection down after an upgrade or CONNECT. Its socket is closed with the response."""
    self.shutdown()


@_method(AsyncNetworkStream, "start_tls")
async def _astart_tls(
    self: AsyncNetworkStream,
    ssl_context: ssl.SSLContext | TLSConfig,
    server_hostname: str | None = None,
    timeout: float | None = None,
) -> httpcore.AsyncNetworkStream:
    """Begins TLS by Python's `ssl` after an upgrade or CONNECT, and returns the stream to use from then on.

    Raises `ConnectTimeout` if a read or write of the handshake takes more than `timeout` seconds (`None` for no limit),
    `ConnectError`, and `ValueError` if the context checks names and `server_hostname` is missing.
    """
    stream = typing.cast("httpcore.AsyncNetworkStream", self)
    return await _tls_stream.astart_tls(self.package, stream, ssl_context, server_hostname, timeout)
