"""Wait queues of the pool: requests use connections of their own route, and wait for slots in one order."""

from __future__ import annotations

import random
import re
import threading
import time
from typing import TYPE_CHECKING, Any

import httpcore
import pytest

import h2_peer
import httpcore_rs
from flavours import drive
from h2_peer import http2_pool, secure_pool
from peers import always, deafness, echo, full_backlog, reply
from tracing import recorder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from certificates import Certificates
    from flavours import Flavour, Pool
    from h2_peer import ServeH2
    from h2_session import Session
    from peers import Serve

OK = always(reply(b"ok"))


def getting(pool: Pool, url: str, /, **timeout: float) -> Callable[[], Awaitable[Any]]:
    return lambda: pool.request("GET", url, extensions={"timeout": timeout})


async def queued(pool: Pool, count: int) -> None:
    await pool.flavour.until(lambda: f", {count} queued" in repr(pool))


def two_paths(go: threading.Event) -> h2_peer.Script:
    """Returns a script that answers `/held` once the event is set, and everything else at once."""

    def script(session: Session) -> None:
        while True:
            stream = session.read_head()
            if stream.target == b"/held":
                session.when(go.is_set, lambda stream=stream: session.respond(stream, b"held"))
            else:
                session.respond(stream, stream.target)

    return script


# A request that waits for a slot, and requests that need none.


async def test_open_connections_serve_their_origins_while_another_waits_for_a_slot(
    flavour: Flavour, serve: Serve, serve_h2: ServeH2, certificates: Certificates
) -> None:
    go = threading.Event()
    healthy = [serve_h2(two_paths(go), tls=True) for _ in range(2)]
    third = serve(OK)
    async with secure_pool(flavour, certificates, max_connections=2) as pool:
        held = [flavour.start(getting(pool, peer.url + "held")) for peer in healthy]
        await flavour.until(lambda: all(peer.streams for peer in healthy))
        impatient = flavour.start(getting(pool, third.url, pool=1.0))
        patient = flavour.start(getting(pool, third.url, pool=15))
        await queued(pool, 2)
        for number in range(80):
            response = await pool.request(
                "GET", f"{healthy[number % 2].url}{number}", extensions={"timeout": {"pool": 5}}
            )
            assert response.content == b"/%d" % number
        with pytest.raises(httpcore.PoolTimeout):
            await impatient.wait()
        assert not third.connections
        go.set()
        for task in held:
            assert (await task.wait()).content == b"held"
        # A connection is idle now: its slot goes to the request that waits.
        assert (await patient.wait()).content == b"ok"


async def test_steady_traffic_does_not_keep_a_slot_from_another_origin(flavour: Flavour, serve: Serve) -> None:
    busy, other = serve(echo), serve(OK)
    async with flavour.pool(max_connections=1) as pool:
        ended = False

        async def visit() -> None:
            while not ended:
                await getting(pool, busy.url, pool=10)()

        visitors = [flavour.start(visit) for _ in range(3)]
        await queued(pool, 2)
        for _ in range(3):
            assert (await getting(pool, other.url, pool=10)()).content == b"ok"
        ended = True
        for visitor in visitors:
            await visitor.wait()


async def test_waiters_of_an_origin_reuse_its_idle_connection(flavour: Flavour, serve: Serve) -> None:
    first, second = serve(echo), serve(echo)
    async with flavour.pool(max_connections=2) as pool:
        # All of them wait before the first is served: threads that arrive one by one make any number of connections.
        async with pool.stream("GET", first.url), pool.stream("GET", second.url):
            tasks = [flavour.start(getting(pool, peer.url, pool=20)) for _ in range(90) for peer in (first, second)]
            await queued(pool, 180)
        for task in tasks:
            await task.wait()
    assert len(first.requests) == len(second.requests) == 91
    # Served strictly in turn they make 90 and more. These make 13 to 15.
    assert len(first.connections) + len(second.connections) <= 40


