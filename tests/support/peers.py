"""Scripted peers: servers on raw sockets that send exactly the bytes that a test wants, when it wants.

A script is a function of one accepted connection, run in a thread of its own:

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nhi")

When it returns, the peer ends its side and waits for the client to end the other. An `OSError` ends a script silently,
since the client may go away at any time; whatever else it raises fails the test.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import select
import socket
import ssl
import struct
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Callable, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Python has no Unix sockets on Windows.
AF_UNIX: Any = getattr(socket, "AF_UNIX", None)


class Request(NamedTuple):
    """A request as it was received."""

    head: bytes
    body: bytes  # without its framing

    @property
    def method(self) -> bytes:
        return self.head.split(b" ", 1)[0]

    @property
    def target(self) -> bytes:
        return self.head.split(b"\r\n", 1)[0].split(b" ", 1)[1].rsplit(b" ", 1)[0]

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        lines = self.head[:-4].split(b"\r\n")[1:]
        return [(name, value.strip()) for name, _, value in (line.partition(b":") for line in lines)]

    def header(self, name: bytes) -> bytes | None:
        return next((value for key, value in self.headers if key.lower() == name), None)


class Connection:
    """An accepted connection, from the server's side."""

    def __init__(self, peer: Peer, accepted: socket.socket, number: int) -> None:
        self.peer = peer
        self.socket = accepted
        self.number = number  # 0 for the first
        self.address = accepted.getsockname() if accepted.family == AF_UNIX else accepted.getpeername()
        self._received: list[bytes] = []
        self._received_lock = threading.Lock()
        self.unread = b""
        self.closed = threading.Event()  # the client has closed its side, or the connection was reset

    def receive(self) -> bytes:
        """Returns some bytes; raises an error at the end of the stream."""
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionAbortedError
        self.note(data)
        return data

    def note(self, data: bytes) -> None:
        """Records bytes that have arrived."""
        with self._received_lock:
            self._received.append(data)

    @property
    def received(self) -> bytes:
        """Every byte that has arrived."""
        with self._received_lock:
            self._received[:] = [b"".join(self._received)]
            return self._received[0]

    def read_until(self, end: bytes) -> bytes:
        while end not in self.unread:
            self.unread += self.receive()
        start, _, self.unread = self.unread.partition(end)
        return start + end

    def read_exactly(self, length: int) -> bytes:
        parts = [self.unread]
        missing = length - len(self.unread)
        while missing > 0:
            parts.append(self.receive())
            missing -= len(parts[-1])
        data = b"".join(parts)
        self.unread = data[length:]
        return data[:length]

    def read_head(self) -> bytes:
        return self.read_until(b"\r\n\r\n")

    def read_request(self) -> Request:
        """Reads a whole request, whose body has a content-length or is chunked."""
        request = Request(self.read_head(), b"")
        if request.header(b"transfer-encoding") == b"chunked":
            body = b""
            while size := int(self.read_until(b"\r\n").split(b";")[0], 16):
                body += self.read_exactly(size)
                assert self.read_exactly(2) == b"\r\n"
            self.read_until(b"\r\n")
        else:
            body = self.read_exactly(int(request.header(b"content-length") or 0))
        request = request._replace(body=body)
        self.peer.requests.append(request)
        return request

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def send_pieces(self, pieces: Iterable[bytes], *, pause: float = 0.0005) -> None:
        """Sends pieces with pauses, so that most arrive as separate segments. No test depends on it."""
        for piece in pieces:
            self.send(piece)
            time.sleep(pause)

    def wait(self, event: threading.Event) -> None:
        """Waits for an event of the test."""
        while not event.wait(0.02):
            if self.peer.stopping:
                raise ConnectionAbortedError

    def wait_closed(self) -> None:
        """Reads and discards everything until the client has closed the connection."""
        with contextlib.suppress(OSError):
            while self.socket.recv(65536):
                pass
        self.closed.set()

    def reset(self) -> None:
        """Aborts the connection: the client gets a TCP reset."""
        linger = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.socket.close()

    def end(self) -> None:
        """Ends this side: TLS sends close_notify, TCP a FIN."""
        with contextlib.suppress(OSError, ValueError):
            if isinstance(self.socket, ssl.SSLSocket):
                self.socket = self.socket.unwrap()
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)


Script = Callable[[Connection], None]


