"""The committed counts, by interpreter: another version or build of CPython needs other numbers of instructions."""

from __future__ import annotations

import configparser
import platform
from importlib.metadata import version
from pathlib import Path

_HEAD = """\
# Instructions per GET of 1 KiB, counted by scripts/instructions. --check fails if a scenario needs 3 % more; --update
# writes what was counted, for this interpreter. Give the reason in the commit.

"""
_PACKAGES = ("httpcore", "httpx")
ALLOWED = 1.03


def interpreter() -> str:
    """Returns the name of this interpreter's section."""
    return f"CPython {platform.python_version()}, {platform.python_compiler()}, {platform.machine()}"


def versions() -> str:
    """Returns the versions of the packages whose code is counted as well."""
    return ", ".join(f"{package} {version(package)}" for package in _PACKAGES)


class Baseline:
    """The file with the counts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._parser = configparser.ConfigParser(delimiters=("=",), interpolation=None)
        self._parser.optionxform = str  # type: ignore[assignment, method-assign]
        self._parser.read(path, encoding="utf-8")

    def counts(self) -> dict[str, int] | None:
        """Returns the counts for this interpreter."""
        if interpreter() not in self._parser:
            return None
        return {name: int(value) for name, value in self._parser[interpreter()].items() if name != "versions"}

    def versions(self) -> str:
        """Returns the versions of packages that the counts were made with."""
        return self._parser[interpreter()]["versions"]

    def update(self, counts: dict[str, float]) -> None:
        """Replaces the counts for this interpreter."""
        self._parser[interpreter()] = {
            "versions": versions(),
            **{name: str(round(count)) for name, count in counts.items()},
        }
        with self._path.open("w", encoding="utf-8") as file:
            file.write(_HEAD)
            self._parser.write(file)
