"""The records of the workers of the stress program: their calls, and their failures."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence

# Seconds without an end of any call of a worker, after which the program counts as stuck.
STUCK = 120.0


class Worker:
    """The record of one thread."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.counts: Counter[str] = Counter()
        self.failures: list[str] = []
        self.last = time.monotonic()

    def note(self, what: str) -> None:
        """Counts the end of a call."""
        self.counts[what] += 1
        self.last = time.monotonic()

    def fail(self, exc: BaseException) -> None:
        """Records an exception that should not occur."""
        self.failures.append("".join(traceback.format_exception(type(exc), exc, exc.__traceback__)))
        self.note("failures")


@contextlib.contextmanager
def watched(workers: Sequence[Worker]) -> Iterator[None]:
    """Ends the process with the stacks of all threads if one of the workers gets stuck during the block."""
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(1.0):
            stuck = [worker.number for worker in workers if time.monotonic() - worker.last > STUCK]
            if stuck:
                print(f"stuck for {STUCK:.0f} s: the threads {stuck}", file=sys.stderr, flush=True)
                faulthandler.dump_traceback(all_threads=True)
                os._exit(3)

    watcher = threading.Thread(target=watch, name="watch", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        is_over.set()
        watcher.join()
