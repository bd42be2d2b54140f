"""Metrics and spans of pools for OpenTelemetry. It needs `pip install httpcore_rs[opentelemetry]`.

`PoolMeter` shows the metrics of pools as instruments that a reader observes. `PhaseInstrumentation` makes a span for
each phase of a request, as a child of the current span, and records the durations of requests.
"""

from __future__ import annotations

import time
import typing
import urllib.parse

from opentelemetry import context, metrics, trace

from ._sources import HasMetrics, Sources, rows

if typing.TYPE_CHECKING:
    from httpcore import Request, Response
    from opentelemetry.context import Context
    from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation
    from opentelemetry.trace import TracerProvider

    from ._engine import Timings
    from ._metrics import Counters

    Attributes = dict[str, typing.Union[str, int]]
    # Returns the attributes of an observation beside those of the pool and the origin, and its value.
    Observe = typing.Callable[[Counters], typing.Iterable[tuple[Attributes, int]]]

__all__ = ["PhaseInstrumentation", "PoolMeter"]

_NAME = "httpcore_rs"
# Those that the semantic conventions recommend, in seconds.
_BOUNDS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]


def _single(field: str) -> Observe:
    return lambda counters: [({}, getattr(counters, field))]


def _states(counters: Counters) -> typing.Iterable[tuple[Attributes, int]]:
    for state in ("active", "idle", "connecting"):
        yield {"http.connection.state": state}, getattr(counters, f"connections_{state}")


def _outcomes(counters: Counters) -> typing.Iterable[tuple[Attributes, int]]:
    yield {"httpcore_rs.outcome": "finished"}, counters.requests_finished
    yield {"httpcore_rs.outcome": "cancelled"}, counters.requests_cancelled
    for error_type, count in counters.requests_failed.items():
        yield {"httpcore_rs.outcome": "failed", "error.type": error_type}, count


def _closed(counters: Counters) -> typing.Iterable[tuple[Attributes, int]]:
    for reason, count in counters.connections_closed.items():
        yield {"httpcore_rs.reason": reason}, count


def _bytes(counters: Counters) -> typing.Iterable[tuple[Attributes, int]]:
    yield {"network.io.direction": "transmit"}, counters.bytes_sent
    yield {"network.io.direction": "receive"}, counters.bytes_received


# The instruments whose value can go down, and those that count. Names without the prefix are of the conventions.
_UP_DOWN: dict[str, tuple[str, str, Observe]] = {
    "http.client.open_connections": ("{connection}", "Connections by state.", _states),
    "http.client.active_requests": (
        "{request}",
        "Requests that use or make a connection.",
        _single("requests_active"),
    ),
    "httpcore_rs.waiting_requests": ("{request}", "Requests that wait for a connection.", _single("requests_waiting")),
}
_COUNTERS: dict[str, tuple[str, str, Observe]] = {
    "httpcore_rs.requests": ("{request}", "Requests that have ended.", _outcomes),
    "httpcore_rs.replays": ("{replay}", "How many times a request was sent again.", _single("requests_replayed")),
    "httpcore_rs.retries": ("{retry}", "Repetitions by a retry policy.", _single("requests_retried")),
    "httpcore_rs.connections.opened": ("{connection}", "Established connections.", _single("connections_opened")),
    "httpcore_rs.connections.failed": ("{connection}", "Failed attempts to connect.", _single("connections_failed")),
    "httpcore_rs.connections.reused": ("{request}", "Requests on a used connection.", _single("connections_reused")),
    "httpcore_rs.connections.closed": ("{connection}", "Connections closed, by reason.", _closed),
    "httpcore_rs.io": ("By", "Bytes on the network, TLS included.", _bytes),
}


