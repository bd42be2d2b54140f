"""`replay`: which requests are sent once more when their connection fails under them. No server processes one twice."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import httpcore
import pytest
from h2.errors import ErrorCodes

from h2_peer import OK, http2_pool
from peers import reply

if TYPE_CHECKING:
    from flavours import Flavour
    from h2_peer import ServeH2
    from h2_session import Session
    from peers import Connection, Serve

REPLAYS = ["idempotent", "unsent", "never"]
METHODS = ["GET", "POST"]
# By option and method, whether a request is sent again that the server may have processed.
MAY_REPEAT = {("idempotent", "GET")}
FAILURES = (httpcore.RemoteProtocolError, httpcore.ReadError)

# Peers of this module that speak HTTP/2 do so over TCP.
OVER = ("plain",)


@pytest.mark.parametrize("replay", REPLAYS)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("how", ["end", "reset"])
async def test_a_request_that_may_have_been_processed(
    flavour: Flavour, serve: Serve, replay: str, method: str, how: str
) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(reply(b"ok"))
        if connection.number == 0:
            connection.read_request()
            connection.reset() if how == "reset" else connection.end()

    peer = serve(script)
    async with flavour.pool(max_connections=1, replay=replay) as pool:
        await pool.request("GET", peer.url)
        if (replay, method) in MAY_REPEAT:
            assert (await pool.request(method, peer.url + "order", content=b"body")).content == b"ok"
        else:
            with pytest.raises(FAILURES):
                await pool.request(method, peer.url + "order", content=b"body")
        times = [request.target for request in peer.requests].count(b"/order")
        assert times == (2 if (replay, method) in MAY_REPEAT else 1)


@pytest.mark.parametrize("replay", REPLAYS)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("how", ["end", "reset"])
async def test_a_connection_that_was_closed_while_idle(
    flavour: Flavour, serve: Serve, replay: str, method: str, how: str
) -> None:
    # The end is seen before a byte is written: the request has not begun.
    close = threading.Event()

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(reply(b"ok"))
        if connection.number == 0:
            connection.wait(close)
            connection.reset() if how == "reset" else connection.end()

    peer = serve(script)
    async with flavour.pool(max_connections=1, replay=replay) as pool:
        await pool.request("GET", peer.url)
        close.set()
        await flavour.until(pool.connections[0].has_expired)
        body: Any = flavour.parts(b"part") if method == "POST" else None
        assert (await pool.request(method, peer.url + "order", content=body)).content == b"ok"
    assert [request.target for request in peer.requests] == [b"/", b"/order"]


def refuses(session: Session) -> None:
    stream = session.read_request()
    session.reset(stream, ErrorCodes.REFUSED_STREAM)


def goes_away(session: Session) -> None:
    session.read_request()
    session.goaway(0)


@pytest.mark.parametrize("replay", REPLAYS)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("says_so", [refuses, goes_away])
async def test_a_request_that_the_peer_says_it_did_not_process(
    flavour: Flavour, serve_h2: ServeH2, engine: str, replay: str, method: str, says_so: Any
) -> None:
    said = threading.Event()

    def script(session: Session) -> None:
        if not said.is_set():
            said.set()
            says_so(session)
        OK(session)

    peer = serve_h2(script)
    async with http2_pool(flavour, replay=replay) as pool:
        if replay == "never":
            with pytest.raises(FAILURES):
                await pool.request(method, peer.url, content=b"body")
        else:
            assert (await pool.request(method, peer.url, content=b"body")).content == b"ok"
    assert len(peer.streams) == (1 if replay == "never" else 2)


@pytest.mark.parametrize("replay", REPLAYS)
async def test_a_body_that_was_begun_is_never_sent_again(
    flavour: Flavour, serve_h2: ServeH2, engine: str, replay: str
) -> None:
    peer = serve_h2(refuses)
    async with http2_pool(flavour, replay=replay) as pool:
        with pytest.raises(FAILURES):
            await pool.request("PUT", peer.url, content=flavour.parts(b"once"))
    assert len(peer.streams) == 1


@pytest.mark.parametrize("replay", REPLAYS)
@pytest.mark.parametrize("method", METHODS)
async def test_an_http2_request_that_may_have_been_processed(
    flavour: Flavour, serve_h2: ServeH2, engine: str, replay: str, method: str
) -> None:
    def script(session: Session) -> None:
        session.respond(session.read_request(), b"ok")
        if session is peer.sessions[0]:
            session.read_request()
            session.abort()
        else:
            OK(session)

    peer = serve_h2(script)
    repeats = (replay, method) in MAY_REPEAT
    async with http2_pool(flavour, max_connections=1, replay=replay) as pool:
        await pool.request("GET", peer.url)
        if repeats:
            assert (await pool.request(method, peer.url + "order", content=b"body")).content == b"ok"
        else:
            with pytest.raises(FAILURES):
                await pool.request(method, peer.url + "order", content=b"body")
    assert [stream.target for stream in peer.streams].count(b"/order") == (2 if repeats else 1)
