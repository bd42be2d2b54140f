"""SDKs over the pools of httpcore_rs: requests, streams, errors, retries, timeouts, options of sockets."""

from __future__ import annotations

import contextlib
import gc
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Case, Server, Traffic

    from sdk_base import Sdk


def only(wanted: Callable[[type[Sdk]], bool]) -> Callable[[Any], Any]:
    """Limits a test to some SDKs."""

    def mark(test: Any) -> Any:
        test.wanted = wanted
        return test

    return mark


async def test_a_request(case: Case, server: Server, traffic: Traffic) -> None:
    async with case.open() as sdk:
        assert await sdk.ask(server.model("plain")) == "hello"
    assert traffic.are_all_ours(server)


async def test_a_stream_of_events(case: Case, server: Server, traffic: Traffic) -> None:
    async with case.open() as sdk:
        pieces = [piece async for piece in sdk.pieces(server.model("plain"))]
    assert "".join(filter(None, pieces)) == "one two three"
    assert traffic.are_all_ours(server)


@only(lambda sdk: sdk.streams)
async def test_events_arrive_one_by_one(case: Case, server: Server) -> None:
    async with case.open() as sdk:
        pieces = []
        async for piece in sdk.pieces(server.model("held")):
            pieces.append(piece)
            # The server sends the second one only now.
            server.release()
    assert "".join(filter(None, pieces)) == "one two three"


@only(lambda sdk: sdk.streams and sdk.gives_streams_back())
async def test_the_connection_of_an_abandoned_stream_is_given_back(case: Case, server: Server) -> None:
    limits = {"limits": case.sdk.library().Limits(max_connections=1)} if case.way == "explicit" else {}
    async with case.open(arguments=limits) as sdk:
        stream = sdk.pieces(server.model("held"))
        assert await stream.__anext__() == "one "
        await stream.aclose()
        # An SDK that does not close it leaves it to the garbage collector.
        del stream
        for _ in range(5):
            gc.collect()
            await case.flavour.sleep(0.01)
        server.release()
        assert await sdk.ask(server.model("plain")) == "hello"


@pytest.mark.parametrize("status", [400, 404, 500, 503])
async def test_an_error_status(case: Case, server: Server, traffic: Traffic, status: int) -> None:
    async with case.open() as sdk:
        with pytest.raises(Exception) as caught:  # noqa: PT011  (the class is the SDK's)
            await sdk.ask(server.model(f"status_{status}"))
        if sdk.statuses:
            assert status in {sdk.status_of(error) for error in causes(caught.value)}
        assert traffic.responses[-1].status_code == status
        # The client, and the connection, can still be used.
        assert await sdk.ask(server.model("plain")) == "hello"
    assert traffic.are_all_ours(server)


@only(lambda sdk: sdk.retries)
async def test_a_request_is_sent_again_after_status_429(case: Case, server: Server, traffic: Traffic) -> None:
    async with case.open(retries=2) as sdk:
        assert await sdk.ask(server.model("busy")) == "hello"
    assert [response.status_code for response in traffic.responses] == [429, 200]
    assert traffic.responses[0].headers["Retry-After"] == "1"
    assert traffic.are_all_ours(server)


async def test_a_timeout(case: Case, server: Server) -> None:
    async with case.open(timeout=0.5) as sdk:
        with pytest.raises(Exception) as caught:  # noqa: PT011  (the class is the SDK's)
            await sdk.ask(server.model("slow"))
        error = next(error for error in causes(caught.value) if isinstance(error, sdk.timeouts()))
        messages = " ".join(str(error) for error in causes(caught.value))
    assert error is not None
    # Below the SDK's own exception is that of httpx, in the words of the engine.
    assert "0.5 s (read timeout)" in messages


async def test_requests_at_the_same_time(case: Case, server: Server, traffic: Traffic) -> None:
    async with case.open() as sdk:
        answers = await case.flavour.gather(*[lambda: sdk.ask(server.model("plain"))] * 10)
    assert answers == ["hello"] * 10
    assert traffic.are_all_ours(server)


@only(lambda sdk: sdk.keepalive)
async def test_its_own_options_of_sockets_are_set(case: Case, server: Server) -> None:
    # With a transport that is passed in, the SDK's options do not count.
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    arguments = {"socket_options": options} if case.way == "explicit" else {}
    before = keepalive_by_port(server.http)
    # By another name than in other tests, so that a client that the SDK keeps must connect.
    url = server.http.replace("127.0.0.1", "localhost")
    async with case.open(url=url, arguments=arguments) as sdk:
        assert await sdk.ask(server.model("plain")) == "hello"
        kept = [options for port, options in keepalive_by_port(server.http).items() if port not in before]
    assert kept
    assert all(kept)


def keepalive_by_port(url: str) -> dict[int, int]:
    """Returns `SO_KEEPALIVE` of each socket of this process that is connected to a server, by its own port."""
    found: dict[int, int] = {}
    address = ("127.0.0.1", int(url.rpartition(":")[2]))
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            if not str(path.readlink()).startswith("socket:"):
                continue
            with socket.socket(fileno=os.dup(int(path.name))) as connection:
                if connection.family == socket.AF_INET and connection.getpeername() == address:
                    port = connection.getsockname()[1]
                    found[port] = connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    return found


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yields an exception, those that led to it, and those in a group."""
    yield error
    for inner in getattr(error, "exceptions", ()):
        yield from causes(inner)
    following = error.__cause__ or error.__context__
    if following is not None:
        yield from causes(following)
