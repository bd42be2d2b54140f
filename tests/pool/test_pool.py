"""The pool: the number of its connections, which request gets one, and their public state."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import httpcore
import pytest

import httpcore_rs
from flavours import Pool
from leaks import descriptors
from peers import always, answers, echo, full_backlog, reply, silence

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from flavours import Flavour, Task
    from peers import Connection, Peer, Serve

OK = always(reply(b"ok"))


def state(pool: Pool) -> str:
    """Returns the pool's repr without its name."""
    name, _, rest = repr(pool)[1:-1].partition(" ")
    assert name == pool.flavour.prefixed("ConnectionPool")
    return rest


def requests(active: int, queued: int) -> str:
    return f"Requests: {active} active, {queued} queued"


def getting(pool: Pool, url: str, **extensions: Any) -> Callable[[], Awaitable[Any]]:
    async def get() -> Any:
        return await pool.request("GET", url, extensions=extensions)

    return get


# Public state.


async def test_repr_follows_a_request(flavour: Flavour, serve: Serve) -> None:
    peer = serve(OK)
    async with flavour.pool() as pool:
        assert state(pool) == "[Requests: 0 active, 0 queued | Connections: 0 active, 0 idle]"
        async with pool.stream("GET", peer.url) as response:
            assert state(pool) == "[Requests: 1 active, 0 queued | Connections: 1 active, 0 idle]"
            await response.read()
        assert state(pool) == "[Requests: 0 active, 0 queued | Connections: 0 active, 1 idle]"
    assert state(pool) == "[Requests: 0 active, 0 queued | Connections: 0 active, 0 idle]"


async def test_requests_can_be_counted_as_in_httpcore(flavour: Flavour, serve: Serve) -> None:
    # Suites of SDKs count them, to find leaks.
    peer = serve(OK)
    for package in (httpcore, httpcore_rs):
        raw = getattr(package, flavour.prefixed("ConnectionPool"))(max_connections=1)
        async with Pool(flavour, raw) as pool:
            assert len(raw._requests) == 0
            async with pool.stream("GET", peer.url):
                task = flavour.start(getting(pool, peer.url))
                await flavour.until(lambda raw=raw: len(raw._requests) == 2)
                assert sorted(request.is_queued() for request in raw._requests) == [False, True]
            await task.wait()
            assert len(raw._requests) == 0


async def test_a_connections_repr_and_info_follow_its_requests(flavour: Flavour, serve: Serve) -> None:
    peer = serve(answers(reply(b"1"), reply(b"2", headers=[(b"Connection", b"close")])))
    origin = f"'http://{peer.authority}'"
    name = flavour.prefixed("HTTPConnection")
    async with flavour.pool() as pool:
        async with pool.stream("GET", peer.url) as response:
            (connection,) = pool.connections
            assert connection.info() == f"{origin}, HTTP/1.1, ACTIVE, Request Count: 1"
            assert repr(connection) == f"<{name} [{origin}, HTTP/1.1, ACTIVE, Request Count: 1]>"
            assert not connection.is_idle()
            assert not connection.is_available()
            assert not connection.is_closed()
            assert not connection.has_expired()
            await response.read()
        assert connection.info() == f"{origin}, HTTP/1.1, IDLE, Request Count: 1"
        assert connection.is_idle()
        assert connection.is_available()
        assert not connection.is_closed()
        assert not connection.has_expired()
        assert repr(pool.connections) == f"[<{name} [{origin}, HTTP/1.1, IDLE, Request Count: 1]>]"
        await pool.request("GET", peer.url)
        assert connection.info() == f"{origin}, HTTP/1.1, CLOSED, Request Count: 2"
        assert connection.is_closed()
        assert not connection.is_idle()
        assert not connection.is_available()
        assert pool.connections == []


