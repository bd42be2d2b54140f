"""A single connection without a pool, shared by threads or tasks: it is never replaced by another one."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any, Callable

import httpcore
import pytest

import engines
import httpcore_rs
from h2_peer import MAX_CONCURRENT_STREAMS, holding
from peers import reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from certificates import Certificates
    from flavours import Flavour, Task
    from h2_peer import ServeH2
    from h2_session import Session
    from peers import Connection, Serve


class Single:
    """An `HTTPConnection` or an `AsyncHTTPConnection`."""

    def __init__(self, flavour: Flavour, url: str, **arguments: Any) -> None:
        self.flavour = flavour
        self.url = url
        arguments = {"http1": False, "http2": True, **arguments}
        if url.startswith("https"):
            arguments.setdefault("ssl_context", engines.current.verifying_nothing())
        self.raw = getattr(httpcore_rs, flavour.prefixed("HTTPConnection"))(httpcore.URL(url).origin, **arguments)

    async def request(self, name: str = "", **timeout: float) -> httpcore.Response:
        response: httpcore.Response = await self.flavour.call(
            self.raw, "request", "GET", self.url + name, extensions={"timeout": timeout}
        )
        return response

    def start(self, count: int) -> list[Task]:
        """Starts this many requests at once, each to a target of its own."""

        def get(number: int) -> Callable[[], Any]:
            return lambda: self.request(str(number))

        return [self.flavour.start(get(number)) for number in range(count)]


@contextlib.asynccontextmanager
async def single(flavour: Flavour, url: str, **arguments: Any) -> AsyncIterator[Single]:
    connection = Single(flavour, url, **arguments)
    try:
        yield connection
    finally:
        await flavour.call(connection.raw, "close")


@pytest.mark.parametrize("limit", [1, 3, None])
async def test_requests_wait_for_a_free_stream(flavour: Flavour, serve_h2: ServeH2, limit: int | None) -> None:
    """The first ones while the connection is being established."""
    go = threading.Event()
    peer = serve_h2(holding(go), settings={MAX_CONCURRENT_STREAMS: limit})
    async with single(flavour, peer.url) as connection:
        tasks = connection.start(8)
        await flavour.until(lambda: len(peer.streams) == (limit or 8))
        go.set()
        for number, task in enumerate(tasks):
            assert (await task.wait()).content == b"/%d" % number
        assert "HTTP/2, IDLE, Request Count: 8]" in repr(connection.raw)
    assert peer.sessions[0].most_open <= (limit or 8)
    assert len(peer.connections) == 1


async def test_a_free_stream_that_does_not_come(flavour: Flavour, serve_h2: ServeH2) -> None:
    go = threading.Event()
    peer = serve_h2(holding(go), settings={MAX_CONCURRENT_STREAMS: 1})
    async with single(flavour, peer.url) as connection:
        (first,) = connection.start(1)
        await flavour.until(lambda: peer.streams)
        with pytest.raises(httpcore.PoolTimeout, match=r"took no more requests within 0\.05 s"):
            await connection.request(pool=0.05)
        go.set()
        assert (await first.wait()).content == b"/0"
        assert (await connection.request("again")).content == b"/again"


@pytest.mark.parametrize("end", ["closed", "GOAWAY"])
async def test_a_connection_that_ends_while_requests_wait(flavour: Flavour, serve_h2: ServeH2, end: str) -> None:
    def script(session: Session) -> None:
        stream = session.read_head()
        session.wait(go)
        session.goaway(stream.id)
        session.respond(stream, stream.target)

    go = threading.Event()
    peer = serve_h2(script, settings={MAX_CONCURRENT_STREAMS: 1})
    async with single(flavour, peer.url) as connection:
        (first,) = connection.start(1)
        await flavour.until(lambda: peer.streams)
        waiting = connection.start(3)
        await flavour.sleep(0.05)
        if end == "closed":
            await flavour.call(connection.raw, "close")
            with pytest.raises(httpcore.ReadError):
                await first.wait()
            go.set()
        else:
            go.set()
            assert (await first.wait()).content == b"/0"
        for task in waiting:
            with pytest.raises(httpcore.ConnectionNotAvailable):
                await task.wait()
        assert connection.raw.is_closed()


async def test_a_server_that_chooses_http1(flavour: Flavour, serve: Serve, certificates: Certificates) -> None:
    """Then the connection takes one request at a time, as in httpcore."""

    def script(connection: Connection) -> None:
        while True:
            connection.read_request()
            connection.wait(go)
            connection.send(reply(b"ok"))

    go = threading.Event()
    peer = serve(script, tls=certificates.server_context())
    config = httpcore_rs.TLSConfig(verify=str(certificates.ca))
    url = peer.url.replace("http://", "https://")
    async with single(flavour, url, http1=True, ssl_context=config) as connection:
        tasks = connection.start(3)
        await flavour.until(lambda: sum(task.done for task in tasks) == 2)
        go.set()
        outcomes = [await outcome(task) for task in tasks]
        assert sorted(outcomes) == ["ConnectionNotAvailable", "ConnectionNotAvailable", "ok"]
        assert (await connection.request()).content == b"ok"


async def outcome(task: Task) -> str:
    try:
        response: httpcore.Response = await task.wait()
    except httpcore.ConnectionNotAvailable as exc:
        return type(exc).__name__
    return response.content.decode()


async def test_a_connect_that_fails(flavour: Flavour) -> None:
    async with single(flavour, "http://127.0.0.1:1/") as connection:
        tasks = connection.start(3)
        failures = set()
        for task in tasks:
            with pytest.raises((httpcore.ConnectError, httpcore.ConnectionNotAvailable)) as raised:
                await task.wait()
            failures.add(raised.type)
        assert httpcore.ConnectError in failures
        with pytest.raises(httpcore.ConnectError):
            await connection.request()
