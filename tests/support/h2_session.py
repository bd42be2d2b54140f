"""One HTTP/2 connection (RFC 9113) from the server's side, as scripts use it.

The protocol itself is the library `h2`, which is strict with clients: anything that it refuses fails the test. To break
the rules, a script sends `raw` bytes or a `frame`, past the library.

One thread serves a session, the one that runs the script. Bytes move only within `pump`, which every method that waits
calls. A script that waits otherwise (`connection.wait`) is a server that neither reads nor writes.
"""

from __future__ import annotations

import contextlib
import select
import ssl
from collections import deque
from typing import TYPE_CHECKING, Any, Callable

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    PingAckReceived,
    PingReceived,
    RemoteSettingsChanged,
    RequestReceived,
    SettingsAcknowledged,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import ProtocolError, StreamClosedError
from h2.settings import SettingCodes, Settings
from hyperframe.frame import Frame, GoAwayFrame, HeadersFrame, RstStreamFrame

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable

    from h2_peer import H2Peer
    from peers import Connection

Headers = list[tuple[bytes, bytes]]

# Scripts may send anything; what they receive must be valid. Names and values stay bytes.
CONFIG = H2Configuration(
    client_side=False, header_encoding=None, validate_outbound_headers=False, normalize_outbound_headers=False
)
DEFAULT_WINDOW = 65_535
ENOUGH = 256 * 1024  # bytes prepared ahead of the socket: few, since a stream may be cancelled before they are written


def as_bytes(headers: Iterable[tuple[Any, Any]]) -> Headers:
    """Returns headers without the library's own types."""
    return [(bytes(name), bytes(value)) for name, value in headers]


class Stream:
    """A request and its state."""

    def __init__(self, session: Session, number: int, headers: Headers) -> None:
        self.session = session
        self.id = number
        self.headers = headers  # with the pseudo-headers, in the order in which they came
        self.body = bytearray()
        self.trailers: Headers | None = None
        self.ended = False  # the client has sent all of it
        self.answered = False  # the peer has sent its whole response
        self.reset: int | None = None  # the reason for which the client ended it
        self.refused = False  # the peer has reset it
        self.taken = False  # it was passed to a script
        self.uncredited = 0  # bytes of the body that a session without `credit` has not acknowledged
        self.queue: deque[tuple[str, Any]] = deque()

    def header(self, name: bytes) -> bytes | None:
        return next((value for key, value in self.headers if key == name), None)

    @property
    def method(self) -> bytes:
        return self.header(b":method") or b""

    @property
    def target(self) -> bytes:
        return self.header(b":path") or b""

    @property
    def done(self) -> bool:
        """Returns True once the stream is closed."""
        return self.refused or self.reset is not None or (self.ended and self.answered)


