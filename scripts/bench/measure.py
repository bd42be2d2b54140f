"""The method: all candidates in turn, round after round, and medians of the ratios within a round.

A machine that is busy for a second slows one round of all candidates, not one candidate. A slice is therefore short,
ratios are taken within a round, and the median over the rounds is shown. The CPU time is that of this process, which is
the client: servers are processes of their own.
"""

from __future__ import annotations

import contextlib
import gc
import random
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Callable, Optional

from bench.results import Result, Series

# Does the work that many times, and may return the seconds that each piece took.
Work = Callable[[int], Optional[Sequence[float]]]


@dataclass(frozen=True)
class Effort:
    """The duration: `seconds` per sample, `rounds` samples per candidate."""

    rounds: int
    seconds: float


def measure(
    key: str,
    title: str,
    candidates: Mapping[str, Work],
    effort: Effort,
    *,
    base: str = "",
    at_least: int = 1,
    at_most: int | None = None,
    unit: str = "us",
    shows: Sequence[str] = ("wall", "cpu", "x"),
) -> Result:
    """Measures all candidates in rounds. `at_least` and `at_most` bound how often a sample repeats the work."""
    result = Result(key, title, {name: Series() for name in candidates}, base, unit, shows)
    counts = {}
    for name, work in candidates.items():
        progress(f"{title}: warming up {name}")
        with failing(result, name):
            counts[name] = _calibrate(work, effort.seconds, at_least, at_most)
    with _no_old_garbage():
        for turn, name in turns(list(candidates), effort.rounds):
            if name in result.series:
                progress(f"{title}: round {turn + 1} of {effort.rounds}, {name}")
                with failing(result, name):
                    _add(result.series[name], candidates[name], counts[name])
    for series in result.series.values():
        series.latencies.sort()
    progress("")
    return result


def turns(names: list[str], rounds: int) -> Iterator[tuple[int, str]]:
    """Yields each name once per round, in an order that differs from round to round and is the same in each run."""
    order = random.Random(0)  # noqa: S311 (an order, not a secret)
    for turn in range(rounds):
        for name in order.sample(names, len(names)):
            yield turn, name


@contextlib.contextmanager
def failing(result: Result, name: str) -> Iterator[None]:
    """Leaves a candidate out after a failure, unless it is httpcore_rs. The others are still measured."""
    try:
        yield
    except Exception as exc:
        if "httpcore_rs" in name:
            raise
        del result.series[name]
        result.failed[name] = f"{type(exc).__name__}: {exc}".splitlines()[0]


def progress(text: str) -> None:
    """Shows one line that the next one replaces, on a terminal only."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text[:110]}", end="", file=sys.stderr, flush=True)


def _calibrate(work: Work, seconds: float, at_least: int, at_most: int | None) -> int:
    """Returns how often the work fits into that time."""
    # The first makes connections and fills caches.
    work(at_least)
    count = at_least
    while True:
        # Other processes make a run longer, and never shorter.
        wall = min(_wall(work, count) for _ in range(2))
        if wall >= seconds / 4:
            break
        count *= 2
        if at_most is not None and count >= at_most:
            return at_most
    count = max(at_least, round(seconds * count / wall))
    return count if at_most is None else min(count, at_most)


def _wall(work: Work, count: int) -> float:
    start = time.perf_counter()
    work(count)
    return time.perf_counter() - start


def _add(series: Series, work: Work, count: int) -> None:
    # Garbage of the previous candidate is not counted, and the processor's caches are filled again.
    gc.collect()
    if warm_up := count // 10:
        work(warm_up)
    cpu, wall = time.process_time(), time.perf_counter()
    latencies = work(count)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    series.wall.append(wall / count)
    series.cpu.append(cpu / count)
    series.latencies.extend(latencies or ())


@contextlib.contextmanager
def _no_old_garbage() -> Iterator[None]:
    """Takes the modules of all candidates out of the collector's sight, whose runs would cost each of them time."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
