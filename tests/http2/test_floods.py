"""Peers that send frames without end: no turn of a loop takes long, and an idle connection is closed."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import httpcore
import pytest
from hyperframe.frame import Frame, PingFrame, PriorityFrame, SettingsFrame, WindowUpdateFrame

from h2_peer import OK, H2Peer, http2_pool

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from flavours import Flavour
    from h2_peer import ServeH2
    from h2_session import Session

# Seconds of processor time. A turn that reads half a MiB of such frames takes several times as long.
TURN = 0.04
TIMEOUT = {"timeout": {"read": 30.0, "write": 30.0, "pool": 30.0, "connect": 30.0}}


class Trailer(Frame):
    """HEADERS, on any stream, whose block is one indexed field: `:status: 200`."""

    type = 1

    def __init__(self, stream_id: int) -> None:
        super().__init__(stream_id, flags=[])
        self.body = b"\x88"

    def serialize(self) -> bytes:
        head = len(self.body).to_bytes(3, "big") + b"\x01\x05" + self.stream_id.to_bytes(4, "big")
        return head + self.body


FLOODS = {
    "PING": PingFrame(0, b"--ping--", flags=["ACK"]).serialize(),
    "SETTINGS": SettingsFrame(0, flags=["ACK"]).serialize(),
    "PRIORITY": PriorityFrame(1, depends_on=0, stream_weight=1).serialize(),
    "WINDOW_UPDATE": WindowUpdateFrame(1, window_increment=1).serialize(),
    "HEADERS": Trailer(1).serialize(),
}


def answers_then_sends(frame: bytes, total: int) -> object:
    """Returns a script that answers one request, and then sends this many bytes of a frame unless the client closes."""

    def script(session: Session) -> None:
        session.respond(session.read_request(), b"ok")
        session.flush()
        session.connection.socket.setblocking(True)
        block = frame * (65_536 // len(frame))
        for _ in range(total // len(block)):
            session.connection.send(block)
        session.connection.socket.setblocking(False)
        OK(session)

    return script


async def longest_turn(running: Callable[[], object]) -> float:
    """Returns the most processor time of one turn of the loop, for as long as the condition holds, in seconds."""
    longest, deadline, turn = 0.0, time.monotonic() + 20, time.thread_time()
    while running() and time.monotonic() < deadline:
        await asyncio.sleep(0)
        now = time.thread_time()
        turn, longest = now, max(longest, now - turn)
    return longest


async def leaves_turns(attempt: Callable[[], Awaitable[float]]) -> None:
    """Asserts that no turn of the loop takes long. Processors that are busy with others get three attempts."""
    turns = [await attempt()]
    while len(turns) < 3 and turns[-1] >= TURN:
        turns.append(await attempt())
    assert turns[-1] < TURN, turns


@pytest.mark.parametrize("name", FLOODS)
async def test_a_flood_of_an_idle_connection_ends_it(asyncio_flavour: Flavour, serve_h2: ServeH2, name: str) -> None:
    async def attempt() -> float:
        flooding = serve_h2(answers_then_sends(FLOODS[name], 64 * 1024 * 1024))
        async with http2_pool(asyncio_flavour) as pool:
            assert (await pool.request("GET", flooding.url, extensions=TIMEOUT)).content == b"ok"
            longest = await longest_turn(lambda: pool.connections)
            assert not pool.connections
            # The next request has a new connection.
            assert (await pool.request("GET", flooding.url, extensions=TIMEOUT)).content == b"ok"
        assert len(flooding.connections) == 2
        return longest

    await leaves_turns(attempt)


async def test_frames_beside_a_response_leave_the_loop_its_turns(asyncio_flavour: Flavour, serve_h2: ServeH2) -> None:
    def script(session: Session) -> None:
        stream = session.read_request()
        session.head(stream)
        for _ in range(40):
            session.raw(FLOODS["PING"] * 3000)
            session.flush()
        session.data(stream, b"end", end=True)
        session.flush()

    async def attempt() -> float:
        async with http2_pool(asyncio_flavour) as pool:
            task = asyncio_flavour.start(lambda: pool.request("GET", serve_h2(script).url, extensions=TIMEOUT))
            longest = await longest_turn(lambda: not task.done)
            assert (await task.wait()).content == b"end"
            return longest

    await leaves_turns(attempt)


async def test_a_few_frames_on_an_idle_connection_do_not_end_it(flavour: Flavour, serve_h2: ServeH2) -> None:
    def script(session: Session) -> None:
        session.respond(session.read_request(), b"ok")
        for _ in range(100):
            session.ping()
        session.raw(FLOODS["PING"] * 2000)
        OK(session)

    peer = serve_h2(script)
    async with http2_pool(flavour) as pool:
        for _ in range(3):
            assert (await pool.request("GET", peer.url, extensions=TIMEOUT)).content == b"ok"
            await flavour.sleep(0.05)
    assert len(peer.connections) == 1


# Responses without a body, and trailers with fields of the framing.


@pytest.mark.parametrize("status", [204, 304])
async def test_content_where_there_is_none(flavour: Flavour, serve_h2: ServeH2, status: int) -> None:
    def script(session: Session) -> None:
        stream = session.read_request()
        session.respond(stream, b"smuggled", status=status, length=False)
        stream = session.read_request()
        session.head(stream, status)
        session.data(stream, b"", end=True)
        OK(session)

    peer = serve_h2(script)
    async with http2_pool(flavour, max_connections=1) as pool:
        with pytest.raises(httpcore.RemoteProtocolError, match=f"content with status {status}"):
            await pool.request("GET", peer.url, extensions=TIMEOUT)
        # An empty frame at its end is no content, and the connection goes on.
        response = await pool.request("GET", peer.url, extensions=TIMEOUT)
        assert (response.raw.status, response.content) == (status, b"")
        assert (await pool.request("GET", peer.url, extensions=TIMEOUT)).content == b"ok"
    assert len(peer.connections) == 1


async def test_trailers_do_not_frame_a_message(flavour: Flavour, serve_h2: ServeH2) -> None:
    def script(session: Session) -> None:
        fields = [(b"x-sum", b"1"), (b"content-length", b"7"), (b"trailer", b"x"), (b"host", b"h")]
        session.respond(session.read_request(), b"ok", trailers=fields)

    peer: H2Peer = serve_h2(script)
    async with http2_pool(flavour) as pool:
        response = await pool.request("GET", peer.url, extensions=TIMEOUT)
        assert response.content == b"ok"
        assert response.raw.extensions["trailing_headers"] == [(b"x-sum", b"1")]
