"""Runs SDKs, and the test suites of packages that use httpx, over httpcore_rs. Started by scripts/downstream."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path
from typing import Any

from upstream.dependents import SUITES
from upstream.report import compare, print_failures, print_table, read_baseline, write_baseline
from upstream.run import FileResult, Runner
from upstream.sources import Suite

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "downstream"
BASELINE = ROOT / "scripts" / "downstream.baseline"
RESULTS = CACHE / "results.json"
DOCUMENT = ROOT / "docs" / "sdks.md"
# The environments of the programs.
NEWEST, LAST_ON_HTTPX = "newest", "httpx"
TITLES = {NEWEST: "newest", LAST_ON_HTTPX: "last on httpx"}


def main() -> None:
    """Runs what was asked for, prints the results, and compares those of the suites with the baseline."""
    options = read_options()
    link_package()
    # Those of earlier runs are kept: the tables are written from all of them.
    results: dict[str, dict[str, Any]] = {"programs": {}, "suites": {}}
    if RESULTS.exists():
        results.update(json.loads(RESULTS.read_text(encoding="utf-8")))
    is_good = True
    if options.only in "programs" and not options.control:
        for environment in [NEWEST] if options.quick else [NEWEST, LAST_ON_HTTPX]:
            passes, table = run_programs(environment, ["-k", "install or sentry"] if options.quick else [])
            is_good &= passes
            if not options.quick:
                results["programs"][environment] = table
        if not options.quick and not options.keep:
            shutil.rmtree(CACHE / LAST_ON_HTTPX)
    suites = [] if options.quick else [suite for suite in SUITES if options.only in suite.name]
    for suite in suites:
        over = [] if options.control else run_suite(suite, ours=True, update=options.update)
        plain = run_suite(suite, ours=False) if options.control or options.write else []
        if plain and over:
            results["suites"][suite.name] = row(suite, plain, over)
        print_table(over or plain)
        if options.verbose:
            print_failures(over or plain)
        if not options.control:
            is_good &= compare_with_baseline(suite, over, update=options.update)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    if options.write:
        write_tables(results)
    sys.exit(0 if is_good else 1)


def read_options() -> argparse.Namespace:
    """Reads the arguments of the program."""
    parser = argparse.ArgumentParser(prog="scripts/downstream", description=__doc__, allow_abbrev=False)
    parser.add_argument("--quick", action="store_true", help="only SDKs under install(), at their newest versions")
    parser.add_argument("--only", metavar="TEXT", default="", help="`programs`, or suites whose names contain this")
    parser.add_argument("--control", action="store_true", help="the suites without httpcore_rs; no baseline")
    parser.add_argument("--update", action="store_true", help="run twice, and raise the baseline to what passed twice")
    parser.add_argument("--write", action="store_true", help="run the suites in both ways, and write the tables")
    parser.add_argument("--keep", action="store_true", help="keep the environment with the old versions")
    parser.add_argument("-v", "--verbose", action="store_true", help="also list failed tests and their errors")
    options = parser.parse_args()
    if options.control and (options.update or options.quick):
        parser.error("--control makes no baseline, and is for suites")
    return options


def link_package() -> None:
    """Makes a folder for `PYTHONPATH` that has this package, and not the rest of the tree."""
    link = CACHE / "path" / "httpcore_rs"
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(ROOT / "httpcore_rs", target_is_directory=True)


def interpreter(environment: str) -> Path:
    """Returns the interpreter of an environment."""
    return CACHE / environment / "bin" / "python"


def run_programs(environment: str, arguments: list[str]) -> tuple[bool, dict[str, dict[str, str | int]]]:
    """Runs tests/downstream. Returns whether all passed, and a row for each SDK: its version, and the tests passed."""
    report = CACHE / f"{environment}.xml"
    command = [str(interpreter(environment)), "-m", "pytest", "tests/downstream", f"--junitxml={report}"]
    # SDKs and their dependencies warn, which is not this package's to mend.
    command += ["-n", "2", "--dist", "worksteal", "-q", "-o", "filterwarnings=default", *arguments]
    status = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(CACHE / "path")}, check=False)
    passed: Counter[str] = Counter()
    for case in ET.parse(report).iter("testcase"):  # noqa: S314  (pytest's own file)
        name = re.search(r"\[([\w-]+)-(?:install|explicit)-", case.get("name", ""))
        if name and not list(case):
            # litellm is tested by two routes.
            passed[re.sub(r"^litellm-.*", "litellm", name[1])] += 1
    versions = installed_versions(environment, passed)
    table: dict[str, dict[str, str | int]] = {
        name: {"version": versions[name], "passed": number} for name, number in passed.items()
    }
    return status.returncode == 0, table


def installed_versions(environment: str, names: Counter[str]) -> dict[str, str]:
    """Returns the versions of packages in an environment."""
    code = "import importlib.metadata as m, json, sys; print(json.dumps({n: m.version(n) for n in sys.argv[1:]}))"
    output = subprocess.run([interpreter(environment), "-c", code, *names], check=True, capture_output=True, text=True)
    versions: dict[str, str] = json.loads(output.stdout)
    return versions


def run_suite(suite: Suite, *, ours: bool, update: bool = False) -> list[FileResult]:
    """Runs a suite. It is run again to raise the baseline, and if it falls below that.

    To raise it, a test must pass in both runs. Otherwise one of them is enough: some tests sleep for a moment, and
    expect something to have happened by then.
    """
    print(suite.tested, "over install()" if ours else "by itself", file=sys.stderr, flush=True)
    runner = Runner(suite, ROOT, ours=ours, cache=CACHE, python=interpreter("suites"))
    files = runner.files()
    results = runner.run_all(files)
    baseline = read_baseline(BASELINE)
    if update or (ours and any(result.passed < baseline.get(result.name, 0) for result in results)):
        results = [one.combined(other, both=update) for one, other in zip(results, runner.run_all(files))]
    return [result for result in results if result.total]


def compare_with_baseline(suite: Suite, results: list[FileResult], *, update: bool) -> bool:
    """Compares a suite's results with the baseline, or raises it. Returns false if a file fell below it."""
    baseline = read_baseline(BASELINE)
    of_suite = {name: 0 for name in baseline if name.startswith(f"{suite.tested}/")}
    passed = {**of_suite, **{result.name: result.passed for result in results}}
    if update:
        write_baseline({**baseline, **{name: max(passed[name], baseline.get(name, 0)) for name in passed}}, BASELINE)
    return compare(passed, baseline, "scripts/downstream", update=update)


