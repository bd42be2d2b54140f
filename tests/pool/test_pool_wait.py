"""Requests that wait in the pool for long: what the log, the callback and `PoolTimeout` say about them."""

from __future__ import annotations

import contextlib
import logging
import re
from typing import TYPE_CHECKING, Any

import httpcore
import pytest

import httpcore_rs
from httpcore_rs import Holder, PoolWait
from peers import always, reply

if TYPE_CHECKING:
    from flavours import Flavour
    from peers import Serve

OK = always(reply(b"body"))
AGE = r"\d+\.\d s"


def origin(peer: Any) -> str:
    return f"http://127.0.0.1:{peer.address[1]}"


def records(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "httpcore_rs.pool"]


async def test_a_long_wait_is_reported_once(flavour: Flavour, serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    busy, wanted = serve(OK), serve(OK)
    waits: list[PoolWait] = []
    async with flavour.pool(max_connections=1, pool_wait_warning=0.05, on_pool_wait=waits.append) as pool:
        async with pool.stream("GET", busy.url):
            task = flavour.start(lambda: pool.request("GET", wanted.url))
            await flavour.until(lambda: waits)
            # It goes on waiting, and is not reported again.
            await flavour.sleep(0.15)
        assert (await task.wait()).status == 200
    (wait,) = waits
    assert (wait.origin, wait.max_connections, wait.waiting) == (origin(wanted), 1, 1)
    assert wait.waited >= 0.05
    (holder,) = wait.holders
    assert (holder.origin, holder.requests) == (origin(busy), 1)
    assert holder.oldest >= wait.waited
    assert records(caplog) == [str(wait)]
    assert caplog.records[-1].levelno == logging.WARNING
    assert re.fullmatch(
        f"a request to {origin(wanted)} has waited {AGE} for a connection; max_connections=1, 1 waiting; "
        rf"in use by {origin(busy)} \(1 request, the oldest for {AGE}\)",
        str(wait),
    )


async def test_many_waits_are_reported_together(flavour: Flavour, serve: Serve) -> None:
    peer = serve(OK)
    waits: list[PoolWait] = []
    async with flavour.pool(max_connections=2, pool_wait_warning=0.5, on_pool_wait=waits.append) as pool:
        async with pool.stream("GET", peer.url), pool.stream("GET", peer.url):
            tasks = [flavour.start(lambda: pool.request("GET", peer.url)) for _ in range(5)]
            await flavour.until(lambda: pool.raw.metrics().total.requests_waiting == 5)
            await flavour.until(lambda: waits)
        for task in tasks:
            await task.wait()
    # The others have waited as long, within the same half second.
    assert len(waits) <= 2
    assert waits[0].holders[0].requests == 2


async def test_a_request_that_is_reported_gets_its_connection(flavour: Flavour, serve: Serve) -> None:
    """The connection becomes free while the callback runs."""
    peer = serve(OK)
    closing: list[Any] = []

    def on_pool_wait(wait: PoolWait) -> None:
        closing.append(wait)

    async with flavour.pool(max_connections=1, pool_wait_warning=0.01, on_pool_wait=on_pool_wait) as pool:
        async with pool.stream("GET", peer.url) as response:
            task = flavour.start(lambda: pool.request("GET", peer.url))
            await flavour.until(lambda: closing)
            await response.read()
        assert (await task.wait()).status == 200
    assert len(peer.connections) == 1


async def test_an_exception_of_the_callback_is_logged(
    flavour: Flavour, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    peer = serve(OK)

    def on_pool_wait(wait: PoolWait) -> None:
        raise ValueError(wait.origin)

    async with flavour.pool(max_connections=1, pool_wait_warning=0.01, on_pool_wait=on_pool_wait) as pool:
        async with pool.stream("GET", peer.url):
            task = flavour.start(lambda: pool.request("GET", peer.url))
            await flavour.until(lambda: len(records(caplog)) == 2)
        assert (await task.wait()).status == 200
    assert records(caplog)[1] == "on_pool_wait raised an exception"


async def test_a_request_whose_timeout_is_shorter_is_not_reported(
    flavour: Flavour, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    peer = serve(OK)
    async with flavour.pool(max_connections=1, pool_wait_warning=0.05) as pool, pool.stream("GET", peer.url):
        with pytest.raises(httpcore.PoolTimeout):
            await pool.request("GET", peer.url, extensions={"timeout": {"pool": 0.04}})
    assert records(caplog) == []


async def test_a_pool_timeout_names_the_holders(flavour: Flavour, serve: Serve) -> None:
    peers = [serve(OK) for _ in range(5)]
    async with contextlib.AsyncExitStack() as stack:
        pool = await stack.enter_async_context(flavour.pool(max_connections=6))
        for peer in [*peers, peers[3]]:
            await stack.enter_async_context(pool.stream("GET", peer.url))
        with pytest.raises(httpcore.PoolTimeout) as raised:
            await pool.request("GET", peers[0].url, extensions={"timeout": {"pool": 0.01}})
    use = str(raised.value).partition("; ")[2]
    assert re.fullmatch(
        rf"max_connections=6, in use by {origin(peers[3])} \(2 requests, the oldest for {AGE}\), "
        rf"{origin(peers[0])} \(1 request, the oldest for {AGE}\), "
        rf"{origin(peers[1])} \(1 request, the oldest for {AGE}\) and 2 more",
        use,
    )


def test_wrong_callbacks_are_refused() -> None:
    async def on_pool_wait(wait: PoolWait) -> None: ...

    with pytest.raises(TypeError, match="plain function"):
        httpcore_rs.AsyncConnectionPool(on_pool_wait=on_pool_wait)
    with pytest.raises(TypeError, match="on_pool_wait must be a function"):
        httpcore_rs.ConnectionPool(on_pool_wait=1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="never called"):
        httpcore_rs.ConnectionPool(pool_wait_warning=None, on_pool_wait=print)


def test_a_report_names_three_origins() -> None:
    holders = tuple(Holder(f"http://{name}:80", 4 - number, 1.25) for number, name in enumerate("abcd"))
    text = str(PoolWait("http://e:80", 30.04, None, 2, holders))
    assert text == (
        "a request to http://e:80 has waited 30.0 s for a connection; max_connections=None, 2 waiting; in use by "
        "http://a:80 (4 requests, the oldest for 1.2 s), http://b:80 (3 requests, the oldest for 1.2 s), "
        "http://c:80 (2 requests, the oldest for 1.2 s) and 1 more"
    )
    assert "in use by no request" in str(PoolWait("http://e:80", 30.0, 1, 2, ()))
