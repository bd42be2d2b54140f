"""The interface of a candidate, and how it is configured."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from bench.checks import Answer

# More connections than any section opens at once, so that no limit is reached.
CONNECTIONS = 300
# Seconds. No connection expires during a measurement.
EXPIRY = 3600
# Of HTTP/2, in bytes: large enough for large bodies.
WINDOW = 8 * 1024 * 1024


class SyncClient(Protocol):
    """A candidate that blocks."""

    def target(self, url: str) -> Any: ...
    def get(self, target: Any) -> Answer: ...
    def download(self, url: str) -> Answer: ...
    def upload(self, url: str) -> Answer: ...
    def close(self) -> None: ...


class AsyncClient(Protocol):
    """A candidate for event loops, which is made and closed while the loop runs."""

    def target(self, url: str) -> Any: ...
    async def get(self, target: Any) -> Answer: ...
    async def download(self, url: str) -> Answer: ...
    async def upload(self, url: str) -> Answer: ...
    async def close(self) -> None: ...


@dataclass(frozen=True)
class Options:
    """The configuration that all candidates of a section get.

    `ca` is the file with the authorities that they trust. With `http2` they speak nothing else, so that none opens
    more connections until the first one has negotiated.
    """

    ca: str = ""
    http2: bool = False
    connections: int = CONNECTIONS

    @cached_property
    def pem(self) -> bytes:
        """Returns the authorities, for libraries that want them as bytes."""
        return Path(self.ca).read_bytes()

    def context(self) -> ssl.SSLContext | None:
        """Returns a new context for Python's `ssl`."""
        return ssl.create_default_context(cafile=self.ca) if self.ca else None

    @property
    def versions(self) -> dict[str, bool]:
        """Returns the versions of HTTP, as arguments of the httpcore family."""
        return {"http1": not self.http2, "http2": self.http2}
