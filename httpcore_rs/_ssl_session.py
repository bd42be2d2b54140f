"""TLS sessions by Python's `ssl` for the engine: bytes in, bytes out, one call for each step.

The engine does the I/O. Nothing here blocks: an `ssl.SSLObject` works between two buffers in memory. If the objects of
a session are exactly those of the standard library, the engine calls their methods by itself after the handshake.
"""

from __future__ import annotations

import _ssl
import ssl
import typing
import weakref

from ._fork_lock import ForkLock

if typing.TYPE_CHECKING:
    # The flags below or an exception, received plaintext, ciphertext to be sent.
    Step = tuple[typing.Union[int, Exception], bytes, bytes]

# The flags that a step returns beside bytes.
HANDSHAKEN = 1
CLOSED = 2  # The peer has sent close_notify.
HOLDING = 4  # Some plaintext cannot be sent before something is received.

# The methods of `ssl` that only call those of `_ssl`. They may be replaced later, and subclasses may have others.
_READ, _WRITE = ssl.SSLObject.read, ssl.SSLObject.write
# The class of the objects that have those.
_SOCKET: typing.Any = _ssl._SSLSocket  # type: ignore[attr-defined]  # noqa: SLF001

# The longest record (RFC 8446, 5.1). A read returns at most one record.
RECORD = 16 * 1024

# Contexts whose ALPN list was set here: `ssl` cannot tell the list of a context.
_configured: weakref.WeakSet[ssl.SSLContext] = weakref.WeakSet()
# Held from setting the list of a context until a session has been made with it. A signal handler may begin a session in
# the same thread in between.
_alpn = ForkLock()
# The number of times that a list was set. Changed under the lock.
_offers = 0


