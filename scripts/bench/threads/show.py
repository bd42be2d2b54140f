"""The curves as tables, in a document, and as a picture."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from bench.report import table
from bench.threads.turns import THREADS, Curve

_BLOCK = re.compile(r"(<!-- measured threads -->\n).*?(<!-- /measured threads -->)", re.DOTALL)
_COLOURS = {
    "httpcore_rs": "#c2410c",
    "httpcore_rs, a loop per thread": "#fb923c",
    "pyreqwest": "#475569",
    "urllib3": "#0891b2",
    "httpcore": "#65a30d",
}


def markdown(curves: Sequence[Curve]) -> str:
    """Returns a table for the interpreters with the GIL and one for those without."""
    return "\n\n".join(
        f"{_title(has_gil)}:\n\n{_table([curve for curve in curves if curve.has_gil is has_gil])}"
        for has_gil in _kinds(curves)
    )


def write(path: Path, about: Mapping[str, str], curves: Sequence[Curve]) -> None:
    """Writes the tables into a document, between the comments that name them."""
    described = "\n".join(f"- {key}: {f'`{value}`' if key == 'command' else value}" for key, value in about.items())
    text = f"{described}\n\n{markdown(curves)}"
    path.write_text(_BLOCK.sub(lambda found: f"{found[1]}\n{text}\n\n{found[2]}", path.read_text()))


def draw(path: Path, about: Mapping[str, str], curves: Sequence[Curve]) -> None:
    """Draws requests per second against threads: a panel with the GIL and one without."""
    import matplotlib as mpl

    mpl.use("svg")
    # Text stays text, and the same figures give the same file.
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "benchmark", "font.size": 8})
    from matplotlib import pyplot as plt

    kinds = _kinds(curves)
    figure, axes = plt.subplots(1, len(kinds), figsize=(11, 4), squeeze=False, sharey=True, layout="constrained")
    for axis, has_gil in zip(axes.flat, kinds):
        for curve in curves:
            if curve.has_gil is has_gil and curve.failure is None:
                rates = [curve.rate(threads) for threads in THREADS]
                axis.plot(THREADS, rates, marker="o", label=curve.candidate, color=_COLOURS[curve.candidate])
        axis.set_xscale("log", base=2)
        axis.set_xticks(THREADS, [str(threads) for threads in THREADS])
        axis.set_ylim(bottom=0)
        axis.set_xlabel("threads")
        axis.set_title(_title(has_gil), fontsize=9, loc="left")
        axis.spines[["top", "right"]].set_visible(False)
    axes.flat[0].set_ylabel("requests per second")
    # The first panel has all clients.
    figure.legend(
        *axes.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(_COLOURS), frameon=False
    )
    figure.suptitle(f"GET of 1 KiB over HTTP/1.1, higher is better\n{about['machine']}; {about['server']} on the same")
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _kinds(curves: Iterable[Curve]) -> list[bool]:
    return sorted({curve.has_gil for curve in curves}, reverse=True)


def _title(has_gil: bool) -> str:
    return "With the GIL" if has_gil else "Without the GIL"


def _table(curves: Sequence[Curve]) -> str:
    head = ["threads", *(f"{threads}" for threads in THREADS)]
    lines = []
    for curve in curves:
        name = f"**{curve.candidate}**" if "httpcore_rs" in curve.candidate else curve.candidate
        if curve.failure is not None:
            lines.append([f"{name}: a request failed with `{curve.failure}`", *("-" for _ in THREADS)])
            continue
        lines.append([f"{name}, requests/s", *(f"{curve.rate(threads):,.0f}" for threads in THREADS)])
        lines.append(["times one thread", *(f"{curve.speedup(threads):.2f}x" for threads in THREADS)])
        lines.append(["client's CPU, us per request", *(f"{curve.cpu_time(threads):.0f}" for threads in THREADS)])
        lines.append(["processors busy with it", *(f"{curve.cores(threads):.2f}" for threads in THREADS)])
    return table(head, lines)
