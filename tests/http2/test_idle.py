"""HTTP/2 connections between requests: PING and SETTINGS are answered, and GOAWAY is noticed."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

import httpcore
import pytest
from h2.errors import ErrorCodes

from h2_peer import MAX_CONCURRENT_STREAMS, OK, http2_pool, silence

if TYPE_CHECKING:
    from flavours import Flavour
    from h2_peer import ServeH2
    from h2_session import Session

EMPTY = "[Requests: 0 active, 0 queued | Connections: 0 active, 0 idle]"


def send_goaway(session: Session) -> None:
    session.goaway(session.streams and max(session.streams))


ENDINGS = {
    "GOAWAY": send_goaway,
    "GOAWAY and the end": lambda session: (send_goaway(session), session.hang_up()),
    "the end": lambda session: session.hang_up(),
    "a reset": lambda session: session.abort(),
}


async def test_pings_and_settings_are_answered_while_no_request_waits(
    async_flavour: Flavour, serve_h2: ServeH2
) -> None:
    def script(session: Session) -> None:
        session.respond(session.read_request(), b"ok")
        session.wait(idle)
        for number in range(10):
            session.ping(b"ping%4d" % number)
            session.configure({MAX_CONCURRENT_STREAMS: 50 + number})
        OK(session)

    idle = threading.Event()
    peer = serve_h2(script)
    async with http2_pool(async_flavour) as pool:
        await pool.request("GET", peer.url)
        idle.set()
        session = peer.sessions[0]
        await async_flavour.until(lambda: session.pongs == [b"ping%4d" % number for number in range(10)])
        await async_flavour.until(lambda: session.acknowledged == 11)
        assert "HTTP/2, IDLE, Request Count: 1" in repr(pool.connections)
        assert (await pool.request("GET", peer.url)).content == b"ok"
    assert len(peer.connections) == 1


@pytest.mark.parametrize("how", ENDINGS)
async def test_a_connection_that_ends_while_idle_leaves_the_pool(
    async_flavour: Flavour, serve_h2: ServeH2, how: str
) -> None:
    def script(session: Session) -> None:
        session.respond(session.read_request(), b"ok")
        if session is peer.sessions[0]:
            session.wait(idle)
            ENDINGS[how](session)
        OK(session)

    idle = threading.Event()
    peer = serve_h2(script)
    async with http2_pool(async_flavour, max_connections=1) as pool:
        await pool.request("GET", peer.url)
        (connection,) = pool.connections
        idle.set()
        await async_flavour.until(lambda: not pool.connections)
        assert connection.is_closed()
        assert EMPTY in repr(pool)
        await async_flavour.until(lambda: peer.closed(1))
        assert (await pool.request("POST", peer.url)).content == b"ok"
    assert len(peer.connections) == 2


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("how", ENDINGS)
async def test_a_connection_that_ended_while_idle_is_not_used_again(
    flavour: Flavour, serve_h2: ServeH2, how: str, method: str
) -> None:
    def script(session: Session) -> None:
        session.respond(session.read_request(), b"ok")
        if session is peer.sessions[0]:
            session.wait(idle)
            # The client may close the connection as soon as it has read a part of it.
            with contextlib.suppress(ConnectionAbortedError):
                ENDINGS[how](session)
                if not session.ended:
                    session.flush()
            ended.set()
            if not session.ended:
                silence(session)
        else:
            silence(session)

    idle, ended = threading.Event(), threading.Event()
    peer = serve_h2(script)
    async with http2_pool(flavour, max_connections=1) as pool:
        await pool.request("GET", peer.url)
        idle.set()
        await flavour.until(ended.is_set)
        await flavour.sleep(0.02)
        assert (await pool.request(method, peer.url)).content == b"ok"
        assert len(pool.connections) == 1
    assert [len(session.streams) for session in peer.sessions] == [1, 1]


async def test_an_idle_connection_expires(flavour: Flavour, serve_h2: ServeH2) -> None:
    peer = serve_h2(OK)
    async with http2_pool(flavour, keepalive_expiry=0.05) as pool:
        await pool.request("GET", peer.url)
        (connection,) = pool.connections
        await flavour.until(connection.has_expired)
        await pool.request("GET", peer.url)
        assert connection.is_closed()
        assert len(pool.connections) == 1
        await flavour.until(lambda: peer.closed(1))
    assert len(peer.connections) == 2


async def test_a_connection_in_use_does_not_expire(flavour: Flavour, serve_h2: ServeH2) -> None:
    def script(session: Session) -> None:
        stream = session.read_request()
        session.wait(go)
        session.respond(stream, b"ok")

    go = threading.Event()
    peer = serve_h2(script)
    async with http2_pool(flavour, keepalive_expiry=0.05) as pool:
        task = flavour.start(lambda: pool.request("GET", peer.url))
        await flavour.until(lambda: peer.streams)
        await flavour.sleep(0.15)
        assert not pool.connections[0].has_expired()
        go.set()
        assert (await task.wait()).content == b"ok"


@pytest.mark.parametrize("kept", [0, 1])
async def test_no_more_idle_connections_than_allowed(flavour: Flavour, serve_h2: ServeH2, kept: int) -> None:
    peers = [serve_h2(OK) for _ in range(3)]
    async with http2_pool(flavour, max_keepalive_connections=kept) as pool:
        for peer in peers:
            await flavour.gather(*[lambda peer=peer: pool.request("GET", peer.url)] * 5)
            assert len(pool.connections) == kept
        # Late requests may have needed one more, when the first connection was not kept.
        await flavour.until(lambda: sum(peer.closed(len(peer.connections)) for peer in peers) >= 3 - kept)


async def test_closing_sends_goaway_and_releases_the_descriptor(flavour: Flavour, serve_h2: ServeH2) -> None:
    peer = serve_h2(OK)
    pool = http2_pool(flavour)
    for round_ in range(1, 4):
        assert (await pool.request("GET", peer.url)).content == b"ok"
        await pool.close()
        await pool.close()
        assert pool.connections == []
        await flavour.until(lambda: peer.closed(round_))  # noqa: B023  (called before the next round)
    for session in peer.sessions:
        assert session.client_goaway is None or session.client_goaway.error_code == ErrorCodes.NO_ERROR


# Keep-alive by PING.


async def test_pings_are_sent_while_a_response_is_awaited(flavour: Flavour, serve_h2: ServeH2) -> None:
    def script(session: Session) -> None:
        stream = session.read_request()
        session.until(lambda: len(session.pings) >= 3)
        session.respond(stream, b"ok")
        OK(session)

    peer = serve_h2(script)
    async with http2_pool(flavour, http2_ping_interval=0.03, http2_ping_timeout=10.0) as pool:
        assert (await pool.request("GET", peer.url)).content == b"ok"
        if flavour.is_async:
            # Also between two requests: that is when a middlebox drops the state of a connection.
            seen = len(peer.sessions[0].pings)
            await flavour.until(lambda: len(peer.sessions[0].pings) >= seen + 2)
        assert (await pool.request("GET", peer.url)).content == b"ok"
    assert len(peer.connections) == 1


async def test_an_unanswered_ping_ends_requests_and_their_connection(flavour: Flavour, serve_h2: ServeH2) -> None:
    def script(session: Session) -> None:
        if session is peer.sessions[0]:
            session.respond(session.read_request(), b"ok")
            session.read_head()
            session.connection.wait(go)  # reads no more, like a host that has vanished
        else:
            OK(session)

    go = threading.Event()
    peer = serve_h2(script)
    async with http2_pool(flavour, max_connections=1, http2_ping_interval=0.05, http2_ping_timeout=1.5) as pool:
        await pool.request("GET", peer.url)
        tasks = [flavour.start(lambda: pool.request("POST", peer.url)) for _ in range(3)]
        for task in tasks:
            with pytest.raises((httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError)) as raised:
                await task.wait()
            assert "PING" in str(raised.value).upper()
        assert pool.connections == []
        assert (await pool.request("GET", peer.url)).content == b"ok"
        go.set()


async def test_an_unanswered_ping_closes_an_idle_connection(async_flavour: Flavour, serve_h2: ServeH2) -> None:
    def script(session: Session) -> None:
        session.respond(session.read_request(), b"ok")
        session.flush()
        session.connection.wait(go)

    go = threading.Event()
    peer = serve_h2(script)
    async with http2_pool(async_flavour, http2_ping_interval=0.05, http2_ping_timeout=1.5) as pool:
        await pool.request("GET", peer.url)
        await async_flavour.until(lambda: not pool.connections)
        go.set()


async def test_no_pings_unless_asked_for(flavour: Flavour, serve_h2: ServeH2) -> None:
    def script(session: Session) -> None:
        stream = session.read_request()
        session.wait(go)
        session.respond(stream, b"ok")

    go = threading.Event()
    peer = serve_h2(script)
    async with http2_pool(flavour) as pool:
        task = flavour.start(lambda: pool.request("GET", peer.url))
        await flavour.until(lambda: peer.streams)
        await flavour.sleep(0.2)
        go.set()
        await task.wait()
    assert peer.sessions[0].pings == []
