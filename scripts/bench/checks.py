"""What every candidate must have got: a fast wrong answer is worth nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

SMALL = 1024
LARGE = 64 * 1024 * 1024

# Bodies are sent as 1024 chunks of 64 KiB, without a content-length: the way a generator is sent.
CHUNK = b"u" * (64 * 1024)
CHUNKS = LARGE // len(CHUNK)

# Status and body length of a response.
Answer = tuple[int, int]


class WrongAnswerError(Exception):
    """A candidate came back with another status or length than the server sent."""


def expect(answer: Answer, status: int, length: int) -> None:
    """Raise unless the answer has this status and this length."""
    if answer != (status, length):
        raise WrongAnswerError(f"expected status {status} and {length} bytes, got {answer[0]} and {answer[1]}")


def body() -> Iterator[bytes]:
    """The body that is sent."""
    for _ in range(CHUNKS):
        yield CHUNK


async def async_body() -> AsyncIterator[bytes]:
    """The body that is sent, for asynchronous clients."""
    for _ in range(CHUNKS):
        yield CHUNK
