"""Results: samples of candidates that took turns, medians of their times, ratios and latencies, and a file of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median


@dataclass
class Series:
    """One candidate's samples, one for each round: seconds per piece of work, as wall time and as CPU time.

    `latencies` are the times of single requests, in seconds, of all rounds together. `memory` is the peak of a process
    or what a connection holds, in bytes.
    """

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)

    def samples(self, what: str) -> list[float]:
        """Returns the samples of `wall`, `cpu` or `memory`."""
        found: list[float] = getattr(self, what)
        return found


@dataclass
class Result:
    """The result of one section: a series for each candidate, in the order in which they are shown.

    Ratios are to `base`, the limit of the section. `failed` says of the others why they have none. `shows` are the
    columns: `wall`, `cpu`, `p50`, `p99`, `memory`, and `x` for the ratio of the first of them.
    """

    key: str
    title: str
    series: dict[str, Series]
    base: str = ""
    unit: str = "us"
    shows: Sequence[str] = ("wall", "x")
    failed: dict[str, str] = field(default_factory=dict)

    def time(self, name: str, what: str = "wall") -> float:
        """Returns the median time of one piece of work, in microseconds: wall time, or CPU time of all threads."""
        return median(self.series[name].samples(what)) * 1e6

    def memory(self, name: str) -> float:
        """Returns the median of the memory, in bytes."""
        return median(self.series[name].memory)

    def latency(self, name: str, part: float) -> float:
        """Returns the time that `part` of all requests did not exceed, in microseconds."""
        times = self.series[name].latencies
        return times[min(len(times) - 1, int(part * len(times)))] * 1e6

    def ratio(self, name: str, other: str, what: str = "wall") -> float:
        """Returns the time of `name` divided by that of `other`: the median over the rounds."""
        mine, others = self.series[name].samples(what), self.series[other].samples(what)
        return median(a / b for a, b in zip(mine, others) if b)

    def has(self, *names: str) -> bool:
        """Returns true if all of those candidates were measured."""
        return all(name in self.series for name in names)

    def best(self, names: Iterable[str], what: str = "wall") -> str | None:
        """Returns the fastest of those names that were measured."""
        return min(
            (name for name in names if name in self.series), key=lambda name: self.time(name, what), default=None
        )


@dataclass(frozen=True)
class Run:
    """All results of one run, by their keys, and what was measured where: command, machine, versions."""

    results: dict[str, Result]
    about: Mapping[str, str]

    def save(self, path: Path) -> None:
        """Writes the run into a file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        results = [asdict(result) for result in self.results.values()]
        path.write_text(json.dumps({"about": dict(self.about), "results": results}))

    @classmethod
    def load(cls, path: Path) -> Run:
        """Reads the run that `save` has written."""
        found = json.loads(path.read_text())
        results = {}
        for entry in found["results"]:
            series = {name: Series(**samples) for name, samples in entry.pop("series").items()}
            results[entry["key"]] = Result(**entry, series=series)
        return cls(results, found["about"])
