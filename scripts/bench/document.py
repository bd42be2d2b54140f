"""Writes the tables of a run into documents, between the comments that name them.

<!-- measured: requests -->
...
<!-- /measured -->
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from bench.acceptance import rows
from bench.report import acceptance_table, figure, table
from bench.results import Result, Run

DOCUMENTS = ("docs/benchmarks.md", "README.md")
_BLOCK = re.compile(r"(<!-- measured: ([\w-]+) -->\n).*?(<!-- /measured -->)", re.DOTALL)


@dataclass(frozen=True)
class Columns:
    """A table with a line for each candidate: the heads of its results by their keys, and the figures that it shows."""

    heads: dict[str, str]
    shows: tuple[str, ...] = ("wall", "x")

    def markdown(self, run: Run) -> str:
        """Returns the table."""
        results = {head: run.results[key] for key, head in self.heads.items()}
        names = list(dict.fromkeys(name for result in results.values() for name in result.series))
        names.sort(key=lambda name: not name.startswith("bare"))
        lines = [
            [
                f"**{name}**" if "httpcore_rs" in name else name,
                *(self._cell(result, name) for result in results.values()),
            ]
            for name in names
        ]
        return table(["", *(f"{head}, {result.unit}" for head, result in results.items())], lines)

    def _cell(self, result: Result, name: str) -> str:
        if name not in result.series:
            return "failed" if name in result.failed else "-"
        shown = [figure(result, name, column) + ("x" if column == "x" else "") for column in self.shows]
        return shown[0] if len(shown) == 1 else f"{shown[0]} ({', '.join(shown[1:])})"


_REQUESTS = {
    "sync": "sync",
    "threads": "8 threads",
    "async-1": "async, 1 task",
    "async-20": "20 tasks",
    "async-100": "100 tasks",
}
_BODIES = {"sync-down": "down, sync", "sync-up": "up, sync", "async-down": "down, async", "async-up": "up, async"}
_DELAYED = {"delayed-threads": "8 threads", "delayed-async-20": "async, 20 tasks"}
_TLS = {"tls-sync": "sync", "tls-async-20": "async, 20 tasks"}
_COLD = {"tls-cold-sync": "sync", "tls-cold-async": "async"}
_HTTP2 = {
    "h2-sync": "sync",
    "h2-threads": "8 threads",
    "h2-async-1": "async, 1 task",
    "h2-async-20": "20 tasks",
    "h2-async-100": "100 tasks",
}
_HTTP2_BODIES = {
    "h2-sync-down": "TLS, sync",
    "h2-async-down": "TLS, async",
    "h2c-sync-down": "plain, sync",
    "h2c-async-down": "plain, async",
}
_MEMORY = {
    "memory-same": "plain connection, one origin",
    "memory-plain": "each another origin",
    "memory-tls": "TLS connection",
    "memory-h2": "HTTP/2 connection",
    "memory-pool": "client",
}
_TABLES: dict[str, Columns] = {
    "requests": Columns(_REQUESTS),
    "requests-cpu": Columns(_REQUESTS, ("cpu",)),
    "requests-latency": Columns(_REQUESTS, ("p50", "p99")),
    "delayed": Columns(_DELAYED, ("cpu", "p50", "p99")),
    "tls": Columns(_TLS, ("wall", "x", "cpu")),
    "tls-cold": Columns(_COLD, ("wall", "x", "cpu")),
    "http2": Columns(_HTTP2),
    "http2-cpu": Columns(_HTTP2, ("cpu",)),
    "bodies": Columns(_BODIES),
    "tls-bodies": Columns({f"tls-{key}": head for key, head in _BODIES.items()}),
    "http2-bodies": Columns(_HTTP2_BODIES),
    "construct": Columns({"construct": "a client"}, ("wall",)),
    "processes": Columns({"import": "import", "cold-start": "import and one GET"}, ("wall", "cpu", "memory")),
    "first-tls": Columns({"first-tls": "in a process", "first-tls-forked": "in a forked child"}, ("cpu",)),
    "memory": Columns(_MEMORY, ("memory",)),
    "memory-peak": Columns({"memory-peak": "64 MiB down"}, ("memory",)),
}
_SUMMARY = {
    "sync": "sync",
    "async-20": "async, 20 tasks",
    "tls-async-20": "TLS, async, 20 tasks",
    "h2-async-100": "HTTP/2, async, 100 tasks",
    "async-down": "64 MiB down, async",
}


def write(run: Run, root: Path) -> Iterator[Path]:
    """Writes all tables into the documents. They must all be from this run."""
    for path in (root / name for name in DOCUMENTS):
        path.write_text(
            _BLOCK.sub(lambda found: f"{found[1]}\n{_block(found[2], run)}\n\n{found[3]}", path.read_text())
        )
        yield path


def _block(name: str, run: Run) -> str:
    special: dict[str, Callable[[Run], str]] = {
        "about": _about,
        "acceptance": lambda run: acceptance_table(rows(run.results)),
        "scale": _scale,
        "summary": _summary,
    }
    try:
        return special[name](run) if name in special else _TABLES[name].markdown(run)
    except KeyError as exc:
        sys.exit(f"the table {name!r} needs {exc}, which this run has not measured: write a whole run")


def _about(run: Run) -> str:
    return "\n".join(f"- {key}: {f'`{value}`' if key == 'command' else value}" for key, value in run.about.items())


def _scale(run: Run) -> str:
    """Returns a line for each client: CPU time per request, and its ratio to the smallest number."""
    lines = []
    for key, result in run.results.items():
        if key.startswith(("idle-", "origins-", "waiting-")) or key == "cancelled":
            shown = [
                f"{name}: {figure(result, name, 'cpu')} ({result.ratio(name, result.base, 'cpu'):.2f}x)"
                for name in result.series
            ]
            lines.append([result.title, *shown, *[""] * (3 - len(shown))])
    if not lines:
        raise KeyError("scale")
    return table(["CPU us per request", "", "", ""], lines)


def _summary(run: Run) -> str:
    lines = []
    for key, title in _SUMMARY.items():
        result = run.results[key]
        names = (
            "bare protocol" if result.has("bare protocol") else "bare socket",
            "httpcore_rs",
            "httpcore",
            "httpx",
            "httpx + httpcore_rs",
        )
        cells = [figure(result, name, "wall") if result.has(name) else "-" for name in names]
        cells[1], cells[4] = f"**{cells[1]}**", f"**{cells[4]}**"
        lines.append([f"{title}, {result.unit}", *cells])
    head = ["", "bare socket", "**httpcore_rs**", "httpcore", "httpx", "**httpx over httpcore_rs**"]
    return table(head, lines)
