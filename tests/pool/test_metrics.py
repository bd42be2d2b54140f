"""`pool.metrics()`: what is counted, in every flavour."""

from __future__ import annotations

import dataclasses
import json
import pickle
import threading
from typing import TYPE_CHECKING, Any

import httpcore
import pytest

import httpcore_rs
from h2_peer import MAX_CONCURRENT_STREAMS, OK, http2_pool
from httpcore_rs import Counters
from peers import always, dropped, echo, refused_port, reply, silence

if TYPE_CHECKING:
    from flavours import Flavour
    from h2_peer import ServeH2
    from peers import Connection, Serve


def is_consistent(counters: Counters) -> bool:
    ended = counters.requests_finished + counters.requests_cancelled + sum(counters.requests_failed.values())
    return counters.requests_started == ended + counters.requests_active + counters.requests_waiting


def row(pool: Any, peer: Any) -> Counters:
    """The counters of a peer, which are those of the pool: it has no other one."""
    metrics = pool.raw.metrics()
    host, port = peer.address[:2]
    counters: Counters = metrics.origins[f"http://{host}:{port}"]
    assert metrics.total == counters
    assert is_consistent(counters)
    return counters


async def test_a_new_pool_has_counted_nothing(flavour: Flavour) -> None:
    async with flavour.pool(max_connections=7) as pool:
        metrics = pool.raw.metrics()
    assert (metrics.max_connections, metrics.other, metrics.requests) == (7, None, ())
    assert len(metrics.origins) == 0
    for name, value in metrics.total.as_dict().items():
        assert value in (0, {}) or value["sum"] == sum(value["counts"]) == 0, name


async def test_requests_and_connections_are_counted(flavour: Flavour, serve: Serve) -> None:
    peer = serve(always(reply(b"x" * 1000)))
    async with flavour.pool() as pool:
        for _ in range(3):
            await pool.request("GET", peer.url)
        counters = row(pool, peer)
        assert (counters.requests_started, counters.requests_finished) == (3, 3)
        assert (counters.connections_opened, counters.connections_reused, counters.connections_idle) == (1, 2, 1)
        sent = b"".join(connection.received for connection in peer.connections)
        assert counters.bytes_sent == len(sent)
        assert counters.bytes_received == 3 * len(reply(b"x" * 1000))
        for histogram, count in [
            (counters.waiting, 3),
            (counters.connect, 1),
            (counters.dns, 0),
            (counters.tls, 0),
            (counters.first_byte, 3),
            (counters.total, 3),
        ]:
            assert histogram.count == count
        assert 0 < counters.first_byte.sum <= counters.total.sum
        assert not counters.connections_closed
        assert counters.lifetime.count == 0
        await pool.close()
        counters = row(pool, peer)
        assert counters.connections_closed == {"pool_closed": 1}
        assert (counters.lifetime.count, counters.lifetime.bounds[-1]) == (1, 7200.0)
        assert counters.lifetime.sum > 0
        assert (counters.connections_idle, counters.requests_finished) == (0, 3)


async def test_names_and_tls_are_measured(flavour: Flavour, serve: Serve, certificates: Any) -> None:
    peer = serve(echo, tls=certificates.server_context())
    async with flavour.pool(ssl_context=httpcore_rs.TLSConfig(verify=str(certificates.ca))) as pool:
        await pool.request("GET", f"https://localhost:{peer.address[1]}/")
        total = pool.raw.metrics().total
    assert (total.dns.count, total.connect.count, total.tls.count) == (1, 1, 1)
    assert 0 < total.tls.sum < total.first_byte.sum
    # The handshake counts.
    assert total.bytes_received > 1000


