"""Requests of the stress program: each has an ID of its own, which its response has to show."""

from __future__ import annotations

import itertools
import os
import random
import zlib
from dataclasses import dataclass

import httpcore

from servers.echo import filled

# Seconds for each phase of a request. A request that takes longer was lost: nothing here takes a tenth of that.
LIMIT = 30.0
TIMEOUT = {"timeout": {"connect": LIMIT, "read": LIMIT, "write": LIMIT, "pool": LIMIT}}

_numbers = itertools.count()


class Mismatch(Exception):
    """A response that does not belong to its request."""


@dataclass(frozen=True)
class Exchange:
    """A request, and what its response must be."""

    url: str
    identity: str
    length: int
    body: bytes

    @classmethod
    def draw(cls, base: str, dice: random.Random, *, delay: int | None = None) -> Exchange:
        """Returns a request with a new ID, for a response of a random size. `delay` is in milliseconds."""
        identity = f"{os.getpid()}-{next(_numbers)}"
        length = dice.choice((0, 10, 1000, 1000, 1000, 20_000, 200_000))
        query = f"length={length}"
        if dice.random() < 0.3:
            query += f"&chunks={dice.randrange(1, 9)}"
        if delay is not None:
            query += f"&delay={delay}"
        body = dice.randbytes(dice.choice((1, 100, 5000, 100_000)))
        return cls(f"{base}/{identity}?{query}", identity, length, body)

    def request(self) -> httpcore.Request:
        """Returns the request without a body, as `handle_request()` takes it."""
        return httpcore.Request("GET", self.url, headers=[("Host", "localhost")], extensions=dict(TIMEOUT))

    def pieces(self) -> list[bytes]:
        """Returns the body of the request in a few parts."""
        size = len(self.body) // 3 + 1
        return [self.body[start : start + size] for start in range(0, len(self.body), size)]

    def check_head(self, status: int, headers: list[tuple[bytes, bytes]], sent: bytes = b"") -> None:
        """Raises `Mismatch` if the head of a response is not that of this request. `sent` is the body that was sent."""
        fields = dict(headers)
        expected = (200, self.identity.encode(), b"%d %d" % (len(sent), zlib.crc32(sent)))
        got = (status, fields.get(b"x-id"), fields.get(b"x-received"))
        if got != expected:
            raise Mismatch(f"the response to {self.url} is {got} in place of {expected}")

    def check_body(self, content: bytes) -> None:
        """Raises `Mismatch` if the body of a response is not that of this request."""
        if content != filled(self.identity, self.length):
            raise Mismatch(f"the body of the response to {self.url} is wrong: {len(content)} bytes, {content[:60]!r}")

    def check_part(self, content: bytes) -> None:
        """Raises `Mismatch` if these are not the first bytes of the response's body."""
        if not filled(self.identity, self.length).startswith(content):
            raise Mismatch(f"the body of the response to {self.url} begins wrongly: {content[:60]!r}")
