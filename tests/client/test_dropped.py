"""Responses that are dropped, unread and unclosed, in other threads and by the garbage collector.

The owner of a connection closes it (the event loop, or for threads the pool), wherever its response was dropped. So the
server never sees more connections than the pool may have, and none after the pool was closed.
"""

from __future__ import annotations

import gc
import queue
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING, Any

import httpcore
import pytest

import httpcore_rs
from peers import reply

if TYPE_CHECKING:
    from collections.abc import Iterator

    from certificates import Certificates
    from flavours import Flavour, Pool
    from libraries import Library
    from peers import Connection, Peer, Serve

LIMIT = 3
HAS_STATES = hasattr(socket, "TCP_INFO")
ENGINES = ["plain", "rustls", "ssl.SSLContext", "network_backend"]
SHORT, LONG = reply(b"x" * 10), reply(b"x" * 3_000_000)
TIMEOUT = {"timeout": {"pool": 10.0, "connect": 10.0, "read": 10.0}}


def established(connection: Connection) -> bool:
    """Returns True while the client has its end open, by the socket's state: the peer may not have read the end."""
    if connection.closed.is_set():
        return False
    try:
        return not HAS_STATES or connection.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) == b"\x01"
    except (OSError, ValueError):
        return False


def count(peer: Peer) -> int:
    return sum(established(connection) for connection in list(peer.connections))


class Server:
    """A peer whose responses are too long to be read in advance. It counts how many connections it has at a time."""

    def __init__(self, serve: Serve, certificates: Certificates, kind: str) -> None:
        self.most = 0
        tls = certificates.server_context() if kind in ("rustls", "ssl.SSLContext") else None
        self.peer = serve(self.script, tls=tls)
        self.url = self.peer.url

    def script(self, connection: Connection) -> None:
        # Most of a response stays here: the test is not about the time that it takes to copy and to encrypt it.
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
        while True:
            short = connection.read_request().target == b"/short"
            self.most = max(self.most, count(self.peer))
            connection.send(SHORT if short else LONG)

    def count(self) -> int:
        return count(self.peer)


class Elsewhere:
    """A thread that drops or collects the objects that it gets. It lives as long as the test and never calls a pool."""

    def __init__(self) -> None:
        self.jobs: queue.Queue[Any] = queue.Queue()
        self.thread = threading.Thread(target=self._run, name="elsewhere", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while (job := self.jobs.get()) is not None:
            done, value = job
            if value == "collect":
                gc.collect()
            # The last reference to the object.
            del value, job
            done.set()

    def run(self, value: Any) -> None:
        done = threading.Event()
        self.jobs.put((done, value))
        del value
        assert done.wait(10)


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    """Returns the only thread in which garbage is collected while the test runs."""
    thread = Elsewhere()
    gc.collect()
    gc.disable()
    yield thread
    gc.enable()
    # Objects that a test has leaked are reported with the same test.
    gc.collect()
    thread.jobs.put(None)
    thread.thread.join(5)


def arguments(flavour: Flavour, certificates: Certificates, kind: str) -> dict[str, Any]:
    if kind == "rustls":
        return {"ssl_context": httpcore_rs.TLSConfig(verify=str(certificates.ca))}
    if kind == "ssl.SSLContext":
        return {"ssl_context": ssl.create_default_context(cafile=str(certificates.ca))}
    return {"network_backend": flavour.backend()} if kind == "network_backend" else {}


async def open_response(pool: Pool, url: str) -> Any:
    request = httpcore.Request("GET", url, headers={"Host": "x"}, extensions=TIMEOUT)
    return (await pool.handle(request)).raw


async def drop_by_hand(pool: Pool, url: str, elsewhere: Elsewhere, number: int) -> None:
    """Drops the last reference in another thread."""
    held = [await open_response(pool, url) for _ in range(number)]
    while held:
        elsewhere.run(held.pop())


async def drop_in_cycles(pool: Pool, url: str, elsewhere: Elsewhere, number: int) -> None:
    """Drops responses that refer to themselves: the collector finds them in another thread."""
    for _ in range(number):
        response = await open_response(pool, url)
        response.extensions["itself"] = response
        del response
    elsewhere.run("collect")


WAYS = {"by hand": drop_by_hand, "in cycles": drop_in_cycles}


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ENGINES)
async def test_five_hundred_dropped_responses(
    flavour: Flavour, serve: Serve, certificates: Certificates, elsewhere: Elsewhere, kind: str, way: str
) -> None:
    server = Server(serve, certificates, kind)
    pool = flavour.pool(max_connections=LIMIT, **arguments(flavour, certificates, kind))
    for number in range(0, 500, LIMIT):
        await WAYS[way](pool, server.url, elsewhere, min(LIMIT, 500 - number))
        assert server.most <= LIMIT
    # All slots are free again.
    await flavour.gather(*[lambda: pool.request("GET", server.url + "short", extensions=TIMEOUT)] * LIMIT)
    assert server.most <= LIMIT
    assert server.count() <= LIMIT
    await pool.close()
    await flavour.until(lambda: server.count() == 0)
    assert "0 active, 0 idle" in repr(pool)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ENGINES)
