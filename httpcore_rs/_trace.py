"""Tracing of requests: httpcore's `trace` extension and its debug logs.

The engine reports trace events to the tracer of a request, if it has one. Two events happen outside the engine, where
the body is read and closed. The streams of this module report these; they wrap the engine's streams.
"""

from __future__ import annotations

import importlib
import inspect
import logging
import typing

from ._bases import Generic
from ._engine import AsyncResponseStream, ResponseStream

if typing.TYPE_CHECKING:
    from httpcore import Proxy, Request

Info = typing.Dict[str, typing.Any]  # noqa: UP006  # Evaluated, also by CPython 3.9.


# The end of a connection belongs to no request: it is logged, and not passed to a `trace` callback.
UNTRACED = "close."
# The prefix of the events that httpcore does not have. They are not logged.
OWN = "httpcore_rs"


def _log(logger: logging.Logger, name: str, info: Info) -> None:
    if not logger.isEnabledFor(logging.DEBUG):
        return
    if not info or ("return_value" in info and info["return_value"] is None):
        logger.debug(name)
    else:
        logger.debug("%s %s", name, " ".join(f"{key}={value!r}" for key, value in info.items()))


def tunnel_request(package: str, proxy: Proxy, request: Request) -> Request:
    """Returns the CONNECT request to a proxy for the tunnel of `request`, as trace events show it."""
    models = importlib.import_module(package)
    origin = request.url.origin
    target = b"%b:%d" % (origin.host, origin.port)
    url = models.URL(scheme=proxy.url.scheme, host=proxy.url.host, port=proxy.url.port, target=target)
    given = {name.lower() for name, _ in proxy.headers}
    own = [(name, value) for name, value in ((b"Host", target), (b"Accept", b"*/*")) if name.lower() not in given]
    connect: Request = models.Request(b"CONNECT", url, headers=own + proxy.headers, extensions=request.extensions)
    return connect


# The engine's response streams and the tracers of this module: for threads or for event loops.
Body = typing.TypeVar("Body")
AnyTracer = typing.TypeVar("AnyTracer")


class TracerBase:
    """The `trace` callback of a request, if it has one, and the loggers of a package."""

    def __init__(self, package: str, callback: typing.Callable[[str, Info], object] | None) -> None:
        self._package = package
        self._callback = callback


class Tracer(TracerBase):
    """Receives the trace events of a sync pool: `tracer("http11", "send_request_body.started", info)`.

    Raises `TypeError` if the `trace` callback is an async function.
    """

    def __call__(self, prefix: str, name: str, info: Info) -> None:
        if self._callback is not None and not name.startswith(UNTRACED):
            result = self._callback(f"{prefix}.{name}", info)
            if inspect.iscoroutine(result):
                result.close()
                raise TypeError(
                    "If you are using a synchronous interface, the callback of the `trace` extension should "
                    "be a normal function instead of an asynchronous function."
                )
        if prefix != OWN:
            _log(logging.getLogger(f"{self._package}.{prefix}"), name, info)


class AsyncTracer(TracerBase):
    """Receives the trace events of an async pool, as `Tracer` does. Its `trace` callback is an async function."""

    async def __call__(self, prefix: str, name: str, info: Info) -> None:
        if self._callback is not None and not name.startswith(UNTRACED):
            result = self._callback(f"{prefix}.{name}", info)
            if not inspect.iscoroutine(result):
                raise TypeError(
                    "If you're using an asynchronous interface, the callback of the `trace` extension should "
                    "be an asynchronous function rather than a normal function."
                )
            await result
        if prefix != OWN:
            _log(logging.getLogger(f"{self._package}.{prefix}"), name, info)


class TracedStreamBase(Generic[Body, AnyTracer]):
    """A response body whose reading and closing is reported to a tracer."""

    def __init__(self, stream: Body, request: Request, tracer: AnyTracer, stream_id: int | None) -> None:
        self._stream = stream
        self._prefix = "http11" if stream_id is None else "http2"
        # The fields that all events of an exchange have.
        self._exchange: Info = {} if stream_id is None else {"stream_id": stream_id}
        self._request = request
        self._tracer = tracer
        self._closed = False


class TracedStream(TracedStreamBase[ResponseStream, Tracer]):
    """A response body of a sync pool whose reading and closing is reported to a tracer."""

    def __iter__(self) -> typing.Iterator[bytes]:
        try:
            reading = {"request": self._request, **self._exchange}
            self._tracer(self._prefix, "receive_response_body.started", reading)
            try:
                yield from self._stream
            except BaseException as exc:
                self._tracer(self._prefix, "receive_response_body.failed", {"exception": exc})
                raise
            self._tracer(self._prefix, "receive_response_body.complete", {"return_value": None})
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Closes the stream, also if the callback raises an exception."""
        if not self._closed:
            self._closed = True
            try:
                self._tracer(self._prefix, "response_closed.started", dict(self._exchange))
            finally:
                self._stream.close()
            self._tracer(self._prefix, "response_closed.complete", {"return_value": None})


class AsyncTracedStream(TracedStreamBase[AsyncResponseStream, AsyncTracer]):
    """A response body of an async pool whose reading and closing is reported to a tracer."""

    async def __aiter__(self) -> typing.AsyncIterator[bytes]:
        try:
            reading = {"request": self._request, **self._exchange}
            await self._tracer(self._prefix, "receive_response_body.started", reading)
            try:
                async for chunk in self._stream:
                    yield chunk
            except BaseException as exc:
                await self._tracer(self._prefix, "receive_response_body.failed", {"exception": exc})
                raise
            await self._tracer(self._prefix, "receive_response_body.complete", {"return_value": None})
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """Closes the stream, also if the callback raises an exception or the task is cancelled in it."""
        if not self._closed:
            self._closed = True
            try:
                await self._tracer(self._prefix, "response_closed.started", dict(self._exchange))
            finally:
                await self._stream.aclose()
            await self._tracer(self._prefix, "response_closed.complete", {"return_value": None})


def log_closed(package: str, connections: int) -> None:
    """Writes the debug records of connections that a pool has closed."""
    logger = logging.getLogger(f"{package}.connection")
    for _ in range(connections):
        _log(logger, "close.started", {})
        _log(logger, "close.complete", {"return_value": None})
