"""Tracing a request: the `trace` extension and the debug logs, event by event as httpcore has them.

httpcore itself is the reference: the same request goes through both, to the same peer.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

import httpcore
import pytest

from peers import Connection, always, answers, refused_port, reply
from tracing import both, names_of, recorder

if TYPE_CHECKING:
    from collections.abc import Callable

    from flavours import Flavour
    from peers import Peer

    Serve = Callable[..., Peer]


def hang_up(connection: Connection) -> None:
    connection.read_request()


SCRIPTS = {
    "a response": always(reply(b"hello")),
    "a response without a body": always(reply(status=b"204 No Content", length=False)),
    "an interim response": always(b"HTTP/1.1 103 Early Hints\r\n\r\n" + reply(b"hello")),
    "the end of the stream": hang_up,
    "garbage": answers(b"HTTP/9.9 no\r\n\r\n"),
    "a body cut short": answers(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello"),
}


@pytest.mark.parametrize("content", [None, b"hello"], ids=["GET", "POST"])
@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS.keys())
async def test_events_come_as_in_httpcore(flavour: Flavour, serve: Serve, script: Any, content: Any) -> None:
    peer = serve(script)
    method = "POST" if content else "GET"
    reference, tested = both(flavour)
    for _ in range(2):  # on a new connection, and then on the kept one, if any
        expected = await names_of(reference, flavour, method, peer.url, content=content)
        assert await names_of(tested, flavour, method, peer.url, content=content) == expected
    await flavour.call(reference, "close")
    await flavour.call(tested, "close")


async def test_a_failed_connect(flavour: Flavour) -> None:
    with refused_port() as port:
        reference, tested = both(flavour, retries=1)
        expected = await names_of(reference, flavour, "GET", f"http://127.0.0.1:{port}/")
        assert await names_of(tested, flavour, "GET", f"http://127.0.0.1:{port}/") == expected
        assert "connection.retry.started" in expected


async def test_the_contents_of_the_events(flavour: Flavour, serve: Serve) -> None:
    peer = serve(always(reply(b"hello", headers=[(b"X-Raw", b"1")])))
    events: list[tuple[str, Any]] = []
    extensions = {"trace": recorder(flavour, events), "timeout": {"connect": 5.0}}
    async with flavour.pool() as pool:
        await pool.request("GET", peer.url, extensions=extensions)
    said = dict(events)
    assert said["connection.connect_tcp.started"] == {
        "host": "127.0.0.1",
        "port": peer.port,
        "local_address": None,
        "timeout": 5.0,
        "socket_options": None,
    }
    stream = said["connection.connect_tcp.complete"]["return_value"]
    assert stream.get_extra_info("server_addr") == ("127.0.0.1", peer.port)
    assert stream.get_extra_info("client_addr") == peer.connections[0].address
    request = said["http11.send_request_headers.started"]["request"]
    assert isinstance(request, httpcore.Request)
    assert request.method == b"GET"
    assert said["http11.send_request_headers.complete"] == {"return_value": None}
    assert said["http11.receive_response_headers.complete"]["return_value"] == (
        b"HTTP/1.1",
        200,
        b"OK",
        [(b"X-Raw", b"1"), (b"Content-Length", b"5")],
    )
    assert said["http11.receive_response_body.started"] == {"request": request}
    assert said["http11.response_closed.started"] == {}


async def test_an_exception_of_the_callback_ends_the_request(flavour: Flavour, serve: Serve) -> None:
    class OfTheCaller(Exception):
        pass

    peer = serve(always(reply(b"hello")))
    for event in (
        "connection.connect_tcp.complete",
        "http11.send_request_body.started",
        "http11.receive_response_headers.complete",
        "http11.receive_response_body.started",
    ):

        def raising(name: str, _: Any, event: str = event) -> None:
            if name == event:
                raise OfTheCaller(event)

        async def araising(name: str, info: Any, raising: Any = raising) -> None:
            raising(name, info)

        async with flavour.pool(max_connections=1) as pool:
            with pytest.raises(OfTheCaller, match=event):
                await pool.request("GET", peer.url, extensions={"trace": araising if flavour.is_async else raising})
            assert pool.connections == []
            assert (await pool.request("GET", peer.url)).content == b"hello"


async def test_a_callback_of_the_wrong_kind(flavour: Flavour, serve: Serve) -> None:
    peer = serve(always(reply(b"hello")))

    def plain(name: str, info: Any) -> None:
        pass

    async def coroutine(name: str, info: Any) -> None:
        pass

    async with flavour.pool() as pool:
        with pytest.raises(TypeError, match="the callback of the `trace` extension should be"):
            await pool.request("GET", peer.url, extensions={"trace": plain if flavour.is_async else coroutine})
        assert pool.connections == []


async def test_logs_are_httpcores(flavour: Flavour, serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    peer = serve(always(reply(b"hello")))
    caplog.set_level(logging.DEBUG, "httpcore")
    records = []
    for pool in both(flavour):
        caplog.clear()
        await flavour.call(pool, "request", "GET", peer.url)
        await flavour.call(pool, "request", "POST", peer.url, content=b"hello")
        await flavour.call(pool, "close")
        # The stream is an object of the package that made it.
        mask = re.compile(r"(connect_tcp\.complete return_value=).*")
        records.append([(name, level, mask.sub(r"\1", text)) for name, level, text in caplog.record_tuples])
    assert records[1] == records[0]
    assert len(records[0]) == 24


async def test_nothing_is_logged_at_other_levels(
    flavour: Flavour, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    peer = serve(always(reply(b"hello")))
    caplog.set_level(logging.INFO)
    async with flavour.pool() as pool:
        await pool.request("GET", peer.url)
        assert [record for record in caplog.records if record.name.startswith("httpcore")] == []
        # A change of the level is noticed.
        caplog.set_level(logging.DEBUG, "httpcore.http11")
        await pool.request("GET", peer.url)
        assert {record.name for record in caplog.records if record.name.startswith("httpcore")} == {"httpcore.http11"}
