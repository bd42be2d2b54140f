"""The method: all candidates in turn, round after round, and medians of the ratios within a round.

A machine that is busy for a second slows one round of all candidates, not one candidate. Ratios are therefore taken
within a round, and the median over the rounds is printed.
"""

from __future__ import annotations

import contextlib
import gc
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Callable

# Does the work that many times.
Work = Callable[[int], None]


@dataclass(frozen=True)
class Effort:
    """The duration: `seconds` per sample, `rounds` samples per candidate."""

    rounds: int
    seconds: float


@dataclass
class Series:
    """One candidate's samples: seconds per piece of work, one for each round, as wall time and as CPU time."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


@dataclass
class Result:
    """The result of one section: a series for each candidate, in the order in which they are shown.

    `failed` says of the others why they have none.
    """

    key: str
    title: str
    series: dict[str, Series]
    show_cpu: bool = False
    unit: str = "us"
    failed: dict[str, str] = field(default_factory=dict)

    def time(self, name: str) -> float:
        """Median wall time of one piece of work, in microseconds."""
        return median(self.series[name].wall) * 1e6

    def cpu(self, name: str) -> float:
        """Median CPU time of one piece of work, all threads of this process, in microseconds."""
        return median(self.series[name].cpu) * 1e6

    def ratio(self, name: str, other: str) -> float:
        """Returns the time of `name` divided by that of `other`: the median over the rounds."""
        return median(a / b for a, b in zip(self.series[name].wall, self.series[other].wall))

    def difference(self, name: str, other: str) -> float:
        """Returns the time of `name` less that of `other`, in microseconds: the median over the rounds."""
        return median(a - b for a, b in zip(self.series[name].wall, self.series[other].wall)) * 1e6

    def best(self, names: Sequence[str]) -> str | None:
        """Returns the fastest of those names that were measured."""
        return min((name for name in names if name in self.series), key=self.time, default=None)


def measure(
    key: str,
    title: str,
    candidates: dict[str, Work],
    effort: Effort,
    *,
    at_least: int = 1,
    at_most: int | None = None,
    show_cpu: bool = False,
    unit: str = "us",
) -> Result:
    """Measures all candidates in rounds. `at_least` and `at_most` bound how often a sample repeats the work."""
    result = Result(key, title, {name: Series() for name in candidates}, show_cpu, unit)
    counts = {}
    for name, work in candidates.items():
        _progress(f"{title}: warming up {name}")
        with _failing(result, name):
            counts[name] = _calibrate(work, effort.seconds, at_least, at_most)
    names = list(candidates)
    for turn in range(effort.rounds):
        # In the next round each candidate follows a different one.
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            if name not in result.series:
                continue
            _progress(f"{title}: round {turn + 1} of {effort.rounds}, {name}")
            with _failing(result, name):
                wall, cpu = _sample(candidates[name], counts[name])
                result.series[name].wall.append(wall)
                result.series[name].cpu.append(cpu)
    _progress("")
    return result


@contextlib.contextmanager
def _failing(result: Result, name: str) -> Iterator[None]:
    """Leaves a candidate out after a failure, unless it is httpcore_rs. The others are still measured."""
    try:
        yield
    except Exception as exc:
        if "httpcore_rs" in name:
            raise
        del result.series[name]
        result.failed[name] = f"{type(exc).__name__}: {exc}".splitlines()[0]


def _calibrate(work: Work, seconds: float, at_least: int, at_most: int | None) -> int:
    count = at_least
    while True:
        wall, _ = _sample(work, count)
        if wall * count >= seconds / 4:
            break
        count *= 2
        if at_most is not None and count >= at_most:
            return at_most
    count = max(at_least, round(seconds / wall))
    return count if at_most is None else min(count, at_most)


def _sample(work: Work, count: int) -> tuple[float, float]:
    # Garbage of the previous candidate is not counted.
    gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    work(count)
    return (time.perf_counter() - wall) / count, (time.process_time() - cpu) / count


def _progress(text: str) -> None:
    """Shows one line that the next one replaces, on a terminal only."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text[:110]}", end="", file=sys.stderr, flush=True)
