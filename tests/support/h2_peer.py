"""Scripted HTTP/2 peers: as in `peers`, a script is a function of one connection, run in a thread of its own.

    def script(session: Session) -> None:
        stream = session.read_request()
        session.respond(stream, b"hi")

When it returns, the session goes on reading (it answers PINGs and SETTINGS) until the client closes the connection.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Callable, Protocol

import engines
from h2_session import Session, Stream
from peers import Peer

if TYPE_CHECKING:
    import ssl
    import threading

    from certificates import Certificates
    from flavours import Flavour, Pool
    from peers import Connection

Script = Callable[[Session], None]
# The two settings that tests change, by their numbers in the protocol.
MAX_CONCURRENT_STREAMS = 3
INITIAL_WINDOW_SIZE = 4


class H2Peer(Peer):
    """Serves HTTP/2: by ALPN over TLS, and by prior knowledge over plain TCP.

    `settings` are those of its first SETTINGS frame; the value None leaves out one that would be in it.
    """

    def __init__(
        self, script: Script, *, settings: dict[int, int | None] | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        self.settings = settings or {}
        self.sessions: list[Session] = []
        self.streams: list[Stream] = []  # of all connections, in the order in which their heads came
        self.requests: list[Stream]  # those that are complete, in that order
        self.sessions_script = script
        super().__init__(self._converse, tls=tls)

    def _converse(self, connection: Connection) -> None:
        session = Session(self, connection)
        self.sessions.append(session)
        try:
            self.sessions_script(session)
            session.stay()
        finally:
            connection.socket.setblocking(True)

    def all_closed(self) -> bool:
        """Returns True if no stream is open on any connection."""
        return all(stream.done for stream in list(self.streams))


class ServeH2(Protocol):
    """The type of the fixture `serve_h2`: it starts an HTTP/2 peer that lives as long as the test."""

    def __call__(
        self,
        script: Script,
        *,
        tls: bool | ssl.SSLContext | None = None,
        settings: dict[int, int | None] | None = None,
    ) -> H2Peer: ...


def always(respond: Callable[[Session, Stream], object]) -> Script:
    """Returns a script that answers every request by this function, as soon as it is complete."""

    def script(session: Session) -> None:
        while True:
            respond(session, session.read_request())

    return script


def says(body: bytes, **arguments: Any) -> Script:
    """Returns a script that answers every request with this body."""
    return always(lambda session, stream: session.respond(stream, body, **arguments))


def describe(stream: Stream) -> bytes:
    """Returns a request as JSON, so that a test can tell to which request a response belongs."""
    description = {
        "method": stream.method.decode("latin-1"),
        "target": stream.target.decode("latin-1"),
        "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in stream.headers],
        "length": len(stream.body),
        "sha256": hashlib.sha256(stream.body).hexdigest(),
    }
    return json.dumps(description).encode()


# Answers every request with its description.
echo = always(lambda session, stream: session.respond(stream, describe(stream)))
OK = says(b"ok")


def only_root(session: Session) -> None:
    """Answers requests for `/`, and no others."""
    while True:
        stream = session.read_head()
        if stream.target == b"/":
            session.respond(stream, b"ok")


def holding(go: threading.Event) -> Script:
    """Returns a script that answers no request until the event is set, and from then on each one at once."""

    def script(session: Session) -> None:
        while True:
            stream = session.read_head()
            session.when(go.is_set, lambda stream=stream: session.respond(stream, stream.target))

    return script


def silence(session: Session) -> None:
    """Reads everything and answers nothing."""
    session.stay()


def http2_pool(flavour: Flavour, **arguments: Any) -> Pool:
    """Returns a pool that speaks only HTTP/2: over plain TCP by prior knowledge, over TLS by the test's engine."""
    if engines.current.name != "plain":
        arguments.setdefault("ssl_context", engines.current.verifying_nothing())
    return flavour.pool(http1=False, http2=True, **arguments)


def secure_pool(flavour: Flavour, certificates: Certificates, **arguments: Any) -> Pool:
    """Returns a pool that trusts the tests' authority, and leaves the choice of the protocol to ALPN."""
    arguments = {"http2": True, "ssl_context": engines.current.trusting(certificates), **arguments}
    return flavour.pool(**arguments)


async def still_works(pool: Pool, peer: H2Peer) -> None:
    """Asserts that no stream is left open, and that the same connection still serves requests."""
    await pool.flavour.until(peer.all_closed)
    timeout = {"timeout": {"pool": 5.0, "read": 5.0, "write": 5.0}}
    assert (await pool.request("GET", peer.url, extensions=timeout)).content == b"ok"
    assert "[Requests: 0 active, 0 queued | Connections: 0 active, 1 idle]" in repr(pool)
    assert len(peer.connections) == 1
