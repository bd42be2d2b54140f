"""A picture of a comparison: bars of text, in Unicode where the output can show it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TextIO

_WIDTH = 40
# Eighths of a column.
_PARTS = " ▏▎▍▌▋▊▉█"


class Pair(NamedTuple):
    """Microseconds per request of httpx over its own transport, and over httpcore_rs."""

    title: str
    theirs: float
    ours: float


def draw(pairs: Sequence[Pair], out: TextIO = sys.stdout) -> None:
    """Prints two bars for each pair. The longer one is as wide as the picture."""
    is_unicode = _can_show(out, _PARTS)
    colour = ("\033[33m", "\033[0m") if out.isatty() else ("", "")
    for line in lines(pairs, is_unicode=is_unicode, colour=colour):
        print(line, file=out)


def lines(pairs: Sequence[Pair], *, is_unicode: bool, colour: tuple[str, str] = ("", "")) -> Iterator[str]:
    """Yields the lines of the picture."""
    widest = max((len(pair.title) for pair in pairs), default=0)
    for title, theirs, ours in pairs:
        longest = max(theirs, ours)
        before, after = colour
        yield f"  {title:{widest}}  httpx        {_bar(theirs / longest, is_unicode)} {theirs:6.0f} us"
        bar = f"{before}{_bar(ours / longest, is_unicode)}{after}"
        yield f"  {'':{widest}}  httpcore_rs  {bar} {ours:6.0f} us"


def _bar(part: float, is_unicode: bool) -> str:
    if not is_unicode:
        return f"{'#' * max(1, round(part * _WIDTH)):{_WIDTH}}"
    eighths = max(1, round(part * _WIDTH * 8))
    return f"{_PARTS[8] * (eighths // 8) + _PARTS[eighths % 8].strip():{_WIDTH}}"


def _can_show(out: TextIO, text: str) -> bool:
    try:
        text.encode(out.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True