class Peer:
    """A listening socket that runs a script for each connection it accepts."""

    def __init__(
        self, script: Script, *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
    ) -> None:
        self.script = script
        self.tls = tls
        self.connections: list[Connection] = []
        self.requests: list[Request] = []  # of all connections, in the order in which they were read
        self.errors: list[Exception] = []
        self.stopping = False
        self.uds = host if host.startswith("/") else None
        if self.uds is not None:
            self.listener = socket.socket(AF_UNIX)
            self.listener.bind(self.uds)
            self.listener.listen(128)
            self.authority = "uds.test"
        else:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            self.listener = socket.create_server((host, port), family=family, backlog=128)
            self.port: int = self.listener.getsockname()[1]
            self.authority = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"
        self.address = self.listener.getsockname()
        self.url = f"{'https' if tls else 'http'}://{self.authority}/"
        self.threads = [threading.Thread(target=self._accept, name="peer", daemon=True)]
        self.threads[0].start()

    def _accept(self) -> None:
        while True:
            accepted, _ = self.listener.accept()
            if self.stopping:
                accepted.close()
                return
            if accepted.family != AF_UNIX:
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(self, accepted, len(self.connections))
            self.connections.append(connection)
            self.threads.append(threading.Thread(target=self._serve, args=(connection,), name="peer", daemon=True))
            self.threads[-1].start()

    def _serve(self, connection: Connection) -> None:
        try:
            if self.tls is not None:
                connection.socket = self.tls.wrap_socket(connection.socket, server_side=True)
            self.script(connection)
        except OSError:
            pass
        except Exception as exc:  # noqa: BLE001  (raised again where the test ends)
            self.errors.append(exc)
        connection.end()
        connection.wait_closed()
        connection.socket.close()

    def closed(self, count: int) -> bool:
        """Returns True if the client has closed exactly this many connections."""
        return sum(connection.closed.is_set() for connection in self.connections) == count

    def close(self) -> None:
        """Closes everything; scripts that still run end by an `OSError`."""
        if self.stopping:
            return
        self.stopping = True
        waker = socket.socket(self.listener.family)
        waker.connect(self.address)
        self.threads[0].join(5)
        waker.close()
        self.listener.close()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connection.socket, socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join(5)


class Serve(Protocol):
    """The type of the fixture `serve`: it starts a peer that lives as long as the test."""

    def __call__(
        self, script: Script, *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
    ) -> Peer: ...


def reply(
    body: bytes = b"", *, status: bytes = b"200 OK", headers: Iterable[tuple[bytes, bytes]] = (), length: bool = True
) -> bytes:
    """Returns the bytes of a response, with its content-length unless `length` is False."""
    lines = [b"HTTP/1.1 " + status, *(name + b": " + value for name, value in headers)]
    if length:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join([*lines, b"", body])


def answers(*responses: bytes) -> Script:
    """Returns a script that answers with one response after another, and then ends the connection."""

    def script(connection: Connection) -> None:
        for response in responses:
            connection.read_request()
            connection.send(response)

    return script


def after_a_response(script: Script) -> Script:
    """Returns a script that answers one request, by which a test connects, and goes on with another script."""

    def run(connection: Connection) -> None:
        connection.read_request()
        connection.send(reply(b"ok"))
        script(connection)

    return run


def always(response: bytes) -> Script:
    """Returns a script that answers every request with this response, on connections that stay open."""

    def script(connection: Connection) -> None:
        while True:
            connection.read_request()
            connection.send(response)

    return script


def describe(request: Request) -> bytes:
    """Returns a request as JSON, so that a test can tell to which request a response belongs."""
    description = {
        "method": request.method.decode("latin-1"),
        "target": request.target.decode("latin-1"),
        "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in request.headers],
        "length": len(request.body),
        "sha256": hashlib.sha256(request.body).hexdigest(),
    }
    return json.dumps(description).encode()


def echo(connection: Connection) -> None:
    """Answers every request with its description, on connections that stay open."""
    while True:
        connection.send(reply(describe(connection.read_request())))


def dropped(connection: Connection) -> None:
    """Answers one request on the first connection, and ends it under the second one. Others are described."""
    connection.read_request()
    connection.send(reply(b"ok"))
    if connection.number == 0:
        connection.read_request()
        return
    echo(connection)


def silence(connection: Connection) -> None:
    """Reads everything and answers nothing."""
    connection.wait_closed()


def deafness(connection: Connection) -> None:
    """Neither reads nor answers, until the test ends."""
    connection.wait(threading.Event())


@contextlib.contextmanager
def full_backlog(host: str = "127.0.0.1", port: int = 0) -> Iterator[Any]:
    """Yields the address of a socket where a connect hangs: it listens, and accepts no connection."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server((host, port), family=family, backlog=0))
        while True:
            waiting = stack.enter_context(socket.socket(family))
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
            if not select.select([], [waiting], [], 0.05)[1]:
                yield listener.getsockname()
                return


@contextlib.contextmanager
def refused_port(host: str = "127.0.0.1", port: int = 0) -> Iterator[int]:
    """Yields a port on which no socket listens; it stays reserved for as long as the context lasts."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as bound:
        bound.bind((host, port))
        yield bound.getsockname()[1]
