"""Checks of the responses: a candidate is measured only if its responses are right."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

SMALL = 1024
LARGE = 64 * 1024 * 1024

# Bodies are sent as 1024 chunks of 64 KiB, without a content-length: as from a generator.
CHUNK = b"u" * (64 * 1024)
CHUNKS = LARGE // len(CHUNK)

# Status and body length of a response.
Answer = tuple[int, int]


class WrongAnswerError(Exception):
    """A candidate returned a status or length that the server did not send."""


def expect(answer: Answer, status: int, length: int) -> None:
    """Raises unless the answer has this status and this length."""
    if answer != (status, length):
        raise WrongAnswerError(f"expected status {status} and {length} bytes, got {answer[0]} and {answer[1]}")


def body() -> Iterator[bytes]:
    """Yields the body of an upload."""
    for _ in range(CHUNKS):
        yield CHUNK


async def async_body() -> AsyncIterator[bytes]:
    """Yields the body of an upload, for asynchronous clients."""
    for _ in range(CHUNKS):
        yield CHUNK
