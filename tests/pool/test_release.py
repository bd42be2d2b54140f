"""The end of a body: it makes a connection, or a stream of one, available to the next request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpcore
import pytest

import h2_peer
from h2_peer import MAX_CONCURRENT_STREAMS, http2_pool
from peers import always, reply, silence

if TYPE_CHECKING:
    from flavours import Flavour
    from h2_peer import ServeH2
    from peers import Connection, Serve

BODIES = [
    reply(b"ok"),
    reply(status=b"204 No Content", length=False),
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
]


@pytest.mark.parametrize("answer", BODIES, ids=["length", "no content", "chunked"])
async def test_a_connection_is_idle_when_the_body_has_been_read(flavour: Flavour, serve: Serve, answer: bytes) -> None:
    peer = serve(always(answer))
    async with flavour.pool(max_connections=1) as pool:
        first = await pool.handle(httpcore.Request("GET", peer.url, headers={"Host": "test"}))
        await first.read()
        assert "[Requests: 0 active, 0 queued | Connections: 0 active, 1 idle]" in repr(pool)
        second = await pool.handle(httpcore.Request("GET", peer.url, headers={"Host": "test"}))
        # The connection no longer belongs to the first response.
        await first.close()
        assert "[Requests: 1 active, 0 queued | Connections: 1 active, 0 idle]" in repr(pool)
        await second.read()
        await second.close()
    assert len(peer.connections) == 1


async def test_a_stream_is_free_when_the_body_has_been_read(flavour: Flavour, serve_h2: ServeH2) -> None:
    peer = serve_h2(h2_peer.OK, settings={MAX_CONCURRENT_STREAMS: 1})
    async with http2_pool(flavour, max_connections=1) as pool:
        responses = []
        for _ in range(3):
            responses.append(await pool.handle(httpcore.Request("GET", peer.url, headers={"Host": "test"})))
            assert await responses[-1].read() == b"ok"
            assert "[Requests: 0 active, 0 queued | Connections: 0 active, 1 idle]" in repr(pool)
        for response in responses:
            await response.close()
    assert len(peer.connections) == 1


async def test_a_response_keeps_a_connection_that_cannot_be_used_again(flavour: Flavour, serve: Serve) -> None:
    peer = serve(always(reply(b"ok", headers=[(b"Connection", b"close")])))
    async with flavour.pool() as pool:
        async with pool.stream("GET", peer.url) as response:
            await response.read()
            stream = response.extensions["network_stream"]
            assert stream.get_extra_info("server_addr") == peer.address
        assert pool.connections == []


async def test_a_response_keeps_a_connection_that_was_upgraded(flavour: Flavour, serve: Serve) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        silence(connection)

    peer = serve(script)
    async with flavour.pool() as pool:
        headers = {"Connection": "upgrade", "Upgrade": "echo"}
        async with pool.stream("GET", peer.url, headers=headers) as response:
            assert response.status == 101
            await response.read()
            assert "[Requests: 1 active, 0 queued | Connections: 1 active, 0 idle]" in repr(pool)
        assert pool.connections == []
