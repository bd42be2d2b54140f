"""Runs the test suites of httpcore and httpx against httpcore_rs. Started by scripts/conformance.

Tests import httpcore_rs in place of httpcore, and httpx gets its transports in place of its own. httpcore's tests also
run under the names of its fork httpcore2. Tests that need the internet, are expected to fail, or skip themselves do not
count.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from upstream.report import compare, print_failures, print_table, read_baseline, write_baseline, write_json
from upstream.run import FileResult, Runner
from upstream.sources import SUITES, Suite

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "conformance"
BASELINE = ROOT / "scripts" / "conformance.baseline"


def main() -> None:
    """Runs the suites, prints the results, and compares them with the baseline."""
    parser = argparse.ArgumentParser(prog="scripts/conformance", description=__doc__, allow_abbrev=False)
    parser.add_argument("--control", action="store_true", help="test httpcore and httpx themselves; no baseline")
    parser.add_argument("--update", action="store_true", help="run twice, and raise the baseline to what passed twice")
    parser.add_argument("--only", metavar="TEXT", default="", help="only files whose names contain this")
    parser.add_argument("-v", "--verbose", action="store_true", help="also list failed tests and their errors")
    options = parser.parse_args()
    if options.control and options.update:
        parser.error("the baseline is not made from the control")

    baseline = {} if options.control else read_baseline(BASELINE)
    results = list(_results(baseline, only=options.only, ours=not options.control, update=options.update))
    if not results:
        parser.error(f"no file has {options.only!r} in its name")
    print_table(results)
    if options.verbose:
        print_failures(results)
    write_json(results, CACHE / ("control.json" if options.control else "result.json"))
    if options.control:
        return
    passed = {result.name: result.passed for result in results}
    if not options.only:
        # A file that does not exist any more counts as 0 passed tests.
        tested = tuple(f"{suite.tested}/" for suite in _suites())
        passed = {**dict.fromkeys((name for name in baseline if name.startswith(tested)), 0), **passed}
    if options.update:
        write_baseline({**baseline, **{name: max(passed[name], baseline.get(name, 0)) for name in passed}}, BASELINE)
    sys.exit(0 if compare(passed, baseline, "scripts/conformance", update=options.update) else 1)


def _results(baseline: dict[str, int], *, only: str, ours: bool, update: bool) -> Iterator[FileResult]:
    """Runs the files. A flaky test counts as failed for a new baseline, and as passed in a comparison."""
    plans = []
    for suite in _suites():
        runner = Runner(suite, ROOT, ours=ours)
        files = {file: tests for file, tests in runner.files().items() if only in f"{suite.tested}/{file}"}
        if files:
            # Checked at the start, before other suites take their time.
            runner.check_port()
        plans.append((suite, runner, files))
    for suite, runner, files in plans:
        for file, tests in files.items():
            print(f"{suite.tested}/{file}", file=sys.stderr, flush=True)
            result = runner.run(file, tests)
            if update:
                result = result.combined(runner.run(file, tests), both=True)
            elif result.passed < baseline.get(result.name, 0):
                result = result.combined(runner.run(file, tests), both=False)
            yield result


def _suites() -> list[Suite]:
    """Returns the suites for this version of Python. A suite whose package is not installed fails."""
    return [suite for suite in SUITES if sys.version_info >= suite.python]


if __name__ == "__main__":
    main()
