"""Operations that end between two calls of the drive loop, and exceptions raised within them by other code."""

from __future__ import annotations

import gc
import sys
import weakref
from typing import TYPE_CHECKING

import httpcore
import pytest

import h2_peer
import httpcore_rs
from httpcore_rs._engine import Operation
from peers import always, reply, silence

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from typing import Any

    from flavours import Flavour
    from h2_peer import ServeH2
    from peers import Connection, Serve


# Over the streams of a network backend.
OVER = ("plain",)


class Loud(Exception):
    """The exception that a body raises."""


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
async def test_the_exception_of_a_body_is_freed_when_it_was_handled(flavour: Flavour, serve: Serve) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"x"
        raise Loud

    raised: list[weakref.ref[Any]] = []

    async def fail(pool: Any, url: str) -> None:
        body = flavour.body(chunks())
        try:
            await pool.request("POST", url, content=body)
        except Loud as exc:
            raised.append(weakref.ref(exc))

    peer = serve(silence)
    async with flavour.pool() as pool:
        await fail(pool, peer.url)
    # Without the help of the garbage collector.
    assert [exception() for exception in raised] == [None]


def test_an_abandoned_read_ends_the_body(serve: Serve) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
        connection.wait_closed()

    peer = serve(script)
    with httpcore_rs.ConnectionPool(network_backend=httpcore.SyncBackend()) as pool:
        with pool.stream("GET", peer.url) as response:
            stream: Any = response.stream
            # As if a signal handler had raised an exception at this point.
            assert isinstance(stream.next_chunk(), Operation)
            with pytest.raises(httpcore.ReadError, match="was closed before its body was read to the end"):
                next(iter(stream))
        assert pool.connections == []


def test_an_effect_is_not_performed_after_an_exception(serve: Serve) -> None:
    peer = serve(always(reply(b"x" * 1_000_000)))
    with httpcore_rs.ConnectionPool(network_backend=httpcore.SyncBackend()) as pool:
        request = httpcore.Request("GET", peer.url, headers={"Host": "localhost"})
        dropped = pool.handle_request(request)
        engine: Any = pool._engine
        operation = engine.handle_request(request)
        assert isinstance(operation, Operation)
        del dropped
        close_dropped: Any = operation.throw(KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            operation.poll(close_dropped())
        assert operation.is_over()


def test_under_trio_a_task_is_woken_while_it_goes_to_sleep(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    trio = pytest.importorskip("trio")
    peer = serve(always(reply(b"x" * 3_000_000)))
    held: list[Any] = []
    current_time = trio.current_time

    def with_a_collection() -> float:
        # As if the garbage collector found the response while the loop's timer is being set for the task that waits.
        if sys._getframe(1).f_code.co_name == "arm" and held:
            held.clear()
        return float(current_time())

    async def main() -> None:
        async with httpcore_rs.AsyncConnectionPool(max_connections=1) as pool:
            dropped = await pool.handle_async_request(httpcore.Request("GET", peer.url, headers={"Host": "localhost"}))
            # No timer of the first request is left.
            await trio.sleep(0.5)
            held.append(dropped)
            del dropped
            monkeypatch.setattr(trio, "current_time", with_a_collection)
            with trio.fail_after(20):
                response = await pool.request("GET", peer.url, extensions={"timeout": {"pool": 30.0}})
            assert len(response.content) == 3_000_000
            assert not held

    trio.run(main)


def test_an_exception_after_the_end_of_a_traced_request(serve: Serve) -> None:
    peer = serve(always(reply(b"ok")))
    told: list[str] = []
    with httpcore_rs.ConnectionPool() as pool:
        request = httpcore.Request(
            "GET",
            peer.url,
            headers={"Host": "localhost"},
            extensions={"trace": lambda name, _: told.append(name)},
        )
        engine: Any = pool._engine
        operation = engine.handle_request(request)
        effect = operation.poll(None)
        while effect is not None:
            effect = operation.poll(effect())
        # As if a signal handler had raised it at this point.
        with pytest.raises(KeyboardInterrupt):
            operation.throw(KeyboardInterrupt())
        assert told[-1] == "http11.receive_response_headers.complete"
        assert pool.connections == []


class Stream(httpcore.NetworkStream):
    """A stream that calls a function once, after a read has received its bytes and before it returns them."""

    def __init__(self, stream: httpcore.NetworkStream, interruptions: list[Callable[[], None]]) -> None:
        self.stream, self.interruptions = stream, interruptions

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data = self.stream.read(max_bytes, timeout)
        while self.interruptions:
            self.interruptions.pop()()
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.stream.write(buffer, timeout)

    def close(self) -> None:
        self.stream.close()

    def get_extra_info(self, info: str) -> Any:
        return self.stream.get_extra_info(info)


class Backend(httpcore.SyncBackend):
    def __init__(self) -> None:
        self.interruptions: list[Callable[[], None]] = []

    def connect_tcp(self, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        return Stream(super().connect_tcp(*args, **kwargs), self.interruptions)


def test_a_read_that_loses_bytes_ends_a_shared_connection(serve_h2: ServeH2) -> None:
    """A signal handler may raise an exception between the read of the socket and its return."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    backend = Backend()
    peer = serve_h2(h2_peer.says(b"x" * 40_000), tls=False)
    with httpcore_rs.ConnectionPool(http1=False, http2=True, network_backend=backend) as pool:
        for _ in range(2):
            assert len(pool.request("GET", peer.url).content) == 40_000
        backend.interruptions.append(interrupt)
        with pytest.raises(KeyboardInterrupt):
            pool.request("GET", peer.url)
        assert len(pool.request("GET", peer.url).content) == 40_000
    assert len(peer.connections) == 2


def test_a_request_in_the_middle_of_a_read_of_its_connection(serve_h2: ServeH2) -> None:
    """A signal handler may send it: it would wait for the read that it has interrupted."""
    backend, told = Backend(), []
    peer = serve_h2(h2_peer.says(b"ok"), tls=False)
    with httpcore_rs.ConnectionPool(http1=False, http2=True, network_backend=backend) as pool:

        def interrupt() -> None:
            with pytest.raises(httpcore.LocalProtocolError, match="in the middle of using it"):
                pool.request("GET", peer.url, extensions={"timeout": {"read": 5.0}})
            told.append("interrupted")

        pool.request("GET", peer.url)
        backend.interruptions.append(interrupt)
        for _ in range(2):
            assert pool.request("GET", peer.url).content == b"ok"
        assert told == ["interrupted"]
    assert len(peer.connections) == 1
