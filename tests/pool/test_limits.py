"""The limits of connections and of idle ones to one origin, beside those of the whole pool."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import httpcore
import pytest

from h2_peer import OK as H2_OK
from h2_peer import http2_pool
from libraries import Client
from peers import always, reply

if TYPE_CHECKING:
    from flavours import Flavour
    from h2_peer import ServeH2
    from libraries import Library
    from peers import Connection, Serve

OK = always(reply(b"ok"))


class Gate:
    """A script that answers when the test lets it."""

    def __init__(self) -> None:
        self.is_open = threading.Event()

    def __call__(self, connection: Connection) -> None:
        while True:
            connection.read_request()
            connection.wait(self.is_open)
            connection.send(reply(b"ok"))


async def test_an_origin_has_no_more_connections_than_allowed(flavour: Flavour, serve: Serve) -> None:
    gate = Gate()
    busy, other = serve(gate), serve(OK)
    async with flavour.pool(max_connections_per_origin=2) as pool:
        tasks = [flavour.start(lambda: pool.request("GET", busy.url)) for _ in range(5)]
        await flavour.until(lambda: len(busy.requests) == 2 and "3 queued" in repr(pool.raw))
        # The other origin has its own.
        assert (await pool.request("GET", other.url)).content == b"ok"
        assert len(busy.connections) == 2
        with pytest.raises(httpcore.PoolTimeout, match="max_connections=10, max_connections_per_origin=2, in use by"):
            await pool.request("GET", busy.url, extensions={"timeout": {"pool": 0.05}})
        gate.is_open.set()
        assert {(await task.wait()).content for task in tasks} == {b"ok"}
    assert (len(busy.connections), len(busy.requests)) == (2, 5)


async def test_an_origin_keeps_no_more_idle_connections_than_allowed(flavour: Flavour, serve: Serve) -> None:
    gate = Gate()
    peer, other = serve(gate), serve(OK)
    async with flavour.pool(max_keepalive_connections_per_origin=1) as pool:
        tasks = [flavour.start(lambda: pool.request("GET", peer.url)) for _ in range(3)]
        await flavour.until(lambda: len(peer.requests) == 3)
        assert (await pool.request("GET", other.url)).content == b"ok"
        gate.is_open.set()
        for task in tasks:
            await task.wait()
        assert len(pool.connections) == 2
        await flavour.until(lambda: peer.closed(2))
        assert other.closed(0)


async def test_no_idle_connection_is_kept(flavour: Flavour, serve: Serve) -> None:
    peer = serve(OK)
    async with flavour.pool(max_keepalive_connections_per_origin=0) as pool:
        for _ in range(2):
            assert (await pool.request("GET", peer.url)).content == b"ok"
            assert pool.connections == []
    assert len(peer.connections) == 2


async def test_streams_of_http2_are_not_connections(flavour: Flavour, serve_h2: ServeH2) -> None:
    peer = serve_h2(H2_OK)
    async with http2_pool(flavour, max_connections_per_origin=1) as pool:
        tasks = [flavour.start(lambda: pool.request("GET", peer.url)) for _ in range(5)]
        assert {(await task.wait()).status for task in tasks} == {200}
    assert len(peer.connections) == 1


async def test_limits_larger_than_those_of_the_pool_have_no_effect(flavour: Flavour, serve: Serve) -> None:
    peer = serve(OK)
    limits: dict[str, Any] = {"max_connections_per_origin": 50, "max_keepalive_connections_per_origin": 50}
    async with flavour.pool(max_connections=1, max_keepalive_connections=0, **limits) as pool:
        for _ in range(2):
            assert (await pool.request("GET", peer.url)).content == b"ok"
            assert pool.connections == []


async def test_clients_take_the_limits(flavour: Flavour, serve: Serve, library: Library) -> None:
    peer = serve(OK)
    transport = library.transport(flavour, max_keepalive_connections_per_origin=0)
    async with Client(flavour, library, transport=transport) as client:
        for _ in range(2):
            assert (await client.send("GET", peer.url)).text == "ok"
    assert len(peer.connections) == 2
