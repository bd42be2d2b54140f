"""Lines on the terminal, and what went wrong."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

_COLOURS = sys.stdout.isatty()


class Report:
    """Prints one line for each thing that is shown, and counts."""

    def __init__(self) -> None:
        self.shown = 0
        self.wrong: list[str] = []

    def title(self, text: str) -> None:
        print(f"\n{_colour('1', text)}")

    @contextlib.contextmanager
    def showing(self, what: str) -> Iterator[Line]:
        """One line: what is shown, and what came of it. A block that raises has failed, and the demo goes on."""
        line = Line()
        self.shown += 1
        try:
            yield line
        except Exception as exc:  # noqa: BLE001 (the summary names it)
            self.wrong.append(what)
            print(f"  {_colour('31', 'FAIL')} {what}: {type(exc).__name__}: {exc}", flush=True)
        else:
            print(f"  {_colour('32', 'ok')}   {what}: {line.text}", flush=True)


class Line:
    """What came of it."""

    text = "done"

    def says(self, text: str) -> None:
        self.text = text


def require(condition: object, what: str) -> None:
    """Raise if the server's answer is not what was sent for."""
    if not condition:
        raise AssertionError(what)


def _colour(code: str, text: str) -> str:
    return f"\033[{code}m{text}\033[0m" if _COLOURS else text
