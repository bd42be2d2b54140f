"""Metrics of pools for Prometheus: a collector for `prometheus_client`. It needs `pip install httpcore_rs[prometheus]`.

from prometheus_client import REGISTRY
REGISTRY.register(PoolCollector({"api": transport}))
"""

from __future__ import annotations

import itertools
import typing

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from ._sources import HasMetrics, Sources, rows

if typing.TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

    from ._metrics import Counters, Histogram

__all__ = ["PoolCollector"]

_STATES = ("active", "idle", "connecting")
# Fields of `Counters`, and the names and descriptions of their metrics.
_COUNTERS = {
    "requests_started": ("http_client_requests_started", "Requests that the pool was given."),
    "requests_replayed": ("http_client_requests_replayed", "How many times a request was sent once more."),
    "requests_retried": ("http_client_requests_retried", "How many times a retry policy has repeated a request."),
    "bytes_sent": ("http_client_sent_bytes", "Bytes that connections have sent, TLS included."),
    "bytes_received": ("http_client_received_bytes", "Bytes that connections have received, TLS included."),
    "connections_opened": ("http_client_connections_opened", "Connections that were established."),
    "connections_failed": ("http_client_connections_failed", "Connections that could not be established."),
    "connections_reused": ("http_client_connections_reused", "Requests on a connection that had served another one."),
}
_GAUGES = {
    "requests_active": ("http_client_active_requests", "Requests that use or make a connection."),
    "requests_waiting": ("http_client_waiting_requests", "Requests that wait for a connection."),
}
_HISTOGRAMS = {
    "waiting": ("http_client_request_time_in_queue_seconds", "How long requests have waited in the pool."),
    "dns": ("dns_lookup_duration_seconds", "How long names were resolved."),
    "connect": ("http_client_connect_duration_seconds", "How long TCP connections took."),
    "tls": ("http_client_tls_duration_seconds", "How long TLS handshakes took."),
    "first_byte": ("http_client_request_first_byte_seconds", "From the start to the head of the response."),
    "total": ("http_client_request_duration_seconds", "From the start to the end of the response."),
    "lifetime": ("http_client_connection_duration_seconds", "How long connections were open that are closed now."),
}


class PoolCollector(Collector):
    """A collector for the registries of `prometheus_client`, which reads the metrics when it is scraped.

    Names follow OpenTelemetry's semantic conventions, as Prometheus writes them. The label `pool` is the name that the
    pool was given here, and `origin` its origin, such as `https://www.example.com:443`.
    """

    def __init__(self, pools: typing.Mapping[str, HasMetrics], by_origin: bool = True) -> None:
        """Makes a collector for pools or transports by name. They are not kept alive.

        With `by_origin=False` there is one row for each pool: for programs with many origins.
        """
        self._sources = Sources(pools)
        self._by_origin = by_origin

    def add(self, name: str, pool: HasMetrics) -> None:
        """Adds a pool or a transport. It replaces one of the same name."""
        self._sources.add(name, pool)

    def remove(self, name: str) -> None:
        """Removes a pool or a transport."""
        self._sources.remove(name)

    def describe(self) -> typing.Iterable[Metric]:
        """Returns nothing: registries then do not compare the names with those of other collectors."""
        return []

    def collect(self) -> typing.Iterator[Metric]:
        """Returns the metrics of all pools as they are now."""
        label_names = ["pool", "origin"] if self._by_origin else ["pool"]
        found: list[tuple[list[str], Counters]] = [
            ([name, origin] if self._by_origin else [name], counters)
            for name, metrics in self._sources.read()
            for origin, counters in rows(metrics, self._by_origin)
        ]
        for field, (metric_name, text) in _COUNTERS.items():
            counter = CounterMetricFamily(metric_name, text, labels=label_names)
            for labels, counters in found:
                counter.add_metric(labels, getattr(counters, field))
            yield counter
        for field, (metric_name, text) in _GAUGES.items():
            gauge = GaugeMetricFamily(metric_name, text, labels=label_names)
            for labels, counters in found:
                gauge.add_metric(labels, getattr(counters, field))
            yield gauge
        yield from _ended(label_names, found)
        yield from _connections(label_names, found)
        for field, (metric_name, text) in _HISTOGRAMS.items():
            histogram = HistogramMetricFamily(metric_name, text, labels=label_names)
            for labels, counters in found:
                durations: Histogram = getattr(counters, field)
                histogram.add_metric(labels, _buckets(durations), durations.sum)
            yield histogram


def _ended(label_names: list[str], found: list[tuple[list[str], Counters]]) -> typing.Iterator[Metric]:
    requests = CounterMetricFamily(
        "http_client_requests",
        "Requests that have ended: finished, cancelled or failed; error_type is the class of the exception.",
        labels=[*label_names, "outcome", "error_type"],
    )
    for labels, counters in found:
        requests.add_metric([*labels, "finished", ""], counters.requests_finished)
        requests.add_metric([*labels, "cancelled", ""], counters.requests_cancelled)
        for error_type, count in counters.requests_failed.items():
            requests.add_metric([*labels, "failed", error_type], count)
    yield requests


def _connections(label_names: list[str], found: list[tuple[list[str], Counters]]) -> typing.Iterator[Metric]:
    states = GaugeMetricFamily(
        "http_client_open_connections", "Connections by state.", labels=[*label_names, "http_connection_state"]
    )
    closed = CounterMetricFamily(
        "http_client_connections_closed", "Connections that were closed, by reason.", labels=[*label_names, "reason"]
    )
    for labels, counters in found:
        for state in _STATES:
            states.add_metric([*labels, state], getattr(counters, f"connections_{state}"))
        for reason, count in counters.connections_closed.items():
            closed.add_metric([*labels, reason], count)
    yield states
    yield closed


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """Returns the upper bounds and the numbers of durations up to them."""
    bounds = [*map(str, histogram.bounds), "+Inf"]
    return list(zip(bounds, itertools.accumulate(histogram.counts)))
