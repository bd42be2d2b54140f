"""The pools whose metrics an exporter shows, by name."""

from __future__ import annotations

import threading
import typing
import weakref

if typing.TYPE_CHECKING:
    from ._metrics import Counters, PoolMetrics


class HasMetrics(typing.Protocol):
    """A pool or a transport of this package."""

    def metrics(self) -> PoolMetrics:
        """Returns the metrics."""


class Sources:
    """Pools by name. They are not kept alive: one that is gone is not shown any more."""

    def __init__(self, pools: typing.Mapping[str, HasMetrics]) -> None:
        self._lock = threading.Lock()
        self._pools: dict[str, weakref.ref[HasMetrics]] = {}
        for name, pool in pools.items():
            self.add(name, pool)

    def add(self, name: str, pool: HasMetrics) -> None:
        """Adds a pool. Raises `TypeError` for an object without `metrics()`."""
        if not callable(getattr(pool, "metrics", None)):
            raise TypeError(f"a pool or a transport of httpcore_rs has metrics(); {type(pool).__name__} has not")
        with self._lock:
            self._pools[name] = weakref.ref(pool)

    def remove(self, name: str) -> None:
        """Removes a pool; none if the name is unknown."""
        with self._lock:
            self._pools.pop(name, None)

    def read(self) -> list[tuple[str, PoolMetrics]]:
        """Returns the metrics of each pool."""
        with self._lock:
            pools = [(name, reference()) for name, reference in self._pools.items()]
            self._pools = {name: self._pools[name] for name, pool in pools if pool is not None}
        return [(name, pool.metrics()) for name, pool in pools if pool is not None]


def rows(metrics: PoolMetrics, by_origin: bool) -> list[tuple[str, Counters]]:
    """Returns the counters of each origin, with `"other"` for those that have none of their own, or the sum of all."""
    if not by_origin:
        return [("", metrics.total)]
    found = list(metrics.origins.items())
    if metrics.other is not None:
        found.append(("other", metrics.other))
    return found
