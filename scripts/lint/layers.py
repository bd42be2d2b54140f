"""Checks the structure of src/: its layers, the names of its types, the length of its files and of those in Python.

Arrows between layers point downwards, no two types share a name, no file is long. Prints what is wrong, exits with 1.
With `--graph` it prints the imports between modules instead.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2] / "src"
MAX_LINES = 500

BASE = ["error", "fork", "lock", "origin", "timeout", "timings"]
# From the bottom to the top: what each layer may import besides the base.
LAYERS: dict[str, list[str]] = {
    **{name: [] for name in BASE},
    "message": [],
    "pool": [],
    "operation": ["message"],
    "io": ["operation"],
    "tls": ["io", "operation"],
    "http1": ["message", "operation", "io", "tls"],
    "http2": ["message", "operation", "io", "tls"],
    "connect": ["message", "operation", "io", "tls", "http1", "http2"],
    "client": ["message", "pool", "operation", "io", "tls", "http1", "http2", "connect"],
    "python": ["message", "pool", "operation", "io", "tls", "http1", "http2", "connect", "client"],
}
# Knows all layers: the list of modules, and entry points for fuzzers.
ABOVE_ALL = {"lib", "fuzzing", "testing"}

IMPORT = re.compile(r"\bcrate::(?:\{([^}]*)\}|(\w+))")
VISIBILITY = r"(?:pub(?:\([^)]*\))? )?"
TYPE = re.compile(rf"^\s*{VISIBILITY}(?:struct|enum|trait|union) (\w+)|^{VISIBILITY}type (\w+)", re.MULTILINE)


def code(path: Path) -> str:
    """Returns the text of a file without comments and without its tests, which may use what they like."""
    text = re.sub(r"//.*", "", path.read_text())
    return re.split(r"#\[cfg\(test\)\]\s*mod tests \{", text)[0]


def layer(path: Path) -> str:
    """Returns the module of the crate that a file belongs to."""
    return path.relative_to(ROOT).parts[0].removesuffix(".rs")


def imports() -> dict[str, dict[str, list[Path]]]:
    """Returns which files of a layer import which other layers."""
    found: dict[str, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for path in sorted(ROOT.rglob("*.rs")):
        if path.name in {"tests.rs", "model.rs"}:
            continue
        for several, one in IMPORT.findall(code(path)):
            for name in re.findall(r"(?:^|,)\s*(\w+)", several) if several else [one]:
                if name != layer(path):
                    found[layer(path)][name].append(path)
    return found


def upward() -> list[str]:
    """Returns the imports that no arrow of the layers allows."""
    faults = []
    for importer, imported in imports().items():
        if importer in ABOVE_ALL:
            continue
        allowed = {*LAYERS.get(importer, []), *BASE}
        for name in sorted(set(imported) - allowed):
            files = ", ".join(sorted({str(path.relative_to(ROOT.parent)) for path in imported[name]}))
            faults.append(f"{importer} may not import {name} ({files})")
    return faults


def twice() -> list[str]:
    """Returns the names that more than one type has."""
    places: dict[str, list[str]] = defaultdict(list)
    for path in sorted(ROOT.rglob("*.rs")):
        if path == ROOT / "io" / "sys" / "windows.rs":  # It has the types of unix.rs.
            continue
        text = re.sub(r"//.*", "", path.read_text())
        for names in TYPE.findall(text):
            places[names[0] or names[1]].append(str(path.relative_to(ROOT.parent)))
    return [
        f"{len(files)} types are named {name}: {', '.join(files)}" for name, files in places.items() if len(files) > 1
    ]


def long() -> list[str]:
    """Returns the files that are longer than they may be."""
    paths = list(ROOT.rglob("*.rs"))
    for folder in ("httpcore_rs", "tests", "scripts", "examples"):
        paths += (ROOT.parent / folder).rglob("*.py")
    counts = {path: len(path.read_text().splitlines()) for path in sorted(paths)}
    return [
        f"{path.relative_to(ROOT.parent)} has {n} lines, more than {MAX_LINES}"
        for path, n in counts.items()
        if n > MAX_LINES
    ]


def main() -> int:
    """Runs the checks, or prints the graph."""
    if "--graph" in sys.argv:
        for importer, imported in sorted(imports().items()):
            print(f"{importer}: {', '.join(f'{name} ({len(files)})' for name, files in sorted(imported.items()))}")
        return 0
    faults = [*upward(), *twice(), *long()]
    print("\n".join(faults), end="\n" if faults else "")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