async def test_can_handle_request_is_about_the_origin(flavour: Flavour, serve: Serve) -> None:
    peer = serve(OK)
    async with flavour.pool() as pool:
        await pool.request("GET", peer.url)
        (connection,) = pool.connections
        assert connection.can_handle_request(httpcore.Origin(b"http", b"127.0.0.1", peer.port))
        assert not connection.can_handle_request(httpcore.Origin(b"https", b"127.0.0.1", peer.port))
        assert not connection.can_handle_request(httpcore.Origin(b"http", b"localhost", peer.port))
        assert not connection.can_handle_request(httpcore.Origin(b"http", b"127.0.0.1", 80))


async def test_a_connection_that_connects_and_fails(flavour: Flavour) -> None:
    name = flavour.prefixed("HTTPConnection")
    with full_backlog() as (host, port):
        async with flavour.pool() as pool:
            task = flavour.start(getting(pool, f"http://{host}:{port}/", timeout={"connect": 1.0}))
            await flavour.until(lambda: pool.connections)
            (connection,) = pool.connections
            assert repr(connection) == f"<{name} [CONNECTING]>"
            assert connection.info() == "CONNECTING"
            assert not connection.is_idle()
            assert not connection.is_closed()
            assert state(pool) == "[Requests: 1 active, 0 queued | Connections: 1 active, 0 idle]"
            with pytest.raises(httpcore.ConnectTimeout):
                await task.wait()
            assert connection.info() == "CONNECTION FAILED"
            assert repr(connection) == f"<{name} [CONNECTION FAILED]>"
            assert connection.is_closed()
            assert pool.connections == []


# Reuse.


async def test_requests_in_a_row_share_a_connection(flavour: Flavour, serve: Serve) -> None:
    peer = serve(OK)
    async with flavour.pool() as pool:
        for _ in range(20):
            await pool.request("GET", peer.url)
        assert "Request Count: 20" in repr(pool.connections)
    assert len(peer.connections) == 1
    await flavour.until(lambda: peer.closed(1))


async def test_each_origin_has_connections_of_its_own(flavour: Flavour, serve: Serve) -> None:
    peers = [serve(echo) for _ in range(3)]
    async with flavour.pool() as pool:
        for _ in range(3):
            for peer in peers:
                response = await pool.request("GET", peer.url)
                assert peer.authority.encode() in response.content
        assert len(pool.connections) == 3
    assert [len(peer.connections) for peer in peers] == [1, 1, 1]


async def test_requests_at_the_same_time_have_connections_of_their_own(flavour: Flavour, serve: Serve) -> None:
    peer = serve(OK)
    async with flavour.pool(max_connections=None) as pool:
        async with pool.stream("GET", peer.url), pool.stream("GET", peer.url), pool.stream("GET", peer.url):
            assert state(pool) == "[Requests: 3 active, 0 queued | Connections: 3 active, 0 idle]"
    assert len(peer.connections) == 3


async def test_a_response_that_was_read_only_in_part_is_not_reused(flavour: Flavour, serve: Serve) -> None:
    peer = serve(always(reply(b"x" * 10_000_000)))
    async with flavour.pool() as pool:
        async with pool.stream("GET", peer.url) as response:
            await response.__aiter__().__anext__()
        assert pool.connections == []
        await flavour.until(lambda: peer.closed(1))


# Limits.


async def test_no_more_connections_than_allowed(flavour: Flavour, serve: Serve) -> None:
    most = 0

    def script(connection: Connection) -> None:
        nonlocal most
        while True:
            connection.read_request()
            most = max(most, sum(not other.closed.is_set() for other in peer.connections))
            connection.send(reply(b"ok"))

    peer = serve(script)
    async with flavour.pool(max_connections=3) as pool:
        await flavour.gather(*[getting(pool, peer.url)] * 30)
        assert len(pool.connections) <= 3
    assert len(peer.requests) == 30
    assert most <= 3


async def waiting(pool: Pool, url: str, count: int, start: int = 0) -> list[Task]:
    """Starts requests one after the other, each when the one before is in the queue."""
    tasks = []
    for number in range(start, start + count):
        tasks.append(pool.flavour.start(getting(pool, f"{url}{number}")))
        await pool.flavour.until(lambda: requests(1, len(tasks) + start) in repr(pool))
    return tasks