class Session:
    """The connection as scripts see it. The test may read `streams` and the other records at any time."""

    def __init__(self, peer: H2Peer, connection: Connection) -> None:
        self.peer = peer
        self.connection = connection
        self.streams: dict[int, Stream] = {}
        self.settings: dict[int, int] = {}  # the client's
        self.acknowledged = 0  # how many SETTINGS frames of the peer
        self.pings: list[bytes] = []  # of the client
        self.pongs: list[bytes] = []  # the client's answers to the peer's
        self.client_goaway: ConnectionTerminated | None = None  # the client's GOAWAY
        self.most_open = 0
        self.credit = True  # whether the client gets its window back as soon as a body has arrived
        self.ended = False
        self._living: list[Stream] = []
        self._heads: deque[Stream] = deque()
        self._complete: deque[Stream] = deque()
        self._outgoing = bytearray()
        self._actions: list[tuple[Callable[[], object], Callable[[], object]]] = []
        self.h2 = H2Connection(CONFIG)
        self._begin(peer.settings)

    def _begin(self, settings: dict[int, int | None]) -> None:
        values: dict[int, int | None] = {SettingCodes.MAX_CONCURRENT_STREAMS: 100, **settings}
        window = values.pop(SettingCodes.INITIAL_WINDOW_SIZE, None)
        named = {code: value for code, value in values.items() if value is not None}
        self.h2.local_settings = Settings(client=False, initial_values=named)
        self.h2.initiate_connection()
        if window is not None:
            # By a second SETTINGS: `h2` holds a client to what the first says before the client can know it.
            self.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: window})
        self.connection.socket.setblocking(False)

    # Requests.

    def read_head(self) -> Stream:
        """Returns the next request whose head has arrived; its body may be incomplete."""
        return self._next(self._heads)

    def read_request(self) -> Stream:
        """Returns the next whole request, in the order in which they were completed."""
        return self._next(self._complete)

    def has_request(self) -> bool:
        """Returns True if `read_request` would return at once."""
        return any(not stream.taken for stream in self._complete)

    def _next(self, queue: deque[Stream]) -> Stream:
        """Returns the first request that was not passed to a script yet, neither as a head nor as a whole."""
        while True:
            self.until(lambda: queue)
            stream = queue.popleft()
            if not stream.taken:
                stream.taken = True
                return stream

    def open(self) -> list[Stream]:
        """Returns the streams that are not closed, in the order in which they were opened."""
        return [stream for stream in self._living if not stream.done]

    # Responses. Data that does not fit into the client's windows waits in a queue, which `pump` empties.

    def respond(
        self,
        stream: Stream,
        body: bytes = b"",
        *,
        status: int = 200,
        headers: Iterable[tuple[bytes, bytes]] = (),
        trailers: Headers | None = None,
        length: bool = True,
    ) -> None:
        """Sends a whole response, with its content-length unless `length` is False."""
        more = [(b"content-length", b"%d" % len(body))] if length else []
        self.head(stream, status, [*headers, *more], end=not body and trailers is None)
        if body or trailers is not None:
            self.data(stream, body, end=trailers is None)
        if trailers is not None:
            self.trailers(stream, trailers)

    def head(
        self, stream: Stream, status: int = 200, headers: Iterable[tuple[bytes, bytes]] = (), *, end: bool = False
    ) -> None:
        """Sends a head. Informational heads may come before the final one."""
        if not stream.done:
            self.h2.send_headers(stream.id, [(b":status", b"%d" % status), *headers], end_stream=end)
            stream.answered = end

    def data(self, stream: Stream, body: bytes, *, end: bool = False) -> None:
        if body:
            stream.queue.append(("data", memoryview(body)))
        if end:
            stream.queue.append(("end", None))
        self._fill()

    def trailers(self, stream: Stream, headers: Headers) -> None:
        stream.queue.append(("trailers", headers))
        self._fill()

    def reset(self, stream: Stream, reason: int = ErrorCodes.INTERNAL_ERROR) -> None:
        self._fill()
        stream.queue.clear()
        if not stream.done:
            self.h2.reset_stream(stream.id, reason)
            stream.refused = True

    # The connection.

    def goaway(self, last: int, reason: int = ErrorCodes.NO_ERROR, text: bytes = b"") -> None:
        """Sends GOAWAY, past the library, which would end the connection."""
        self.frame(GoAwayFrame(0, last_stream_id=last, error_code=reason, additional_data=text))

    def configure(self, settings: dict[int, int]) -> None:
        """Changes the peer's settings; they hold once the client has acknowledged them."""
        self.h2.update_settings(settings)

    def ping(self, data: bytes = b"--ping--") -> None:
        self.h2.ping(data)

    def give_credit(self, stream: Stream, size: int | None = None) -> None:
        """Returns part of the window to the client, by default all of it, in a session without `credit`."""
        amount = stream.uncredited if size is None else size
        stream.uncredited -= amount
        self.h2.acknowledge_received_data(amount, stream.id)

    def raw(self, data: bytes) -> None:
        """Sends any bytes, after everything that was sent before and did not wait for a window."""
        self._fill()
        self._outgoing += self.h2.data_to_send() + data

    def frame(self, *frames: Frame) -> None:
        self.raw(b"".join(frame.serialize() for frame in frames))

    def head_frame(self, stream: Stream | int, headers: Headers, *flags: str) -> HeadersFrame:
        """Returns a HEADERS frame with any flags and headers, encoded in this connection's context."""
        number = stream if isinstance(stream, int) else stream.id
        return HeadersFrame(number, self.h2.encoder.encode(headers), flags=flags)

    def reset_frame(self, number: int, reason: int) -> RstStreamFrame:
        return RstStreamFrame(number, error_code=reason)

    def hang_up(self) -> None:
        """Ends this side without a GOAWAY; the session is over."""
        self.flush()
        self.ended = True
        self.connection.end()

    def abort(self) -> None:
        """Sends a TCP reset; the session is over."""
        self.ended = True
        self.connection.reset()

    # Waiting.

    def when(self, condition: Callable[[], object], action: Callable[[], object]) -> None:
        """Lets `pump` call the action once the condition is true, while the script goes on."""
        self._actions.append((condition, action))

    def until(self, condition: Callable[[], object]) -> None:
        while not condition():
            self.pump()

    def wait(self, event: threading.Event) -> None:
        """Waits for an event of the test, and answers PINGs and SETTINGS meanwhile."""
        self.until(event.is_set)

    def flush(self) -> None:
        """Waits until everything was written, except for streams that the client has reset."""
        self.pump(0)
        self.until(lambda: not self._outgoing and not any(stream.queue for stream in self.open()))

    def stay(self) -> None:
        """Reads until the client closes the connection, and answers no request."""
        while not self.ended:
            self.pump()

    def pump(self, seconds: float = 0.01) -> None:
        """Writes what the windows admit and reads what has arrived; waits for either for at most this long."""
        if self.peer.stopping:
            raise ConnectionAbortedError
        for pair in [pair for pair in self._actions if pair[0]()]:
            self._actions.remove(pair)
            pair[1]()
        self._fill()
        self._write()
        data = self._read()
        if data is None:
            sock = self.connection.socket
            readable, _, _ = select.select([sock], [sock] if self._outgoing else [], [], seconds)
            self._write()
            data = self._read() if readable else None
        if data == b"":
            raise ConnectionAbortedError
        if data and self.client_goaway is None:
            self.receive(data)

    def receive(self, data: bytes) -> None:
        """Handles received bytes. A script that has read some by itself passes them here."""
        self.connection.note(data)
        try:
            events = self.h2.receive_data(data)
        except ProtocolError:
            self._write()
            raise
        for event in events:
            self._handle(event)
        # Answers, and window updates for the received data, do not wait for the next round.
        self._write()

    # Below: the bytes.

    def _handle(self, event: Event) -> None:
        if isinstance(event, RequestReceived):
            self._open(Stream(self, event.stream_id, as_bytes(event.headers)))
        elif isinstance(event, (DataReceived, TrailersReceived, StreamEnded, StreamReset)):
            self._continue(self.streams[event.stream_id], event)
        elif isinstance(event, RemoteSettingsChanged):
            for code, change in event.changed_settings.items():
                self.settings[int(code)] = change.new_value
        elif isinstance(event, SettingsAcknowledged):
            self.acknowledged += 1
        elif isinstance(event, PingReceived):
            self.pings.append(event.ping_data)
        elif isinstance(event, PingAckReceived):
            self.pongs.append(event.ping_data)
        elif isinstance(event, ConnectionTerminated):
            self.client_goaway = event

    def _open(self, stream: Stream) -> None:
        self.streams[stream.id] = stream
        # A new list, since the test may be reading the old one.
        self._living = [*self.open(), stream]
        self.most_open = max(self.most_open, len(self._living))
        self._heads.append(stream)
        self.peer.streams.append(stream)

    def _continue(self, stream: Stream, event: Any) -> None:
        if isinstance(event, DataReceived):
            self._take(stream, event)
        elif isinstance(event, TrailersReceived):
            stream.trailers = as_bytes(event.headers)
        elif isinstance(event, StreamEnded):
            stream.ended = True
            self._complete.append(stream)
            self.peer.requests.append(stream)
        elif event.remote_reset:
            stream.reset = int(event.error_code)
            stream.queue.clear()

    def _take(self, stream: Stream, event: DataReceived) -> None:
        stream.body += event.data
        if not self.credit:
            stream.uncredited += event.flow_controlled_length
            return
        with contextlib.suppress(StreamClosedError):
            self.h2.acknowledge_received_data(event.flow_controlled_length, stream.id)

    def _fill(self) -> None:
        """Moves data from the queues, one frame of each in turn, as far as the client's windows admit."""
        waiting = [stream for stream in self.open() if stream.queue]
        while waiting and len(self._outgoing) < ENOUGH:
            waiting = [stream for stream in waiting if self._advance(stream)]
            self._outgoing += self.h2.data_to_send()

    def _advance(self, stream: Stream) -> bool:
        """Sends one frame of a stream's queue. Returns False when nothing is left, or the window is used up."""
        kind, payload = stream.queue[0]
        if kind == "data":
            size = min(self.h2.local_flow_control_window(stream.id), self.h2.max_outbound_frame_size, len(payload))
            if size <= 0:
                return False
            self.h2.send_data(stream.id, bytes(payload[:size]))
            if size < len(payload):
                stream.queue[0] = (kind, payload[size:])
                return True
        elif kind == "trailers":
            self.h2.send_headers(stream.id, payload, end_stream=True)
            stream.answered = True
        else:
            self.h2.end_stream(stream.id)
            stream.answered = True
        stream.queue.popleft()
        return bool(stream.queue)

    def _write(self) -> None:
        self._outgoing += self.h2.data_to_send()
        with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            while self._outgoing:
                del self._outgoing[: self.connection.socket.send(self._outgoing[:65_536])]

    def _read(self) -> bytes | None:
        """Returns the bytes that have arrived, `b""` at the end of the stream, and None if nothing has arrived yet."""
        data = b""
        try:
            # TLS gives one record of 16 KiB at a time.
            while len(data) < 65_536:
                more = self.connection.socket.recv(65_536)
                if not more or not isinstance(self.connection.socket, ssl.SSLSocket):
                    return data + more
                data += more
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return data or None
        return data
