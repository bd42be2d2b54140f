"""The metrics of a pool: what `pool.metrics()` and `transport.metrics()` return."""

from __future__ import annotations

import bisect
import dataclasses
import itertools
import typing

from ._engine import histogram_bounds
from ._names import public

if typing.TYPE_CHECKING:
    from ._engine import Engine

_BOUNDS = tuple(histogram_bounds(False))
_LIFETIME_BOUNDS = tuple(histogram_bounds(True))


class Counts(typing.Mapping[str, int]):
    """Numbers by name, immutable. A name that is missing has the number 0."""

    __slots__ = ("_numbers",)

    def __init__(self, numbers: typing.Mapping[str, int]) -> None:
        self._numbers = dict(numbers)

    def __getitem__(self, name: str) -> int:
        return self._numbers.get(name, 0)

    def __iter__(self) -> typing.Iterator[str]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)

    def __contains__(self, name: object) -> bool:
        return name in self._numbers

    def __hash__(self) -> int:
        return hash(frozenset(self._numbers.items()))

    def __repr__(self) -> str:
        return f"Counts({self._numbers!r})"


@public
@dataclasses.dataclass(frozen=True)
class Histogram:
    """Durations by size.

    Attributes:
        counts: The number of durations up to each of the `bounds` and above the one before it, and last the number of
            those above all bounds.
        sum: The sum of all durations, in seconds.
        bounds: The upper bounds of the buckets, in seconds. They are the same for all histograms but `lifetime`.
    """

    counts: tuple[int, ...]
    sum: float
    bounds: tuple[float, ...] = _BOUNDS

    @property
    def count(self) -> int:
        """The number of durations."""
        return sum(self.counts)

    @property
    def mean(self) -> float | None:
        """The mean duration in seconds; `None` if there is no duration."""
        return self.sum / self.count if self.count else None

    def quantile(self, fraction: float) -> float | None:
        """Returns a bound that this fraction of the durations does not exceed, in seconds.

        It is `None` if there is no duration, and infinite if the largest bound is exceeded.
        """
        if not 0 <= fraction <= 1:
            raise ValueError(f"fraction must be between 0 and 1, not {fraction!r}")
        if not self.count:
            return None
        cumulative = list(itertools.accumulate(self.counts))
        bucket = bisect.bisect_left(cumulative, max(fraction * self.count, 1))
        return self.bounds[bucket] if bucket < len(self.bounds) else float("inf")

    def as_dict(self) -> dict[str, typing.Any]:
        """Returns the attributes as a dictionary that `json.dumps()` takes."""
        return {"counts": list(self.counts), "sum": self.sum, "bounds": list(self.bounds)}


@public
@dataclasses.dataclass(frozen=True)
class Counters:
    """The history and the present of a pool in numbers, for one origin or for all of them.

    `requests_started` is the sum of `requests_finished`, `requests_cancelled`, `requests_active`, `requests_waiting`
    and of the numbers in `requests_failed`.

    Attributes:
        requests_started: Requests that the pool was given. A request that cannot be read does not count.
        requests_finished: Requests whose response was read to the end.
        requests_failed: Requests that raised an exception, by the name of its class.
        requests_cancelled: Requests that the program has cancelled, responses that it has closed before their end, and
            requests whose body raised an exception.
        requests_replayed: How many times a request was sent once more, because the connection had been closed or the
            server had not processed it.
        requests_retried: How many times a `RetryPolicy` has repeated a request. Each attempt is also a request of its
            own in the other numbers.
        requests_active: Requests that use or make a connection now. A response that was not read to its end and not
            closed is one of them.
        requests_waiting: Requests that wait for a connection now.
        bytes_sent: Bytes that connections have sent, with TLS and its handshakes.
        bytes_received: Bytes that connections have received, with TLS and its handshakes.
        connections_opened: Connections that were established.
        connections_reused: Requests that were sent on a connection that had served another one.
        connections_failed: Connections that could not be established. Repeated attempts (`retries`) count once.
        connections_closed: Connections that were closed, by the reason: `"expired"` (idle for `keepalive_expiry`),
            `"evicted"` (idle, for a connection to another origin), `"surplus"` (more idle ones than
            `max_keepalive_connections`), `"peer_closed"` (by the server, while it was idle), `"not_reusable"` (after a
            complete response, such as one with `Connection: close`), `"draining"` (HTTP/2: the server takes no more
            requests), `"failed"` (the exchange on it failed), `"cancelled"` (so was the request on it), `"requested"`
            (by its `close()`), `"pool_closed"`.
        connections_active: Connections that carry requests now.
        connections_idle: Connections that are kept for the next request.
        connections_connecting: Connections that are being made now.
        waiting: How long requests have waited in the pool. Those that have not waited count as well.
        dns: How long names were resolved.
        connect: How long TCP connections took.
        tls: How long TLS handshakes took.
        first_byte: How long requests took from their start until the head of the response.
        total: How long requests took from their start to the end of the response.
        lifetime: How long connections were open, once they are closed.
    """

    requests_started: int
    requests_finished: int
    requests_failed: Counts
    requests_cancelled: int
    requests_replayed: int
    requests_retried: int
    requests_active: int
    requests_waiting: int
    bytes_sent: int
    bytes_received: int
    connections_opened: int
    connections_reused: int
    connections_failed: int
    connections_closed: Counts
    connections_active: int
    connections_idle: int
    connections_connecting: int
    waiting: Histogram
    dns: Histogram
    connect: Histogram
    tls: Histogram
    first_byte: Histogram
    total: Histogram
    lifetime: Histogram

    def as_dict(self) -> dict[str, typing.Any]:
        """Returns the attributes as a dictionary that `json.dumps()` takes."""
        return {field.name: _plain(getattr(self, field.name)) for field in dataclasses.fields(self)}


