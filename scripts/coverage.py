"""Sums up the line coverage of src/ from an lcov file. Started by scripts/coverage."""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

SOURCES = Path(__file__).resolve().parent.parent / "src"
# Files and folders that hold nothing but what tests and fuzzers need.
TEST_FILES = {"tests.rs", "tests", "model.rs", "model", "interleaving.rs", "testing.rs", "fuzzing"}


def first_test_line(source: Path) -> int:
    """Returns the number of the line where the tests at the end of a file begin."""
    lines = source.read_text().splitlines()
    for number, line in enumerate(lines, 1):
        if line == "#[cfg(test)]" and lines[number : number + 1] == ["mod tests {"]:
            return number
    return len(lines) + 1


def files(lcov: Path) -> Iterator[tuple[Path, int, int]]:
    """Yields each file of src/ with its lines that hold code, and how many of those were executed."""
    source = Path()
    hits: dict[int, int] = {}
    for line in lcov.read_text().splitlines():
        key, _, value = line.partition(":")
        if key == "SF":
            source, hits = Path(value), {}
        elif key == "DA":
            number, count = value.split(",")[:2]
            hits[int(number)] = int(count)
        elif line == "end_of_record" and source.is_relative_to(SOURCES):
            if TEST_FILES.intersection(source.relative_to(SOURCES).parts):
                continue
            limit = first_test_line(source)
            counts = [count for number, count in hits.items() if number < limit]
            yield source.relative_to(SOURCES), len(counts), sum(count > 0 for count in counts)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lcov", type=Path)
    parser.add_argument("--files", action="store_true", help="a line for each file")
    parser.add_argument("--at-least", type=float, default=0.0, metavar="PERCENT")
    options = parser.parse_args()

    table: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for source, lines, covered in files(options.lcov):
        folder = f"{source.parent}/" if source.parent.parts else str(source)
        for row in {str(source) if options.files else folder, "total"}:
            table[row][0] += lines
            table[row][1] += covered
    for row in sorted(table, key=lambda row: (row == "total", row)):
        lines, covered = table[row]
        print(f"{row:36} {covered:6} of {lines:6} lines {100 * covered / max(lines, 1):6.1f} %")
    lines, covered = table["total"]
    if 100 * covered < options.at_least * lines or not lines:
        sys.exit(f"less than {options.at_least} % of the lines are covered")


if __name__ == "__main__":
    main()
