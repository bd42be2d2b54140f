"""Windows: an upload waits for the peer's, an unread response stops at its own and delays no other stream."""

from __future__ import annotations

import hashlib
import json
import threading
from typing import TYPE_CHECKING, Any

import httpcore
import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hyperframe.frame import DataFrame, SettingsFrame, WindowUpdateFrame

from h2_peer import INITIAL_WINDOW_SIZE, OK, always, echo, http2_pool, says, still_works

if TYPE_CHECKING:
    from flavours import Flavour, Pool
    from h2_peer import H2Peer, ServeH2
    from h2_session import Session, Stream

MIB = 1024 * 1024
WINDOW = MIB // 4  # of a stream, before anything was read
BIG = b"x" * 8 * MIB
REQUEST = {"headers": {"Host": "test"}, "extensions": {"timeout": {"pool": 10, "read": 10, "write": 10}}}


async def begin(pool: Pool, peer: H2Peer, target: str = "") -> Any:
    """Returns a response whose body is still to be read."""
    return await pool.handle(httpcore.Request("GET", peer.url + target, **REQUEST))


def big_or_small(session: Session, stream: Stream) -> None:
    session.respond(stream, BIG if stream.target == b"/big" else b"ok")


def left(stream: Stream) -> int:
    """Returns how much of the response still waits for the client's windows."""
    return sum(len(payload) for kind, payload in list(stream.queue) if kind == "data")


# Responses.


async def test_the_windows_that_are_announced(flavour: Flavour, serve_h2: ServeH2) -> None:
    peer = serve_h2(says(b"ok"))
    async with http2_pool(flavour) as pool:
        await pool.request("GET", peer.url)
        session = peer.sessions[0]
        assert session.settings[SettingCodes.INITIAL_WINDOW_SIZE] == WINDOW
        # The maximum number of streams can fill their windows at once.
        await flavour.until(lambda: session.h2.outbound_flow_control_window >= 100 * WINDOW)


async def test_an_unread_response_stops_at_its_window(flavour: Flavour, serve_h2: ServeH2) -> None:
    peer = serve_h2(always(big_or_small))
    async with http2_pool(flavour, max_connections=1) as pool:
        unread = await begin(pool, peer, "big")
        # Other requests read the connection meanwhile, in sync as well.
        while left(peer.streams[0]) > len(BIG) - WINDOW:
            assert (await pool.request("GET", peer.url)).content == b"ok"
        for _ in range(20):
            assert (await pool.request("GET", peer.url)).content == b"ok"
        assert left(peer.streams[0]) == len(BIG) - WINDOW
        assert await unread.read() == BIG
        await unread.close()
        await still_works(pool, peer)


async def test_unread_responses_do_not_stop_their_neighbours(flavour: Flavour, serve_h2: ServeH2) -> None:
    peer = serve_h2(always(big_or_small))
    async with http2_pool(flavour, max_connections=1) as pool:
        unread = [await begin(pool, peer, "big") for _ in range(5)]
        for _ in range(5):
            assert (await pool.request("GET", peer.url)).content == b"ok"
        assert (await pool.request("GET", peer.url + "big")).content == BIG
        for response in unread:
            await response.close()
        await still_works(pool, peer)


async def test_responses_closed_unread_cost_the_connection_nothing(flavour: Flavour, serve_h2: ServeH2) -> None:
    """Their data is credited to the window of the connection, though no caller has read it."""
    peer = serve_h2(always(big_or_small))
    async with http2_pool(flavour, max_connections=1) as pool:
        for number in range(30):
            response = await begin(pool, peer, "big")
            if number % 2:
                chunks = response.__aiter__()
                for _ in range(number):
                    assert await chunks.__anext__()
            await response.close()
        session = peer.sessions[0]
        await flavour.until(peer.all_closed)
        assert len((await pool.request("GET", peer.url + "big")).content) == len(BIG)
        assert (await pool.request("GET", peer.url)).content == b"ok"
        await still_works(pool, peer)
        assert session.h2.outbound_flow_control_window >= 100 * WINDOW


async def test_a_slow_reader_gets_it_all(flavour: Flavour, serve_h2: ServeH2) -> None:
    body = bytes(range(256)) * 100_000
    peer = serve_h2(says(body))
    async with http2_pool(flavour) as pool:
        response = await begin(pool, peer)
        digest, count = hashlib.sha256(), 0
        async for chunk in response:
            digest.update(chunk)
            count += 1
            if count % 50 == 0:
                await flavour.sleep(0.002)
        assert digest.digest() == hashlib.sha256(body).digest()


