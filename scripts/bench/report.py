"""Results as tables: on the terminal, and in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.acceptance import Row
from bench.results import Result

_SCALES = {"us": 1.0, "ms": 1000.0, "KiB": 1.0}


def heads(result: Result) -> list[str]:
    """Returns the heads of the columns."""
    names = {"wall": result.unit, "cpu": f"CPU {result.unit}", "memory": "KiB", "x": "x"}
    return [names.get(column, column) for column in result.shows]


def cells(result: Result, name: str) -> list[str]:
    """Returns the figures of one candidate, as text."""
    return [figure(result, name, column) for column in result.shows]


def figure(result: Result, name: str, column: str) -> str:
    """Returns one figure as text, without its unit."""
    scale = _SCALES[result.unit]
    if column in {"p50", "p99"}:
        return _number(result.latency(name, int(column[1:]) / 100) / scale) if result.series[name].latencies else "-"
    if column == "memory":
        return _number(result.memory(name) / 1024)
    if column == "x":
        measured = next(column for column in result.shows if column in {"wall", "cpu", "memory"})
        base = result.base if result.has(result.base) else name
        return f"{result.ratio(name, base, measured):.2f}"
    return _number(result.time(name, column) / scale)


def _number(value: float) -> str:
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"


def print_result(result: Result) -> None:
    """Prints one line for each candidate. `x` is the ratio to the base, whose own is 1."""
    width = max(map(len, [*result.series, *result.failed])) + 2
    print(f"{result.title} (x: times {result.base})")
    print(f"  {'':{width}}" + "".join(f"{head:>10}" for head in heads(result)))
    for name in result.series:
        print(f"  {name:{width}}" + "".join(f"{cell:>10}" for cell in cells(result, name)))
    for name, why in result.failed.items():
        print(f"  {name:{width}}failed: {why[:80]}")
    print(flush=True)


def table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Returns a table in Markdown."""
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *lines])


def acceptance_table(rows: Iterable[Row]) -> str:
    """Returns the acceptance table in Markdown."""
    lines = [
        (
            *(row.title, row.against, f"{row.measured:.2f}{row.unit}", _cpu(row), f"{row.at_most:g}{row.unit}"),
            "yes" if row.met else "**no**",
        )
        for row in rows
    ]
    return table(("figure", "against", "measured", "of CPU time", "at most", "met"), lines)


def _cpu(row: Row) -> str:
    return "-" if row.cpu is None else f"{row.cpu:.2f}x"


def print_acceptance(rows: Sequence[Row]) -> None:
    """Prints the acceptance table, and how many bounds are met."""
    print("acceptance: medians of ratios within a round, in brackets those of CPU time")
    for row in rows:
        verdict = "met    " if row.met else "NOT MET"
        figure = f"{row.measured:6.2f}{row.unit:4} ({_cpu(row):>6}), at most {row.at_most:<5g}"
        print(f"  {verdict}  {figure} {row.title}: {'beside' if row.unit != 'x' else 'times'} {row.against}")
    print(f"  {sum(row.met for row in rows)} of {len(rows)} met", flush=True)