@public
@dataclasses.dataclass(frozen=True)
class RequestInFlight:
    """A request that has not ended.

    Attributes:
        origin: The origin that it goes to: `"https://www.example.com:443"`.
        stage: What it is doing: `"waiting"` in the pool, `"connecting"`, `"sending"`, `"responding"` (the head of the
            response has not arrived) or `"reading"` (the body has not been read, or the response not been closed).
        age: Seconds since its start.
        held: Seconds since it got its connection, or the right to make one; `None` if it waits for one.
    """

    origin: str
    stage: str
    age: float
    held: float | None

    def as_dict(self) -> dict[str, typing.Any]:
        """Returns the attributes as a dictionary that `json.dumps()` takes."""
        return dataclasses.asdict(self)


class Origins(typing.Mapping[str, Counters]):
    """The counters of each origin, immutable."""

    __slots__ = ("_counters",)

    def __init__(self, counters: typing.Mapping[str, Counters]) -> None:
        self._counters = dict(counters)

    def __getitem__(self, origin: str) -> Counters:
        return self._counters[origin]

    def __iter__(self) -> typing.Iterator[str]:
        return iter(self._counters)

    def __len__(self) -> int:
        return len(self._counters)

    def __hash__(self) -> int:
        return hash(frozenset(self._counters))

    def __repr__(self) -> str:
        return f"Origins({self._counters!r})"


@public
@dataclasses.dataclass(frozen=True)
class PoolMetrics:
    """The metrics of a pool. All numbers are of the same moment.

    Attributes:
        max_connections: The limit of the pool; `None` if there is none.
        total: The sum over all origins.
        origins: By origin, such as `"https://www.example.com:443"`. At most 256 origins without requests have counters
            of their own.
        other: The sum of the counters of those that have none of their own any more, because they were not used for
            longest; `None` if there are none.
        requests: The requests that have not ended, the oldest first.
    """

    max_connections: int | None
    total: Counters
    origins: typing.Mapping[str, Counters]
    other: Counters | None
    requests: tuple[RequestInFlight, ...]

    def as_dict(self) -> dict[str, typing.Any]:
        """Returns the attributes as a dictionary that `json.dumps()` takes."""
        return {
            "max_connections": self.max_connections,
            "total": self.total.as_dict(),
            "origins": {origin: counters.as_dict() for origin, counters in self.origins.items()},
            "other": self.other and self.other.as_dict(),
            "requests": [request.as_dict() for request in self.requests],
        }


_HISTOGRAMS = ("waiting", "dns", "connect", "tls", "first_byte", "total")


def of_engine(engine: Engine) -> PoolMetrics:
    """Returns the metrics of the pool that has this engine."""
    metrics = engine.metrics()
    return PoolMetrics(
        max_connections=metrics["max_connections"],
        total=_counters(metrics["total"]),
        origins=Origins({origin: _counters(fields) for origin, fields in metrics["origins"].items()}),
        other=metrics["other"] and _counters(metrics["other"]),
        requests=tuple(RequestInFlight(*request) for request in metrics["requests"]),
    )


def _counters(fields: dict[str, typing.Any]) -> Counters:
    for name in _HISTOGRAMS:
        fields[name] = Histogram(*fields[name])
    counts, total = fields["lifetime"]
    fields["lifetime"] = Histogram(counts, total, _LIFETIME_BOUNDS)
    for name in ("requests_failed", "connections_closed"):
        fields[name] = Counts(fields[name])
    return Counters(**fields)


def _plain(value: typing.Any) -> typing.Any:
    if isinstance(value, Histogram):
        return value.as_dict()
    return dict(value) if isinstance(value, Counts) else value
