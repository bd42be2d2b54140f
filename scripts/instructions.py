"""Counts the client's instructions per request under callgrind. Started by scripts/instructions.

Servers run outside of callgrind. Requests are sent in lock-step with a relay, so that counts can be compared.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Callable

from bench.checks import SMALL
from counting.baseline import ALLOWED, Baseline, machine, versions
from counting.callgrind import instructions_per_request
from counting.relay import relaying
from counting.scenarios import ALL, OTHERS, SCENARIOS, TRACED
from servers.certificates import certificates
from servers.nginx import Ports, nginx
from servers.process import free_ports

ROOT = Path(__file__).resolve().parent.parent
BASELINE = ROOT / "scripts" / "instructions.baseline"
RECOUNTS = 2


def main() -> int:
    """Counts, and compares with the baseline or replaces it."""
    options = _options()
    baseline = Baseline(BASELINE)
    ports = Ports(*free_ports(4))
    with certificates() as tls, nginx({"1k": SMALL}, ports, tls):
        count = partial(_count, ports=ports, ca=tls.ca, keep=options.keep)
        names = options.scenario or [*(OTHERS if options.others else TRACED if options.traced else SCENARIOS)]
        counts = _counted(names, count)
        if options.check:
            return _checked(counts, baseline, count)
    if options.update:
        baseline.update(counts)
        print(f"written: {BASELINE.relative_to(ROOT)}")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/instructions", description=__doc__)
    parser.add_argument(
        "--scenario", action="append", choices=list(ALL), help="one of them (default: those of the baseline)"
    )
    parser.add_argument("--others", action="store_true", help="httpcore, and httpx without I/O, for comparison")
    parser.add_argument("--traced", action="store_true", help="the pool with loggers, with logs, with a trace callback")
    parser.add_argument("--keep", action="store_true", help="keep callgrind's files in .cache/callgrind")
    parser.add_argument("--check", action="store_true", help="fail if a scenario needs 3 %% more than the baseline")
    parser.add_argument("--update", action="store_true", help="write the counts into the baseline")
    options = parser.parse_args()
    if options.update and (options.scenario or options.others or options.traced):
        parser.error("--update counts all scenarios of the baseline")
    return options


def _counted(names: Sequence[str], count: Callable[[str], float]) -> dict[str, float]:
    """Counts several scenarios at a time: counts do not depend on how busy the machine is."""
    counts = {}
    with ThreadPoolExecutor(os.cpu_count()) as executor:
        for name, counted in zip(names, executor.map(count, names)):
            counts[name] = counted
            print(f"{counted:>12,.0f}  {name}", flush=True)
    return counts


def _count(name: str, ports: Ports, ca: str, *, keep: bool) -> float:
    server = "127.0.0.1", getattr(ports, ALL[name].server)
    output = ROOT / ".cache" / "callgrind" / f"{re.sub('[^a-z0-9]+', '-', name.lower())}.out"
    output.parent.mkdir(parents=True, exist_ok=True)
    with relaying(server) as relay:
        arguments = [name, str(relay), server[0], str(server[1]), ca]
        return instructions_per_request(arguments, output, keep=keep)


def _checked(counts: dict[str, float], baseline: Baseline, count: Callable[[str], float]) -> int:
    """Prints how the counts differ from the baseline, and returns the exit status."""
    known = baseline.counts()
    if known is None:
        print(f"no baseline for {machine()}: nothing is compared. --update adds it.")
        return 0
    if baseline.versions() != versions():
        print(f"the baseline was counted with {baseline.versions()}, this is {versions()}: nothing is compared")
        return 0
    failed = []
    for name, first in counts.items():
        # The addresses of objects change a count by up to 2 %: one that is too high is taken again.
        again = (count(name) for _ in range(RECOUNTS))
        lowest = next((value for value in chain([first], again) if value <= ALLOWED * known.get(name, 0)), None)
        if lowest is None:
            failed.append(name)
        change = f"{(lowest or first) / known[name] - 1:+.1%}" if name in known else "not in the baseline"
        print(f"{change:>8}  {name}{'  TOO MANY' if lowest is None else ''}", flush=True)
    if failed:
        print("3 % more than the baseline are allowed. If more is meant: scripts/instructions --update, and say why")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
