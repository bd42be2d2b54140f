"""The memory that a peer can make one HTTP/2 connection use: unread responses, in frames of every size."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Callable

import pytest
from hyperframe.frame import DataFrame

if TYPE_CHECKING:
    from h2_peer import ServeH2
    from h2_session import Session, Stream
    from programs import Program

Measure = Callable[..., "tuple[int, str]"]

MIB = 1024 * 1024
LIMIT = 64 * MIB
AT_ONCE = 64 * 1024  # bytes joined for one write

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc tells how much memory a process has")

# Leaves `count` responses unread, after one of `grow` bytes was read to its end. The last request reads the connection
# until the flood is over. Prints how much memory this has taken, and how that request ended.
COMMON = """
import httpcore
engine, count, grow = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
arguments = {"http1": False, "http2": True, "max_connections": 1}
if engine in ("rustls", "native-tls"):
    import logging
    # Of certificates that are not verified.
    logging.getLogger("httpcore_rs.tls").setLevel(logging.ERROR)
    arguments["ssl_context"] = httpcore_rs.TLSConfig(verify=False, engine=engine)
elif engine == "ssl":
    import ssl
    arguments["ssl_context"] = ssl._create_unverified_context()
timeout = {"timeout": {"read": 60.0, "write": 60.0, "pool": 60.0}}

def memory():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

def unread():
    return httpcore.Request("GET", url + "unread", headers=[("Host", "test")], extensions=timeout)
"""
SYNC = """
with httpcore_rs.ConnectionPool(**arguments) as pool:
    assert pool.request("GET", url + "warm", extensions=timeout).status == 200
    before = memory()
    if grow:
        with pool.stream("GET", url + "grow", extensions=timeout) as response:
            assert sum(map(len, response.iter_stream())) == grow
    responses = [pool.handle_request(unread()) for _ in range(count)]
    try:
        outcome = pool.request("GET", url + "end", extensions=timeout).content.decode()
    except httpcore.RemoteProtocolError as exc:
        outcome = str(exc)
    print(json.dumps([memory() - before, outcome]))
    for response in responses:
        response.close()
"""
ASYNCIO = """
async def main():
    async with httpcore_rs.AsyncConnectionPool(**arguments) as pool:
        assert (await pool.request("GET", url + "warm", extensions=timeout)).status == 200
        before = memory()
        if grow:
            async with pool.stream("GET", url + "grow", extensions=timeout) as response:
                assert sum([len(chunk) async for chunk in response.aiter_stream()]) == grow
        responses = [await pool.handle_async_request(unread()) for _ in range(count)]
        try:
            outcome = (await pool.request("GET", url + "end", extensions=timeout)).content.decode()
        except httpcore.RemoteProtocolError as exc:
            outcome = str(exc)
        print(json.dumps([memory() - before, outcome]))
        for response in responses:
            await response.aclose()

asyncio.run(main())
"""
PROGRAMS = {"sync": COMMON + SYNC, "asyncio": COMMON + ASYNCIO}


def flooding(size: int, grow: int = 0) -> Callable[[Session], None]:
    """Returns a script that fills the windows of all streams by data frames of this size, unless the client ends it."""

    def script(session: Session) -> None:
        session.respond(session.read_request(), b"warm")
        if grow:
            session.respond(session.read_request(), b"x" * grow)
        held: list[Stream] = []
        while True:
            stream = session.read_request()
            if stream.target == b"/end":
                break
            session.head(stream)
            held.append(stream)
        session.flush()
        left = session.h2.outbound_flow_control_window
        for each in held:
            window = min(left, session.h2.streams[each.id].outbound_flow_control_window)
            left -= flood(session, each, size, window // size)
        if session.client_goaway is None:
            session.respond(stream, b"end")

    return script


def flood(session: Session, stream: Stream, size: int, count: int) -> int:
    frame = DataFrame(stream.id, b"x" * size).serialize()
    at_once = max(AT_ONCE // len(frame), 1)
    sent = 0
    while sent < count and session.client_goaway is None:
        number = min(at_once, count - sent)
        session.raw(frame * number)
        session.until(lambda: not session._outgoing or session.client_goaway)
        sent += number
    return sent * size


@pytest.fixture
def measure(serve_h2: ServeH2, program: Callable[..., Program], engine: str) -> Measure:
    """Returns a function that runs a program against a flood and returns its memory in bytes, and the outcome."""

    def run(kind: str, responses: int, size: int, grow: int = 0) -> tuple[int, str]:
        peer = serve_h2(flooding(size, grow))
        started = program(PROGRAMS[kind], peer.url, engine, str(responses), str(grow))
        grown, outcome = json.loads(started.output(seconds=120))
        return grown, outcome

    return run


@pytest.mark.parametrize("kind", PROGRAMS)
@pytest.mark.parametrize(("responses", "size"), [(1, 1), (4, 16), (10, 256), (30, 16_384), (99, 256)])
def test_responses_that_are_not_read(measure: Measure, kind: str, responses: int, size: int) -> None:
    grown, outcome = measure(kind, responses, size)
    assert grown <= LIMIT, f"{grown / MIB:.1f} MiB"
    assert outcome == "end" or "ENHANCE_YOUR_CALM" in outcome


@pytest.mark.parametrize("kind", PROGRAMS)
@pytest.mark.parametrize(("responses", "size"), [(10, 256), (99, 16_384)])
def test_responses_that_are_not_read_beside_large_windows(
    measure: Measure, kind: str, responses: int, size: int
) -> None:
    grown, outcome = measure(kind, responses, size, grow=32 * MIB)
    assert grown <= LIMIT, f"{grown / MIB:.1f} MiB"
    assert outcome == "end" or "ENHANCE_YOUR_CALM" in outcome
