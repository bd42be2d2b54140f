"""The committed counts, by interpreter and processor: another one needs other numbers of instructions."""

from __future__ import annotations

import configparser
import platform
import re
from importlib.metadata import version
from pathlib import Path

_HEAD = """\
# Instructions per GET of 1 KiB, counted by scripts/instructions. --check fails if a scenario needs 3 % more; --update
# writes what was counted, for this interpreter and processor. Give the reason in the commit.

"""
_PACKAGES = ("httpcore", "httpx")
ALLOWED = 1.03


def machine() -> str:
    """Returns the name of the section for this interpreter on this kind of processor."""
    python = f"CPython {platform.python_version()}, {platform.python_compiler()}, {' '.join(platform.libc_ver())}"
    return f"{python}, {platform.machine()}, {_processor()}"


def _processor() -> str:
    """Returns the model of the processor: libraries choose their code by what it can do."""
    path = Path("/proc/cpuinfo")
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    found = dict(re.findall(r"^(model name|cpu family|model)\s*: (.*)$", text, re.MULTILINE))
    return " ".join(found.get(name, "") for name in ("model name", "cpu family", "model")).strip()


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
        """Returns the counts for this interpreter and processor."""
        if machine() not in self._parser:
            return None
        return {name: int(value) for name, value in self._parser[machine()].items() if name != "versions"}

    def versions(self) -> str:
        """Returns the versions of packages that the counts were made with."""
        return self._parser[machine()]["versions"]

    def update(self, counts: dict[str, float]) -> None:
        """Replaces the counts for this interpreter and processor."""
        self._parser[machine()] = {
            "versions": versions(),
            **{name: str(round(count)) for name, count in counts.items()},
        }
        with self._path.open("w", encoding="utf-8") as file:
            file.write(_HEAD)
            self._parser.write(file)