class Session:
    """The client side of a TLS session."""

    __slots__ = ("_held", "_incoming", "_outgoing", "_read", "_write", "calls", "ciphertext", "object", "plaintext")

    # The methods that the engine calls in place of `step`, if the objects are those of the standard library and call
    # nothing back.
    calls: tuple[typing.Any, ...] | None

    # Set by the engine before each step: received ciphertext, and plaintext to be sent.
    ciphertext: bytes
    plaintext: bytes

    def __init__(self, context: ssl.SSLContext, server_hostname: str, protocols: list[str]) -> None:
        if context.check_hostname and not server_hostname:
            # `ssl` raises this for sockets only. Without it, no name would be checked here.
            raise ValueError("check_hostname requires server_hostname")
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._held = b""
        with _alpn.lock:
            made: ssl.SSLObject | None = None
            while made is None:
                offer_number = _offer(context, protocols)
                made = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_hostname)
                if offer_number != _offers:
                    # A signal handler has set another list in between.
                    made = None
            self.object = made
        # The methods of `ssl.SSLObject` only call those of `_ssl`. A subclass or the object may have other methods.
        is_plain = _is_method(made, "read", _READ) and _is_method(made, "write", _WRITE)
        raw: typing.Any = getattr(made, "_sslobj", made) if is_plain else made
        self._read: typing.Callable[[int], bytes] = raw.read
        self._write: typing.Callable[[typing.Any], int] = raw.write
        self.calls = None
        buffers = (self._incoming, self._outgoing)
        if (
            type(raw) is _SOCKET
            and all(type(buffer) is _ssl.MemoryBIO for buffer in buffers)
            # A session takes the callback of its context when it is made, and no other one later.
            and raw.context._msg_callback is None  # noqa: SLF001
        ):
            self.calls = (self._incoming, self._incoming.write, self._outgoing.read, raw.read, raw.write)

    def handshake(self, ciphertext: bytes, is_eof: bool) -> tuple[int | Exception, bytes, bytes, str | None]:
        """Begins or continues the handshake. At its end, also returns the protocol that ALPN has selected."""
        try:
            if ciphertext:
                self._incoming.write(ciphertext)
            if is_eof:
                self._incoming.write_eof()
            self.object.do_handshake()
        except ssl.SSLWantReadError:
            return 0, b"", self._outgoing.read(), None
        except Exception as exc:  # noqa: BLE001  # Returned together with the alert for the peer.
            return exc, b"", self._outgoing.read(), None
        state: int | Exception = 0
        plaintext, ciphertext = b"", b""
        if self._incoming.pending:
            # The data that has arrived with the last message of the handshake.
            state, plaintext, ciphertext = self._step(b"", b"")
        else:
            ciphertext = self._outgoing.read()
        if isinstance(state, int):
            state |= HANDSHAKEN
        return state, plaintext, ciphertext, self.object.selected_alpn_protocol()

    def step(self) -> Step:
        """Decrypts `ciphertext` and encrypts `plaintext`."""
        ciphertext, plaintext, received = self.ciphertext, self.plaintext, b""
        self.ciphertext = self.plaintext = b""
        try:
            if ciphertext:
                self._incoming.write(ciphertext)
                received = self._read(RECORD)
                if self._incoming.pending or not received:
                    return self._step(received, plaintext)
            if plaintext:
                if self._held or len(plaintext) > RECORD:
                    return self._step(received, plaintext)
                self._write(plaintext)
            return 0, received, self._outgoing.read()
        except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            return self._step(received, plaintext)
        except Exception as exc:  # noqa: BLE001  # Returned together with the alert for the peer.
            return exc, received, self._outgoing.read()

    def _step(self, received: bytes, plaintext: bytes) -> Step:
        """Does a step of any kind; `step()` handles the frequent ones by itself, with fewer calls."""
        state: int | Exception = 0
        parts = [received]
        try:
            state = self._receive(parts) | self._send(plaintext)
        except Exception as exc:  # noqa: BLE001  # The engine converts it.
            state = exc
        return state, b"".join(parts), self._outgoing.read()

    def _receive(self, parts: list[bytes]) -> int:
        """Reads all available plaintext. Returns `CLOSED` at the end of the stream."""
        try:
            while part := self._read(RECORD):
                parts.append(part)
        except ssl.SSLWantReadError:
            return 0
        except ssl.SSLZeroReturnError:
            return CLOSED
        return CLOSED

    def _send(self, plaintext: bytes) -> int:
        """Writes as much as possible. Returns `HOLDING` if something is left."""
        rest = memoryview(self._held + plaintext)
        try:
            while rest:
                rest = rest[self._write(rest) :]
        except ssl.SSLWantReadError:
            self._held = bytes(rest)
            return HOLDING
        self._held = b""
        return 0


def _is_method(target: object, name: str, function: object) -> bool:
    """Returns whether a method is this function: neither a subclass nor the object has another one."""
    return getattr(getattr(target, name), "__func__", None) is function


def offer(context: ssl.SSLContext, protocols: list[str]) -> None:
    """Sets the ALPN list of a context for the handshake of a `network_backend`, which does TLS by itself."""
    with _alpn.lock:
        _offer(context, protocols)


def _offer(context: ssl.SSLContext, protocols: list[str]) -> int:
    """Sets the ALPN list of a context, and returns the number of this change."""
    global _offers  # noqa: PLW0603
    # Before each handshake, as in httpcore. A context that was never used with HTTP/2 is left unchanged.
    if "h2" in protocols:
        _configured.add(context)
    if context in _configured:
        context.set_alpn_protocols(protocols)
    _offers = number = _offers + 1
    return number


def begin(
    context: ssl.SSLContext, server_hostname: str, protocols: list[str]
) -> tuple[Session, int | Exception, bytes, bytes, str | None]:
    """Returns a new session and the results of the first step of its handshake."""
    session = Session(context, server_hostname, protocols)
    state, plaintext, ciphertext, protocol = session.handshake(b"", is_eof=False)
    return session, state, plaintext, ciphertext, protocol
