"""`start_tls` on the stream of a response: TLS by Python's `ssl`, over any network stream, also one in TLS already."""

from __future__ import annotations

import importlib
import ssl
import typing

from ._package import HTTPCORE
from ._ssl_context import for_backend

if typing.TYPE_CHECKING:
    import types

    from httpcore import AsyncNetworkStream, NetworkStream

    from ._engine import TLSConfig

    Result = typing.TypeVar("Result")
    # Yields bytes to be sent, or `None` to be sent bytes that have arrived; none at the end of the stream.
    Steps = typing.Generator[typing.Optional[bytes], bytes, Result]
else:
    AsyncNetworkStream = HTTPCORE.module.AsyncNetworkStream
    NetworkStream = HTTPCORE.module.NetworkStream

READ = 64 * 1024


class _TLS:
    """A client's side of TLS that leaves the I/O to others."""

    def __init__(self, package: str, ssl_context: ssl.SSLContext | TLSConfig, server_hostname: str | None) -> None:
        self.names: types.ModuleType = importlib.import_module(package)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = for_backend(ssl_context, http2=False, package=package)
        if context.check_hostname and not server_hostname:
            # `ssl` itself says so only of sockets; here it would check no name at all.
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
                # No more than a record at a time, so that little is held twice.
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
                # The peer is told why.
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


class TLSStream(NetworkStream):
    """TLS over another stream. Closing it closes that one."""

    def __init__(self, stream: NetworkStream, tls: _TLS) -> None:
        self._stream = stream
        self._tls = tls

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

    def get_extra_info(self, info: str) -> typing.Any:
        return self._tls.object if info == "ssl_object" else self._stream.get_extra_info(info)


class AsyncTLSStream(AsyncNetworkStream):
    """TLS over another stream. Closing it closes that one."""

    def __init__(self, stream: AsyncNetworkStream, tls: _TLS) -> None:
        self._stream = stream
        self._tls = tls

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

    def get_extra_info(self, info: str) -> typing.Any:
        return self._tls.object if info == "ssl_object" else self._stream.get_extra_info(info)


def start_tls(
    package: str,
    stream: NetworkStream,
    ssl_context: ssl.SSLContext | TLSConfig,
    server_hostname: str | None,
    timeout: float | None,
) -> NetworkStream:
    """TLS over `stream`; `timeout` bounds each read and write of the handshake. Exceptions are those of `package`.

    Raises `ValueError` if the context checks names and there is none. A stream that fails is closed.
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
    """TLS over `stream`; `timeout` bounds each read and write of the handshake. Exceptions are those of `package`.

    Raises `ValueError` if the context checks names and there is none. A stream that fails is closed.
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
            except Exception as exc:  # noqa: BLE001  # What it means, the steps know.
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
            except Exception as exc:  # noqa: BLE001  # What it means, the steps know.
                steps.throw(exc)
    except StopIteration as stop:
        result: Result = stop.value
        return result