async def test_the_limit_holds_and_closing_closes_all(
    flavour: Flavour, serve: Serve, certificates: Certificates, elsewhere: Elsewhere, kind: str, way: str
) -> None:
    server = Server(serve, certificates, kind)
    pool = flavour.pool(max_connections=LIMIT, **arguments(flavour, certificates, kind))
    for _ in range(4):
        await WAYS[way](pool, server.url, elsewhere, LIMIT)
    assert server.most <= LIMIT
    await pool.close()
    await flavour.until(lambda: server.count() == 0)


@pytest.mark.parametrize("kind", ENGINES)
async def test_a_loop_closes_dropped_responses_without_a_further_call(
    async_flavour: Flavour, serve: Serve, certificates: Certificates, elsewhere: Elsewhere, kind: str
) -> None:
    server = Server(serve, certificates, kind)
    pool = async_flavour.pool(max_connections=LIMIT, **arguments(async_flavour, certificates, kind))
    await drop_by_hand(pool, server.url, elsewhere, 2)
    await async_flavour.until(lambda: server.count() == 0)
    # Dropped by the loop's own thread.
    response = await open_response(pool, server.url)
    del response
    await async_flavour.until(lambda: server.count() == 0)
    # A backend of trio closes a socket, and returns to the pool a step later.
    await async_flavour.until(lambda: "Connections: 0 active, 0 idle" in repr(pool))
    await pool.close()


@pytest.mark.parametrize("kind", ["plain", "rustls", "ssl.SSLContext"])
def test_responses_dropped_after_their_loop_has_ended(
    asyncio_flavour: Flavour, serve: Serve, certificates: Certificates, elsewhere: Elsewhere, kind: str
) -> None:
    server = Server(serve, certificates, kind)
    pools = []

    async def main() -> Any:
        pools.append(asyncio_flavour.pool(**arguments(asyncio_flavour, certificates, kind)))
        held.append(await open_response(pools[0], server.url))

    held: list[Any] = []
    asyncio_flavour.run(main())
    elsewhere.run(held.pop())
    deadline = time.monotonic() + 5
    while server.count():
        assert time.monotonic() < deadline, "the connection is still open"
        time.sleep(0.01)


async def test_httpx_over_an_ssl_context(
    flavour: Flavour, library: Library, serve: Serve, certificates: Certificates, elsewhere: Elsewhere
) -> None:
    server = Server(serve, certificates, "ssl.SSLContext")
    verify = ssl.create_default_context(cafile=str(certificates.ca))
    transport = library.transport(flavour, verify=verify, limits=library.Limits(max_connections=2))
    async with library.client(flavour, transport) as client:
        for _ in range(10):
            for _ in range(2):
                request = client.raw.build_request("GET", server.url)
                response = await flavour.call(client.raw, "send", request, stream=True)
                response.extensions["itself"] = response
                del request, response
            elsewhere.run("collect")
        assert server.most <= 2
    await flavour.until(lambda: server.count() == 0)


# Streams of a `network_backend`.


class Streams:
    """httpcore's backend, which records which of its streams are open."""

    def __init__(self, flavour: Flavour) -> None:
        self.flavour = flavour
        self.backend = flavour.backend()
        self.opened: list[Any] = []
        self.open: set[int] = set()

    def note(self, stream: Any) -> Any:
        name = "aclose" if self.flavour.is_async else "close"
        genuine, number = getattr(stream, name), len(self.opened)

        def close() -> Any:
            self.open.discard(number)
            return genuine()

        setattr(stream, name, close)
        self.opened.append(stream)
        self.open.add(number)
        return stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)

    def of_flavour(self) -> Any:
        if not self.flavour.is_async:
            self.connect_tcp = lambda *args, **kwargs: self.note(self.backend.connect_tcp(*args, **kwargs))
            return self

        async def connect_tcp(*args: Any, **kwargs: Any) -> Any:
            return self.note(await self.backend.connect_tcp(*args, **kwargs))

        self.connect_tcp = connect_tcp
        return self


async def test_closing_a_pool_closes_all_streams_of_a_backend(
    flavour: Flavour, serve: Serve, certificates: Certificates, elsewhere: Elsewhere
) -> None:
    server = Server(serve, certificates, "network_backend")
    streams = Streams(flavour)
    pool = flavour.pool(max_connections=10, network_backend=streams.of_flavour())
    # One idle, two in use, two dropped elsewhere.
    held = [await open_response(pool, server.url) for _ in range(4)]
    await pool.request("GET", server.url + "short")
    assert len(streams.opened) == 5
    elsewhere.run(held.pop())
    elsewhere.run(held.pop())
    await pool.close()
    assert streams.open == set()
    await flavour.until(lambda: server.count() == 0)
    for response in held:
        await flavour.call(response, "close")
