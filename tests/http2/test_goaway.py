"""GOAWAY and REFUSED_STREAM: requests that the peer did not process are sent again, those that it did are not."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import httpcore
import pytest
from h2.errors import ErrorCodes

from h2_peer import MAX_CONCURRENT_STREAMS, OK, always, describe, http2_pool

if TYPE_CHECKING:
    from collections.abc import Callable

    from flavours import Flavour, Pool
    from h2_peer import ServeH2
    from h2_session import Session, Stream

LATER = 2**31 - 1  # the last stream there can be: a first GOAWAY that only announces the second


def first_session(session: Session) -> bool:
    return session is session.peer.sessions[0]


def asking(pool: Any, url: str, method: str = "GET", content: Any = None) -> Callable[[], Any]:
    return lambda: pool.request(method, url, content=content)


async def goaway_is_known(pool: Pool) -> None:
    """Waits until the only connection takes no new requests: the client has read the GOAWAY that the peer sends."""
    (connection,) = pool.connections
    await pool.flavour.until(lambda: not connection.is_available())


async def test_streams_above_the_last_are_sent_again(flavour: Flavour, serve_h2: ServeH2) -> None:
    """The method does not matter: the peer has stated that it did not process them."""

    def script(session: Session) -> None:
        if not first_session(session):
            always(lambda session, stream: session.respond(stream, b"second " + stream.target))(session)
        streams = [session.read_request() for _ in range(6)]
        third = sorted(stream.id for stream in streams)[2]
        session.goaway(third)
        for stream in streams:
            if stream.id <= third:
                session.respond(stream, b"first " + stream.target)

    peer = serve_h2(script)
    async with http2_pool(flavour, max_connections=2) as pool:
        methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "POST"]
        jobs = [asking(pool, f"{peer.url}{n}", method, b"body %d" % n) for n, method in enumerate(methods)]
        responses = await flavour.gather(*jobs)
        first, second = peer.sessions
        done = sorted(first.streams)[:3]
        for number, response in enumerate(responses):
            place = next(stream for stream in first.streams.values() if stream.target == b"/%d" % number)
            expected = b"first" if place.id in done else b"second"
            assert response.content == b"%b /%d" % (expected, number)
        again = {stream.target: (stream.method, bytes(stream.body)) for stream in second.streams.values()}
        refused = [stream for stream in first.streams.values() if stream.id not in done]
        assert again == {stream.target: (stream.method, bytes(stream.body)) for stream in refused}
        await flavour.until(peer.connections[0].closed.is_set)
        assert len(pool.connections) == 1
    assert len(peer.connections) == 2


async def test_accepted_streams_finish(flavour: Flavour, serve_h2: ServeH2) -> None:
    def script(session: Session) -> None:
        if not first_session(session):
            OK(session)
        streams = [session.read_head() for _ in range(3)]
        session.head(streams[0], 200)
        session.data(streams[0], b"before, ")
        session.goaway(streams[2].id)
        session.flush()
        said.set()
        session.wait(go)
        session.data(streams[0], b"after", end=True)
        session.until(lambda: streams[1].ended)
        session.respond(streams[1], describe(streams[1]))
        session.respond(streams[2], b"third")

    said, go = threading.Event(), threading.Event()
    peer = serve_h2(script)
    async with http2_pool(flavour, max_connections=2) as pool:
        first = flavour.start(lambda: pool.handle(httpcore.Request("GET", peer.url, headers={"Host": "test"})))
        await flavour.until(lambda: len(peer.streams) >= 1)
        body = flavour.parts(*[b"x" * 10_000] * 30)
        posted = flavour.start(asking(pool, peer.url, "POST", body))
        await flavour.until(lambda: len(peer.streams) >= 2)
        third = flavour.start(asking(pool, peer.url))
        response = await first.wait()
        assert response.status == 200
        await flavour.until(said.is_set)
        await goaway_is_known(pool)
        # A new request gets another connection.
        go_elsewhere = flavour.start(asking(pool, peer.url))
        assert (await go_elsewhere.wait()).content == b"ok"
        assert len(peer.sessions[0].streams) == 3
        go.set()
        assert await response.read() == b"before, after"
        await response.close()
        assert b'"length": 300000' in (await posted.wait()).content
        assert (await third.wait()).content == b"third"
        await flavour.until(peer.connections[0].closed.is_set)
        assert len(pool.connections) == 1


async def test_a_goaway_in_two_steps(flavour: Flavour, serve_h2: ServeH2) -> None:
    def script(session: Session) -> None:
        if not first_session(session):
            OK(session)
        stream = session.read_head()
        session.wait(used)
        session.goaway(LATER)
        session.flush()
        session.wait(go)
        session.goaway(stream.id)
        session.respond(stream, b"first")

    used, go = threading.Event(), threading.Event()
    peer = serve_h2(script)
    async with http2_pool(flavour, max_connections=2) as pool:
        first = flavour.start(asking(pool, peer.url, "POST"))
        await flavour.until(lambda: peer.streams and pool.connections[0].is_available())
        used.set()
        await goaway_is_known(pool)
        assert (await pool.request("POST", peer.url)).content == b"ok"
        go.set()
        assert (await first.wait()).content == b"first"
    assert [len(session.streams) for session in peer.sessions] == [1, 1]


async def test_waiters_go_to_another_connection(flavour: Flavour, serve_h2: ServeH2) -> None:
    def script(session: Session) -> None:
        if not first_session(session):
            OK(session)
        stream = session.read_head()
        session.wait(go)
        session.goaway(stream.id)
        session.respond(stream, b"ok")

    go = threading.Event()
    peer = serve_h2(script, settings={MAX_CONCURRENT_STREAMS: 1})
    async with http2_pool(flavour, max_connections=1) as pool:
        tasks = [flavour.start(asking(pool, peer.url)) for _ in range(5)]
        await flavour.until(lambda: "1 active, 4 queued" in repr(pool))
        go.set()
        for task in tasks:
            assert (await task.wait()).content == b"ok"
    assert [len(session.streams) for session in peer.sessions] == [1, 4]


async def test_a_body_that_can_be_read_only_once_is_not_sent_twice(flavour: Flavour, serve_h2: ServeH2) -> None:
    def script(session: Session) -> None:
        stream = session.read_request()
        session.goaway(0)
        assert stream.body == b"part" * 10

    peer = serve_h2(script)
    async with http2_pool(flavour) as pool:
        with pytest.raises(httpcore.RemoteProtocolError) as raised:
            await pool.request("POST", peer.url, content=flavour.parts(*[b"part"] * 10))
        assert "GOAWAY" in str(raised.value) or "NO_ERROR" in str(raised.value)
        assert "Requests: 0 active, 0 queued | Connections: 0 active" in repr(pool)
    assert len(peer.streams) == 1


async def test_a_peer_that_always_sends_goaway(flavour: Flavour, serve_h2: ServeH2) -> None:
    def script(session: Session) -> None:
        session.read_head()
        session.goaway(0)

    peer = serve_h2(script)
    async with http2_pool(flavour) as pool:
        with pytest.raises(httpcore.RemoteProtocolError) as raised:
            await pool.request("GET", peer.url)
        assert str(raised.value)
        await flavour.until(lambda: peer.closed(len(peer.connections)))
        assert pool.connections == []
    assert len(peer.connections) < 100


async def test_the_error_names_the_reason_of_a_goaway(flavour: Flavour, serve_h2: ServeH2) -> None:
    def script(session: Session) -> None:
        stream = session.read_head()
        if stream.target == b"/good":
            session.respond(stream, b"ok")
            OK(session)
        session.head(stream, 200)
        session.goaway(stream.id, ErrorCodes.ENHANCE_YOUR_CALM, b"too many of you")
        session.hang_up()

    peer = serve_h2(script)
    async with http2_pool(flavour) as pool:
        with pytest.raises(httpcore.RemoteProtocolError, match="ENHANCE_YOUR_CALM"):
            await pool.request("GET", peer.url)
        assert pool.connections == []
        assert (await pool.request("GET", peer.url + "good")).content == b"ok"


async def test_the_end_of_a_connection_ends_all_of_its_streams(flavour: Flavour, serve_h2: ServeH2) -> None:
    def script(session: Session) -> None:
        for stream in [session.read_head() for _ in range(10)]:
            session.head(stream, 200)
            session.data(stream, b"begun")
        session.hang_up()

    peer = serve_h2(script)
    async with http2_pool(flavour) as pool:
        tasks = [flavour.start(asking(pool, peer.url, "POST")) for _ in range(10)]
        for task in tasks:
            with pytest.raises((httpcore.RemoteProtocolError, httpcore.ReadError)) as raised:
                await task.wait()
            assert str(raised.value)
        assert pool.connections == []
    assert len(peer.connections) == 1


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_reused_connection_that_dies_before_any_answer(
    flavour: Flavour, serve_h2: ServeH2, method: str
) -> None:
    """As with HTTP/1.1: idempotent requests are sent once more, and no others."""

    def script(session: Session) -> None:
        session.respond(session.read_request(), b"ok")
        if first_session(session):
            session.read_request()
            session.abort()
        else:
            OK(session)

    peer = serve_h2(script)
    async with http2_pool(flavour) as pool:
        await pool.request("GET", peer.url)
        if method == "GET":
            assert (await pool.request(method, peer.url)).content == b"ok"
        else:
            with pytest.raises((httpcore.NetworkError, httpcore.RemoteProtocolError)):
                await pool.request(method, peer.url)
    assert len(peer.streams) == (3 if method == "GET" else 2)


# REFUSED_STREAM.


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_refused_stream_is_sent_again(flavour: Flavour, serve_h2: ServeH2, method: str) -> None:
    refused: set[bytes] = set()

    def respond(session: Session, stream: Stream) -> None:
        if stream.target not in refused:
            refused.add(stream.target)
            session.reset(stream, ErrorCodes.REFUSED_STREAM)
        else:
            session.respond(stream, bytes(stream.body))

    peer = serve_h2(always(respond))
    async with http2_pool(flavour) as pool:
        for number in range(5):
            content = b"body %d" % number
            assert (await pool.request(method, f"{peer.url}{number}", content=content)).content == content
        await flavour.until(peer.all_closed)
    assert len(peer.streams) == 10


async def test_a_stream_refused_for_ever(flavour: Flavour, serve_h2: ServeH2) -> None:
    def respond(session: Session, stream: Stream) -> None:
        if stream.target == b"/refused":
            session.reset(stream, ErrorCodes.REFUSED_STREAM)
        else:
            session.respond(stream, b"ok")

    peer = serve_h2(always(respond))
    async with http2_pool(flavour) as pool:
        with pytest.raises(httpcore.RemoteProtocolError, match="REFUSED_STREAM"):
            await pool.request("GET", peer.url + "refused")
        assert (await pool.request("GET", peer.url)).content == b"ok"
    assert len(peer.streams) < 100


async def test_a_refused_body_that_can_be_read_only_once(flavour: Flavour, serve_h2: ServeH2) -> None:
    def respond(session: Session, stream: Stream) -> None:
        session.reset(stream, ErrorCodes.REFUSED_STREAM)

    peer = serve_h2(always(respond))
    async with http2_pool(flavour) as pool:
        with pytest.raises(httpcore.RemoteProtocolError, match="REFUSED_STREAM"):
            await pool.request("POST", peer.url, content=flavour.parts(b"once"))
    assert len(peer.streams) == 1
