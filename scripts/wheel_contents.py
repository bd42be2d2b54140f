"""Fails unless a wheel holds what it must, and nothing of the machine that built it.

Usage: python scripts/wheel_contents.py WHEEL. Called by scripts/wheels.
"""

from __future__ import annotations

import fnmatch
import os
import sys
import zipfile
from pathlib import Path

# In each wheel, beside the modules. The extension's name ends in .so or .pyd.
NEEDED = [
    "httpcore_rs/_engine.*[od]",
    "httpcore_rs/_engine.pyi",
    "httpcore_rs/httpcore2.pyi",
    "httpcore_rs/py.typed",
    "httpcore_rs-*.dist-info/licenses/LICENSE",
    "httpcore_rs-*.dist-info/licenses/docs/third-party-licenses.txt",
    "httpcore_rs-*.dist-info/sboms/httpcore_rs.cyclonedx.json",
]


def faults(wheel: Path) -> list[str]:
    """Returns what is wrong with a wheel."""
    root = Path(__file__).resolve().parent.parent
    cargo = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo"))
    private = [str(path).encode() for path in (root, cargo)]
    found = []
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        found += [f"no file {pattern}" for pattern in NEEDED if not fnmatch.filter(names, pattern)]
        found += [f"{name} must not be in it" for name in names if name.endswith((".pyc", ".rs")) or "/tests/" in name]
        for name in names:
            content = archive.read(name)
            found += [f"{name} contains {path.decode()}" for path in private if path in content]
    return found


def main(argument: str) -> None:
    """Checks one wheel."""
    wheel = Path(argument)
    if wrong := faults(wheel):
        sys.exit("\n".join(f"{wheel.name}: {fault}" for fault in wrong))
    with zipfile.ZipFile(wheel) as archive:
        (extension,) = (entry for entry in archive.infolist() if entry.filename.endswith((".so", ".pyd")))
    print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.2f} MB, extension {extension.file_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main(sys.argv[1])
