"""Tracing an HTTP/2 request: the `trace` extension and the debug logs, event by event as httpcore has them.

httpcore itself is the reference. The time at which the peer's SETTINGS arrive depends on the network. Therefore
`http2.receive_remote_settings`, which httpcore reports, is not compared.
"""

from __future__ import annotations

import logging
import re
import ssl
from typing import TYPE_CHECKING, Any

import httpcore
import pytest
from h2.errors import ErrorCodes

from h2_peer import OK, always, http2_pool, says, still_works
from tracing import both, names_of, recorder

if TYPE_CHECKING:
    from flavours import Flavour
    from h2_peer import ServeH2
    from h2_session import Session, Stream

SETTINGS = "http2.receive_remote_settings"


def hang_up(session: Session) -> None:
    session.read_request()
    session.hang_up()


def reset_midway(session: Session, stream: Stream) -> None:
    session.head(stream, 200)
    session.data(stream, b"hello")
    session.reset(stream, ErrorCodes.INTERNAL_ERROR)


SCRIPTS = {
    "a response": says(b"hello"),
    "a response without a body": says(b"", status=204, length=False),
    "the end of the stream": hang_up,
    "a reset before the head": always(lambda session, stream: session.reset(stream, ErrorCodes.INTERNAL_ERROR)),
    "a reset within the body": always(reset_midway),
}


@pytest.mark.parametrize("content", [None, b"hello"], ids=["GET", "POST"])
@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS.keys())
async def test_events_come_as_in_httpcore(flavour: Flavour, serve_h2: ServeH2, script: Any, content: Any) -> None:
    peer = serve_h2(script)
    method = "POST" if content else "GET"
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    reference, _ = both(flavour, http1=False, http2=True, ssl_context=context)
    tested = http2_pool(flavour).raw
    for _ in range(2):  # on a new connection, and then on the kept one, if any
        names = [await names_of(pool, flavour, method, peer.url, content=content) for pool in (reference, tested)]
        expected, got = ([name for name in each if not name.startswith(SETTINGS)] for each in names)
        assert got == expected
    await flavour.call(reference, "close")
    await flavour.call(tested, "close")


async def test_the_contents_of_the_events(flavour: Flavour, serve_h2: ServeH2) -> None:
    peer = serve_h2(says(b"hello", headers=[(b"x-raw", b"1")]))
    events: list[tuple[str, Any]] = []
    async with http2_pool(flavour) as pool:
        await pool.request("GET", peer.url)
        await pool.request("GET", peer.url, extensions={"trace": recorder(flavour, events)})
    names = [name for name, _ in events if not name.startswith(SETTINGS)]
    phases = ["send_request_headers", "send_request_body", "receive_response_headers", "receive_response_body"]
    assert names == [
        f"http2.{phase}.{end}" for phase in [*phases, "response_closed"] for end in ("started", "complete")
    ]
    said = dict(events)
    request = said["http2.send_request_headers.started"]["request"]
    assert isinstance(request, httpcore.Request)
    assert request.method == b"GET"
    for phase in phases:
        assert said[f"http2.{phase}.started"] == {"request": request, "stream_id": 3}
    assert said["http2.receive_response_headers.complete"]["return_value"] == (
        200,
        [(b"x-raw", b"1"), (b"content-length", b"5")],
    )
    assert said["http2.response_closed.started"] == {"stream_id": 3}


async def test_the_start_of_a_connection_is_reported_to_its_first_request(flavour: Flavour, serve_h2: ServeH2) -> None:
    peer = serve_h2(OK)
    told: list[list[tuple[str, Any]]] = [[], []]
    async with http2_pool(flavour) as pool:
        for events in told:
            await pool.request("GET", peer.url, extensions={"trace": recorder(flavour, events)})
    first, second = ([name for name, _ in events] for events in told)
    assert first.index("http2.send_connection_init.complete") > first.index("connection.connect_tcp.complete")
    assert first.index("http2.send_connection_init.complete") < first.index("http2.send_request_headers.started")
    assert not any("connect" in name for name in second)


async def test_an_exception_of_the_callback_ends_the_request(flavour: Flavour, serve_h2: ServeH2) -> None:
    class OfTheCaller(Exception):
        pass

    peer = serve_h2(says(b"hello"))
    async with http2_pool(flavour, max_connections=1) as pool:
        await pool.request("GET", peer.url)
        for event in (
            "http2.send_request_headers.started",
            "http2.send_request_body.started",
            "http2.receive_response_headers.complete",
            "http2.receive_response_body.started",
        ):

            def raising(name: str, _: Any, event: str = event) -> None:
                if name == event:
                    raise OfTheCaller(event)

            async def araising(name: str, info: Any, raising: Any = raising) -> None:
                raising(name, info)

            with pytest.raises(OfTheCaller, match=event):
                await pool.request("GET", peer.url, extensions={"trace": araising if flavour.is_async else raising})
        await flavour.until(peer.all_closed)
        assert (await pool.request("GET", peer.url)).content == b"hello"
        assert "[Requests: 0 active, 0 queued | Connections: 0 active, 1 idle]" in repr(pool)
    assert len(peer.connections) == 1


async def test_a_callback_may_send_a_request_over_the_same_connection(flavour: Flavour, serve_h2: ServeH2) -> None:
    peer = serve_h2(OK)
    got: list[bytes] = []
    async with http2_pool(flavour, max_connections=1) as pool:
        await pool.request("GET", peer.url)

        async def acallback(name: str, _: Any) -> None:
            if name == "http2.receive_response_headers.started":
                got.append((await pool.request("GET", peer.url)).content)

        def callback(name: str, _: Any) -> None:
            if name == "http2.receive_response_headers.started":
                got.append(pool.raw.request("GET", peer.url).content)

        trace = acallback if flavour.is_async else callback
        assert (await pool.request("GET", peer.url, extensions={"trace": trace})).content == b"ok"
        assert got == [b"ok"]
        await still_works(pool, peer)


async def test_logs_are_httpcores(flavour: Flavour, serve_h2: ServeH2, caplog: pytest.LogCaptureFixture) -> None:
    peer = serve_h2(says(b"hello"), tls=False)
    caplog.set_level(logging.DEBUG, "httpcore")
    records = []
    for pool in both(flavour, http1=False, http2=True):
        caplog.clear()
        await flavour.call(pool, "request", "GET", peer.url)
        await flavour.call(pool, "request", "POST", peer.url, content=b"hello")
        await flavour.call(pool, "close")
        # The stream is an object of the package that made it.
        mask = re.compile(r"(connect_tcp\.complete return_value=).*")
        records.append(
            [
                (name, level, mask.sub(r"\1", text))
                for name, level, text in caplog.record_tuples
                if name.startswith("httpcore.") and "receive_remote_settings" not in text
            ]
        )
    assert records[1] == records[0]
    assert {name for name, _, _ in records[1]} == {"httpcore.connection", "httpcore.http2"}
