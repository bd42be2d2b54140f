"""The acceptance table: figures with bounds, from the results of one run. All but memory are medians of ratios."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench.clients.candidates import OPENSSL, OURS, OVER_OURS, OVER_OURS_2, PARSED, PEERS
from bench.results import Result

BEST = "the best peer"


@dataclass(frozen=True)
class Bound:
    """A bound on the time of `ours` divided by that of `other`, in the result `key`.

    `other` may be the best peer. `what` is `wall`, or `cpu` for CPU time.
    """

    what_is_measured: str
    key: str
    ours: str
    other: str
    at_most: float
    what: str = "wall"


@dataclass(frozen=True)
class Row:
    """A figure with its bound. `against` is what it is a ratio to, `cpu` the same ratio of CPU times."""

    title: str
    against: str
    measured: float
    at_most: float
    unit: str = "x"
    cpu: float | None = None

    @property
    def met(self) -> bool:
        return self.measured <= self.at_most


_BOUNDS = (
    *(
        Bound(f"pool, {url} URL, async, {tasks}, CPU", f"async-{count}", ours, "bare protocol", bound, "cpu")
        for url, ours in (("string", OURS), ("parsed", PARSED))
        for count, tasks, bound in ((1, "1 task", 1.6), (20, "20 tasks", 1.5), (100, "100 tasks", 1.5))
    ),
    *(
        Bound(f"pool, {url} URL, sync{text}", "sync", ours, "bare socket", 1.35, what)
        for url, ours in (("string", OURS), ("parsed", PARSED))
        for what, text in (("wall", ""), ("cpu", ", CPU"))
    ),
    Bound("httpx over ours, async, 20 tasks", "async-20", OVER_OURS, "httpx + bare protocol", 1.12),
    Bound("httpx over ours, sync", "sync", OVER_OURS, "httpx + bare socket", 1.12),
    Bound("httpx over ours, async, 20 tasks", "async-20", OVER_OURS, "httpx", 0.18),
    Bound("httpx over ours, async, 20 tasks", "async-20", OVER_OURS, "httpx + aiohttp", 0.55),
    Bound("httpx over ours, async, 20 tasks", "async-20", OVER_OURS, "httpx + pyreqwest", 0.55),
    Bound("httpx over ours, async, 20 tasks", "async-20", OVER_OURS, "httpx + pyqwest", 0.55),
    Bound("httpx over ours, sync", "sync", OVER_OURS, "httpx", 0.5),
    Bound("httpx over ours, sync", "sync", OVER_OURS, "httpx + pyreqwest", 0.85),
    Bound("httpx over ours, sync", "sync", OVER_OURS, "httpx + pyqwest", 0.85),
    Bound("httpx2 over ours, async, 20 tasks", "async-20", OVER_OURS_2, "httpx2", 0.27),
    Bound("httpx2 over ours, sync", "sync", OVER_OURS_2, "httpx2", 0.7),
    Bound("over an ssl.SSLContext, async, 20 tasks", "tls-async-20", OPENSSL, OURS, 1.4),
    Bound("over an ssl.SSLContext, async, 20 tasks", "tls-async-20", OPENSSL, "aiohttp", 0.9),
    Bound("TLS (rustls), async, 20 tasks", "tls-async-20", OURS, BEST, 0.6),
    Bound("cold TLS client, one request, sync", "tls-cold-sync", OURS, BEST, 0.3),
    Bound("cold TLS client, one request, async", "tls-cold-async", OURS, BEST, 0.3),
    Bound("HTTP/2 over TLS, 100 tasks", "h2-async-100", OURS, BEST, 0.3),
    Bound("8 threads, HTTP/1.1", "threads", OURS, "pyreqwest", 1.0),
    Bound("8 threads, one HTTP/2 connection", "h2-threads", OURS, "pyreqwest", 1.0),
    Bound("8 threads, HTTP/1.1", "threads", OURS, BEST, 1.0),
    Bound("8 threads, one HTTP/2 connection", "h2-threads", OURS, BEST, 1.0),
    Bound("64 MiB down, sync", "sync-down", OURS, BEST, 0.9),
    *(
        Bound(f"64 MiB up, {tls}{way}", f"{prefix}{way}-up", OURS, BEST, 0.95)
        for prefix, tls in (("", ""), ("tls-", "TLS, "))
        for way in ("sync", "async")
    ),
    *(
        Bound(f"GET beside 10,000 {what}, {way}", f"{key}-{way}-httpcore_rs", "beside 10,000", "beside 1", 1.2, "cpu")
        for key, what in (("idle", "idle connections"), ("origins", "origins"))
        for way in ("sync", "async")
    ),
    Bound(
        "GET, 10,000 at once over 10 connections", "waiting-httpcore_rs", "10,000 at once", "100 at once", 1.2, "cpu"
    ),
    Bound("10,000 cancelled waiters", "cancelled", "cancelled", "served", 1.0),
)


def rows(results: dict[str, Result]) -> Iterator[Row]:
    """Yields the rows whose sections were measured."""
    for bound in _BOUNDS:
        if row := _row(bound, results.get(bound.key)):
            yield row
    if found := results.get("memory-plain"):
        yield from _memory(found)


def _memory(result: Result) -> Iterator[Row]:
    peers = [f"{name} {result.memory(name) / 1024:.1f}" for name in ("aiohttp", "httpcore2, async") if result.has(name)]
    for name in (OURS, f"{OURS}, async"):
        measured = result.memory(name) / 1024
        yield Row(f"memory of an idle plain connection, {name}", "; ".join(peers), measured, 7.5, " KiB")


def _row(bound: Bound, result: Result | None) -> Row | None:
    if result is None:
        return None
    other = result.best(PEERS, bound.what) if bound.other == BEST else bound.other
    if other is None or not result.has(bound.ours, other):
        return None
    against = f"{other} ({BEST})" if bound.other == BEST else other
    measured, cpu = (result.ratio(bound.ours, other, what) for what in (bound.what, "cpu"))
    return Row(bound.what_is_measured, against, measured, bound.at_most, cpu=cpu)
