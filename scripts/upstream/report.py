"""The table, the result as JSON, and the baseline."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from .run import FileResult


def print_table(results: Iterable[FileResult]) -> None:
    """Prints one line for each file, and one for each suite."""
    lines = list(results)
    width = max(len(line.name) for line in lines)
    print(f"{'':{width}}{'passed':>8}{'failed':>8}{'total':>8}")
    for suite in dict.fromkeys(line.suite for line in lines):
        files = [line for line in lines if line.suite == suite]
        for file in files:
            _print_line(file.name, file.passed, file.total, width)
        _print_line(f"{suite}, all", sum(f.passed for f in files), sum(f.total for f in files), width)
        print()


def _print_line(name: str, passed: int, total: int, width: int) -> None:
    print(f"{name:{width}}{passed:>8}{total - passed:>8}{total:>8}")


def print_failures(results: Iterable[FileResult]) -> None:
    """Prints the tests that failed, each with the first line of its error."""
    for result in results:
        for test, error in result.errors.items():
            if error is not None:
                print(f"{result.suite}/{test}\n    {error}")


def write_json(results: Iterable[FileResult], path: Path) -> None:
    """Writes the table and the list of failures as JSON."""
    files = {
        result.name: {
            "passed": result.passed,
            "failed": result.total - result.passed,
            "total": result.total,
            "failures": {test: error for test, error in result.errors.items() if error is not None},
        }
        for result in results
    }
    path.write_text(json.dumps(files, indent=2) + "\n", encoding="utf-8")


def read_baseline(path: Path) -> dict[str, int]:
    """Returns the number of passed tests, by file."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    pairs = (line.rsplit(maxsplit=1) for line in lines if line.strip() and not line.startswith("#"))
    return {name: int(number) for name, number in pairs}


def write_baseline(numbers: dict[str, int], path: Path) -> None:
    """Writes the list in the order of its names, below the comment that the file begins with."""
    header = [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.startswith("#")]
    lines = [f"{name} {numbers[name]}\n" for name in sorted(numbers)]
    path.write_text("".join((*header, *lines)), encoding="utf-8")


def compare(passed: dict[str, int], baseline: dict[str, int], script: str, *, update: bool) -> bool:
    """Prints the changes. Returns false if a file fell below the baseline."""
    fewer = [name for name in passed if passed[name] < baseline.get(name, 0)]
    more = [name for name in passed if passed[name] > baseline.get(name, 0)]
    for name in more:
        print(f"more than before: {name}: {passed[name]}, baseline {baseline.get(name, 0)}")
    for name in fewer:
        print(f"FEWER THAN BEFORE: {name}: {passed[name]}, baseline {baseline[name]}")
    if more and not update:
        print(f"{script} --update raises the baseline")
    return not fewer
