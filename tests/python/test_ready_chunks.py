"""The chunks that an asynchronous generator has at hand, taken step by step without an event loop."""

from __future__ import annotations

import gc
import types
from typing import TYPE_CHECKING, Any

import pytest

from httpcore_rs import _ready_chunks
from httpcore_rs._ready_chunks import ReadyChunks, ready_chunks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator

NO_LIMIT = 1_000_000


@types.coroutine
def wait(name: str) -> Generator[str, str, str]:
    """Waits as an event loop's futures do: yields to the loop, and returns what that sends."""
    return (yield name)


@pytest.fixture(autouse=True)
def generous(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_ready_chunks, "_QUICK", 60.0)
    monkeypatch.setattr(_ready_chunks, "_AT_MOST", 60.0)
    monkeypatch.setattr(_ready_chunks, "_PROVEN", 1)


def taken_from(body: Callable[[], AsyncIterator[Any]]) -> ReadyChunks:
    taken = ready_chunks(body())
    assert taken is not None
    return taken


def test_only_generators_are_asked_for_chunks_at_hand() -> None:
    class Body:
        async def __anext__(self) -> bytes:
            return b""

    assert ready_chunks(Body()) is None


def test_chunks_up_to_the_limit_are_taken_together() -> None:
    async def body() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield b"123"

    ready = taken_from(body)
    assert ready.take(7) == ([b"123"] * 3, False)
    assert ready.take(1) == ([b"123"], False)
    assert ready.take(NO_LIMIT) == ([b"123"] * 6, False)
    for _ in range(2):
        with pytest.raises(StopAsyncIteration):
            ready.take(NO_LIMIT)


def test_an_empty_body_ends_at_once() -> None:
    async def body() -> AsyncIterator[bytes]:
        return
        yield b""

    with pytest.raises(StopAsyncIteration):
        taken_from(body).take(NO_LIMIT)


def test_no_more_than_so_many_chunks_are_taken_together() -> None:
    async def body() -> AsyncIterator[bytes]:
        while True:
            yield b""

    assert taken_from(body).take(NO_LIMIT) == ([b""] * _ready_chunks._MOST, False)


def test_nothing_is_taken_behind_a_chunk_of_another_type() -> None:
    async def body() -> AsyncIterator[object]:
        yield b"1"
        yield bytearray(b"2")
        yield b"3"

    ready = taken_from(body)
    assert ready.take(NO_LIMIT) == ([b"1", bytearray(b"2")], False)
    assert ready.take(NO_LIMIT) == ([b"3"], False)


def test_a_generator_that_is_not_known_to_be_quick_is_asked_for_one_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_ready_chunks, "_PROVEN", 3)

    async def body() -> AsyncIterator[bytes]:
        for number in range(20):
            yield b"%d" % number

    ready = taken_from(body)
    assert ready.take(NO_LIMIT) == ([b"0"], False)
    assert ready.take(NO_LIMIT) == ([b"1"], False)
    assert ready.take(2) == ([b"2", b"3"], False)
    # A slow step: the next ones have to be quick again.
    monkeypatch.setattr(_ready_chunks, "_QUICK", 0.0)
    assert ready.take(NO_LIMIT) == ([b"4"], False)
    monkeypatch.setattr(_ready_chunks, "_QUICK", 60.0)
    assert ready.take(NO_LIMIT) == ([b"5"], False)
    assert ready.take(NO_LIMIT) == ([b"6"], False)
    # No longer than this, however quick each step is.
    monkeypatch.setattr(_ready_chunks, "_AT_MOST", 0.0)
    assert ready.take(NO_LIMIT) == ([b"7"], False)


def test_a_wait_is_left_to_the_task() -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"1"
        sent = [await wait("first"), await wait("second")]
        yield " ".join(sent).encode()
        yield b"3"

    ready = taken_from(body)
    assert ready.take(NO_LIMIT) == ([b"1"], True)
    rest = ready.rest()
    assert rest.send(None) == "first"
    assert rest.send("a") == "second"
    with pytest.raises(StopIteration) as stopped:
        rest.send("b")
    assert stopped.value.value == b"a b"
    assert ready.take(NO_LIMIT) == ([b"3"], False)


def test_a_generator_may_end_or_fail_after_its_wait() -> None:
    async def body() -> AsyncIterator[bytes]:
        if await wait("what next") == "fail":
            raise ZeroDivisionError
        return
        yield b""

    for answer, error in (("fail", ZeroDivisionError), ("end", StopAsyncIteration)):
        ready = taken_from(body)
        assert ready.take(NO_LIMIT) == ([], True)
        rest = ready.rest()
        assert rest.send(None) == "what next"
        with pytest.raises(error):
            rest.send(answer)


def test_exceptions_are_thrown_into_the_generator() -> None:
    async def body() -> AsyncIterator[bytes]:
        while True:
            try:
                await wait("for an exception")
            except KeyError as exc:  # noqa: PERF203
                if exc.args == ("wait",):
                    continue
                yield b"handled"

    ready = taken_from(body)
    assert ready.take(NO_LIMIT) == ([], True)
    rest = ready.rest()
    rest.send(None)
    assert rest.throw(KeyError("wait")) == "for an exception"
    with pytest.raises(StopIteration) as stopped:
        rest.throw(KeyError("yield"))
    assert stopped.value.value == b"handled"
    assert ready.take(NO_LIMIT) == ([], True)
    rest = ready.rest()
    rest.send(None)
    with pytest.raises(ZeroDivisionError):
        rest.throw(ZeroDivisionError)


def test_a_wait_that_is_closed_ends() -> None:
    async def body() -> AsyncIterator[bytes]:
        await wait("for ever")
        yield b""

    ready = taken_from(body)
    ready.take(NO_LIMIT)
    rest = ready.rest()
    rest.send(None)
    rest.close()
    with pytest.raises(StopIteration):
        rest.send(None)


def test_a_chunk_that_no_step_has_begun_is_awaited() -> None:
    async def body() -> AsyncIterator[bytes]:
        yield (await wait("first")).encode()

    rest = taken_from(body).rest()
    assert rest.send(None) == "first"
    with pytest.raises(StopIteration) as stopped:
        rest.send("a")
    assert stopped.value.value == b"a"


def test_chunks_are_returned_before_the_failure_behind_them() -> None:
    class FailureError(Exception):
        pass

    async def body() -> AsyncIterator[bytes]:
        yield b"1"
        raise FailureError

    ready = taken_from(body)
    assert ready.take(NO_LIMIT) == ([b"1"], False)
    gc.collect()
    with pytest.raises(FailureError):
        ready.take(NO_LIMIT)
    del ready
    assert not [found for found in gc.get_objects() if isinstance(found, FailureError)]
