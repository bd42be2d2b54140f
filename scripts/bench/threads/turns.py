"""The method: each client lives in a process of its own interpreter, and all take turns, round after round."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from bench.measure import progress

SCRIPTS = Path(__file__).resolve().parents[2]
THREADS = (1, 2, 4, 8, 16)
CANDIDATES = ("httpcore_rs", "httpcore_rs, a loop per thread", "pyreqwest", "urllib3", "httpcore")


@dataclass
class Curve:
    """The samples of one client on one interpreter, by the number of threads."""

    candidate: str
    has_gil: bool
    # The exception of a request. It ends the measurement of this client.
    failure: str | None = None
    # Requests per second, and seconds of CPU time for each request.
    rates: dict[int, list[float]] = field(default_factory=dict)
    cpu: dict[int, list[float]] = field(default_factory=dict)

    def add(self, threads: int, sample: dict[str, float]) -> None:
        """Adds the sample of one round."""
        self.rates.setdefault(threads, []).append(sample["requests"] / sample["wall"])
        self.cpu.setdefault(threads, []).append(sample["cpu"] / sample["requests"])

    def rate(self, threads: int) -> float:
        """Returns the requests per second."""
        return median(self.rates[threads])

    def speedup(self, threads: int) -> float:
        """Returns the rate divided by that of one thread: the median over the rounds."""
        return median(many / one for many, one in zip(self.rates[threads], self.rates[1]))

    def cpu_time(self, threads: int) -> float:
        """Returns the CPU time of the client for each request, in microseconds."""
        return median(self.cpu[threads]) * 1e6

    def cores(self, threads: int) -> float:
        """Returns the number of processors that the client has kept busy."""
        return median(rate * cpu for rate, cpu in zip(self.rates[threads], self.cpu[threads]))

    def saved(self) -> dict[str, Any]:
        """Returns the samples, for a file."""
        return asdict(self)

    @classmethod
    def loaded(cls, saved: dict[str, Any]) -> Curve:
        """Returns the curve whose samples were saved. JSON has made strings of the numbers of threads."""
        numbers = {
            name: {int(threads): samples for threads, samples in saved[name].items()} for name in ("rates", "cpu")
        }
        return cls(saved["candidate"], saved["has_gil"], saved["failure"], **numbers)


class MissingError(Exception):
    """A client that does not exist for an interpreter."""


class _Child:
    """A running client."""

    def __init__(self, python: str, candidate: str, url: str) -> None:
        command = [python, "-m", "bench.threads.child", candidate, url]
        # Without this, a package could switch the GIL on. Other interpreters ignore it.
        environment = {**os.environ, "PYTHON_GIL": "0"} if _is_free_threaded(python) else None
        self.process = subprocess.Popen(
            command, cwd=SCRIPTS, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started = self._answer()
        if "missing" in started:
            raise MissingError(f"{candidate} on {python}: there is no {started['missing']}")
        self.curve = Curve(candidate, started["gil"])

    def measure(self, threads: int, seconds: float) -> dict[str, float] | None:
        """Returns one sample; `None` if a request has failed, now or earlier."""
        if self.curve.failure is not None:
            return None
        if self.process.stdin is None:
            raise RuntimeError("the client has no input")
        self.process.stdin.write(f"{threads} {seconds}\n")
        self.process.stdin.flush()
        sample: dict[str, Any] = self._answer()
        self.curve.failure = sample.get("failure")
        return None if self.curve.failure else sample

    def _answer(self) -> Any:
        line = self.process.stdout.readline() if self.process.stdout else ""
        if not line:
            raise RuntimeError("the client has ended")
        return json.loads(line)


def measured(interpreters: Sequence[str], url: str, rounds: int, seconds: float) -> list[Curve]:
    """Returns the curves of all clients on all interpreters. A client that does not exist there is left out."""
    with _children(interpreters, url) as children:
        for child in children:
            child.measure(max(THREADS), seconds)
        order = random.Random(0)  # noqa: S311  # An order, not a secret.
        for turn in range(rounds):
            for threads in THREADS:
                for child in order.sample(children, len(children)):
                    progress(f"round {turn + 1} of {rounds}, {threads} threads, {child.curve.candidate}")
                    sample = child.measure(threads, seconds)
                    if sample is not None:
                        child.curve.add(threads, sample)
        progress("")
        return [child.curve for child in children]


@contextlib.contextmanager
def _children(interpreters: Sequence[str], url: str) -> Iterator[list[_Child]]:
    children = []
    try:
        for python in interpreters:
            for candidate in CANDIDATES:
                try:
                    children.append(_Child(python, candidate, url))
                except MissingError as exc:  # noqa: PERF203  # There are ten at most.
                    print(f"left out: {exc}")
        yield children
    finally:
        for child in children:
            child.process.kill()
            child.process.wait()


def _is_free_threaded(python: str) -> bool:
    command = [python, "-c", "import sysconfig; print(sysconfig.get_config_var('Py_GIL_DISABLED') or 0)"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "1"
