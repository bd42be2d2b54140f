"""Runs tox for a choice of environments, and makes a table of the results. Called by scripts/matrix."""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / ".cache" / "tox" / "results.json"
DOCUMENTS = (ROOT / "README.md", ROOT / "docs" / "compatibility.md")
BEGIN, END = "<!-- matrix -->\n", "<!-- /matrix -->"

INTERPRETERS = ["3.9", "3.10", "3.11", "3.12", "3.13", "3.14", "3.15"]
LIBRARIES = [
    "httpx-0.25.1",
    "httpx-0.26.0",
    "httpx-0.27.2",
    "httpx-0.28.1",
    "httpx2-2.3.0",
    "httpx2-newest",
    "httpcore-1.0.5",
    "httpcore-newest",
]
# For --quick: the one of each that meets all of the others.
LIBRARY, INTERPRETER = "httpx-0.28.1", f"{sys.version_info[0]}.{sys.version_info[1]}"


class Result(NamedTuple):
    """The result of an environment of tox."""

    is_success: bool
    passed: int
    versions: str


def environment(interpreter: str, library: str = "") -> str:
    """Returns the name that tox.ini has for an environment."""
    name = "py" + interpreter.replace(".", "")
    return f"{name}-{library}" if library else name


def exists(interpreter: str, library: str) -> bool:
    """Returns whether a library supports a version of CPython."""
    if library.startswith("httpx2"):
        return interpreter != "3.9"
    # On CPython 3.14 and later, httpcore can be imported from 1.0.8 on.
    return not (library == "httpcore-1.0.5" and interpreter in ("3.14", "3.15"))


def run(environments: list[str]) -> tuple[int, dict[str, Result]]:
    """Runs environments. Returns tox's status, and the results of those that were run."""
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "tox", "run", "--result-json", str(RESULTS), "-e", ",".join(environments)]
    status = subprocess.run(command, cwd=ROOT, check=False).returncode
    results: dict[str, Any] = json.loads(RESULTS.read_text())["testenvs"]
    return status, {name: read(results[name]) for name in environments if results.get(name, {}).get("result")}


def read(result: dict[str, Any]) -> Result:
    """Reads the result of an environment from tox's file."""
    output = "".join(command.get("output", "") for command in result.get("test", []))
    passed = re.search(r"(\d+) passed", output)
    versions = re.search(r"^CPython .*$", output, re.MULTILINE)
    return Result(bool(result["result"]["success"]), int(passed[1]) if passed else 0, versions[0] if versions else "")


def table(results: dict[str, Result]) -> str:
    """Returns a table of the tests that passed: a row for each library, a column for each CPython."""
    columns = [python for python in INTERPRETERS if any(f"py{python.replace('.', '')}" in name for name in results)]
    lines = ["| | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    for library in ("", *LIBRARIES):
        row = [results.get(environment(python, library)) for python in columns]
        if any(row):
            cells = [("-" if cell is None else str(cell.passed) if cell.is_success else "failed") for cell in row]
            lines.append(f"| {title(library, row)} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def title(library: str, row: list[Result | None]) -> str:
    """Returns the name of a library with its version, which the smoke test has printed."""
    name, _, version = library.partition("-")
    if version == "newest":
        found = {match[1] for cell in row if cell and (match := re.search(rf"\b{name} ([\d.]+\d)", cell.versions))}
        version = " ".join(sorted(found)) or version
    return f"{name} {version}" if library else "whole suite, newest of all"


def write(text: str) -> None:
    """Replaces the table in the documents."""
    for document in DOCUMENTS:
        content = document.read_text()
        begin, end = content.index(BEGIN) + len(BEGIN), content.index(END)
        document.write_text(content[:begin] + text + content[end:])


def main() -> None:
    """Runs tox, and prints or writes the table."""
    parser = argparse.ArgumentParser(description="Runs the tests on many versions.")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    present = [
        python for python in INTERPRETERS if any((Path(folder) / f"python{python}").exists() for folder in path())
    ]
    pairs = [(python, library) for python in present for library in LIBRARIES if exists(python, library)]
    if arguments.quick:
        pairs = [pair for pair in pairs if pair[0] == INTERPRETER or pair[1] == LIBRARY]
    chosen = [environment(python) for python in present] if arguments.whole else [environment(*pair) for pair in pairs]
    status, results = run(chosen)
    print(table(results))
    if arguments.write:
        write(table(results))
    sys.exit(status)


def path() -> list[str]:
    """Returns the folder with the interpreters that scripts/matrix has found: the first of the path."""
    return os.environ["PATH"].split(os.pathsep)[:1]


if __name__ == "__main__":
    main()
