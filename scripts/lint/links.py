"""Finds links and file names in the documents, and paths below docs/ in code, that lead nowhere.

A file name counts if a file of the project has it or ends with it: `wire.rs`, `http1/wire.rs`, `src/http1/wire.rs`. The
exit status is 1 if any leads nowhere.
"""

from __future__ import annotations

import re
import subprocess
import sys
import typing
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

LINK = re.compile(r"\]\((?!https?://)([^)#\s]*)(?:#[^)\s]*)?\)")
FILE = re.compile(r"`(?:pytest )?([\w./-]+\.(?:rs|py|pyi|md|dot|svg|toml|baseline))`")
FOLDER = re.compile(r"`((?:src|tests|docs|scripts|httpcore_rs|examples|fuzz)/[\w./-]*)`")
# Addresses of files in the repository, and of pages of the documentation. The README has no others: a package
# index shows it as well.
ADDRESS = re.compile(
    r"https://(?:github|raw\.githubusercontent)\.com/httpcore-rs/httpcore-rs/(?:blob/|tree/)?main/([^\s)#]+)"
)
SITE = re.compile(r"https://httpcore-rs\.github\.io/httpcore-rs/([^\s)#]*?)/?(?:#[^\s)]*)?[\s)]")
IN_CODE = re.compile(r"\bdocs/[\w./-]+\w")


def findings(path: Path, text: str, files: list[str]) -> typing.Iterator[tuple[int, str]]:
    """Yields the position and the name of each link and file name that leads nowhere."""
    if path.suffix != ".md":
        for match in IN_CODE.finditer(text):
            if not (ROOT / match[0]).exists():
                yield match.start(), match[0]
        return
    for match in LINK.finditer(text):
        if match[1] and not (path.parent / match[1]).exists():
            yield match.start(), match[1]
        elif match[1] and path == ROOT / "README.md":
            yield match.start(), f"{match[1]}: on a package index, a relative address"
    yield from _addresses(text)
    for match in FILE.finditer(text):
        if not any(file == match[1] or file.endswith(f"/{match[1]}") for file in files):
            yield match.start(), match[1]
    for match in FOLDER.finditer(text):
        if not (ROOT / match[1]).exists():
            yield match.start(), match[1]


def _addresses(text: str) -> typing.Iterator[tuple[int, str]]:
    for match in ADDRESS.finditer(text):
        if not (ROOT / match[1]).exists():
            yield match.start(), match[0]
    for match in SITE.finditer(text):
        if match[1] and not (ROOT / "docs" / f"{match[1]}.md").exists():
            yield match.start(), match[0]


def main() -> int:
    """Prints what was found, and returns the exit status."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    files = [file for file in files if (ROOT / file).is_file()]
    found = 0
    for file in files:
        path = ROOT / file
        if path.suffix in {".md", ".rs", ".py", ".pyi", ".toml"} or file.startswith("scripts/"):
            text = path.read_text(encoding="utf-8")
            for position, name in sorted({*findings(path, text, files)}):
                print(f"{file}:{text.count(chr(10), 0, position) + 1}: {name} does not exist")
                found += 1
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