async def test_a_waiter_that_leaves_does_not_delay_another_origin(flavour: Flavour, serve_h2: ServeH2) -> None:
    go = threading.Event()
    peer, other = serve_h2(two_paths(go)), serve_h2(h2_peer.OK)
    async with http2_pool(flavour, max_connections=1) as pool:
        held = flavour.start(getting(pool, peer.url + "held"))
        await flavour.until(lambda: peer.streams)
        impatient = flavour.start(getting(pool, other.url, pool=1.0))
        await queued(pool, 1)
        assert (await pool.request("GET", peer.url + "beside")).content == b"/beside"
        with pytest.raises(httpcore.PoolTimeout):
            await impatient.wait()
        assert (await pool.request("GET", peer.url + "after")).content == b"/after"
        go.set()
        await held.wait()


async def test_a_waiter_that_is_cancelled_does_not_delay_those_behind_it(
    async_flavour: Flavour, serve_h2: ServeH2
) -> None:
    flavour, go = async_flavour, threading.Event()
    peer, other = serve_h2(two_paths(go)), serve_h2(h2_peer.OK)
    async with http2_pool(flavour, max_connections=1) as pool:
        held = flavour.start(getting(pool, peer.url + "held"))
        await flavour.until(lambda: peer.streams)
        first = flavour.start(getting(pool, other.url))
        await queued(pool, 1)
        second = flavour.start(getting(pool, peer.url + "second", pool=10))
        first.cancel()
        await first.finished()
        assert (await second.wait()).content == b"/second"
        assert "[Requests: 1 active, 0 queued | Connections: 1 active, 0 idle]" in repr(pool)
        go.set()
        await held.wait()


# A connection that is being established.


async def test_a_connection_that_fails_releases_all_that_wait_for_it(
    flavour: Flavour, serve: Serve, certificates: Certificates
) -> None:
    peer = serve(deafness)
    url = f"https://{peer.authority}/"
    pool = secure_pool(flavour, certificates)
    tasks = [flavour.start(getting(pool, url, connect=2.0))]
    await flavour.until(lambda: len(peer.connections) == 1)
    tasks += [flavour.start(getting(pool, url, connect=20)) for _ in range(7)]
    await flavour.until(lambda: "Requests: 8 active, 0 queued" in repr(pool))
    assert len(peer.connections) == 1
    with pytest.raises(httpcore.ConnectTimeout):
        await tasks[0].wait()
    # None of them waits for the failure of another one.
    await flavour.until(lambda: len(peer.connections) == 8)
    await pool.close()
    for task in tasks[1:]:
        with pytest.raises(httpcore.ConnectError):
            await task.wait()


async def test_requests_to_a_dead_host_fail_together(flavour: Flavour, certificates: Certificates) -> None:
    events: list[tuple[str, Any]] = []
    extensions = {"timeout": {"connect": 0.5}, "trace": recorder(flavour, events)}
    with full_backlog() as (host, port):
        async with secure_pool(flavour, certificates) as pool:
            get = lambda: pool.request("GET", f"https://{host}:{port}/", extensions=extensions)  # noqa: E731
            tasks = [flavour.start(get) for _ in range(10)]
            for task in tasks:
                with pytest.raises(httpcore.ConnectTimeout):
                    await task.wait()
    connects = [name for name, _ in events if name.startswith("connection.connect_tcp.")]
    attempts = [name.rpartition(".")[2] for name in connects]
    # One attempt for all, and then one for each at the same time.
    assert sorted(attempts) == ["failed"] * 10 + ["started"] * 10
    assert attempts[:2] == ["started", "failed"]
    assert attempts[2:7] == ["started"] * 5


