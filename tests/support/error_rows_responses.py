"""The error messages about responses, over HTTP/1.1 and HTTP/2, and after them: rows as in `error_rows`."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import httpcore

from error_rows import OK, ROWS, Bench, Row, row
from h2_peer import http2_pool
from peers import reply

if TYPE_CHECKING:
    from h2_session import Session
    from peers import Connection

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def answer(text: str, *parts: bytes) -> None:
    """Adds a row for a response that is malformed."""

    async def provoke(bench: Bench) -> object:
        return await bench.get_answer(*parts)

    ROWS.append(Row(text, httpcore.RemoteProtocolError, provoke))


BEGINS = "; it begins with b'<start>' (from <origin>)"
IN_LINE = " in the line that begins with b'<name>' (from <origin>)"
answer("Server disconnected without sending a response.", b"")
answer(f"malformed response head: it is not HTTP/1{BEGINS}", b"<html>")
answer(f"malformed response head: the server closed the connection in the middle of it{BEGINS}", HEAD)
answer(f"malformed response head: the status code is below 100{BEGINS}", b"HTTP/1.1 001 OK\r\n\r\n")
answer(f"malformed response head: invalid header name{IN_LINE}", HEAD + b"Set Cookie: TOK3N\r\n\r\n")
answer(f"malformed response head: invalid header value{IN_LINE}", HEAD + b"Set-Cookie: TOK3N\0\r\n\r\n")
answer(f"malformed response head: <reason>{BEGINS}", b"HTTP/1.1 2x0 OK\r\n\r\n")
answer("response head is longer than 102400 bytes (from <origin>)", HEAD + b"A: " + b"a" * 200_000)
answer("<origin> switched protocols (101) without having been asked to", b"HTTP/1.1 101 Switching\r\n\r\n")
answer("multiple Transfer-Encoding headers (from <origin>)", HEAD + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n")
answer("Only Transfer-Encoding: chunked is supported (from <origin>)", HEAD + b"Transfer-Encoding: gzip\r\n\r\n")
answer("conflicting Content-Length headers (from <origin>)", HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\na")
CUT_SHORT = "peer closed connection without sending complete message body "
answer(f"{CUT_SHORT}(received <number> bytes, expected <number>) (from <origin>)", reply(b"cut short")[:-1])
answer(f"{CUT_SHORT}(incomplete chunked read) (from <origin>)", CHUNKED + b"5\r\nab")
answer("invalid response from <origin>: <reason>", CHUNKED + b"no size\r\n")
answer("malformed trailers from <origin>: a line ends in LF without CR", CHUNKED, b"1\r\na\r\n0\r\nX: 1\n\r\n\r\n")
answer("<number> bytes of the response body from <origin> hold no content", CHUNKED, b"0" * 2_000_000)


@row("reading from <origin> failed: [Errno <number>] <reason of the system>", httpcore.ReadError)
async def reset(bench: Bench) -> object:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.reset()

    return await bench.get_from(script)


@row("the connection to <origin> was closed by its pool", httpcore.ReadError)
async def closed_by_the_pool(bench: Bench) -> object:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(reply(b"cut short")[:-1])
        connection.wait_closed()

    async with bench.flavour.pool() as pool, pool.stream("GET", bench.serve(script).url) as response:
        await pool.close()
        return await response.read()


@row("the response was closed before its body was read to the end", httpcore.ReadError)
async def closed_by_the_caller(bench: Bench) -> object:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(reply(b"cut short")[:-1])
        connection.wait_closed()

    async with bench.flavour.pool() as pool, pool.stream("GET", bench.serve(script).url) as response:
        await response.close()
        return [chunk async for chunk in response]


# Network streams.


def stream_of(head: bytes, text: str, error: type[Exception], name: str, *arguments: Any, **named: Any) -> None:
    """Adds a row for a read or write of the network stream of a response."""

    async def provoke(bench: Bench) -> object:
        def script(connection: Connection) -> None:
            connection.read_request()
            connection.send(head)
            connection.wait_closed()

        headers = [("Connection", "upgrade"), ("Upgrade", "test")]
        async with bench.flavour.pool() as pool:
            async with pool.stream("GET", bench.serve(script).url, headers=headers) as response:
                stream = response.extensions["network_stream"]
                if error is not httpcore.WriteError:
                    return await bench.use(stream, name, *arguments, **named)
            return await bench.use(stream, name, *arguments, **named)

    ROWS.append(Row(text, error, provoke))


SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: test\r\n\r\n"
stream_of(
    SWITCHED,
    "<origin> sent no data within <seconds> s (read timeout)",
    httpcore.ReadTimeout,
    "read",
    1,
    timeout=0.05,
)
stream_of(
    OK,
    "reading from <origin> failed: the connection still speaks HTTP; its stream can be used after an upgrade or "
    "CONNECT",
    httpcore.ReadError,
    "read",
    1,
)
stream_of(
    SWITCHED,
    "writing to <origin> failed: the response that the stream belongs to is closed",
    httpcore.WriteError,
    "write",
    b"late",
)


# HTTP/2.


def over_http2(text: str, script: Any, error: type[Exception] = httpcore.RemoteProtocolError, **arguments: Any) -> None:
    """Adds a row for a peer that speaks HTTP/2."""

    async def provoke(bench: Bench) -> object:
        return await bench.get_h2(script, **arguments)

    ROWS.append(Row(text, error, provoke))


def resets(session: Session) -> None:
    stream = session.read_request()
    session.reset(stream, 2)


def goes_away(session: Session) -> None:
    stream = session.read_request()
    session.goaway(stream.id, 11)
    session.hang_up()


def breaks_the_rules(session: Session) -> None:
    session.read_request()
    # A PING on a stream.
    session.raw(b"\0\0\x08\x06\0\0\0\0\x0112345678")


def breaks_a_stream(session: Session) -> None:
    stream = session.read_request()
    session.head(stream, headers=[(b"content-length", b"1")])
    session.data(stream, b"longer", end=True)


def sends_content(session: Session) -> None:
    stream = session.read_request()
    session.head(stream, 204)
    session.data(stream, b"content", end=True)


def only_informs(session: Session) -> None:
    stream = session.read_request()
    for _ in range(101):
        session.head(stream, 103)


over_http2("<origin> reset the stream: <reason>", resets)
over_http2("<origin> closed the connection: <reason>", goes_away)
over_http2("<origin> violated HTTP/2: <reason>", breaks_the_rules)
over_http2("<origin> violated HTTP/2 on a stream: <reason>", breaks_a_stream)
over_http2("<origin> sent content with status <status>, which has none", sends_content)
over_http2("<origin> sent only informational responses (1xx)", only_informs)
over_http2(
    "<origin> did not answer a PING within <seconds> s: the connection is dead",
    lambda session: session.connection.wait(threading.Event()),
    httpcore.ReadError,
    pool={"http2_ping_interval": 0.05, "http2_ping_timeout": 0.05},
)
over_http2(
    "of TE only `trailers` can be sent over HTTP/2",
    lambda session: session.stay(),
    httpcore.LocalProtocolError,
    headers=[("TE", "gzip")],
)
over_http2(
    "Illegal <part> for HTTP/2",
    lambda session: session.stay(),
    httpcore.LocalProtocolError,
    extensions={"target": "/#TOK3N"},
)


@row("reading from <origin> failed: the connection speaks HTTP/2, which is never left", httpcore.ReadError)
async def stream_of_http2(bench: Bench) -> object:
    def script(session: Session) -> None:
        session.respond(session.read_request(), b"ok")

    async with http2_pool(bench.flavour) as pool:
        response = await pool.request("GET", bench.serve_h2(script).url)
        return await bench.use(response.extensions["network_stream"], "read", 1)