async def test_requests_in_flight_are_shown_with_their_stage(flavour: Flavour, serve: Serve) -> None:
    go_on = threading.Event()

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.wait(go_on)
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        silence(connection)

    peer = serve(script)

    async def read_a_part() -> None:
        async with pool.stream("GET", peer.url):
            await flavour.until(is_over.is_set)

    is_over = threading.Event()
    async with flavour.pool(max_connections=1) as pool:
        first = flavour.start(read_a_part)
        await flavour.until(lambda: [each.stage for each in pool.raw.metrics().requests] == ["responding"])
        second = flavour.start(lambda: pool.request("GET", peer.url, extensions={"timeout": {"pool": 20.0}}))
        await flavour.until(lambda: row(pool, peer).requests_waiting == 1)
        go_on.set()
        await flavour.until(lambda: [each.stage for each in pool.raw.metrics().requests] == ["reading", "waiting"])
        reading, waiting = pool.raw.metrics().requests
        assert reading.origin == waiting.origin == f"http://127.0.0.1:{peer.address[1]}"
        assert reading.age >= waiting.age >= 0
        assert reading.held is not None
        assert waiting.held is None
        counters = row(pool, peer)
        assert (counters.requests_active, counters.connections_active) == (1, 1)
        is_over.set()
        await first.wait()
        await flavour.until(lambda: [each.stage for each in pool.raw.metrics().requests] == ["reading"])
        counters = row(pool, peer)
        assert (counters.requests_cancelled, counters.connections_closed) == (1, {"cancelled": 1})
        await pool.close()
        with pytest.raises(httpcore.ReadError):
            await second.wait()
        assert row(pool, peer).requests_failed == {"ReadError": 1}


async def test_failures_are_counted_by_class(flavour: Flavour, serve: Serve) -> None:
    peer = serve(silence)
    async with flavour.pool(max_connections=1) as pool:
        with pytest.raises(httpcore.ReadTimeout):
            await pool.request("GET", peer.url, extensions={"timeout": {"read": 0.01}})
        with refused_port() as port, pytest.raises(httpcore.ConnectError):
            await pool.request("GET", f"http://127.0.0.1:{port}/")
        async with pool.stream("GET", serve(always(reply(b"body"))).url):
            with pytest.raises(httpcore.PoolTimeout):
                await pool.request("GET", peer.url, extensions={"timeout": {"pool": 0.01}})
        total = pool.raw.metrics().total
    assert is_consistent(total)
    assert total.requests_failed == {"ReadTimeout": 1, "ConnectError": 1, "PoolTimeout": 1}
    assert (total.connections_failed, total.connections_opened) == (1, 2)
    assert total.connections_closed["failed"] == 1


async def test_a_cancelled_request_is_counted(async_flavour: Flavour, serve: Serve) -> None:
    peer = serve(silence)
    async with async_flavour.pool() as pool:
        task = async_flavour.start(lambda: pool.request("GET", peer.url))
        await async_flavour.until(lambda: pool.raw.metrics().total.requests_active == 1 and peer.connections)
        await async_flavour.until(lambda: pool.raw.metrics().requests[0].stage == "responding")
        task.cancel()
        await task.finished()
        counters = row(pool, peer)
    assert (counters.requests_cancelled, counters.requests_active) == (1, 0)
    assert counters.connections_closed == {"cancelled": 1}


async def test_a_request_that_is_sent_again_is_counted(flavour: Flavour, serve: Serve) -> None:
    peer = serve(dropped)
    async with flavour.pool() as pool:
        for _ in range(2):
            await pool.request("GET", peer.url)
        counters = row(pool, peer)
    assert (counters.requests_started, counters.requests_finished, counters.requests_replayed) == (2, 2, 1)
    assert (counters.connections_opened, counters.connections_closed) == (2, {"peer_closed": 1})


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"keepalive_expiry": 0.0}, "expired"),
        ({"max_connections": 1}, "evicted"),
        ({"max_keepalive_connections": 0}, "surplus"),
    ],
)
async def test_the_reason_for_closing_a_connection_is_counted(
    flavour: Flavour, serve: Serve, options: dict[str, Any], reason: str
) -> None:
    async with flavour.pool(**options) as pool:
        for peer in [serve(echo), serve(echo)]:
            await pool.request("GET", peer.url)
        assert pool.raw.metrics().total.connections_closed[reason] >= 1


