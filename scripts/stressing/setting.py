"""The kinds of connections of the stress program, and what the workers of one scenario share."""

from __future__ import annotations

import contextlib
import ssl
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpcore
import httpx

import httpcore_rs
from servers.echo import EchoServer
from stressing.record import Worker

# By name: HTTP/2 or HTTP/1.1, and what does TLS, if anything.
KINDS = {
    "HTTP/1.1": (False, None),
    "HTTP/1.1, rustls": (False, "rustls"),
    "HTTP/1.1, ssl": (False, "ssl"),
    "HTTP/2": (True, None),
    "HTTP/2, rustls": (True, "rustls"),
    "HTTP/2, ssl": (True, "ssl"),
}


@dataclass
class Setting:
    """The things that the workers of a scenario share: a pool, its server, and how often it was closed."""

    base: str
    arguments: dict[str, Any]
    ends: float
    # Calls of the pool's `close()` that have begun, and that have ended: a request beside one may fail.
    begun: int = 0
    ended: int = 0
    # Responses that one thread opens and another one closes.
    handed_over: deque[Any] = field(default_factory=deque)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def of(cls, kind: str, server: EchoServer, ends: float) -> Setting:
        """Returns the setting for a kind of connection."""
        is_http2, tls = KINDS[kind]
        arguments: dict[str, Any] = {"max_connections": 8, "keepalive_expiry": 5.0, "http2": is_http2}
        if tls == "rustls":
            arguments["ssl_context"] = httpcore_rs.TLSConfig(verify=server.ca)
        elif tls == "ssl":
            arguments["ssl_context"] = ssl.create_default_context(cafile=server.ca)
        else:
            # Without TLS there is no ALPN: the client knows what the server speaks.
            arguments["http1"] = not is_http2
        return cls(server.tls if tls else server.plain, arguments, ends)

    def is_running(self) -> bool:
        """Returns whether the workers go on."""
        return time.monotonic() < self.ends

    @contextlib.contextmanager
    def closing(self) -> Iterator[None]:
        """Notes that the pool is being closed during the block."""
        with self.lock:
            self.begun += 1
        try:
            yield
        finally:
            with self.lock:
                self.ended += 1

    @contextlib.contextmanager
    def attempt(self, worker: Worker, what: str, *expected: type[Exception]) -> Iterator[None]:
        """Counts a call, made in the block, by its outcome. All other exceptions than those expected are failures.

        A call that runs beside the pool's `close()` may fail as if its connection was lost.
        """
        ended = self.ended
        try:
            yield
        except expected as exc:
            worker.note(type(exc).__name__)
        except (httpcore.NetworkError, httpx.NetworkError) as exc:
            if self.begun > ended:
                worker.note("closed by another thread")
            else:
                worker.fail(exc)
        except Exception as exc:  # noqa: BLE001  # Reported at the end.
            worker.fail(exc)
        else:
            worker.note(what)