class PoolMeter:
    """Observable instruments of OpenTelemetry for the metrics of pools and transports.

    `http.client.open_connections` with `http.connection.state`, and `http.client.active_requests`, are those of the
    semantic conventions. The others begin with `httpcore_rs.`: `waiting_requests`, `requests`, `replays`,
    `retries`, `connections.opened`, `connections.failed`, `connections.reused`, `connections.closed` and `io`.
    """

    def __init__(
        self,
        pools: typing.Mapping[str, HasMetrics],
        meter_provider: MeterProvider | None = None,
        by_origin: bool = True,
    ) -> None:
        """Creates the instruments for pools by name, the attribute `httpcore_rs.pool`. Pools are not kept alive.

        With `by_origin=False` there are no attributes `url.scheme`, `server.address` and `server.port`.
        """
        self._sources = Sources(pools)
        self._by_origin = by_origin
        meter = metrics.get_meter(_NAME, meter_provider=meter_provider)
        for name, (unit, text, observe) in _UP_DOWN.items():
            meter.create_observable_up_down_counter(name, [self._callback(observe)], unit, text)
        for name, (unit, text, observe) in _COUNTERS.items():
            meter.create_observable_counter(name, [self._callback(observe)], unit, text)

    def add(self, name: str, pool: HasMetrics) -> None:
        """Adds a pool or a transport. It replaces one of the same name."""
        self._sources.add(name, pool)

    def remove(self, name: str) -> None:
        """Removes a pool or a transport."""
        self._sources.remove(name)

    def _callback(self, observe: Observe) -> typing.Callable[[CallbackOptions], typing.Iterable[Observation]]:
        def callback(_: CallbackOptions) -> typing.Iterable[Observation]:
            for name, pool in self._sources.read():
                for origin, counters in rows(pool, self._by_origin):
                    common: Attributes = {"httpcore_rs.pool": name, **_of_origin(origin)}
                    for attributes, value in observe(counters):
                        yield metrics.Observation(value, {**common, **attributes})

        return callback


def _of_origin(origin: str) -> Attributes:
    if not origin:
        return {}
    if origin == "other":
        return {"server.address": "other"}
    url = urllib.parse.urlsplit(origin.partition(" ")[0])
    return {"url.scheme": url.scheme, "server.address": url.hostname or "", "server.port": url.port or 0}


class PhaseInstrumentation:
    """Spans for the phases of requests, and the durations of requests.

    Each request of an instrumented pool or transport makes spans named `http.client.waiting`, `.dns`, `.connect`,
    `.proxy`, `.tls`, `.send`, `.response` and `.body`, as children of the span that is current when the request is
    sent: that of `opentelemetry-instrumentation-httpx`, for example. Phases that a reused connection has not are left
    out. The end of the response records `http.client.request.duration`.

    Requests of an instrumented transport take the slower path, that of httpcore's own models.
    """

    def __init__(
        self, tracer_provider: TracerProvider | None = None, meter_provider: MeterProvider | None = None
    ) -> None:
        """Uses the global providers where none are given."""
        self._tracer = trace.get_tracer(_NAME, tracer_provider=tracer_provider)
        meter = metrics.get_meter(_NAME, meter_provider=meter_provider)
        options: dict[str, typing.Any] = {"unit": "s", "description": "Duration of HTTP client requests."}
        try:
            self._duration = meter.create_histogram(
                "http.client.request.duration", explicit_bucket_boundaries_advisory=_BOUNDS, **options
            )
        except TypeError:  # Before 1.29.
            self._duration = meter.create_histogram("http.client.request.duration", **options)

    def instrument(self, pool: typing.Any) -> None:
        """Instruments a pool of this package, or a transport: its requests, and no others."""
        pool = getattr(pool, "_pool", pool)
        for name, wrap in (("handle_request", self._wrapped), ("handle_async_request", self._async_wrapped)):
            original = getattr(pool, name, None)
            if original is not None and name not in pool.__dict__:
                setattr(pool, name, wrap(original))

    def uninstrument(self, pool: typing.Any) -> None:
        """Undoes `instrument()`."""
        pool = getattr(pool, "_pool", pool)
        for name in ("handle_request", "handle_async_request"):
            if getattr(pool.__dict__.get(name), "_instrumentation", None) is self:
                delattr(pool, name)

    def _wrapped(self, original: typing.Callable[[Request], Response]) -> typing.Any:
        def handle_request(request: Request) -> Response:
            exchange = _Exchange(self, request)
            try:
                response = original(request)
            except Exception as exc:
                exchange.fail(exc)
                raise
            response.stream = _ObservedStream(response.stream, exchange.begin(response))
            return response

        handle_request._instrumentation = self  # type: ignore[attr-defined]  # noqa: SLF001
        return handle_request

    def _async_wrapped(self, original: typing.Callable[[Request], typing.Awaitable[Response]]) -> typing.Any:
        async def handle_async_request(request: Request) -> Response:
            exchange = _Exchange(self, request)
            try:
                response = await original(request)
            except Exception as exc:
                exchange.fail(exc)
                raise
            response.stream = _AsyncObservedStream(response.stream, exchange.begin(response))
            return response

        handle_async_request._instrumentation = self  # type: ignore[attr-defined]  # noqa: SLF001
        return handle_async_request

    def spans(self, timings: Timings, parent: Context, names: typing.Container[str] | None = None) -> None:
        """Makes a span for each phase that has ended, or for those of these names, as children in a context."""
        for name, start, end in timings.phases():
            if names is None or name in names:
                span = self._tracer.start_span(f"http.client.{name}", context=parent, start_time=start)
                span.end(end)

    def record(self, seconds: float, attributes: Attributes, parent: Context) -> None:
        """Records the duration of a request."""
        self._duration.record(seconds, attributes, context=parent)