async def test_a_connection_that_cannot_be_used_again_is_counted(flavour: Flavour, serve: Serve) -> None:
    peer = serve(always(reply(b"ok", headers=[(b"Connection", b"close")])))
    async with flavour.pool() as pool:
        await pool.request("GET", peer.url)
        counters = row(pool, peer)
        assert (counters.requests_finished, counters.connections_closed) == (1, {"not_reusable": 1})


async def test_http2_streams_are_counted(flavour: Flavour, serve_h2: ServeH2) -> None:
    peer = serve_h2(OK, settings={MAX_CONCURRENT_STREAMS: 10})
    async with http2_pool(flavour) as pool:
        for _ in range(3):
            await pool.request("GET", peer.url)
        total = pool.raw.metrics().total
        assert is_consistent(total)
        assert (total.requests_finished, total.connections_opened, total.connections_reused) == (3, 1, 2)
        assert (total.connections_idle, total.first_byte.count, total.total.count) == (1, 3, 3)
        assert total.bytes_received > 0
        async with pool.stream("GET", peer.url):
            assert pool.raw.metrics().total.requests_active == 1
        total = pool.raw.metrics().total
        assert is_consistent(total)


async def test_snapshots_are_consistent_under_load(flavour: Flavour, serve: Serve) -> None:
    peer = serve(echo)
    async with flavour.pool(max_connections=2) as pool:

        async def requests() -> None:
            for _ in range(10):
                await pool.request("GET", peer.url)

        tasks = [flavour.start(requests) for _ in range(8)]
        while not all(task.done for task in tasks):
            metrics = pool.raw.metrics()
            assert is_consistent(metrics.total)
            assert metrics.total.connections_active + metrics.total.connections_connecting <= 2
            in_flight = metrics.total.requests_active + metrics.total.requests_waiting
            assert len(metrics.requests) == in_flight
            await flavour.sleep(0.001)
        for task in tasks:
            await task.wait()
        assert row(pool, peer).requests_finished == 80


async def test_metrics_are_values(flavour: Flavour, serve: Serve) -> None:
    peer = serve(always(reply(b"ok", headers=[(b"Connection", b"close")])))
    async with flavour.pool() as pool:
        async with pool.stream("GET", peer.url):
            metrics = pool.raw.metrics()
        later = pool.raw.metrics()
    assert metrics != later
    assert pickle.loads(pickle.dumps(metrics)) == metrics
    assert pickle.loads(pickle.dumps(later)) == later
    as_dict = json.loads(json.dumps(later.as_dict()))
    assert as_dict["total"]["requests_started"] == 1
    assert as_dict["origins"].keys() == later.origins.keys()
    for changed in [metrics, metrics.total, metrics.total.total, metrics.requests[0]]:
        hash(changed)
        with pytest.raises(dataclasses.FrozenInstanceError):
            changed.total = 1


def test_a_histogram_tells_about_its_durations() -> None:
    bounds = httpcore_rs.Histogram((0,) * 17, 0.0).bounds
    assert len(bounds) == 16
    assert bounds == tuple(sorted(bounds))
    empty = httpcore_rs.Histogram((0,) * 17, 0.0)
    assert (empty.count, empty.mean, empty.quantile(0.5)) == (0, None, None)
    some = httpcore_rs.Histogram((6, 0, 3, *(0,) * 13, 1), 12.0)
    assert (some.count, some.mean) == (10, 1.2)
    assert [some.quantile(fraction) for fraction in (0, 0.6, 0.61, 0.9, 1)] == [
        bounds[0],
        bounds[0],
        bounds[2],
        bounds[2],
        float("inf"),
    ]
    with pytest.raises(ValueError, match="between 0 and 1"):
        some.quantile(1.1)
