"""The part that workers of threads and of event loops share."""

from __future__ import annotations

import contextlib
import gc
import random
from collections.abc import Iterator
from typing import Generic, TypeVar

import httpcore_rs
from stressing.exchange import Exchange
from stressing.record import Worker
from stressing.setting import Setting

Pool = TypeVar("Pool", httpcore_rs.ConnectionPool, httpcore_rs.AsyncConnectionPool)


class Calls(Generic[Pool]):
    """The calls of one worker, drawn at random."""

    def __init__(self, pool: Pool, setting: Setting, worker: Worker, seed: int) -> None:
        self._pool: Pool = pool
        self._setting = setting
        self._worker = worker
        self._dice = random.Random(seed)  # noqa: S311  # Chooses what is tried.

    def _draw(self, delay: int | None = None) -> Exchange:
        return Exchange.draw(self._setting.base, self._dice, delay=delay)

    @contextlib.contextmanager
    def _attempt(self, what: str, *expected: type[Exception]) -> Iterator[None]:
        with self._setting.attempt(self._worker, what, *expected):
            yield

    def _check_texts(self) -> None:
        with self._attempt("repr"):
            texts = [repr(self._pool), *(connection.info() for connection in self._pool.connections)]
            if not all(texts):
                raise ValueError(texts)

    def _collect_garbage(self) -> None:
        gc.collect()
        self._worker.note("collection")
