"""Finds words that this project does not use in comments, docs, names and messages, and says what to write instead.

Usage: words.py [FILE...]; without arguments all files of the project. A word counts alone and as part of an identifier
(`at_bell`, `AtBell`). The exit status is 1 if any was found.
"""

from __future__ import annotations

import re
import sys
import typing
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLACES = [
    *("src", "httpcore_rs", "tests", "fuzz", "docs", "scripts", "examples", ".cargo", ".ci", ".github"),
    *("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "Cargo.toml", "pyproject.toml", "tox.ini"),
]
KINDS = {"", ".rs", ".py", ".pyi", ".md", ".sh", ".toml", ".ini", ".yml", ".yaml", ".dot"}
SKIPPED = {"__pycache__", "target", "corpus", ".corpus", "artifacts"}

# The subject of a sentence is the thing that acts, so that it can be found in the code.
PERSON = "name the thing: the thread, the task, the caller, the peer, the connection; no request, each waiter"

# Words, and what to write instead. A capitalised word counts only as it is written here: as the name of a type.
WORDS = {
    "whoever whomever nobody somebody anybody everybody someone anyone everyone": PERSON,
    "he him his himself she her hers herself": PERSON,
    "hypers pythons": "hyper's, Python's; in an identifier hyper_, python_",
    "newcomer newcomers": "a new request, a new connection",
    # The contract with drivers.
    "asker askers": "effects, EffectChannel",
    "courier couriers": "the upload task, UploadTask",
    "Stretch": "the yield budget, YieldBudget",
    "moments Moment": "trace events; for times: points in time",
    "Listener": "the tracer, Tracer",
    "leg legs": "a hop, Hop",
    # External streams.
    "carrier carriers": "an external stream, ExternalStream",
    "forsake forsakes forsaken": "dropped",
    # I/O.
    "bell bells": "the notifier, Notifier",
    "alarm alarms": "the parker, Parker",
    "lookout lookouts": "the signal poll",
    "Stall": "the progress timer, ProgressTimer",
    # The pool.
    "lease leases leased": "a slot guard, SlotGuard; a reservation, Reservation",
    "guest guests": "a waiter on a pending connection",
    # HTTP/2.
    "attendance attendances": "a thread that waits for a stream, StreamWaiter",
    "rouse rouses roused": "wake",
    "pulse pulses": "the connection's waker, ConnectionWaker",
    "farewell farewells goodbye goodbyes": "GOAWAY (HTTP/2), close_notify (TLS)",
    # Clients and TLS.
    "tap taps": "the view of a stream, StreamView",
    "wishes": "TLS options, TlsOptions",
    "Stamp": "the fingerprint of a file, FileFingerprint",
    "patience": "timeout",
}
PHRASES = {
    r"\b(in line)\b(?! \d| with)": "in the wait queue",
    r"\b((?:short|long) way)\b": "the fast path, the slow path",
}
# The first word of a description, in Rust (no line of it comes before) and in Python.
SUMMARIES = (
    r"(?m)(?:\A|^(?! *//[/!]).*\n) *//[/!] (Whether|What|Whose|Who|Where|How)\b",
    r'"""(Whether|What|Whose|Who|Where|How)\b',
)
PHRASES.update(dict.fromkeys(SUMMARIES, "a noun, or a verb such as Returns or Sends"))

# Names that others have given, and are left out of the search.
ALLOWED = re.compile(
    r"https?://\S+"
    r"|signal\.alarm"
    r"|(?:Tcp|Unix)Listener"  # Rust's standard library
    r"|start_guest_run|guest mode"  # trio in another event loop
)

ADVICE = {word: advice for words, advice in WORDS.items() for word in words.split()}
TOKEN = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


def files() -> typing.Iterator[Path]:
    """Yields the files of the project that hold text."""
    for place in PLACES:
        path = ROOT / place
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.suffix in KINDS and SKIPPED.isdisjoint(file.relative_to(ROOT).parts) and file.is_file():
                yield file


def findings(text: str) -> typing.Iterator[tuple[int, str, str]]:
    """Yields position, word and advice for each word that is found."""
    text = ALLOWED.sub(lambda match: "-" * len(match[0]), text)
    for match in TOKEN.finditer(text):
        advice = ADVICE.get(match[0]) or ADVICE.get(match[0].lower())
        if advice:
            yield match.start(), match[0], advice
    for phrase, advice in PHRASES.items():
        for match in re.finditer(phrase, text):
            yield match.start(1), match[1], advice


def main() -> int:
    """Prints what was found, and returns the exit status."""
    found = 0
    for file in [Path(name).resolve() for name in sys.argv[1:]] or files():
        if file == Path(__file__).resolve():
            continue
        text = file.read_text(encoding="utf-8")
        for position, word, advice in sorted(findings(text)):
            print(f"{file.relative_to(ROOT)}:{text.count(chr(10), 0, position) + 1}: {word} -> {advice}")
            found += 1
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
