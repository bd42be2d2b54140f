"""The number of streams and connections: requests to one origin share the streams that the peer allows."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import httpcore
import pytest

from h2_peer import MAX_CONCURRENT_STREAMS, OK, holding, http2_pool

if TYPE_CHECKING:
    from collections.abc import Callable

    from flavours import Flavour, Pool, Task
    from h2_peer import H2Peer, ServeH2
    from h2_session import Session

IDLE = "[Requests: 0 active, 0 queued | Connections: 0 active, 1 idle]"


def start(pool: Pool, peer: H2Peer, count: int, timeout: float = 30.0) -> list[Task]:
    """Starts this many requests at once, each to a target of its own."""

    def get(number: int) -> Callable[[], Any]:
        return lambda: pool.request("GET", f"{peer.url}{number}", extensions={"timeout": {"pool": timeout}})

    return [pool.flavour.start(get(number)) for number in range(count)]


async def all_answered(tasks: list[Task]) -> None:
    for number, task in enumerate(tasks):
        assert (await task.wait()).content == b"/%d" % number


async def test_requests_share_a_connection(flavour: Flavour, serve_h2: ServeH2) -> None:
    go = threading.Event()
    peer = serve_h2(holding(go))
    async with http2_pool(flavour) as pool:
        tasks = start(pool, peer, 20)
        # The first ones at the same time too: they share the connection that one of them establishes.
        await flavour.until(lambda: len(peer.streams) == 20)
        assert (
            f"{flavour.prefixed('ConnectionPool')} [Requests: 20 active, 0 queued | Connections: 1 active, 0"
            in repr(pool)
        )
        (connection,) = pool.connections
        assert connection.info() == f"'{peer.url[:-1]}', HTTP/2, ACTIVE, Request Count: 20"
        assert connection.is_available()
        assert not connection.is_idle()
        go.set()
        await all_answered(tasks)
        assert IDLE in repr(pool)
        assert connection.is_idle()
        assert connection.is_available()
        assert connection.info() == f"'{peer.url[:-1]}', HTTP/2, IDLE, Request Count: 20"
    assert sorted(stream.id for stream in peer.streams) == list(range(1, 41, 2))
    assert len(peer.connections) == 1


async def test_one_stream_until_the_peer_says_how_many(flavour: Flavour, serve_h2: ServeH2) -> None:
    greet, go = threading.Event(), threading.Event()
    bytes_before: list[bytes] = []

    def script(session: Session) -> None:
        # Before SETTINGS the peer's library reads nothing: bytes that arrive until then are kept.
        session.connection.socket.setblocking(True)
        bytes_before.append(session.connection.socket.recv(65_536))
        session.connection.socket.setblocking(False)
        session.connection.wait(greet)
        session.receive(bytes_before[0] + (session._read() or b""))
        assert len(session.streams) <= 1
        holding(go)(session)

    peer = serve_h2(script)
    async with http2_pool(flavour) as pool:
        tasks = start(pool, peer, 10)
        await flavour.until(lambda: bytes_before)
        await flavour.sleep(0.05)
        greet.set()
        await flavour.until(lambda: len(peer.streams) == 10)
        go.set()
        await all_answered(tasks)
    assert bytes_before
    assert len(peer.connections) == 1


async def test_no_more_streams_than_the_peer_allows(flavour: Flavour, serve_h2: ServeH2) -> None:
    def slowly(session: Session) -> None:
        while True:
            stream = session.read_head()
            session.pump()
            session.respond(stream, stream.target)

    peer = serve_h2(slowly, settings={MAX_CONCURRENT_STREAMS: 3})
    async with http2_pool(flavour, max_connections=1) as pool:
        await all_answered(start(pool, peer, 40))
        assert IDLE in repr(pool)
    # The library would have refused a fourth.
    assert peer.sessions[0].most_open <= 3
    assert len(peer.connections) == 1


async def test_a_hundred_streams_where_the_peer_names_no_limit(flavour: Flavour, serve_h2: ServeH2) -> None:
    go = threading.Event()
    peer = serve_h2(holding(go), settings={MAX_CONCURRENT_STREAMS: None})
    async with http2_pool(flavour, max_connections=1) as pool:
        tasks = start(pool, peer, 103)
        await flavour.until(lambda: len(peer.streams) == 100)
        await flavour.until(lambda: "Requests: 100 active, 3 queued" in repr(pool))
        go.set()
        await all_answered(tasks)
    assert peer.sessions[0].most_open == 100


async def test_a_connection_more_when_the_others_are_full(flavour: Flavour, serve_h2: ServeH2) -> None:
    go = threading.Event()
    peer = serve_h2(holding(go), settings={MAX_CONCURRENT_STREAMS: 2})
    async with http2_pool(flavour, max_connections=3) as pool:
        tasks = start(pool, peer, 6)
        await flavour.until(lambda: len(peer.streams) == 6)
        assert len(peer.connections) == 3
        assert "[Requests: 6 active, 0 queued | Connections: 3 active, 0 idle]" in repr(pool)
        assert not any(connection.is_available() for connection in pool.connections)
        for _ in range(3):
            with pytest.raises(httpcore.PoolTimeout):
                await pool.request("GET", peer.url, extensions={"timeout": {"pool": 0.05}})
        assert "[Requests: 6 active, 0 queued | Connections: 3 active, 0 idle]" in repr(pool)
        late = flavour.start(lambda: pool.request("GET", peer.url + "late", extensions={"timeout": {"pool": 10}}))
        await flavour.until(lambda: "6 active, 1 queued" in repr(pool))
        go.set()
        await all_answered(tasks)
        assert (await late.wait()).content == b"/late"
    assert len(peer.connections) == 3
    assert [session.most_open for session in peer.sessions] == [2, 2, 2]


async def test_no_connection_more_while_there_are_free_streams(flavour: Flavour, serve_h2: ServeH2) -> None:
    peer = serve_h2(OK)
    async with http2_pool(flavour, max_connections=10) as pool:
        for _ in range(3):
            await flavour.gather(*[lambda: pool.request("GET", peer.url)] * 30)
    assert len(peer.connections) == 1
    assert len(peer.requests) == 90


async def test_waiters_are_served_in_the_order_in_which_they_came(flavour: Flavour, serve_h2: ServeH2) -> None:
    go = threading.Event()
    peer = serve_h2(holding(go), settings={MAX_CONCURRENT_STREAMS: 1})
    async with http2_pool(flavour, max_connections=1) as pool:
        tasks = []
        for number in range(6):
            tasks.append(flavour.start(lambda number=number: pool.request("GET", f"{peer.url}{number}")))
            await flavour.until(lambda number=number: f"Requests: 1 active, {number} queued" in repr(pool))
        go.set()
        await all_answered(tasks)
    assert [stream.target for stream in peer.streams] == [b"/%d" % number for number in range(6)]


async def test_a_limit_that_is_raised(flavour: Flavour, serve_h2: ServeH2) -> None:
    go, raise_ = threading.Event(), threading.Event()

    def script(session: Session) -> None:
        session.when(raise_.is_set, lambda: session.configure({MAX_CONCURRENT_STREAMS: 8}))
        holding(go)(session)

    peer = serve_h2(script, settings={MAX_CONCURRENT_STREAMS: 1})
    async with http2_pool(flavour, max_connections=1) as pool:
        tasks = start(pool, peer, 8)
        await flavour.until(lambda: "Requests: 1 active, 7 queued" in repr(pool))
        raise_.set()
        # While none has been answered yet.
        await flavour.until(lambda: len(peer.streams) == 8)
        go.set()
        await all_answered(tasks)
    assert peer.sessions[0].most_open == 8


async def test_a_limit_that_is_raised_while_no_response_is_awaited(flavour: Flavour, serve_h2: ServeH2) -> None:
    """A request that waits for a free stream reads the connection itself."""

    def script(session: Session) -> None:
        first = session.read_head()
        session.head(first, 200)
        session.wait(raise_)
        session.configure({MAX_CONCURRENT_STREAMS: 3})
        for _ in range(2):
            session.respond(session.read_head(), b"a free stream")
        session.data(first, b"late", end=True)

    raise_ = threading.Event()
    peer = serve_h2(script, settings={MAX_CONCURRENT_STREAMS: 1})
    async with http2_pool(flavour, max_connections=1) as pool:
        async with pool.stream("GET", peer.url) as response:
            tasks = [flavour.start(lambda: pool.request("GET", peer.url)) for _ in range(2)]
            await flavour.until(lambda: "Requests: 1 active, 2 queued" in repr(pool))
            raise_.set()
            assert [(await task.wait()).content for task in tasks] == [b"a free stream"] * 2
            assert await response.read() == b"late"
        assert "[Requests: 0 active, 0 queued | Connections: 0 active, 1 idle]" in repr(pool)
    assert len(peer.connections) == 1


async def test_a_limit_that_is_lowered(flavour: Flavour, serve_h2: ServeH2) -> None:
    go = threading.Event()

    def script(session: Session) -> None:
        streams = [session.read_head() for _ in range(5)]
        session.configure({MAX_CONCURRENT_STREAMS: 2})
        session.until(lambda: session.acknowledged >= 2)
        session.wait(go)
        for stream in streams:
            session.respond(stream, stream.target)
        while True:
            stream = session.read_head()
            after.append(len(session.open()))
            session.pump()
            session.respond(stream, stream.target)

    after: list[int] = []
    peer = serve_h2(script, settings={MAX_CONCURRENT_STREAMS: 5})
    async with http2_pool(flavour, max_connections=1) as pool:
        tasks = start(pool, peer, 20)
        await flavour.until(lambda: "Requests: 5 active, 15 queued" in repr(pool))
        await flavour.until(lambda: peer.sessions[0].acknowledged >= 2)
        go.set()
        await all_answered(tasks)
    assert len(after) == 15
    assert max(after) <= 2


async def test_a_limit_of_nothing_is_waited_out(flavour: Flavour, serve_h2: ServeH2) -> None:
    allow = threading.Event()

    def script(session: Session) -> None:
        session.respond(session.read_head(), b"ok")
        if len(peer.connections) > 1:
            return
        session.configure({MAX_CONCURRENT_STREAMS: 0})
        session.until(lambda: session.acknowledged >= 2)
        closed_for_now.set()
        session.wait(allow)
        session.configure({MAX_CONCURRENT_STREAMS: 10})
        OK(session)

    closed_for_now = threading.Event()
    peer = serve_h2(script)
    async with http2_pool(flavour, max_connections=1) as pool:
        async with pool.stream("GET", peer.url) as response:
            await response.read()
            if flavour.is_async:
                # No request waits for this connection, and its SETTINGS are acknowledged all the same.
                await flavour.until(closed_for_now.is_set)
        if flavour.is_async:
            # It is idle, so it is closed in favour of a connection that has free streams.
            assert (await pool.request("GET", peer.url)).content == b"ok"
            assert len(peer.connections) == 2
            return
        waiting = flavour.start(lambda: pool.request("GET", peer.url, extensions={"timeout": {"pool": 10}}))
        await flavour.sleep(0.02)
        allow.set()
        assert (await waiting.wait()).content == b"ok"


async def test_a_waiter_that_times_out_does_not_delay_those_behind_it(flavour: Flavour, serve_h2: ServeH2) -> None:
    go = threading.Event()
    peer = serve_h2(holding(go), settings={MAX_CONCURRENT_STREAMS: 1})
    async with http2_pool(flavour, max_connections=1) as pool:
        (first,) = start(pool, peer, 1)
        await flavour.until(lambda: peer.streams)
        (impatient,) = start(pool, peer, 1, timeout=0.1)
        # On a busy machine it may have given up before it is seen in the queue.
        await flavour.until(lambda: impatient.done or "1 active, 1 queued" in repr(pool))
        patient = start(pool, peer, 1)
        with pytest.raises(httpcore.PoolTimeout):
            await impatient.wait()
        go.set()
        await all_answered([first])
        await all_answered(patient)
    assert len(peer.streams) == 2


async def test_each_origin_has_a_connection_of_its_own(flavour: Flavour, serve_h2: ServeH2) -> None:
    go = threading.Event()
    peers = [serve_h2(holding(go)) for _ in range(3)]
    async with http2_pool(flavour, max_connections=3) as pool:
        tasks = [start(pool, peer, 5) for peer in peers]
        for peer in peers:
            await flavour.until(lambda peer=peer: len(peer.streams) == 5)
        assert "[Requests: 15 active, 0 queued | Connections: 3 active, 0 idle]" in repr(pool)
        go.set()
        for group in tasks:
            await all_answered(group)
    assert [len(peer.connections) for peer in peers] == [1, 1, 1]


async def test_an_idle_connection_gives_its_slot_to_another_origin(flavour: Flavour, serve_h2: ServeH2) -> None:
    first, second = serve_h2(OK), serve_h2(OK)
    async with http2_pool(flavour, max_connections=1) as pool:
        for peer in (first, second):
            assert (await pool.request("GET", peer.url)).content == b"ok"
        await flavour.until(lambda: first.closed(1))
        assert f"'{second.url[:-1]}', HTTP/2, IDLE" in repr(pool.connections)


async def test_a_busy_connection_keeps_its_slot(flavour: Flavour, serve_h2: ServeH2) -> None:
    go = threading.Event()
    first, second = serve_h2(holding(go)), serve_h2(OK)
    async with http2_pool(flavour, max_connections=1) as pool:
        tasks = start(pool, first, 2)
        await flavour.until(lambda: len(first.streams) == 2)
        with pytest.raises(httpcore.PoolTimeout):
            await pool.request("GET", second.url, extensions={"timeout": {"pool": 0.05}})
        other = flavour.start(lambda: pool.request("GET", second.url))
        await flavour.until(lambda: "2 active, 1 queued" in repr(pool))
        go.set()
        await all_answered(tasks)
        assert (await other.wait()).content == b"ok"


async def test_a_failed_connect_fails_all_requests_that_wait_for_it(flavour: Flavour, serve_h2: ServeH2) -> None:
    def refuse(session: Session) -> None:
        session.connection.wait(refused)
        session.abort()

    refused = threading.Event()
    peer = serve_h2(refuse)
    async with http2_pool(flavour, max_connections=1) as pool:
        tasks = start(pool, peer, 5)
        await flavour.until(lambda: peer.connections)
        refused.set()
        for task in tasks:
            with pytest.raises((httpcore.NetworkError, httpcore.ProtocolError)) as raised:
                await task.wait()
            assert str(raised.value)
        assert pool.connections == []
