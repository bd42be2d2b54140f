"""Policies without pauses, and peers that are busy at first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from httpcore_rs import RetryPolicy
from peers import reply

if TYPE_CHECKING:
    from peers import Connection, Peer, Serve

OK = reply(b"ok")
BUSY = reply(b"busy", status=b"503 Service Unavailable")


def policy(**arguments: Any) -> RetryPolicy:
    """Returns a policy without pauses."""
    return RetryPolicy(**{"backoff": 0.0, "max_backoff": 0.0, **arguments})


def busy_first(serve: Serve, count: int, busy: bytes = BUSY) -> Peer:
    """Starts a peer that answers so many requests with `busy`, and the others with `ok`."""

    def script(connection: Connection) -> None:
        while True:
            connection.read_request()
            connection.send(busy if len(peer.requests) <= count else OK)

    peer = serve(script)
    return peer
