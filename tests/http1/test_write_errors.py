"""A server may answer before it has read the request, and close: its response reaches the caller."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import httpcore
import pytest

from peers import reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from flavours import Flavour
    from peers import Connection, Script, Serve

BIG = b"x" * 16 * 1024 * 1024
TOO_LARGE = reply(b"too large", status=b"413 Content Too Large", headers=[(b"Connection", b"close")])


@pytest.mark.parametrize("kind", ["bytes", "parts"])
async def test_an_early_answer_is_read_while_the_body_is_sent(flavour: Flavour, serve: Serve, kind: str) -> None:
    # The server answers after the head and reads on, as RFC 9112, 9.6 recommends.
    def script(connection: Connection) -> None:
        connection.read_head()
        connection.send(TOO_LARGE)

    peer = serve(script)
    content = BIG if kind == "bytes" else flavour.parts(*[BIG[:65536]] * 256)
    async with flavour.pool(max_connections=1) as pool:
        response = await pool.request("POST", peer.url, content=content)
        assert response.status == 413
        assert response.content == b"too large"
        assert pool.connections == []
        await flavour.until(lambda: peer.closed(1))


@pytest.mark.parametrize("kind", ["bytes", "parts"])
async def test_an_early_answer_is_readable_after_the_server_has_gone(flavour: Flavour, serve: Serve, kind: str) -> None:
    # The server answers and aborts the connection: writing fails, but the answer arrived before.
    peer = serve(answering_and_gone(after=0))
    content = BIG if kind == "bytes" else flavour.parts(*[BIG[:65536]] * 256)
    async with flavour.pool(max_connections=1) as pool:
        response = await pool.request("POST", peer.url, content=content)
        assert response.status == 413
        assert response.content == b"too large"
        assert pool.connections == []


def answering_and_gone(after: int, gone: threading.Event | None = None) -> Script:
    def script(connection: Connection) -> None:
        connection.read_head()
        connection.read_exactly(after)
        connection.send(TOO_LARGE)
        connection.reset()
        if gone is not None:
            gone.set()

    return script


async def test_a_write_that_fails_is_followed_by_a_read(flavour: Flavour, serve: Serve) -> None:
    gone = threading.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"first"
        await flavour.until(gone.is_set)
        for _ in range(10):
            yield b"too late"

    sending = body()
    peer = serve(answering_and_gone(0, gone))
    async with flavour.pool(max_connections=1) as pool:
        response = await pool.request("POST", peer.url, content=flavour.body(sending))
        assert response.status == 413
        assert response.content == b"too large"
    await sending.aclose()


async def test_an_answer_ends_a_body_that_would_never_end(flavour: Flavour, serve: Serve) -> None:
    async def body() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65536

    endless = body()
    peer = serve(answering_and_gone(after=100_000))
    async with flavour.pool(max_connections=1) as pool:
        response = await pool.request("POST", peer.url, content=flavour.body(endless))
        assert response.status == 413
        assert response.content == b"too large"
        assert pool.connections == []
    await endless.aclose()


async def test_a_connection_that_breaks_while_the_body_is_sent_is_an_error(flavour: Flavour, serve: Serve) -> None:
    def script(connection: Connection) -> None:
        connection.read_head()
        connection.reset()

    peer = serve(script)
    async with flavour.pool(max_connections=1) as pool:
        with pytest.raises((httpcore.WriteError, httpcore.ReadError, httpcore.RemoteProtocolError)) as raised:
            await pool.request("POST", peer.url, content=BIG)
        assert str(raised.value)
        assert pool.connections == []


async def test_a_response_that_outruns_its_request_is_complete(flavour: Flavour, serve: Serve) -> None:
    # Both bodies are under way at the same time, and the response ends first. The connection is not reused before the
    # request's body is out as well.
    answered = threading.Event()

    def script(connection: Connection) -> None:
        if connection.number == 0:
            connection.read_head()
            connection.send(reply(b"early"))
            answered.set()
            connection.read_until(b"0\r\n\r\n")
        while True:
            connection.read_request()
            connection.send(reply(b"next"))

    async def body() -> AsyncIterator[bytes]:
        yield b"first"
        await flavour.until(answered.is_set)
        yield b"last"

    peer = serve(script)
    async with flavour.pool() as pool:
        response = await pool.request("POST", peer.url, content=flavour.body(body()))
        assert response.content == b"early"
        assert (await pool.request("GET", peer.url)).content == b"next"
