"""Responses that no server should send, and some do: how the engine reads them, compared with httpcore.

A scripted peer sends every case in one piece, byte by byte and line by line. httpcore itself reads it as well, in the
same run: unless the table calls a case different, the outcome must be the same. docs/compatibility.md has the reasons.
"""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING, Callable

import httpcore
import pytest

from odd_bodies import CASES
from odd_responses import CLOSED, FRESH, REUSED, WRONG, Case, Outcome
from peers import Connection, Peer, Script, reply

if TYPE_CHECKING:
    from flavours import Flavour
    from peers import Serve

EXTENSIONS = {"timeout": {"connect": 10.0, "read": 10.0, "write": 10.0, "pool": 10.0}}


# The ways to cut a response before it is sent. A long one is cut into some two hundred pieces.
SEGMENTS: dict[str, Callable[[bytes], list[bytes]]] = {
    "whole": lambda response: [response],
    "bytes": lambda response: cut_evenly(response, 1 + len(response) // 200),
    "lines": lambda response: response.splitlines(keepends=True),
}


def cut_evenly(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def script(case: Case, segments: str, sent: threading.Event) -> Script:
    """Sends the response on the first connection. Any later request gets a proper response."""

    def run(connection: Connection) -> None:
        if connection.number == 0:
            try:
                connection.read_request()
                connection.send_pieces(SEGMENTS[segments](case.response), pause=0.0002)
            finally:
                sent.set()
            if case.closes:
                return
        while True:
            connection.read_request()
            connection.send(reply(b"the next answer"))

    return run


def outcome(response: httpcore.Response) -> Outcome:
    return Outcome(
        response.status,
        response.extensions["http_version"],
        response.extensions["reason_phrase"],
        tuple(response.headers),
        response.content,
    )


def sequel(case: Case, peer: Peer, content: bytes) -> str:
    """Returns the outcome of the next request."""
    if content != b"the next answer":
        return WRONG
    if case.closes:
        return CLOSED
    return REUSED if len(peer.connections) == 1 else FRESH


@functools.cache
def of_httpcore(case: Case, segments: str) -> Outcome:
    """Returns the outcome of a response with httpcore."""
    sent = threading.Event()
    peer = Peer(script(case, segments, sent))
    try:
        with httpcore.ConnectionPool() as pool:
            try:
                first = outcome(pool.request(case.method, peer.url, extensions=EXTENSIONS))
            except httpcore.RemoteProtocolError as exc:
                first = Outcome(error=type(exc).__name__)
            assert sent.wait(10)
            if case.closes:
                # Whether httpcore has noticed in time is a race, and is not compared.
                return first._replace(then=CLOSED)
            try:
                return first._replace(then=sequel(case, peer, pool.request("GET", peer.url).content))
            except httpcore.RemoteProtocolError:
                return first._replace(then=WRONG)
    finally:
        peer.close()


@pytest.mark.parametrize("flavour", ["sync", "asyncio"], indirect=True)
@pytest.mark.parametrize("segments", SEGMENTS)
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
async def test_odd_response(flavour: Flavour, serve: Serve, case: Case, segments: str) -> None:
    sent = threading.Event()
    peer = serve(script(case, segments, sent))
    async with flavour.pool(max_connections=1) as pool:
        try:
            first = outcome((await pool.request(case.method, peer.url, extensions=EXTENSIONS)).raw)
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as exc:
            first = Outcome(error=type(exc).__name__)
        await flavour.until(sent.is_set)
        second = await pool.request("GET", peer.url, extensions=EXTENSIONS)
    tested = first._replace(then=sequel(case, peer, second.content))

    reference = of_httpcore(case, segments)
    expected = case.outcome or reference
    assert tested == expected, (
        f"sent ({segments}): {case.response[:200]!r}\n"
        f"expected: {expected}\nhttpcore_rs: {tested}\nhttpcore: {reference}"
    )
    if case.outcome is not None and segments == "whole":
        assert reference != tested, "the table calls this different, and it is not"
