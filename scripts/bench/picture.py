"""Pictures of a run: how many times the limit each candidate takes, as bars, with matplotlib.

The length of a bar, its label and the axis all are that ratio, the median over the rounds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.results import Result, Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_GROUPS = {
    "httpcore_rs": "#c2410c",
    "httpx or httpx2 over httpcore_rs": "#fb923c",
    "other libraries": "#475569",
    "httpx and httpx2, over others": "#93c5fd",
    "the limit: bare sockets, httpx without I/O": "#cbd5e1",
}


# Where the candidates of a panel differ by more, its axis is logarithmic.
_LINEAR = 20


@dataclass(frozen=True)
class Picture:
    """One file: its title, and the results that it shows, in columns."""

    title: str
    keys: tuple[str, ...]
    columns: int = 2


PICTURES = {
    "requests": Picture(
        "GET of 1 KiB over HTTP/1.1", ("sync", "threads", "async-1", "async-20", "async-100", "tls-async-20")
    ),
    "http2": Picture("GET of 1 KiB over HTTP/2 and TLS", ("h2-sync", "h2-threads", "h2-async-20", "h2-async-100")),
    "bodies": Picture(
        "Bodies of 64 MiB",
        (
            *("sync-down", "sync-up", "async-down", "async-up"),
            *("tls-sync-down", "tls-sync-up", "tls-async-down", "tls-async-up"),
        ),
    ),
}


def draw(run: Run, folder: Path) -> Iterator[Path]:
    """Draws the pictures whose results were measured."""
    import matplotlib as mpl

    mpl.use("svg")
    # Text stays text, and the same figures give the same file.
    mpl.rcParams.update(
        {"svg.fonttype": "none", "svg.hashsalt": "benchmark", "font.size": 8, "font.family": "sans-serif"}
    )
    for name, picture in PICTURES.items():
        if results := [run.results[key] for key in picture.keys if key in run.results]:
            yield _draw(picture, results, run, folder / f"benchmark-{name}.svg")


def _draw(picture: Picture, results: list[Result], run: Run, path: Path) -> Path:
    from matplotlib import pyplot as plt
    from matplotlib.patches import Patch

    rows = math.ceil(len(results) / picture.columns)
    height = 0.9 + rows * (0.6 + 0.19 * max(len(result.series) for result in results))
    figure, axes = plt.subplots(rows, picture.columns, figsize=(11, height), squeeze=False, layout="constrained")
    for axis in axes.flat:
        axis.set_visible(False)
    for axis, result in zip(axes.flat, results):
        axis.set_visible(True)
        _panel(axis, result)
    machine = f"{run.about['server']}, {run.about['Python']}"
    figure.suptitle(f"{picture.title}: times the limit, shorter is better\n{machine}")
    handles = [Patch(color=colour, label=group) for group, colour in _GROUPS.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    return path


def _panel(axis: Axes, result: Result) -> None:
    ratios = {name: result.ratio(name, result.base) for name in result.series}
    names = sorted(ratios, key=lambda name: -ratios[name])
    bars = axis.barh(names, [ratios[name] for name in names], color=[_GROUPS[_group(name)] for name in names])
    scale, unit = (1, "us") if result.unit == "us" else (1000, "ms")
    labels = [f" {ratios[name]:.2f}x, {result.time(name) / scale:,.0f} {unit}" for name in names]
    axis.bar_label(bars, labels, fontsize=7)
    axis.set_title(f"{result.title} (x: times {result.base})", fontsize=9, loc="left")
    _style(axis, max(ratios.values()))


def _style(axis: Any, longest: float) -> None:
    if longest > _LINEAR:
        axis.set_xscale("log")
        axis.set_xlabel("logarithmic")
        axis.minorticks_off()
        axis.set_xlim(0.5, longest * 4)
    else:
        axis.set_xlim(0, longest * 1.3)
    axis.axvline(1, color="#94a3b8", linewidth=0.8)
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}x")
    axis.spines[["top", "right"]].set_visible(False)


def _group(name: str) -> str:
    if "bare" in name or "no I/O" in name:
        return "the limit: bare sockets, httpx without I/O"
    if name.startswith("httpx"):
        return "httpx or httpx2 over httpcore_rs" if "httpcore_rs" in name else "httpx and httpx2, over others"
    return "httpcore_rs" if name.startswith("httpcore_rs") else "other libraries"
