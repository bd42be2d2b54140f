"""The chunks of an asynchronous request body that are at hand.

Whether a generator has its next chunk at hand is known after the first step of its `__anext__()`: it has yielded the
chunk, or it waits. In the second case that wait is left to the task, and begins after the chunks before it were sent.
"""

from __future__ import annotations

import time
import types
import typing

# A step that takes longer, in seconds, is not repeated while a chunk waits for it: the generator computes or blocks.
_QUICK = 0.0001

# The time after which chunks are sent in any case, in seconds.
_AT_MOST = 0.001

# Steps that have to be quick, one after the other, before chunks wait for the next step.
_PROVEN = 8

# Chunks that are taken together.
_MOST = 64

_Steps = typing.Generator[typing.Any, typing.Any, object]


def ready_chunks(iterator: object) -> ReadyChunks | None:
    """Returns what takes the chunks at hand, or `None` if the iterator is not an asynchronous generator."""
    return ReadyChunks(iterator) if type(iterator) is types.AsyncGeneratorType else None


class ReadyChunks:
    """Takes the chunks that an asynchronous generator yields without waiting."""

    __slots__ = ("_failure", "_has_ended", "_next", "_quick", "_steps", "_yielded")

    def __init__(self, iterator: types.AsyncGeneratorType[object, None]) -> None:
        self._next: typing.Callable[[], typing.Any] = iterator.__anext__
        # The rest of the step that has begun to wait, and what it waits for.
        self._steps: _Steps | None = None
        self._yielded: object = None
        # The exception behind the chunks that were returned last.
        self._failure: BaseException | None = None
        self._has_ended = False
        # Steps in a row that were quick.
        self._quick = 0

    def take(self, limit: int) -> tuple[list[object], bool]:
        """Returns the chunks at hand, and whether the generator waits now; `rest()` then returns the next one.

        Nothing is taken behind a chunk of another type than `bytes`, or behind `limit` bytes: the request may fail
        there, and must not be in the middle of a wait then.
        """
        if self._has_ended:
            raise StopAsyncIteration
        if self._failure is not None:
            failure, self._failure = self._failure, None
            try:
                raise failure
            finally:
                # The traceback of the exception has this frame.
                del failure
        chunks: list[object] = []
        first = began = time.perf_counter()
        while True:
            steps = self._next()
            try:
                self._yielded = steps.send(None)
            except StopIteration as stop:
                chunk = stop.value
            except StopAsyncIteration:
                if not chunks:
                    raise
                self._has_ended = True
                return chunks, False
            except BaseException as exc:
                if not chunks:
                    raise
                self._failure = exc
                return chunks, False
            else:
                self._steps = steps
                return chunks, True
            chunks.append(chunk)
            now = time.perf_counter()
            self._quick = self._quick + 1 if now - began < _QUICK else 0
            if self._quick < _PROVEN or type(chunk) is not bytes:
                return chunks, False
            limit -= len(chunk)
            if limit <= 0 or len(chunks) == _MOST or now - first > _AT_MOST:
                return chunks, False
            began = now

    @types.coroutine
    def rest(self) -> _Steps:
        """Awaits the chunk for which the generator waits, as `await` would from the first step on."""
        steps, yielded = self._steps, self._yielded
        self._steps = self._yielded = None
        if steps is None:
            return (yield from self._next())
        while True:
            try:
                value = yield yielded
            except GeneratorExit:  # noqa: PERF203
                steps.close()
                raise
            except BaseException as exc:  # noqa: BLE001  # A cancellation, for example: it is the generator's.
                try:
                    yielded = steps.throw(exc)
                except StopIteration as stop:
                    return stop.value
            else:
                try:
                    yielded = steps.send(value)
                except StopIteration as stop:
                    return stop.value