async def test_waiters_are_served_in_the_order_in_which_they_came(flavour: Flavour, serve: Serve) -> None:
    peer = serve(OK)
    async with flavour.pool(max_connections=1) as pool:
        async with pool.stream("GET", peer.url + "first"):
            tasks = await waiting(pool, peer.url, 10)
            assert state(pool) == "[Requests: 1 active, 10 queued | Connections: 1 active, 0 idle]"
        for task in tasks:
            await task.wait()
    assert [request.target for request in peer.requests] == [b"/first", *[b"/%d" % number for number in range(10)]]


async def test_a_waiter_for_another_origin_gets_the_slot_of_an_idle_connection(flavour: Flavour, serve: Serve) -> None:
    first, second = serve(OK), serve(OK)
    async with flavour.pool(max_connections=1) as pool:
        async with pool.stream("GET", first.url) as response:
            (task,) = await waiting(pool, second.url, 1)
            await response.read()
        await task.wait()
        assert f"'http://{second.authority}', HTTP/1.1, IDLE" in repr(pool.connections)
        await flavour.until(lambda: first.closed(1))


async def test_an_idle_connection_gives_its_slot_to_another_origin(flavour: Flavour, serve: Serve) -> None:
    peers = [serve(OK) for _ in range(4)]
    async with flavour.pool(max_connections=2) as pool:
        for peer in peers:
            await pool.request("GET", peer.url)
            assert len(pool.connections) <= 2
        # The connections that were idle for longest are closed.
        await flavour.until(lambda: [peer.closed(1) for peer in peers] == [True, True, False, False])


async def test_a_wait_for_the_pool_ends_by_its_timeout(flavour: Flavour, serve: Serve) -> None:
    peer = serve(OK)
    async with flavour.pool(max_connections=1) as pool:
        async with pool.stream("GET", peer.url):
            for _ in range(3):
                with pytest.raises(httpcore.PoolTimeout):
                    await pool.request("GET", peer.url, extensions={"timeout": {"pool": 0.05}})
                assert state(pool) == "[Requests: 1 active, 0 queued | Connections: 1 active, 0 idle]"
        await pool.request("GET", peer.url, extensions={"timeout": {"pool": 5}})
    assert len(peer.requests) == 2


async def test_a_waiter_that_times_out_does_not_delay_those_behind_it(flavour: Flavour, serve: Serve) -> None:
    peer = serve(OK)
    async with flavour.pool(max_connections=1) as pool:
        async with pool.stream("GET", peer.url):
            impatient = flavour.start(getting(pool, peer.url, timeout={"pool": 1.0}))
            await flavour.until(lambda: requests(1, 1) in repr(pool))
            patient = await waiting(pool, peer.url, 1, start=1)
            with pytest.raises(httpcore.PoolTimeout):
                await impatient.wait()
        await patient[0].wait()


# Keep-alive.


async def hold(pool: Pool, peer: Peer, count: int) -> list[Any]:
    """Returns this many responses, still open."""
    return [await pool.handle(httpcore.Request("GET", peer.url, headers={"Host": "test"})) for _ in range(count)]


@pytest.mark.parametrize("kept", [0, 1, 2])
async def test_no_more_idle_connections_than_allowed(flavour: Flavour, serve: Serve, kept: int) -> None:
    peer = serve(OK)
    async with flavour.pool(max_connections=5, max_keepalive_connections=kept) as pool:
        for response in await hold(pool, peer, 5):
            await response.read()
            await response.close()
        assert len(pool.connections) == kept
        await flavour.until(lambda: peer.closed(5 - kept))


async def test_busy_connections_do_not_count_as_kept_alive(flavour: Flavour, serve: Serve) -> None:
    peer = serve(OK)
    async with flavour.pool(max_connections=5, max_keepalive_connections=1) as pool:
        responses = await hold(pool, peer, 4)
        await responses[0].read()
        await responses[0].close()
        assert state(pool) == "[Requests: 3 active, 0 queued | Connections: 3 active, 1 idle]"
        await pool.request("GET", peer.url)
        assert len(peer.connections) == 4
        for response in responses[1:]:
            await response.close()


