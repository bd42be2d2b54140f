"""Informational responses over HTTP/2, and requests that wait for `100 Continue` before they send their body."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from h2_peer import always, http2_pool

if TYPE_CHECKING:
    from flavours import Flavour
    from h2_peer import ServeH2, Session
    from h2_session import Stream

# Peers of this module speak HTTP/2 over plain TCP and over TLS by rustls.
OVER = ("plain", "rustls")
EXPECT = {"Expect": "100-continue"}
LONG: dict[str, Any] = {"expect_continue_timeout": 60.0}


class Record:
    """A callback of the flavour's kind that records what it is called with."""

    def __init__(self, flavour: Flavour) -> None:
        self.calls: list[tuple[int, Any]] = []
        self.callback = self.acall if flavour.is_async else self.call

    def call(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.calls.append((status, headers))

    async def acall(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.call(status, headers)


def body(flavour: Flavour, kind: str) -> Any:
    return b"hello" if kind == "bytes" else flavour.parts(b"hel", b"lo")


@pytest.fixture(params=["bytes", "parts"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


async def test_informational_responses_are_passed_on(flavour: Flavour, serve_h2: ServeH2) -> None:
    def respond(session: Session, stream: Stream) -> None:
        session.head(stream, 103, [(b"link", b"</style.css>")])
        session.head(stream, 102)
        session.respond(stream, b"ok")

    record = Record(flavour)
    peer = serve_h2(always(respond))
    async with http2_pool(flavour) as pool:
        for content in (None, b"body"):
            response = await pool.request(
                "POST", peer.url, content=content, extensions={"informational": record.callback}
            )
            assert (response.status, response.content) == (200, b"ok")
        assert (await pool.request("GET", peer.url)).content == b"ok"
    assert record.calls == [(103, [(b"link", b"</style.css>")]), (102, [])] * 2


async def test_the_body_waits_for_the_100(flavour: Flavour, serve_h2: ServeH2, kind: str) -> None:
    def script(session: Session) -> None:
        for _ in range(2):
            stream = session.read_head()
            session.flush()
            for _ in range(5):
                session.pump()
            assert bytes(stream.body) == b""
            session.head(stream, 100)
            session.until(lambda stream=stream: stream.ended)
            session.respond(stream, bytes(stream.body))

    record = Record(flavour)
    peer = serve_h2(script)
    async with http2_pool(flavour, **LONG) as pool:
        for _ in range(2):
            response = await pool.request(
                "POST",
                peer.url,
                headers=EXPECT,
                content=body(flavour, kind),
                extensions={"informational": record.callback},
            )
            assert (response.status, response.content) == (200, b"hello")
    assert [status for status, _ in record.calls] == [100, 100]
    assert len(peer.connections) == 1


async def test_the_body_is_sent_after_the_timeout(flavour: Flavour, serve_h2: ServeH2, kind: str) -> None:
    peer = serve_h2(always(lambda session, stream: session.respond(stream, bytes(stream.body))))
    async with http2_pool(flavour, expect_continue_timeout=0.05) as pool:
        response = await pool.request("POST", peer.url, headers=EXPECT, content=body(flavour, kind))
        assert (response.status, response.content) == (200, b"hello")


async def test_a_final_response_keeps_the_body_back(flavour: Flavour, serve_h2: ServeH2, kind: str) -> None:
    def script(session: Session) -> None:
        first = session.read_head()
        session.respond(first, b"no", status=413)
        second = session.read_request()
        session.respond(second, b"ok")

    peer = serve_h2(script)
    async with http2_pool(flavour, **LONG) as pool:
        response = await pool.request("POST", peer.url, headers=EXPECT, content=body(flavour, kind))
        assert (response.status, response.content) == (413, b"no")
        # The stream is reset, and the connection goes on.
        await flavour.until(lambda: peer.streams[0].done)
        assert (await pool.request("GET", peer.url)).content == b"ok"
    assert len(peer.connections) == 1
    assert bytes(peer.streams[0].body) == b""
    assert not peer.streams[0].ended
    assert peer.streams[0].reset in (0, 8), "NO_ERROR or CANCEL"


async def test_other_requests_do_not_wait(flavour: Flavour, serve_h2: ServeH2) -> None:
    def script(session: Session) -> None:
        waiting = session.read_head()
        other = session.read_request()
        session.respond(other, b"ok")
        session.until(lambda: other.done)
        session.head(waiting, 100)
        session.until(lambda: waiting.ended)
        session.respond(waiting, bytes(waiting.body))

    peer = serve_h2(script, settings={3: 100})
    async with http2_pool(flavour, **LONG) as pool:
        task = flavour.start(lambda: pool.request("POST", peer.url, headers=EXPECT, content=b"hello"))
        await flavour.until(lambda: peer.streams)
        assert (await pool.request("GET", peer.url)).content == b"ok"
        assert (await task.wait()).content == b"hello"
    assert len(peer.connections) == 1


async def test_requests_without_a_body_do_not_wait(flavour: Flavour, serve_h2: ServeH2) -> None:
    peer = serve_h2(always(lambda session, stream: session.respond(stream, b"ok")))
    async with http2_pool(flavour, **LONG) as pool:
        assert (await pool.request("GET", peer.url, headers=EXPECT)).content == b"ok"
