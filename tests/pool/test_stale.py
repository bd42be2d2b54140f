"""Connections that end while they are idle, or just as they are used again."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import httpcore
import pytest

from peers import answers, echo, reply, silence

if TYPE_CHECKING:
    from flavours import Flavour
    from peers import Connection, Serve


@pytest.mark.parametrize("how", ["end", "reset"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_connection_closed_while_idle_is_not_used_again(
    flavour: Flavour, serve: Serve, method: str, how: str
) -> None:
    close, closed = threading.Event(), threading.Event()

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(reply(b"ok"))
        if connection.number == 0:
            connection.wait(close)
            connection.reset() if how == "reset" else connection.end()
            closed.set()
        else:
            silence(connection)

    peer = serve(script)
    async with flavour.pool(max_connections=1) as pool:
        await pool.request("GET", peer.url)
        close.set()
        await flavour.until(closed.is_set)
        await flavour.until(pool.connections[0].has_expired)
        assert (await pool.request(method, peer.url)).content == b"ok"
        assert len(pool.connections) == 1
    assert [request.method for request in peer.requests] == [b"GET", method.encode()]
    assert len(peer.connections) == 2


async def test_bytes_on_an_idle_connection_never_answer_the_next_request(flavour: Flavour, serve: Serve) -> None:
    go, sent = threading.Event(), threading.Event()

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(reply(b"genuine"))
        if connection.number == 0:
            connection.wait(go)
            connection.send(reply(b"forged"))
            sent.set()
        echo(connection)

    peer = serve(script)
    async with flavour.pool() as pool:
        await pool.request("GET", peer.url)
        go.set()
        await flavour.until(sent.is_set)
        await flavour.until(pool.connections[0].has_expired)
        for _ in range(2):
            assert b"forged" not in (await pool.request("GET", peer.url)).content
        await flavour.until(peer.connections[0].closed.is_set)
    assert len(peer.connections) == 2


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
@pytest.mark.parametrize("how", ["end", "reset"])
async def test_an_idempotent_request_is_sent_once_more_when_its_reused_connection_dies(
    flavour: Flavour, serve: Serve, method: str, how: str
) -> None:
    def script(connection: Connection) -> None:
        if connection.number == 0:
            connection.read_request()
            connection.send(reply())
            connection.read_request()
            connection.reset() if how == "reset" else connection.end()
        else:
            connection.read_request()
            connection.send(reply())

    peer = serve(script)
    content = b"body" if method == "PUT" else None
    async with flavour.pool(max_connections=1) as pool:
        await pool.request("GET", peer.url)
        assert (await pool.request(method, peer.url + "again", content=content)).status == 200
    # The same request, byte for byte, on a new connection.
    assert [request.target for request in peer.requests] == [b"/", b"/again", b"/again"]
    assert peer.requests[1] == peer.requests[2]
    assert len(peer.connections) == 2


@pytest.mark.parametrize("method", ["POST", "PATCH", "UNKNOWN"])
@pytest.mark.parametrize("how", ["end", "reset"])
async def test_a_request_that_is_not_idempotent_is_never_sent_twice(
    flavour: Flavour, serve: Serve, method: str, how: str
) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        if connection.number == 0:
            connection.send(reply())
            connection.read_request()
            connection.reset() if how == "reset" else connection.end()
        connection.send(reply())

    peer = serve(script)
    async with flavour.pool(max_connections=1) as pool:
        await pool.request("GET", peer.url)
        with pytest.raises((httpcore.RemoteProtocolError, httpcore.ReadError)) as raised:
            await pool.request(method, peer.url, content=b"order")
        assert str(raised.value)
        assert pool.connections == []
        assert (await pool.request("GET", peer.url)).status == 200
    assert [request.method for request in peer.requests] == [b"GET", method.encode(), b"GET"]


async def test_a_body_that_can_be_read_only_once_is_not_sent_again(flavour: Flavour, serve: Serve) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(reply())
        connection.read_request()

    peer = serve(script)
    async with flavour.pool() as pool:
        await pool.request("GET", peer.url)
        with pytest.raises((httpcore.RemoteProtocolError, httpcore.ReadError)):
            await pool.request("PUT", peer.url, content=flavour.parts(b"once"))
    assert [request.method for request in peer.requests] == [b"GET", b"PUT"]


async def test_a_request_on_a_new_connection_is_not_sent_again(flavour: Flavour, serve: Serve) -> None:
    peer = serve(answers(b""))
    async with flavour.pool(retries=3) as pool:
        with pytest.raises(httpcore.RemoteProtocolError):
            await pool.request("GET", peer.url)
    assert len(peer.requests) == 1


async def test_a_request_is_not_sent_again_once_a_byte_of_its_response_came(flavour: Flavour, serve: Serve) -> None:
    peer = serve(answers(reply(), b"H"))
    async with flavour.pool() as pool:
        await pool.request("GET", peer.url)
        with pytest.raises(httpcore.RemoteProtocolError):
            await pool.request("GET", peer.url)
    assert len(peer.requests) == 2


async def test_a_server_that_closes_at_will_costs_no_idempotent_request(flavour: Flavour, serve: Serve) -> None:
    # Each connection serves two requests and closes while the third may be under way.
    peer = serve(answers(reply(b"ok"), reply(b"ok")))

    async with flavour.pool(max_connections=5) as pool:

        async def many() -> None:
            for _ in range(50):
                assert (await pool.request("GET", peer.url)).content == b"ok"

        await flavour.gather(*[many] * 10)
    assert len(peer.requests) >= 500
