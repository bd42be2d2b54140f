"""Windows grow when data is read and shrink when there are many streams; an unread response never stops another."""

from __future__ import annotations

import select
import threading
from typing import TYPE_CHECKING, Any

import httpcore
import pytest
from h2.settings import SettingCodes
from hyperframe.frame import HeadersFrame

from h2_peer import MAX_CONCURRENT_STREAMS, always, holding, http2_pool, still_works

if TYPE_CHECKING:
    from flavours import Flavour, Pool
    from h2_peer import H2Peer, ServeH2
    from h2_session import Session, Stream

KIB = 1024
MIB = 1024 * KIB
SMALLEST, LARGEST = 256 * KIB, 8 * MIB
CONNECTION = 64 * MIB
REQUEST = {"headers": {"Host": "test"}, "extensions": {"timeout": {"pool": 20, "read": 20, "write": 20}}}


def sized(session: Session, stream: Stream) -> None:
    """Answers with the number of bytes that the target names."""
    session.respond(stream, b"x" * int(stream.target[1:]) if stream.target != b"/" else b"ok")


async def begin(pool: Pool, peer: H2Peer, size: int) -> Any:
    """Returns a response whose body is still to be read."""
    return await pool.handle(httpcore.Request("GET", f"{peer.url}{size}", **REQUEST))


async def get(pool: Pool, peer: H2Peer, size: int) -> None:
    response = await pool.request("GET", f"{peer.url}{size}", extensions=REQUEST["extensions"])
    assert len(response.content) == size


def window(peer: H2Peer) -> int:
    return peer.sessions[0].settings[SettingCodes.INITIAL_WINDOW_SIZE]


async def test_a_window_grows_while_a_response_is_read(flavour: Flavour, serve_h2: ServeH2) -> None:
    peer = serve_h2(always(sized))
    async with http2_pool(flavour, max_connections=1) as pool:
        await get(pool, peer, 1)
        assert window(peer) == SMALLEST
        await get(pool, peer, 16 * MIB)
        assert window(peer) == LARGEST
        await still_works(pool, peer)


async def test_a_window_does_not_grow_for_unread_data(flavour: Flavour, serve_h2: ServeH2) -> None:
    peer = serve_h2(always(sized))
    async with http2_pool(flavour, max_connections=1) as pool:
        unread = [await begin(pool, peer, MIB) for _ in range(3)]
        for _ in range(20):
            await get(pool, peer, 1)
        assert window(peer) == SMALLEST
        for response in unread:
            await response.close()


async def test_a_window_shrinks_before_there_are_many_streams(flavour: Flavour, serve_h2: ServeH2) -> None:
    """Responses that are left unread are read one after another, from the last to the first."""
    peer = serve_h2(always(sized))
    async with http2_pool(flavour, max_connections=1) as pool:
        await get(pool, peer, 16 * MIB)
        unread = [await begin(pool, peer, MIB) for _ in range(60)]
        for _ in range(5):
            await get(pool, peer, 1)
        assert window(peer) == SMALLEST
        # Some of them have received more before.
        assert peer.sessions[0].h2.outbound_flow_control_window > 0
        for response in reversed(unread):
            assert len(await response.read()) == MIB
            await response.close()
        await still_works(pool, peer)


@pytest.mark.parametrize("count", [20])
async def test_downloads_beside_a_response_that_is_not_read(flavour: Flavour, serve_h2: ServeH2, count: int) -> None:
    peer = serve_h2(always(sized))
    async with http2_pool(flavour, max_connections=1) as pool:
        await get(pool, peer, 4 * MIB)
        unread = await begin(pool, peer, 16 * MIB)
        await flavour.gather(*[lambda: get(pool, peer, MIB) for _ in range(count)])
        assert len(await unread.read()) == 16 * MIB
        await unread.close()
        await still_works(pool, peer)


async def test_streams_that_were_opened_before_the_window_could_shrink(
    asyncio_flavour: Flavour, serve_h2: ServeH2
) -> None:
    """The peer acknowledges late that windows have grown. So many streams have the large window that some of them take
    the whole window of the connection, and nothing is left for those that are read first.
    """
    flavour, count = asyncio_flavour, 80

    def script(session: Session) -> None:
        session.respond(session.read_request(), b"")
        stream = session.read_request()
        session.respond(stream, b"x" * SMALLEST)
        # Nothing is read from here on, and so nothing is acknowledged.
        while stream.queue or session._outgoing:
            session._fill()
            session._write()
        received = b""
        while heads(received) < count:
            select.select([session.connection.socket], [], [], 0.01)
            if peer.stopping:
                return
            received += session._read() or b""
        session.receive(received)
        # The client's answer to the acknowledgement is not read until the windows are full.
        streams = [session.read_request() for _ in range(count)]
        for stream in streams:
            session.head(stream)
        for stream in streams:
            # Past the session, which would handle smaller windows in between.
            left = 2 * MIB
            while size := min(
                session.h2.local_flow_control_window(stream.id), session.h2.max_outbound_frame_size, left
            ):
                session.h2.send_data(stream.id, b"x" * size)
                left -= size
            stream.queue.append(("data", memoryview(b"x" * left)))
            stream.queue.append(("end", None))
        assert session.h2.outbound_flow_control_window == 0
        session.flush()

    peer = serve_h2(script)
    async with http2_pool(flavour, max_connections=1) as pool:
        await pool.request("GET", peer.url)
        await pool.request("GET", peer.url)
        tasks = [flavour.start(lambda: begin(pool, peer, 0)) for _ in range(count)]
        responses = [await task.wait() for task in tasks]
        for response in reversed(responses):
            assert len(await response.read()) == 2 * MIB
            await response.close()


def heads(data: bytes) -> int:
    """Returns the number of complete HEADERS frames."""
    count = start = 0
    while start + 9 <= len(data):
        end = start + 9 + int.from_bytes(data[start : start + 3], "big")
        count += data[start + 3] == HeadersFrame.type and end <= len(data)
        start = end
    return count


async def test_a_connection_carries_a_hundred_requests(asyncio_flavour: Flavour, serve_h2: ServeH2) -> None:
    """As in httpcore, even if the peer would take more."""
    go = threading.Event()
    peer = serve_h2(holding(go), settings={MAX_CONCURRENT_STREAMS: 1000})
    async with http2_pool(asyncio_flavour, max_connections=1) as pool:
        first = asyncio_flavour.start(lambda: get_any(pool, peer))
        await asyncio_flavour.until(lambda: peer.streams)
        tasks = [asyncio_flavour.start(lambda: get_any(pool, peer)) for _ in range(150)]
        await asyncio_flavour.until(lambda: len(peer.streams) == 100)
        await asyncio_flavour.sleep(0.05)
        go.set()
        for task in [first, *tasks]:
            assert await task.wait() == b"/"
        assert (peer.sessions[0].most_open, len(peer.connections)) == (100, 1)


async def get_any(pool: Pool, peer: H2Peer) -> bytes:
    return (await pool.request("GET", peer.url, extensions=REQUEST["extensions"])).content
