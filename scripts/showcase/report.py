"""Lines on the terminal, and the list of failures."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

_COLOURS = sys.stdout.isatty()


class Report:
    """Prints one line for each check, and counts them."""

    def __init__(self) -> None:
        self.shown = 0
        self.wrong: list[str] = []

    def title(self, text: str) -> None:
        print(f"\n{_colour('1', text)}")

    @contextlib.contextmanager
    def showing(self, what: str) -> Iterator[Line]:
        """Prints one line: the check and its result. A block that raises has failed, and the demo continues."""
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
    """The result of one check."""

    text = "done"

    def says(self, text: str) -> None:
        self.text = text


def require(condition: object, what: str) -> None:
    """Raises if the condition does not hold."""
    if not condition:
        raise AssertionError(what)


def _colour(code: str, text: str) -> str:
    return f"\033[{code}m{text}\033[0m" if _COLOURS else text
