"""Python's `ssl` as the engine uses it: bytes in, bytes out, one call per step.

The engine moves the bytes. What it calls here does not block: an `ssl.SSLObject` works between two buffers in memory.
"""

from __future__ import annotations

import ssl
import threading
import typing
import weakref

if typing.TYPE_CHECKING:
    # The flags below or what failed, plaintext that was received, ciphertext to be sent.
    Step = tuple[typing.Union[int, Exception], bytes, bytes]

# What a step says beside the bytes that come out of it.
HANDSHAKEN = 1
CLOSED = 2  # The peer has said goodbye.
HOLDING = 4  # There is plaintext left that waits for something to be received.

# The longest record (RFC 8446, 5.1): a read gives one at most.
RECORD = 16 * 1024

# Contexts whose ALPN list was set here: `ssl` does not tell what a list is. Held weakly.
_set: weakref.WeakSet[ssl.SSLContext] = weakref.WeakSet()
# Held from setting a context's list until a session has taken it over. A signal handler that begins a session
# in the middle of that, in the same thread, does not wait for itself.
_alpn = threading.RLock()
# How often a list was set. Changed under the lock.
_offers = 0


class Session:
    """A client's side of a TLS session."""

    __slots__ = ("_held", "_incoming", "_outgoing", "_read", "_write", "ciphertext", "object", "plaintext")

    # Set by the engine before each step: what has arrived, and what is to be sent.
    ciphertext: bytes
    plaintext: bytes

    def __init__(self, context: ssl.SSLContext, server_hostname: str, protocols: list[str]) -> None:
        if context.check_hostname and not server_hostname:
            # `ssl` itself says so only of sockets; here it would check no name at all.
            raise ValueError("check_hostname requires server_hostname")
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._held = b""
        with _alpn:
            made: ssl.SSLObject | None = None
            while made is None:
                offer_number = _offer(context, protocols)
                made = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_hostname)
                if offer_number != _offers:
                    # Another list may have come in between, from within this thread.
                    made = None
            self.object = made
        # Without the detour by the methods of `ssl.SSLObject`, unless a subclass has its own.
        plain = type(self.object).read is ssl.SSLObject.read and type(self.object).write is ssl.SSLObject.write
        raw = getattr(self.object, "_sslobj", self.object) if plain else self.object
        self._read: typing.Callable[[int], bytes] = raw.read
        self._write: typing.Callable[[typing.Any], int] = raw.write

    def handshake(self, ciphertext: bytes, is_eof: bool) -> tuple[int | Exception, bytes, bytes, str | None]:
        """Begins the handshake, or goes on with it; at its end with the protocol that ALPN has chosen."""
        try:
            if ciphertext:
                self._incoming.write(ciphertext)
            if is_eof:
                self._incoming.write_eof()
            self.object.do_handshake()
        except ssl.SSLWantReadError:
            return 0, b"", self._outgoing.read(), None
        except Exception as exc:  # noqa: BLE001  # With it goes the alert that tells the peer why.
            return exc, b"", self._outgoing.read(), None
        # What has come behind it.
        state, plaintext, ciphertext = self._step(b"", b"")
        if isinstance(state, int):
            state |= HANDSHAKEN
        return state, plaintext, ciphertext, self.object.selected_alpn_protocol()

    def step(self) -> Step:
        """Decrypts what has arrived and encrypts what is to be sent."""
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
        except Exception as exc:  # noqa: BLE001  # With it goes the alert that tells the peer why.
            return exc, received, self._outgoing.read()

    def _step(self, received: bytes, plaintext: bytes) -> Step:
        """The same in all cases."""
        state: int | Exception = 0
        parts = [received]
        try:
            state = self._receive(parts) | self._send(plaintext)
        except Exception as exc:  # noqa: BLE001  # The engine makes its own error of it.
            state = exc
        return state, b"".join(parts), self._outgoing.read()

    def _receive(self, parts: list[bytes]) -> int:
        """Reads all that there is; whether that is all there will be."""
        try:
            while part := self._read(RECORD):
                parts.append(part)
        except ssl.SSLWantReadError:
            return 0
        except ssl.SSLZeroReturnError:
            return CLOSED
        return CLOSED

    def _send(self, plaintext: bytes) -> int:
        """Writes all that can be written; whether something is left."""
        rest = memoryview(self._held + plaintext)
        try:
            while rest:
                rest = rest[self._write(rest) :]
        except ssl.SSLWantReadError:
            self._held = bytes(rest)
            return HOLDING
        self._held = b""
        return 0


def offer(context: ssl.SSLContext, protocols: list[str]) -> None:
    """Prepares a context for the handshake of a `network_backend`, which does TLS by itself."""
    with _alpn:
        _offer(context, protocols)


def _offer(context: ssl.SSLContext, protocols: list[str]) -> int:
    """Sets a context's list, and returns the number of this offer."""
    global _offers  # noqa: PLW0603
    # As httpcore, before each handshake; but one that was never used with HTTP/2 is left as it is.
    if "h2" in protocols:
        _set.add(context)
    if context in _set:
        context.set_alpn_protocols(protocols)
    _offers = number = _offers + 1
    return number


def begin(
    context: ssl.SSLContext, server_hostname: str, protocols: list[str]
) -> tuple[Session, int | Exception, bytes, bytes, str | None]:
    """A session whose handshake has begun, and what comes of its first step."""
    session = Session(context, server_hostname, protocols)
    state, plaintext, ciphertext, protocol = session.handshake(b"", is_eof=False)
    return session, state, plaintext, ciphertext, protocol
