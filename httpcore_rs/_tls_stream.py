"""`start_tls()` of a response's network stream: TLS by Python's `ssl` over any stream, also over one in TLS already."""

from __future__ import annotations

import importlib
import ssl
import typing

from ._bases import Generic, Stream
from ._package import HTTPCORE
from ._ssl_context import for_backend

if typing.TYPE_CHECKING:
    import types

    from httpcore import AsyncNetworkStream, NetworkStream

    from ._engine import TLSConfig

    Result = typing.TypeVar("Result")
    # Yields bytes to be sent, or `None` to ask for received bytes; these are empty at the end of the stream.
    Steps = typing.Generator[typing.Optional[bytes], bytes, Result]
else:
    AsyncNetworkStream = HTTPCORE.module.AsyncNetworkStream
    NetworkStream = HTTPCORE.module.NetworkStream

READ = 64 * 1024


class _TLS:
    """The client side of a TLS session without I/O: its methods are generators of steps."""

    def __init__(self, package: str, ssl_context: ssl.SSLContext | TLSConfig, server_hostname: str | None) -> None:
        self.names: types.ModuleType = importlib.import_module(package)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = for_backend(ssl_context, http2=False, package=package)
        if context.check_hostname and not server_hostname:
            # `ssl` raises this for sockets only. Without it, no name would be checked here.
            raise ValueError("check_hostname requires server_hostname")
        self.object = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_hostname)

    def handshake(self) -> Steps[None]:
        names = self.names
        try:
            yield from self._steps(self.object.do_handshake)
        except names.TimeoutException as exc:
            raise names.ConnectTimeout(f"the TLS handshake took too long: {exc}") from exc
        except (names.NetworkError, OSError) as exc:
            raise names.ConnectError(f"the TLS handshake failed: {exc}") from exc

    def read(self, max_bytes: int) -> Steps[bytes]:
        try:
            data: bytes = yield from self._steps(lambda: self.object.read(max_bytes))
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""
        except OSError as exc:
            raise self.names.ReadError(f"reading from the TLS stream failed: {exc}") from exc
        return data

    def write(self, buffer: bytes) -> Steps[None]:
        try:
            rest = memoryview(buffer)
            while rest:
                # A part at a time, so that only a part is held both as plaintext and as ciphertext.
                sent = yield from self._steps(lambda: self.object.write(rest[:READ]))  # noqa: B023  # Called at once.
                rest = rest[sent:]
        except OSError as exc:
            raise self.names.WriteError(f"writing to the TLS stream failed: {exc}") from exc

    def _steps(self, operation: typing.Callable[[], Result]) -> Steps[Result]:
        while True:
            try:
                result = operation()
            except ssl.SSLWantReadError:
                yield from self._send()
            except ssl.SSLError:
                # Sends the alert.
                yield from self._send()
                raise
            else:
                yield from self._send()
                return result
            received = yield None
            if received:
                self._incoming.write(received)
            else:
                self._incoming.write_eof()

    def _send(self) -> Steps[None]:
        if self._outgoing.pending:
            yield self._outgoing.read()


class _OverStream(Generic[Stream]):
    """A network stream with TLS over another network stream."""

    def __init__(self, stream: Stream, tls: _TLS) -> None:
        self._stream = stream
        self._tls = tls

    def get_extra_info(self, info: str) -> typing.Any:
        """Returns the `"ssl_object"` of this stream; everything else is that of the stream below."""
        return self._tls.object if info == "ssl_object" else self._stream.get_extra_info(info)


class TLSStream(_OverStream[NetworkStream], NetworkStream):
    """TLS over another stream, which is closed with this one."""

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return _run(self._stream, self._tls.read(max_bytes), timeout)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        _run(self._stream, self._tls.write(buffer), timeout)

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext | TLSConfig,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> NetworkStream:
        return start_tls(self._tls.names.__name__, self, ssl_context, server_hostname, timeout)


class AsyncTLSStream(_OverStream[AsyncNetworkStream], AsyncNetworkStream):
    """TLS over another stream, which is closed with this one."""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return await _arun(self._stream, self._tls.read(max_bytes), timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await _arun(self._stream, self._tls.write(buffer), timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext | TLSConfig,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> AsyncNetworkStream:
        return await astart_tls(self._tls.names.__name__, self, ssl_context, server_hostname, timeout)


def start_tls(
    package: str,
    stream: NetworkStream,
    ssl_context: ssl.SSLContext | TLSConfig,
    server_hostname: str | None,
    timeout: float | None,
) -> NetworkStream:
    """Does a TLS handshake over `stream` and returns the stream to use from then on.

    `timeout` is the seconds for each read and write of the handshake. Raises `ConnectError` and `ConnectTimeout` of
    `package`, and `ValueError` if the context checks names and `server_hostname` is missing. Closes the stream if the
    handshake fails.
    """
    try:
        tls = _TLS(package, ssl_context, server_hostname)
        _run(stream, tls.handshake(), timeout)
    except BaseException:
        stream.close()
        raise
    return TLSStream(stream, tls)


async def astart_tls(
    package: str,
    stream: AsyncNetworkStream,
    ssl_context: ssl.SSLContext | TLSConfig,
    server_hostname: str | None,
    timeout: float | None,
) -> AsyncNetworkStream:
    """Does a TLS handshake over `stream` and returns the stream to use from then on.

    `timeout` is the seconds for each read and write of the handshake. Raises `ConnectError` and `ConnectTimeout` of
    `package`, and `ValueError` if the context checks names and `server_hostname` is missing. Closes the stream if the
    handshake fails.
    """
    try:
        tls = _TLS(package, ssl_context, server_hostname)
        await _arun(stream, tls.handshake(), timeout)
    except BaseException:
        await stream.aclose()
        raise
    return AsyncTLSStream(stream, tls)


def _run(stream: NetworkStream, steps: Steps[Result], timeout: float | None) -> Result:
    received: bytes | None = None
    try:
        while True:
            wanted = next(steps) if received is None else steps.send(received)
            received = None
            try:
                if wanted is None:
                    received = stream.read(READ, timeout)
                else:
                    stream.write(wanted, timeout)
            except Exception as exc:  # noqa: BLE001  # The generator converts it.
                steps.throw(exc)
    except StopIteration as stop:
        result: Result = stop.value
        return result


async def _arun(stream: AsyncNetworkStream, steps: Steps[Result], timeout: float | None) -> Result:
    received: bytes | None = None
    try:
        while True:
            wanted = next(steps) if received is None else steps.send(received)
            received = None
            try:
                if wanted is None:
                    received = await stream.read(READ, timeout)
                else:
                    await stream.write(wanted, timeout)
            except Exception as exc:  # noqa: BLE001  # The generator converts it.
                steps.throw(exc)
    except StopIteration as stop:
        result: Result = stop.value
        return result