async def test_big_responses_at_the_same_time(flavour: Flavour, serve_h2: ServeH2) -> None:
    def respond(session: Session, stream: Stream) -> None:
        session.respond(stream, stream.target * 500_000)

    peer = serve_h2(always(respond))
    async with http2_pool(flavour, max_connections=1) as pool:

        async def get(number: int) -> None:
            target = f"{number:04}"
            assert (await pool.request("GET", peer.url + target)).content == f"/{target}".encode() * 500_000

        await flavour.gather(*[lambda number=number: get(number) for number in range(10)])
    assert len(peer.connections) == 1


async def test_a_peer_that_ignores_the_clients_window(flavour: Flavour, serve_h2: ServeH2) -> None:
    def script(session: Session) -> None:
        stream = session.read_head()
        session.head(stream, 200)
        frame = DataFrame(stream.id, b"x" * 16_384).serialize()
        for _ in range(3 * WINDOW // 16_384):
            session.raw(frame)
            session.pump(0)
        OK(session)

    peer = serve_h2(script)
    async with http2_pool(flavour) as pool:
        unread = await begin(pool, peer)
        # A second request reads the bytes that arrive for the first.
        beside = flavour.start(lambda: pool.request("GET", peer.url, extensions=REQUEST["extensions"]))
        assert (await beside.wait()).content == b"ok"
        with pytest.raises(httpcore.RemoteProtocolError, match="FLOW_CONTROL_ERROR"):
            await unread.read()
        await unread.close()
        assert "[Requests: 0 active, 0 queued | Connections: 0 active" in repr(pool)


# Requests.


@pytest.mark.parametrize("size", [1, 10, 1000, 70_000])
async def test_an_upload_through_a_window_of_this_size(flavour: Flavour, serve_h2: ServeH2, size: int) -> None:
    peer = serve_h2(echo, settings={INITIAL_WINDOW_SIZE: size})
    body = bytes(range(256)) * (2 if size < 1000 else 1000)
    async with http2_pool(flavour) as pool:
        await pool.request("GET", peer.url)  # the window is known from now on
        for content in (body, flavour.parts(body[:100], body[100:])):
            described = json.loads((await pool.request("POST", peer.url, content=content)).content)
            assert described["sha256"] == hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize("how", ["SETTINGS", "WINDOW_UPDATE"])
async def test_an_upload_waits_for_a_window(flavour: Flavour, serve_h2: ServeH2, how: str) -> None:
    def script(session: Session) -> None:
        first = session.read_request()
        session.respond(first, b"ok")
        stream = session.read_head()
        session.wait(go)
        assert stream.body == b""
        if how == "SETTINGS":
            session.configure({INITIAL_WINDOW_SIZE: 10_000})
        else:
            session.h2.increment_flow_control_window(10_000, stream.id)
        session.until(lambda: stream.ended)
        session.respond(stream, bytes(stream.body))

    go = threading.Event()
    peer = serve_h2(script, settings={INITIAL_WINDOW_SIZE: 0})
    async with http2_pool(flavour) as pool:
        await pool.request("GET", peer.url)
        task = flavour.start(lambda: pool.request("POST", peer.url, content=b"x" * 5000))
        await flavour.until(lambda: len(peer.streams) == 2)
        await flavour.sleep(0.02)
        go.set()
        assert (await task.wait()).content == b"x" * 5000


async def test_no_window_is_needed_for_no_body(flavour: Flavour, serve_h2: ServeH2) -> None:
    peer = serve_h2(echo, settings={INITIAL_WINDOW_SIZE: 0})
    async with http2_pool(flavour) as pool:
        for content in (b"", b"", flavour.parts(), flavour.parts(b"", b"")):
            assert (await pool.request("POST", peer.url, content=content)).status == 200


async def test_a_window_that_shrinks_below_what_was_used(flavour: Flavour, serve_h2: ServeH2) -> None:
    def script(session: Session) -> None:
        session.credit = False
        stream = session.read_head()
        session.until(lambda: len(stream.body) == 65_535)
        # Past the library, which has no negative windows. The client's is at -65,525 by this.
        session.frame(SettingsFrame(0, settings={INITIAL_WINDOW_SIZE: 10}))
        session.until(lambda: session.acknowledged >= 2)
        session.frame(*[WindowUpdateFrame(number, window_increment=65_000) for number in (0, stream.id)])
        session.ping()
        session.until(lambda: session.pongs)
        assert len(stream.body) == 65_535  # still at -525
        session.frame(*[WindowUpdateFrame(number, window_increment=10_000) for number in (0, stream.id)])
        session.give_credit(stream)
        session.until(lambda: stream.ended)
        session.respond(stream, b"%d" % len(stream.body))

    peer = serve_h2(script)
    async with http2_pool(flavour) as pool:
        response = await pool.request("POST", peer.url, content=b"x" * 70_000)
        assert response.content == b"70000"


async def test_an_upload_that_waits_for_a_window_delays_no_other_request(flavour: Flavour, serve_h2: ServeH2) -> None:
    def script(session: Session) -> None:
        session.credit = False
        session.respond(session.read_request(), b"ok")
        stuck = session.read_head()
        session.until(lambda: len(stuck.body) == 10_000)
        while not go.is_set():
            session.until(lambda: go.is_set() or session.has_request())
            if session.has_request():
                session.respond(session.read_request(), b"ok")
        session.credit = True
        session.give_credit(stuck)
        session.until(lambda: stuck.ended)
        session.respond(stuck, b"%d" % len(stuck.body))

    go = threading.Event()
    peer = serve_h2(script, settings={INITIAL_WINDOW_SIZE: 10_000})
    async with http2_pool(flavour, max_connections=1) as pool:
        await pool.request("GET", peer.url)  # the window is known from now on
        stuck = flavour.start(lambda: pool.request("POST", peer.url, content=b"x" * 30_000))
        await flavour.until(lambda: len(peer.streams) == 2)
        for _ in range(10):
            assert (await pool.request("GET", peer.url)).content == b"ok"
            assert (await pool.request("POST", peer.url, content=b"short")).content == b"ok"
        assert not stuck.done
        go.set()
        assert (await stuck.wait()).content == b"30000"
    assert len(peer.connections) == 1


async def test_an_upload_that_waits_too_long_for_a_window_times_out(flavour: Flavour, serve_h2: ServeH2) -> None:
    def script(session: Session) -> None:
        session.credit = False
        while True:
            stream = session.read_head()
            if stream.method == b"GET":
                session.respond(stream, b"ok")

    peer = serve_h2(script)
    async with http2_pool(flavour, max_connections=1) as pool:
        timeout = {"timeout": {"write": 0.1, "read": 30}}
        with pytest.raises(httpcore.WriteTimeout) as raised:
            await pool.request("POST", peer.url, content=b"x" * 100_000, extensions=timeout)
        assert "0.1" in str(raised.value)
        await still_works(pool, peer)
    assert peer.streams[0].reset == ErrorCodes.CANCEL


async def test_uploads_share_a_connections_window(flavour: Flavour, serve_h2: ServeH2) -> None:
    """The peer's window for the connection stays at 65,535 bytes, however many streams fill it."""
    peer = serve_h2(echo)
    async with http2_pool(flavour, max_connections=1) as pool:

        async def post(number: int) -> None:
            content = b"%d" % number * 200_000
            described = json.loads((await pool.request("POST", peer.url, content=content)).content)
            assert described["sha256"] == hashlib.sha256(content).hexdigest()

        await flavour.gather(*[lambda number=number: post(number) for number in range(10)])
    assert len(peer.connections) == 1


@pytest.mark.parametrize("whose", ["the stream's", "the connection's"])
async def test_a_window_that_overflows(flavour: Flavour, serve_h2: ServeH2, whose: str) -> None:
    def script(session: Session) -> None:
        while True:
            stream = session.read_head()
            if stream.target != b"/overflow":
                session.respond(stream, b"ok")
                continue
            number = stream.id if whose == "the stream's" else 0
            session.frame(*[WindowUpdateFrame(number, window_increment=2**31 - 1)] * 2)

    peer = serve_h2(script)
    async with http2_pool(flavour) as pool:
        with pytest.raises(httpcore.RemoteProtocolError, match="FLOW_CONTROL_ERROR"):
            # More than the window holds: a stream that has sent all has no window that could overflow.
            await pool.request("POST", peer.url + "overflow", content=b"x" * 200_000)
        assert (await pool.request("GET", peer.url)).content == b"ok"
    assert len(peer.connections) == (1 if whose == "the stream's" else 2)