def row(suite: Suite, plain: list[FileResult], over: list[FileResult]) -> dict[str, str | int]:
    """Returns a row of the table of suites."""
    return {
        "version": suite.version,
        "total": sum(result.total for result in plain or over),
        "without": sum(result.passed for result in plain),
        "over": sum(result.passed for result in over),
    }


def write_tables(results: dict[str, dict[str, Any]]) -> None:
    """Writes the tables of those parts that were run, now or before, into the document."""
    text = DOCUMENT.read_text(encoding="utf-8")
    for name, make in (("programs", programs_table), ("suites", suites_table)):
        if results[name]:
            block = re.compile(rf"(<!-- downstream: {name} -->\n).*?(<!-- /downstream -->)", re.DOTALL)
            table = make(results[name])
            text = block.sub(rf"\g<1>{table}\g<2>", text)
    DOCUMENT.write_text(text, encoding="utf-8")


def programs_table(programs: dict[str, dict[str, dict[str, str | int]]]) -> str:
    """Returns the table of SDKs: a row for each, and two columns for each environment."""
    environments = list(programs)
    lines = [
        "| | " + " | ".join(f"{TITLES[name]} | tests passed" for name in environments) + " |",
        "|---|" + "---|---|" * len(environments),
    ]
    for sdk in sorted({name for table in programs.values() for name in table}):
        cells = (programs[name].get(sdk, {}) for name in environments)
        lines.append(
            f"| {sdk} | "
            + " | ".join(f"{cell.get('version', '-')} | {cell.get('passed', '-')}" for cell in cells)
            + " |"
        )
    return "\n".join(lines) + "\n"


def suites_table(suites: dict[str, dict[str, str | int]]) -> str:
    """Returns the table of suites, in the order of the list."""
    lines = ["| | version | tests | passed without httpcore_rs | passed over `install()` |", "|---|---|---|---|---|"]
    lines += [
        f"| {name} | {cells['version']} | {cells['total']} | {cells['without']} | {cells['over']} |"
        for name, cells in sorted(suites.items(), key=lambda item: [suite.name for suite in SUITES].index(item[0]))
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
