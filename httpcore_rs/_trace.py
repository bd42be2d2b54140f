"""Following a request: httpcore's `trace` extension and its debug logs.

The engine reports its moments to a listener, if a request has one. Two moments lie outside of it, in the hands of
whoever reads the body: these are reported by the streams of this file, which then stand in front of the engine's.
"""

from __future__ import annotations

import importlib
import inspect
import logging
import typing

if typing.TYPE_CHECKING:
    from httpcore import Proxy, Request

    from ._engine import AsyncResponseStream, ResponseStream

Info = typing.Dict[str, typing.Any]  # noqa: UP006  # Evaluated, also by CPython 3.9.


# Connections are closed on no request's behalf: that is logged, not traced.
UNTRACED = "close."


def _log(logger: logging.Logger, name: str, info: Info) -> None:
    if not logger.isEnabledFor(logging.DEBUG):
        return
    if not info or ("return_value" in info and info["return_value"] is None):
        logger.debug(name)
    else:
        logger.debug("%s %s", name, " ".join(f"{key}={value!r}" for key, value in info.items()))


def tunnel_request(package: str, proxy: Proxy, request: Request) -> Request:
    """The request with which a proxy is asked for the tunnel that `request` goes through, as listeners see it."""
    models = importlib.import_module(package)
    origin = request.url.origin
    target = b"%b:%d" % (origin.host, origin.port)
    url = models.URL(scheme=proxy.url.scheme, host=proxy.url.host, port=proxy.url.port, target=target)
    given = {name.lower() for name, _ in proxy.headers}
    own = [(name, value) for name, value in ((b"Host", target), (b"Accept", b"*/*")) if name.lower() not in given]
    connect: Request = models.Request(b"CONNECT", url, headers=own + proxy.headers, extensions=request.extensions)
    return connect


class Listener:
    """Hears the moments of a request from a sync pool: `listener("http11", "send_request_body.started", info)`."""

    def __init__(self, package: str, callback: typing.Callable[[str, Info], object] | None) -> None:
        self._package = package
        self._callback = callback

    def __call__(self, prefix: str, name: str, info: Info) -> None:
        if self._callback is not None and not name.startswith(UNTRACED):
            result = self._callback(f"{prefix}.{name}", info)
            if inspect.iscoroutine(result):
                result.close()
                raise TypeError(
                    "If you are using a synchronous interface, the callback of the `trace` extension should "
                    "be a normal function instead of an asynchronous function."
                )
        _log(logging.getLogger(f"{self._package}.{prefix}"), name, info)


class AsyncListener:
    """Hears the moments of a request from an async pool."""

    def __init__(self, package: str, callback: typing.Callable[[str, Info], object] | None) -> None:
        self._package = package
        self._callback = callback

    async def __call__(self, prefix: str, name: str, info: Info) -> None:
        if self._callback is not None and not name.startswith(UNTRACED):
            result = self._callback(f"{prefix}.{name}", info)
            if not inspect.iscoroutine(result):
                raise TypeError(
                    "If you're using an asynchronous interface, the callback of the `trace` extension should "
                    "be an asynchronous function rather than a normal function."
                )
            await result
        _log(logging.getLogger(f"{self._package}.{prefix}"), name, info)


class TracedStream:
    """A response body whose reading and closing a listener hears of."""

    def __init__(self, stream: ResponseStream, request: Request, listener: Listener, stream_id: int | None) -> None:
        self._stream = stream
        self._prefix = "http11" if stream_id is None else "http2"
        self._exchange: Info = {} if stream_id is None else {"stream_id": stream_id}
        self._request = request
        self._listener = listener
        self._closed = False

    def __iter__(self) -> typing.Iterator[bytes]:
        try:
            reading = {"request": self._request, **self._exchange}
            self._listener(self._prefix, "receive_response_body.started", reading)
            try:
                yield from self._stream
            except BaseException as exc:
                self._listener(self._prefix, "receive_response_body.failed", {"exception": exc})
                raise
            self._listener(self._prefix, "receive_response_body.complete", {"return_value": None})
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            try:
                self._listener(self._prefix, "response_closed.started", dict(self._exchange))
            finally:
                # Also when the callback raises: the connection never waits for that.
                self._stream.close()
            self._listener(self._prefix, "response_closed.complete", {"return_value": None})


class AsyncTracedStream:
    """A response body whose reading and closing a listener hears of."""

    def __init__(
        self, stream: AsyncResponseStream, request: Request, listener: AsyncListener, stream_id: int | None
    ) -> None:
        self._stream = stream
        self._prefix = "http11" if stream_id is None else "http2"
        self._exchange: Info = {} if stream_id is None else {"stream_id": stream_id}
        self._request = request
        self._listener = listener
        self._closed = False

    async def __aiter__(self) -> typing.AsyncIterator[bytes]:
        try:
            await self._listener(
                self._prefix, "receive_response_body.started", {"request": self._request, **self._exchange}
            )
            try:
                async for chunk in self._stream:
                    yield chunk
            except BaseException as exc:
                await self._listener(self._prefix, "receive_response_body.failed", {"exception": exc})
                raise
            await self._listener(self._prefix, "receive_response_body.complete", {"return_value": None})
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            try:
                await self._listener(self._prefix, "response_closed.started", dict(self._exchange))
            finally:
                # Also when the task is cancelled in its callback: the connection never waits for that.
                await self._stream.aclose()
            await self._listener(self._prefix, "response_closed.complete", {"return_value": None})


def log_closed(package: str, connections: int) -> None:
    """The records of connections that a pool has closed."""
    logger = logging.getLogger(f"{package}.connection")
    for _ in range(connections):
        _log(logger, "close.started", {})
        _log(logger, "close.complete", {"return_value": None})
