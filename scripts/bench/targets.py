"""The targets of the project, compared with the results of a run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench.measure import Result

OURS = "httpcore_rs"
OVER_OURS = "httpx + httpcore_rs"
OVER_BARE = "httpx + bare protocol"
FLOOR = "httpx, no I/O"
BARE_TLS = "bare TLS socket, HTTP/1.1"
PEERS = ("aiohttp", "pyreqwest", "urllib3", "httpcore", "httpcore2")


@dataclass(frozen=True)
class Target:
    """One figure with its bound. `beside` adds the result of the best peer in the same run."""

    what: str
    got: float
    bound: float
    unit: str
    at_least: bool = False
    beside: str = ""

    @property
    def met(self) -> bool:
        return self.got >= self.bound if self.at_least else self.got <= self.bound

    def __str__(self) -> str:
        relation = "at least" if self.at_least else "at most"
        line = f"{'met    ' if self.met else 'NOT MET'}  {self.what}: {self.got:.2f}{self.unit}"
        return f"{line} ({relation} {self.bound:g}{self.unit}){self.beside}"


def targets(results: dict[str, Result]) -> Iterator[Target]:
    """Yields the targets of the sections that were measured."""
    yield from _requests(results)
    yield from _pools(results)
    yield from _bodies(results)
    yield from _http2(results)


def _requests(results: dict[str, Result]) -> Iterator[Target]:
    if (found := results.get("sync")) and "pyreqwest" in found.series:
        beside = f"; a bare socket: {found.ratio('bare socket', 'pyreqwest'):.2f}x"
        yield Target("sync, of pyreqwest's time", found.ratio(OURS, "pyreqwest"), 0.7, "x", beside=beside)
    for tasks in (20, 100):
        if found := results.get(f"async-{tasks}"):
            title = f"async, {tasks} tasks"
            yield Target(f"{title}, of a bare protocol's time", found.ratio(OURS, "bare protocol"), 1.6, "x")
            if peer := found.best(("aiohttp", "pyreqwest")):
                yield Target(f"{title}, of {peer}'s time", found.ratio(OURS, peer), 0.6, "x")
    if found := results.get("async-20"):
        title = "httpx.AsyncClient over httpcore_rs, 20 tasks"
        beside = f"; over bare protocols: {found.difference(OVER_BARE, FLOOR):.2f} us"
        yield Target(f"{title}, above its floor", found.difference(OVER_OURS, FLOOR), 40, " us", beside=beside)
        yield Target(f"{title}, times faster than httpx", found.ratio("httpx", OVER_OURS), 5, "x", at_least=True)


def _pools(results: dict[str, Result]) -> Iterator[Target]:
    for way in ("sync", "async"):
        if found := results.get(f"{way}-idle"):
            got = found.ratio(f"{OURS}, 200 idle", f"{OURS}, 1 idle")
            yield Target(f"{way}, 200 idle connections against 1", got, 1.2, "x")
    if found := results.get("construct"):
        for name in (OURS, OVER_OURS):
            yield Target(f"making a client, {name}", found.time(name) / 1000, 1, " ms")


def _bodies(results: dict[str, Result]) -> Iterator[Target]:
    for key, bound in (("async-down", 0.5), ("sync-down", 1.0), ("sync-up", 1.0)):
        if found := results.get(key):
            got = found.ratio(OURS, "httpcore")
            yield Target(f"{found.title}, of httpcore's time", got, bound, "x", beside=_beside(found))
    # The bound of this one is the best peer.
    if (found := results.get("async-up")) and (best := found.best(PEERS)):
        yield Target(f"{found.title}, of {best}'s time (the best peer)", found.ratio(OURS, best), 1.0, "x")


def _http2(results: dict[str, Result]) -> Iterator[Target]:
    bodies = [f"{protocol}-{way}-down" for protocol in ("h2", "h2c") for way in ("sync", "async")]
    for key, bound in (("h2-async-100", 0.6), *((key, 1.0) for key in bodies)):
        if found := results.get(key):
            if "pyreqwest" in found.series:
                yield Target(f"{found.title}, of pyreqwest's time", found.ratio(OURS, "pyreqwest"), bound, "x")
            if "httpcore" in found.series:
                got = found.ratio("httpcore", OURS)
                bare = f"; {BARE_TLS}: {found.ratio('httpcore', BARE_TLS):.2f}x" if BARE_TLS in found.series else ""
                title = f"{found.title}, times faster than httpcore"
                yield Target(title, got, 5, "x", at_least=True, beside=bare)


def _beside(result: Result) -> str:
    best = result.best(PEERS)
    return "" if best is None else f"; best peer: {best}, httpcore_rs takes {result.ratio(OURS, best):.2f}x its time"