async def test_a_request_that_shares_a_new_connection_does_not_wait_for_the_first_upload(
    flavour: Flavour, serve_h2: ServeH2
) -> None:
    peer, answered = serve_h2(h2_peer.echo), threading.Event()
    async with http2_pool(flavour) as pool:

        async def trace(name: str, info: dict[str, Any]) -> None:
            if name == "connection.connect_tcp.complete":
                await flavour.until(lambda: "Requests: 2 active" in repr(pool))

        async def parts() -> AsyncIterator[bytes]:
            yield b"begin"
            await flavour.until(answered.is_set)
            yield b"end"

        tracer = trace if flavour.is_async else lambda name, info: drive(trace(name, info))
        upload = flavour.start(
            lambda: pool.request("POST", peer.url, content=flavour.body(parts()), extensions={"trace": tracer})
        )
        await flavour.until(lambda: "Requests: 1 active" in repr(pool))
        assert (await pool.request("GET", peer.url)).status == 200
        answered.set()
        assert (await upload.wait()).status == 200
    assert len(peer.connections) == 1


# The message of a pool timeout.


async def timed_out(pool: Pool, url: str) -> str:
    with pytest.raises(httpcore.PoolTimeout) as raised:
        await pool.request("GET", url, extensions={"timeout": {"pool": 0.05}})
    head, _, tail = str(raised.value).partition(": the pool has ")
    origin = url.removesuffix("/")
    assert head == f"no connection to {origin} became free within 0.05 s (pool timeout)"
    state, _, use = tail.partition("; ")
    # Who has the connections: tests/pool/test_pool_wait.py.
    assert use.startswith("max_connections=")
    return state


async def test_a_pool_timeout_names_the_state_of_the_connections(
    flavour: Flavour, serve: Serve, certificates: Certificates
) -> None:
    peer, deaf = serve(OK), serve(deafness)
    secure = f"https://{deaf.authority}/"
    async with flavour.pool(max_connections=1) as pool, pool.stream("GET", peer.url):
        assert await timed_out(pool, peer.url) == "1 connection, which is in use"
    async with (
        flavour.pool(max_connections=2) as pool,
        pool.stream("GET", peer.url),
        pool.stream("GET", peer.url),
    ):
        assert await timed_out(pool, peer.url) == "2 connections, all of them in use"
    async with secure_pool(flavour, certificates, max_connections=10) as pool:
        making = flavour.start(getting(pool, secure, connect=20))
        await flavour.until(lambda: "Requests: 1 active" in repr(pool))
        assert await timed_out(pool, secure) == "1 connection, which is still connecting"
        async with pool.stream("GET", peer.url) as response:
            assert await timed_out(pool, secure) == "2 connections, 1 of them still connecting"
            await response.read()
        assert await timed_out(pool, secure) == "2 connections, 1 of them still connecting and 1 idle"
        await pool.close()
        with pytest.raises(httpcore.ConnectError):
            await making.wait()


# Public state under load.


def test_a_repr_is_of_one_moment(serve: Serve) -> None:
    peer = serve(OK)
    pattern = re.compile(r"Requests: (\d+) active, (\d+) queued \| Connections: (\d+) active, (\d+) idle")
    ended = threading.Event()
    with httpcore_rs.ConnectionPool(max_connections=3) as pool:

        def visit() -> None:
            while not ended.is_set():
                pool.request("GET", peer.url)
                # Now and then fewer requests than connections are under way, also on a busy machine.
                time.sleep(random.uniform(0, 0.002))

        visitors = [threading.Thread(target=visit, daemon=True) for _ in range(6)]
        for visitor in visitors:
            visitor.start()
        seen = set()
        try:
            for _ in range(10_000):
                time.sleep(0)  # the other threads need the interpreter, too
                found = pattern.search(repr(pool))
                assert found is not None
                requests, waiting, busy, idle = map(int, found.groups())
                # A connection in use belongs to one request, and no connection is idle while a request waits for it.
                assert requests == busy, found.group()
                assert busy + idle <= 3, found.group()
                assert not (waiting and idle), found.group()
                seen.add(found.group())
        finally:
            ended.set()
            for visitor in visitors:
                visitor.join(10)
    assert len(seen) > 1
