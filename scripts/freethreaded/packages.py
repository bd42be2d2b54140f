"""Installs those packages of a dependency group that exist for the running Python, and names the others.

Usage: packages.py GROUP. The packages are installed one by one, from wheels, in the versions that the group allows.
"""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Installs what can be installed. Returns 0 also if something is missing."""
    # Type checkers look at this as CPython 3.10, which has no tomllib.
    tomllib = importlib.import_module("tomllib")
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    requirements = [*_flat(groups, sys.argv[1])]
    missing = []
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as constraints:
        # Constraints have no extras.
        constraints.write("\n".join(re.sub(r"\[.*?\]", "", requirement) for requirement in requirements))
        constraints.flush()
        for requirement in requirements:
            options = ["--quiet", "--only-binary", ":all:", "--constraint", constraints.name]
            command = [sys.executable, "-m", "pip", "install", *options, requirement]
            if subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode:
                missing.append(requirement)
    for requirement in missing:
        print(f"not for this Python: {requirement}")
    return 0


def _flat(groups: dict[str, Any], name: str) -> Iterator[str]:
    for entry in groups[name]:
        if isinstance(entry, dict):
            yield from _flat(groups, entry["include-group"])
        else:
            yield entry


if __name__ == "__main__":
    sys.exit(main())
