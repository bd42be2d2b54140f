"""Random values: of all types, with methods that raise, and bodies, callbacks and backends that misbehave."""

from __future__ import annotations

import array
import math
import random
from typing import TYPE_CHECKING, Any, Callable

import httpcore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


class HostileError(Exception):
    """Raised by what a caller passes in."""


class Hostile:
    """An object whose every method raises."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def __getattr__(self, name: str) -> Any:
        if self._chance.random() < 0.3:
            raise HostileError(name)
        if self._chance.random() < 0.2:
            raise AttributeError(name)
        return self

    def _raise(self, *_: Any, **__: Any) -> Any:
        raise HostileError

    __call__ = __iter__ = __next__ = __len__ = __getitem__ = __bytes__ = __int__ = __index__ = __float__ = _raise
    __bool__ = __str__ = __enter__ = __aiter__ = __anext__ = __await__ = __fspath__ = __contains__ = _raise


class Values:
    """A source of random values."""

    def __init__(self, chance: random.Random) -> None:
        self.random = chance

    def any(self, depth: int = 0) -> Any:
        """Returns a value of any type."""
        simple: list[Callable[[], Any]] = [
            lambda: None,
            lambda: self.random.choice([True, False]),
            lambda: self.random.choice([0, 1, -1, 2**31, 2**63, 2**64, -(2**70), self.random.randrange(1000)]),
            lambda: self.random.choice([0.0, -0.0, 0.01, -1.5, 1e300, math.nan, math.inf, -math.inf]),
            self.text,
            self.data,
            lambda: bytearray(self.data()),
            lambda: memoryview(self.data()),
            lambda: memoryview(array.array("d", [1.0, 2.0]))[::2],
            lambda: Hostile(self.random),
            lambda: Hostile,
            self.callback,
            object,
            lambda: 1j,
            lambda: httpcore.URL("http://127.0.0.1:1/"),
            lambda: httpcore.Origin(b"http", b"127.0.0.1", 1),
            lambda: httpcore.Request("GET", "http://127.0.0.1:1/"),
            HostileError,
            lambda: self.body(is_async=False),
        ]
        if depth < 3 and self.random.random() < 0.3:
            items = [self.any(depth + 1) for _ in range(self.random.randint(0, 3))]
            kinds: list[Callable[[], Any]] = [
                lambda: items,
                lambda: tuple(items),
                lambda: iter(items),
                lambda: {self.text(): item for item in items},
                lambda: [(self.data(), self.data()), *items],
                self.headers,
            ]
            return self.random.choice(kinds)()
        return self.random.choice(simple)()

    def text(self) -> str:
        """Returns a string, not always one that can be encoded."""
        words = [
            "",
            "a",
            "GET",
            "http://",
            "\udc80",
            "\0",
            "é",
            "\r\nX: y",
            "127.0.0.1",
            "::1",
            "x" * 1000,
            "/etc/passwd",
        ]
        return "".join(self.random.choice(words) for _ in range(self.random.randint(1, 2)))

    def data(self) -> bytes:
        """Returns bytes."""
        words = [b"", b"a", b"Host", b"\r\n", b"\0", b"\xff", b"chunked", b"Transfer-Encoding", b"x" * 100_000]
        return b"".join(self.random.choice(words) for _ in range(self.random.randint(1, 2)))

    def headers(self) -> Any:
        """Returns headers, mostly legal ones."""
        legal: list[Any] = [("X-A", "b"), (b"x-b", b""), ("Connection", "close"), ("Upgrade", "x"), ("Host", "h")]
        odd: list[Any] = [("Content-Length", "5"), ("Transfer-Encoding", "chunked"), ("a b", "c"), ("X", "a\r\nb"), ()]
        headers = [self.random.choice(legal) for _ in range(self.random.randint(0, 3))]
        if self.random.random() < 0.3:
            headers.append(self.random.choice([*odd, self.any(2)]))
        return self.random.choice(
            [headers, headers, dict([header for header in headers if len(str(header)) > 2][:1]), None]
        )

    def body(self, *, is_async: bool) -> Any:
        """Returns a request body: bytes, or an iterator that may misbehave."""
        if self.random.random() < 0.5:
            return self.random.choice([None, b"", b"body", b"x" * 200_000])
        chunks: list[Any] = [
            self.random.choice([b"", b"chunk", b"x" * 70_000]) for _ in range(self.random.randint(0, 4))
        ]
        if self.random.random() < 0.3:
            chunks.append(
                self.random.choice([None, "text", 5, bytearray(b"x"), memoryview(b"y"), Hostile(self.random)])
            )
        raises = self.random.random() < 0.2

        def iterate() -> Iterator[Any]:
            yield from chunks
            if raises:
                raise HostileError

        async def aiterate() -> AsyncIterator[Any]:
            for chunk in chunks:
                yield chunk
            if raises:
                raise HostileError

        return aiterate() if is_async != (self.random.random() < 0.05) else iterate()

    def callback(self) -> Any:
        """Returns a callback of a trace, that may raise at any event."""
        left = self.random.randint(0, 12)

        def trace(name: str, info: dict[str, Any]) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                raise HostileError(name, len(info))

        async def atrace(name: str, info: dict[str, Any]) -> None:
            trace(name, info)

        return self.random.choice([trace, trace, atrace, atrace, Hostile(self.random)])

    def responses(self) -> list[bytes]:
        """Returns what a mocked stream gives."""
        pieces = [RESPONSE, RESPONSE[:20], b"", b"HTTP/1.1 200 OK\r\n\r\n", b"junk", RESPONSE * 2]
        return [self.random.choice(pieces) for _ in range(self.random.randint(0, 4))]

    def backend(self) -> Any:
        """Returns a backend whose streams are of any kind."""
        values = self

        class Backend(httpcore.NetworkBackend, httpcore.AsyncNetworkBackend):
            def connect_tcp(self, *_: Any, **__: Any) -> Any:
                return values.any()

            connect_unix_socket = sleep = connect_tcp

        return Backend()
