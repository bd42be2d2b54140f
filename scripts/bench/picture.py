"""Draws results as bars into an SVG, without a drawing library."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from bench.measure import Result

_WIDTH, _LEFT, _BAR, _GAP = 860, 190, 460, 24
_ROW, _TITLE = 22, 40
# Longer bars are cut, so that one slow candidate does not shorten all others.
_CUT = 10.0
_COLOURS = {"ours": "#c2410c", "limit": "#94a3b8", "peer": "#475569"}


def draw(results: Sequence[Result], path: Path, caption: str) -> None:
    """Writes one panel for each result: time per request, and its ratio to httpcore_rs."""
    parts: list[str] = []
    top = 50
    for result in results:
        parts.append(_text(20, top + 18, result.title, size=15, weight="bold"))
        top += _TITLE - 10
        parts.extend(_panel(result, top))
        top += _ROW * len(result.series) + _GAP
    size = f'width="{_WIDTH}" height="{top + 10}"'
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="system-ui, sans-serif">',
        f'<rect {size} fill="#ffffff"/>',
        _text(20, 30, caption, size=12, fill="#64748b"),
    ]
    path.write_text("\n".join([*head, *parts, "</svg>"]) + "\n")


def _panel(result: Result, top: int) -> list[str]:
    lines = []
    names = sorted(result.series, key=result.time)
    times = {name: result.time(name) for name in names}
    base = "httpx + httpcore_rs" if "httpcore_rs" not in times else "httpcore_rs"
    longest = min(max(times.values()), _CUT * times[base])
    for number, name in enumerate(names):
        y = top + _ROW * number
        cut = times[name] > longest
        width = _BAR * min(times[name], longest) / longest
        colour = _COLOURS["ours" if "httpcore_rs" in name else "limit" if _is_limit(name) else "peer"]
        lines.append(_text(_LEFT - 10, y + 15, name, anchor="end"))
        lines.append(f'<rect x="{_LEFT}" y="{y + 3}" width="{width:.1f}" height="{_ROW - 6}" rx="2" fill="{colour}"/>')
        if cut:
            x = _LEFT + width - 26
            lines.append(f'<path d="M{x} {y + _ROW} l8 -{_ROW} h6 l-8 {_ROW} z" fill="#ffffff"/>')
        label = f"{_time(times[name])}   {result.ratio(name, base):.2f}x"
        lines.append(_text(int(_LEFT + width + 8), y + 15, label, fill="#334155"))
    return lines


def _is_limit(name: str) -> bool:
    return "bare" in name or "no I/O" in name


def _time(microseconds: float) -> str:
    return f"{microseconds:.0f} us" if microseconds < 10_000 else f"{microseconds / 1000:.0f} ms"


def _text(x: int, y: int, text: str, **style: object) -> str:
    size, weight = style.get("size", 13), style.get("weight", "normal")
    anchor, fill = style.get("anchor", "start"), style.get("fill", "#0f172a")
    return (
        f'<text x="{x}" y="{y}" font-size="{size}" font-weight="{weight}" text-anchor="{anchor}" '
        f'fill="{fill}">{escape(text)}</text>'
    )
