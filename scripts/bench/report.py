"""Results as tables on the terminal."""

from __future__ import annotations

from collections.abc import Iterable

from bench.measure import Result
from bench.targets import OURS, OVER_OURS, Target


def print_result(result: Result) -> None:
    """Prints one line for each candidate: its time, its CPU time, and its time divided by that of httpcore_rs."""
    unit, scale = result.unit, {"us": 1, "ms": 1000}[result.unit]
    cpu = f"{'cpu ' + unit:>10}" if result.show_cpu else ""
    width = max(map(len, [*result.series, *result.failed])) + 2
    print(f"{result.title}\n  {'':{width}}{unit:>10}{cpu}{'ratio':>10}")
    for name in result.series:
        base = next((base for base in _bases(name) if base in result.series), name)
        spent = f"{result.cpu(name) / scale:>10.1f}" if result.show_cpu else ""
        print(f"  {name:{width}}{result.time(name) / scale:>10.1f}{spent}{result.ratio(name, base):>9.2f}x")
    for name, why in result.failed.items():
        print(f"  {name:{width}}failed: {why[:80]}")
    print(flush=True)


def _bases(name: str) -> Iterable[str]:
    """Returns the base of a line's ratio: httpcore_rs, or with idle connections the same candidate with one."""
    candidate, comma, rest = name.partition(", ")
    if comma and rest.endswith("idle"):
        return [f"{candidate}, 1 idle"]
    return [OURS, OVER_OURS]


def print_targets(targets: Iterable[Target]) -> bool:
    """Prints all targets that were measured. Returns true if all were met."""
    lines = list(targets)
    print("targets")
    for target in lines:
        print(f"  {target}")
    print(f"  {sum(target.met for target in lines)} of {len(lines)} met", flush=True)
    return all(target.met for target in lines)