class _Exchange:
    """One request of an instrumented pool."""

    def __init__(self, instrumentation: PhaseInstrumentation, request: Request) -> None:
        self._instrumentation = instrumentation
        self._parent = context.get_current()
        self._started = time.perf_counter()
        origin = request.url.origin
        self._attributes: Attributes = {
            "http.request.method": request.method.decode("ascii"),
            "url.scheme": origin.scheme.decode("ascii"),
            "server.address": origin.host.decode("ascii"),
            "server.port": origin.port,
        }
        self._timings: Timings | None = None

    def begin(self, response: Response) -> _Exchange:
        """Makes the spans of what has happened before the head of the response."""
        self._timings = response.extensions.get("timings")
        self._attributes["http.response.status_code"] = response.status
        version = response.extensions.get("http_version")
        if isinstance(version, bytes):
            self._attributes["network.protocol.version"] = version.decode("ascii").rpartition("/")[2]
        if self._timings is not None:
            self._instrumentation.spans(self._timings, self._parent)
        return self

    def fail(self, exc: BaseException) -> None:
        """Records the duration of a request that has failed."""
        self._attributes["error.type"] = type(exc).__name__
        self._instrumentation.record(time.perf_counter() - self._started, self._attributes, self._parent)

    def end(self) -> None:
        """Makes the span of the body, and records the duration."""
        total = None
        if self._timings is not None:
            self._instrumentation.spans(self._timings, self._parent, ("body",))
            total = self._timings.total
        seconds = time.perf_counter() - self._started if total is None else total
        self._instrumentation.record(seconds, self._attributes, self._parent)


class _ObservedStreamBase:
    def __init__(self, stream: typing.Any, exchange: _Exchange) -> None:
        self._stream = stream
        self._exchange = exchange
        self._is_closed = False

    def _end(self, exc: BaseException | None = None) -> None:
        if not self._is_closed:
            self._is_closed = True
            if exc is None:
                self._exchange.end()
            else:
                self._exchange.fail(exc)


class _ObservedStream(_ObservedStreamBase):
    def __iter__(self) -> typing.Iterator[bytes]:
        try:
            yield from self._stream
        except Exception as exc:
            self._end(exc)
            raise

    def close(self) -> None:
        self._stream.close()
        self._end()


class _AsyncObservedStream(_ObservedStreamBase):
    async def __aiter__(self) -> typing.AsyncIterator[bytes]:
        try:
            async for chunk in self._stream:
                yield chunk
        except Exception as exc:
            self._end(exc)
            raise

    async def aclose(self) -> None:
        await self._stream.aclose()
        self._end()
