"""Peers that break the protocol, or send without end: a `RemoteProtocolError` after a bounded number of bytes."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

import httpcore
import pytest
from h2.errors import ErrorCodes
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    HeadersFrame,
    PingFrame,
    PushPromiseFrame,
    SettingsFrame,
)

from h2_peer import always, http2_pool
from peers import reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from flavours import Flavour
    from h2_peer import ServeH2
    from h2_session import Session, Stream
    from peers import Connection, Serve

MIB = 1024 * 1024
HTML = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno"


def raw_frame(kind: int, flags: int, stream: int, payload: bytes, *, length: int | None = None) -> bytes:
    """Returns the bytes of a frame, also of one that no library would build."""
    size = len(payload) if length is None else length
    return size.to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


# Errors of the connection, which end it. Each gets the session and the stream that waits for its response.
BREACHES: dict[str, Callable[[Session, Stream], object]] = {
    "DATA for no stream": lambda session, _: session.frame(DataFrame(77, b"x")),
    "DATA on stream 0": lambda session, _: session.raw(raw_frame(0, 0, 0, b"x")),
    "HEADERS for no stream": lambda session, _: session.frame(
        session.head_frame(77, [(b":status", b"200")], "END_HEADERS")
    ),
    "HEADERS on an even stream": lambda session, _: session.frame(
        session.head_frame(2, [(b":status", b"200")], "END_HEADERS")
    ),
    "a broken header block": lambda session, stream: session.frame(
        HeadersFrame(stream.id, b"\xff\xff\xff\xff\xff\xff\xff\xff", flags=["END_HEADERS"])
    ),
    "a CONTINUATION of nothing": lambda session, stream: session.frame(
        ContinuationFrame(stream.id, b"", flags=["END_HEADERS"])
    ),
    "DATA within a header block": lambda session, stream: session.frame(
        session.head_frame(stream, [(b":status", b"200")]), DataFrame(stream.id, b"x")
    ),
    "an unasked push": lambda session, stream: session.frame(
        PushPromiseFrame(
            stream.id, 2, session.h2.encoder.encode([(b":method", b"GET"), (b":path", b"/")]), flags=["END_HEADERS"]
        )
    ),
    "a frame that is too large": lambda session, stream: session.raw(raw_frame(0, 0, stream.id, b"", length=2**24 - 1)),
    "a SETTINGS of an odd length": lambda session, _: session.raw(raw_frame(4, 0, 0, b"12345")),
    "a SETTINGS on a stream": lambda session, stream: session.raw(raw_frame(4, 0, stream.id, b"")),
    "a window size out of range": lambda session, _: session.raw(raw_frame(4, 0, 0, b"\x00\x04\xff\xff\xff\xff")),
    "a PING of a wrong length": lambda session, _: session.raw(raw_frame(6, 0, 0, b"1234")),
    "a GOAWAY that is too short": lambda session, _: session.raw(raw_frame(7, 0, 0, b"1234")),
    "a RST_STREAM for no stream": lambda session, _: session.frame(session.reset_frame(77, ErrorCodes.CANCEL)),
    "a WINDOW_UPDATE of nothing": lambda session, _: session.raw(raw_frame(8, 0, 0, b"\0\0\0\0")),
    "HTTP/1.1 in the middle": lambda session, _: session.raw(reply(b"hello")),
}


@pytest.mark.parametrize("breach", BREACHES)
async def test_a_breach_ends_the_connection(flavour: Flavour, serve_h2: ServeH2, breach: str) -> None:
    def respond(session: Session, stream: Stream) -> None:
        if stream.target == b"/breach":
            BREACHES[breach](session, stream)
        elif stream.target == b"/":
            session.respond(stream, b"ok")

    peer = serve_h2(always(respond))
    async with http2_pool(flavour, max_connections=2) as pool:
        beside = flavour.start(lambda: pool.request("POST", peer.url + "never"))
        await flavour.until(lambda: peer.streams)
        with pytest.raises(httpcore.RemoteProtocolError) as raised:
            await pool.request("POST", peer.url + "breach")
        assert str(raised.value)
        with pytest.raises(httpcore.RemoteProtocolError):
            await beside.wait()
        assert pool.connections == []
        await flavour.until(lambda: peer.closed(1))
        assert (await pool.request("GET", peer.url)).content == b"ok"


async def test_a_stream_error_ends_no_other_stream(flavour: Flavour, serve_h2: ServeH2) -> None:
    """DATA before any head is an error of that stream alone."""

    def respond(session: Session, stream: Stream) -> None:
        if stream.target == b"/breach":
            session.frame(DataFrame(stream.id, b"x", flags=["END_STREAM"]))
            stream.answered = True
        elif stream.target == b"/beside":
            session.when(go.is_set, lambda: session.respond(stream, b"beside"))
        else:
            session.respond(stream, b"ok")

    go = threading.Event()
    peer = serve_h2(always(respond))
    async with http2_pool(flavour) as pool:
        with pytest.raises(httpcore.RemoteProtocolError):
            await pool.request("POST", peer.url + "breach")
        assert (await pool.request("GET", peer.url)).content == b"ok"
        assert "Requests: 0 active, 0 queued" in repr(pool)
        go.set()


# Peers that do not speak HTTP/2.

STRANGERS = {
    "HTTP/1.1": HTML,
    "SSH": b"SSH-2.0-OpenSSH_9.9\r\n",
    "nothing": b"",
    "a frame other than SETTINGS": PingFrame(0, b"12345678").serialize() + HTML,
}


@pytest.mark.parametrize("stranger", STRANGERS)
async def test_a_peer_that_does_not_speak_http2(flavour: Flavour, serve: Serve, stranger: str) -> None:
    def script(connection: Connection) -> None:
        connection.receive()
        connection.send(STRANGERS[stranger])

    peer = serve(script)
    async with http2_pool(flavour) as pool:
        with pytest.raises((httpcore.RemoteProtocolError, httpcore.ReadError)) as raised:
            await pool.request("GET", peer.url)
        assert str(raised.value)
        assert pool.connections == []
        await flavour.until(lambda: peer.closed(len(peer.connections)))


async def test_a_peer_that_says_nothing_times_out(flavour: Flavour, serve: Serve) -> None:
    peer = serve(lambda connection: connection.wait_closed())
    async with http2_pool(flavour) as pool:
        with pytest.raises(httpcore.ReadTimeout) as raised:
            await pool.request("GET", peer.url, extensions={"timeout": {"read": 0.1}})
        assert "0.1" in str(raised.value)
        assert "Requests: 0 active, 0 queued | Connections: 0 active" in repr(pool)


# Endless heads. Each peer sends until the client ends the stream or the connection; if it does neither, the peer
# reaches its limit and the test fails.

LIMIT = 64 * MIB


def flood(session: Session, stream: Stream, frame: bytes) -> None:
    """Sends the same frame again and again, until the client closes the connection or resets the stream."""
    block = frame * (65_536 // len(frame))
    sent = 0
    while stream.reset is None:
        assert sent < LIMIT, "the client would have read for ever"
        session.raw(block)
        sent += len(block)
        session.flush()


def endless_continuation(session: Session, stream: Stream) -> None:
    session.frame(session.head_frame(stream, [(b":status", b"200")]))
    # A literal header without indexing, x: y...
    flood(session, stream, ContinuationFrame(stream.id, b"\x00\x01x\x7f\x81\x0a" + b"y" * 1408).serialize())


def empty_continuations(session: Session, stream: Stream) -> None:
    session.frame(session.head_frame(stream, [(b":status", b"200")]))
    flood(session, stream, ContinuationFrame(stream.id, b"").serialize())


def endless_informational(session: Session, stream: Stream) -> None:
    frame = session.head_frame(stream, [(b":status", b"103"), (b"link", b"</style.css>")], "END_HEADERS")
    session.frame(frame)
    again = session.head_frame(stream, [(b":status", b"103"), (b"link", b"</style.css>")], "END_HEADERS")
    flood(session, stream, again.serialize())


def a_bomb_of_indexed_headers(session: Session, stream: Stream) -> None:
    """Sends some ten kilobytes that decode to forty megabytes of headers."""
    block = session.h2.encoder.encode([(b":status", b"200"), (b"x-bomb", b"y" * 3900)])
    block += session.h2.encoder.encode([(b"x-bomb", b"y" * 3900)]) * 10_000
    session.frame(HeadersFrame(stream.id, block, flags=["END_HEADERS"]))


def a_huge_head(session: Session, stream: Stream) -> None:
    headers = [(b":status", b"200"), *[(b"x-%d" % number, b"y" * 1000) for number in range(10_000)]]
    block = session.h2.encoder.encode(headers, huffman=False)  # Huffman coding in Python takes seconds
    first, *rest = [block[start : start + 16_000] for start in range(0, len(block), 16_000)]
    session.frame(HeadersFrame(stream.id, first), *[ContinuationFrame(stream.id, part) for part in rest[:-1]])
    session.frame(ContinuationFrame(stream.id, rest[-1], flags=["END_HEADERS"]))


def endless_trailers(session: Session, stream: Stream) -> None:
    session.head(stream, 200)
    session.frame(session.head_frame(stream, [(b"x-first", b"1")], "END_STREAM"))
    flood(session, stream, ContinuationFrame(stream.id, b"\x00\x01x\x7f\x81\x0a" + b"y" * 1408).serialize())


BOMBS = {
    function.__name__: function
    for function in (
        endless_continuation,
        empty_continuations,
        endless_informational,
        a_bomb_of_indexed_headers,
        a_huge_head,
        endless_trailers,
    )
}


@pytest.mark.parametrize("bomb", BOMBS)
async def test_heads_without_end(flavour: Flavour, serve_h2: ServeH2, bomb: str) -> None:
    def respond(session: Session, stream: Stream) -> None:
        if stream.target == b"/bomb":
            BOMBS[bomb](session, stream)
        else:
            session.respond(stream, b"ok")

    peer = serve_h2(always(respond))
    async with http2_pool(flavour) as pool:
        assert (await pool.request("GET", peer.url)).content == b"ok"
        with pytest.raises(httpcore.RemoteProtocolError) as raised:
            await pool.request("POST", peer.url + "bomb")
        assert str(raised.value)
        assert "Requests: 0 active, 0 queued | Connections: 0 active" in repr(pool)
        assert (await pool.request("GET", peer.url)).content == b"ok"


FLOODS = {
    "PING": PingFrame(0, b"12345678").serialize(),
    "SETTINGS": SettingsFrame(0).serialize(),
    "unknown frames": raw_frame(99, 0, 0, b"whatever"),
    "PRIORITY": raw_frame(2, 0, 1, b"\0\0\0\0\0"),
}


@pytest.mark.parametrize("kind", FLOODS)
async def test_a_thousand_frames_that_want_an_answer_or_none(flavour: Flavour, serve_h2: ServeH2, kind: str) -> None:
    """The frames are answered: the client neither hangs nor collects them."""

    def respond(session: Session, stream: Stream) -> None:
        session.raw(FLOODS[kind] * 1000)
        session.flush()
        session.respond(stream, b"ok")

    peer = serve_h2(always(respond))
    async with http2_pool(flavour) as pool:
        for _ in range(3):
            assert (await pool.request("GET", peer.url)).content == b"ok"
        session = peer.sessions[0]
        if kind == "PING":
            await flavour.until(lambda: len(session.pongs) == 3000)
        elif kind == "SETTINGS":
            await flavour.until(lambda: session.acknowledged == 3001)
    assert len(peer.connections) == 1


async def test_a_flood_from_a_peer_that_takes_no_answers(flavour: Flavour, serve_h2: ServeH2) -> None:
    """Answers to PINGs must not pile up if the peer does not read: the client stops reading, its timeouts apply."""

    def script(session: Session) -> None:
        session.read_head()
        session.pump(0)
        sock = session.connection.socket
        sock.settimeout(3)  # for the bytes sent past the session, which reads nothing meanwhile
        block = PingFrame(0, b"12345678").serialize() * 4000
        with contextlib.suppress(OSError):
            for _ in range(LIMIT // len(block)):
                sock.sendall(block)
            taken.append("all")
        sock.setblocking(False)

    taken: list[str] = []
    peer = serve_h2(script)
    async with http2_pool(flavour) as pool:
        with pytest.raises((httpcore.TimeoutException, httpcore.RemoteProtocolError, httpcore.WriteError)):
            await pool.request("GET", peer.url, extensions={"timeout": {"read": 0.5, "write": 0.5}})
        assert "Requests: 0 active, 0 queued | Connections: 0 active" in repr(pool)
    assert taken == []
