"""Runs a suite, each file in a separate process or all in one, and returns the outcome of each test."""

from __future__ import annotations

import dataclasses
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from .plugin import read
from .sources import Suite, copied

SECONDS_PER_FILE = 60
SECONDS_PER_SUITE = 900
# A test that ends its process costs one of these; the next process runs the tests after it.
PROCESSES_PER_FILE = 5

# Variables that would change the behaviour of the clients.
ENVIRONMENT = {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE"}


@dataclasses.dataclass
class FileResult:
    """The outcome of a file's tests: for each its id, and `None` or the first line of the error."""

    suite: str
    file: str
    errors: dict[str, str | None]

    @property
    def name(self) -> str:
        return f"{self.suite}/{self.file}"

    @property
    def total(self) -> int:
        return len(self.errors)

    @property
    def passed(self) -> int:
        return sum(error is None for error in self.errors.values())

    def combined(self, other: FileResult, *, both: bool) -> FileResult:
        """Combines two runs: a test has passed if it passed in both, or in one of them."""
        errors: dict[str, str | None] = {}
        for test, error in self.errors.items():
            again = other.errors.get(test)
            errors[test] = (error or again) if both else (error and again)
        return FileResult(self.suite, self.file, errors)


class Runner:
    """Runs the files of one suite, with httpcore_rs or unchanged.

    `cache` is the folder with the sources and the copies, and `python` the interpreter that has the suite's packages.
    """

    def __init__(
        self, suite: Suite, root: Path, *, ours: bool, cache: Path | None = None, python: Path | str = sys.executable
    ) -> None:
        self._suite = suite
        self._ours = ours
        self._python = python
        self._cache = cache or root / ".cache" / "conformance"
        # Tests are collected from the unchanged suite, so that none is lost because a file cannot be imported.
        self._original = copied(suite, self._cache, ours=False)
        self._copy = copied(suite, self._cache, ours=True) if ours else self._original
        # Only this package, not the rest of the folder.
        self._path = self._cache / "path"
        self._path.mkdir(exist_ok=True)
        link = self._path / "httpcore_rs"
        if not link.is_symlink():
            link.symlink_to(root / "httpcore_rs", target_is_directory=True)

    def files(self) -> dict[str, list[str]]:
        """Returns the ids of the tests by file, in order."""
        record = self._new_record(self._original)
        output = self._pytest(self._original, record, "--collect-only", seconds=SECONDS_PER_SUITE)
        entries = read(record)
        broken = [entry["error"] for entry in entries if entry["event"] == "broken"]
        if broken or not entries:
            sys.exit(f"the tests of {self._suite.tested} could not be collected: {broken}\n{output.read_text()}")
        files: dict[str, list[str]] = {}
        for entry in entries:
            files.setdefault(entry["test"].partition("::")[0], []).append(entry["test"])
        return files

    def run(self, file: str, tests: list[str]) -> FileResult:
        """Runs one file to its end, also if tests hang or end their process."""
        errors = self._outcomes(file, tests, SECONDS_PER_FILE)
        return FileResult(self._suite.tested, file, errors)

    def run_all(self, files: dict[str, list[str]]) -> list[FileResult]:
        """Runs all files in one process, unless tests hang or end it: then the next one continues."""
        errors = self._outcomes(None, [test for tests in files.values() for test in tests], SECONDS_PER_SUITE)
        return [
            FileResult(self._suite.tested, file, {test: errors[test] for test in tests if test in errors})
            for file, tests in files.items()
        ]

    def _outcomes(self, file: str | None, tests: list[str], seconds: float) -> dict[str, str | None]:
        """Runs a file, or all of them. Returns for each test `None` or its error, without those that were skipped."""
        self.check_port()
        record = self._new_record(self._copy)
        options = ["--ours", self._suite.way] if self._ours else []
        errors: dict[str, str] = {}
        skipped: set[str] = set()
        reason = "was not run"
        for _ in range(PROCESSES_PER_FILE):
            before = len(read(record))
            self._pytest(self._copy, record, *options, file=file, seconds=seconds)
            entries = read(record)
            skipped = {entry["test"] for entry in entries if entry["event"] == "skipped"}
            errors = dict(_outcomes(entries))
            reason = next((entry["error"] for entry in entries if entry["event"] == "broken"), reason)
            if errors.keys() >= set(tests) or len(entries) == before or entries[-1]["event"] == "broken":
                break
        # A test that skips itself (on this version of Python, for example) does not count either.
        return {test: errors.get(test, reason) or None for test in tests if test not in skipped}

    def _new_record(self, copy: Path) -> Path:
        record = copy / "record.jsonl"
        record.unlink(missing_ok=True)
        return record

    def _pytest(
        self, copy: Path, record: Path, *arguments: str, file: str | None = None, seconds: float = SECONDS_PER_FILE
    ) -> Path:
        """Runs pytest in the copy, on one file or on all. Returns the file with its output."""
        output = copy / "output.txt"
        kept = {name: value for name, value in os.environ.items() if name.upper() not in ENVIRONMENT}
        path = os.pathsep.join(map(str, (Path(__file__).parent.parent, self._path)))
        plugins = ["-p", "upstream.plugin", "-p", "no:cacheprovider"]
        options = [f"--rootdir={copy}", f"--timeout={self._suite.seconds}", f"--record={record}", *self._suite.options]
        options += [f"--ignore={copy / name}" for name in self._suite.without]
        chosen = [str(path.relative_to(copy)) for name in self._suite.tests for path in sorted(copy.glob(name))]
        options += [file] if file else chosen
        with output.open("w", encoding="utf-8") as stdout:
            process = subprocess.Popen(
                [self._python, "-m", "pytest", *plugins, *arguments, *options],
                cwd=copy,
                env={**kept, "PYTHONPATH": path},
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=subprocess.STDOUT,
            )
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        return output

    def check_port(self) -> None:
        """Ends the program if the suite's own server could not listen: its tests would fail with another message."""
        if self._suite.port is None:
            return
        try:
            socket.create_server(("127.0.0.1", self._suite.port)).close()
        except OSError as exc:
            sys.exit(
                f"the tests of {self._suite.tested} need port {self._suite.port}, and it is not free: {exc.strerror}"
            )


def _outcomes(entries: list[dict[str, str]]) -> Iterator[tuple[str, str]]:
    """Yields the outcome of each test that was started; an empty string if it passed."""
    for entry in entries:
        if entry["event"] == "started":
            yield entry["test"], "hung, or ended its process"
        elif entry["event"] == "ended":
            yield entry["test"], entry["error"] or ""
