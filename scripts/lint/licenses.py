"""Fails unless docs/third-party-licenses.txt names each crate that is linked into the extension, in its version."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
TEXTS = ROOT / "docs" / "third-party-licenses.txt"
TARGETS = re.findall(r'"([a-z0-9_]+(?:-[a-z0-9_]+){2,3})",', (ROOT / ".config" / "about.toml").read_text())


def linked(target: str) -> set[tuple[str, str]]:
    """Returns the names and versions of the crates that are linked for a target. Procedural macros are not."""
    command = ["cargo", "tree", "--locked", "--edges", "normal,no-proc-macro", "--target", target, "--prefix", "none"]
    output = subprocess.run([*command, "--format", "{p}"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return set(re.findall(r"^(\S+) v(\S+)", output, re.MULTILINE)) - {("httpcore_rs", version())}


def version() -> str:
    """Returns the version of this project."""
    (found,) = re.findall(r'^version = "(.+)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)
    return str(found)


def main() -> None:
    """Compares."""
    named = set(re.findall(r"^    (\S+) (\d\S+)", TEXTS.read_text(), re.MULTILINE))
    missing = set().union(*map(linked, TARGETS)) - named
    if missing:
        crates = ", ".join(sorted(" ".join(crate) for crate in missing))
        sys.exit(f"{TEXTS.relative_to(ROOT)} lacks {crates}: run scripts/licenses")


if __name__ == "__main__":
    main()