async def test_an_idle_connection_expires(flavour: Flavour, serve: Serve) -> None:
    peer = serve(OK)
    async with flavour.pool(keepalive_expiry=0.05) as pool:
        await pool.request("GET", peer.url)
        (connection,) = pool.connections
        assert connection.is_idle()
        await flavour.until(connection.has_expired)
        await pool.request("GET", peer.url)
        assert connection.is_closed()
        assert len(pool.connections) == 1
        await flavour.until(lambda: peer.closed(1))
    assert len(peer.connections) == 2


async def test_a_connection_in_use_does_not_expire(flavour: Flavour, serve: Serve) -> None:
    go = threading.Event()

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.wait(go)
        connection.send(reply(b"ok"))
        silence(connection)

    peer = serve(script)
    async with flavour.pool(keepalive_expiry=0.05) as pool:
        task = flavour.start(getting(pool, peer.url))
        await flavour.until(lambda: peer.requests)
        await flavour.sleep(0.15)
        assert not pool.connections[0].has_expired()
        go.set()
        await task.wait()


async def test_without_an_expiry_idle_connections_stay(flavour: Flavour, serve: Serve) -> None:
    peer = serve(OK)
    async with flavour.pool(keepalive_expiry=None) as pool:
        await pool.request("GET", peer.url)
        await flavour.sleep(0.1)
        assert not pool.connections[0].has_expired()
        await pool.request("GET", peer.url)
    assert len(peer.connections) == 1


# Closing.


async def test_a_pool_works_without_with_and_after_close(flavour: Flavour, serve: Serve) -> None:
    peer = serve(OK)
    pool = flavour.pool()
    for round_ in range(1, 4):
        assert (await pool.request("GET", peer.url)).content == b"ok"
        (connection,) = pool.connections
        await pool.close()
        await pool.close()
        assert connection.is_closed()
        assert pool.connections == []
        await flavour.until(lambda: peer.closed(round_))  # noqa: B023  (called before the next round)


async def test_closing_releases_all_descriptors(flavour: Flavour, serve: Serve) -> None:
    peer = serve(OK)
    async with flavour.pool() as pool:
        await pool.request("GET", peer.url)  # descriptors that are opened once per process or loop are open now
    await flavour.until(lambda: peer.closed(1))
    await flavour.sleep(0.02)
    before = descriptors()
    async with flavour.pool(max_connections=20) as pool:
        for response in await hold(pool, peer, 20):
            await response.read()
            await response.close()
    await flavour.until(lambda: descriptors() <= before)


async def test_a_failed_connect_releases_its_descriptor(flavour: Flavour) -> None:
    with full_backlog() as (host, port):
        async with flavour.pool() as pool:
            extensions = {"timeout": {"connect": 0.02}}
            with pytest.raises(httpcore.ConnectTimeout):
                await pool.request("GET", f"http://{host}:{port}/", extensions=extensions)
            before = descriptors()
            for _ in range(5):
                with pytest.raises(httpcore.ConnectTimeout):
                    await pool.request("GET", f"http://{host}:{port}/", extensions=extensions)
            await flavour.until(lambda: descriptors() <= before)


@pytest.mark.parametrize("size", [10, 10_000_000])
async def test_close_may_be_called_while_a_response_is_open(flavour: Flavour, serve: Serve, size: int) -> None:
    peer = serve(always(reply(b"x" * size)))
    pool = flavour.pool(max_connections=1)
    (response,) = await hold(pool, peer, 1)
    await pool.close()
    assert pool.connections == []
    await response.close()
    assert state(pool) == "[Requests: 0 active, 0 queued | Connections: 0 active, 0 idle]"
    await flavour.until(lambda: peer.closed(1))
    assert len((await pool.request("GET", peer.url)).content) == size
    await pool.close()
