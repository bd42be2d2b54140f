"""Bodies in both directions: every framing of HTTP/1.1, complete, broken and contradictory."""

from __future__ import annotations

import hashlib
import json
import threading
from typing import TYPE_CHECKING, Any

import httpcore
import pytest

from peers import always, answers, echo, reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from flavours import Flavour
    from peers import Connection, Serve

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n"


# Responses.


@pytest.mark.parametrize(
    ("response", "body"),
    [
        pytest.param(reply(b"hello"), b"hello", id="content-length"),
        pytest.param(reply(b""), b"", id="content-length 0"),
        pytest.param(reply(b"x" * 1_000_000), b"x" * 1_000_000, id="a megabyte"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nhi", b"hi", id="the same length twice"),
        pytest.param(CHUNKED + b"5\r\nhello\r\n0\r\n\r\n", b"hello", id="one chunk"),
        pytest.param(CHUNKED + b"0\r\n\r\n", b"", id="no chunk"),
        pytest.param(CHUNKED + b"5\r\nhello\r\n1\r\n \r\n0005\r\nworld\r\n000\r\n\r\n", b"hello world", id="chunks"),
        pytest.param(CHUNKED + b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", b"0123456789" * 2, id="hex"),
        pytest.param(
            CHUNKED + b'5;name=value\r\nhello\r\n1;quoted="a;b"\r\n!\r\n0;last\r\n\r\n', b"hello!", id="extensions"
        ),
        pytest.param(CHUNKED + b"5\r\nhello\r\n0\r\nX-Checksum: 1\r\nX-Other: 2\r\n\r\n", b"hello", id="trailers"),
        pytest.param(CHUNKED.replace(b"chunked", b"Chunked") + b"2\r\nhi\r\n0\r\n\r\n", b"hi", id="Chunked"),
    ],
)
async def test_framed_bodies_leave_a_connection_that_is_reused(
    flavour: Flavour, serve: Serve, response: bytes, body: bytes
) -> None:
    peer = serve(always(response))
    async with flavour.pool() as pool:
        for _ in range(3):
            assert (await pool.request("GET", peer.url)).content == body
    assert len(peer.connections) == 1


@pytest.mark.parametrize(
    ("response", "body"),
    [
        (CHUNKED + b"5;x=y\r\nhello\r\n10\r\n0123456789abcdef\r\n0\r\nX-Trailer: 1\r\n\r\n", b"hello0123456789abcdef"),
        (reply(b"hello"), b"hello"),
    ],
)
async def test_bodies_that_arrive_byte_by_byte(flavour: Flavour, serve: Serve, response: bytes, body: bytes) -> None:
    def script(connection: Connection) -> None:
        for _ in range(2):
            connection.read_request()
            connection.send_pieces(response[position : position + 1] for position in range(len(response)))

    peer = serve(script)
    async with flavour.pool() as pool:
        for _ in range(2):
            assert (await pool.request("GET", peer.url)).content == body
    assert len(peer.connections) == 1


@pytest.mark.parametrize("body", [b"", b"hello", b"x" * 1_000_000])
@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0"])
async def test_a_body_without_length_ends_where_the_server_closes(
    flavour: Flavour, serve: Serve, version: bytes, body: bytes
) -> None:
    peer = serve(answers(UNTIL_CLOSE.replace(b"HTTP/1.1", version) + body))
    async with flavour.pool() as pool:
        for _ in range(2):
            assert (await pool.request("GET", peer.url)).content == body
            assert pool.connections == []
    assert len(peer.connections) == 2


@pytest.mark.parametrize("header", [b"close", b"Close", b"keep-alive, close"])
async def test_connection_close_is_honoured(flavour: Flavour, serve: Serve, header: bytes) -> None:
    peer = serve(always(reply(b"hello", headers=[(b"Connection", header)])))
    async with flavour.pool() as pool:
        assert (await pool.request("GET", peer.url)).content == b"hello"
        assert pool.connections == []
        await flavour.until(lambda: peer.closed(1))


@pytest.mark.parametrize(
    ("method", "response"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
        ("HEAD", CHUNKED),
        ("HEAD", UNTIL_CLOSE),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n"),
    ],
)
async def test_responses_that_have_no_body(flavour: Flavour, serve: Serve, method: str, response: bytes) -> None:
    peer = serve(always(response))
    async with flavour.pool() as pool:
        for _ in range(2):
            assert (await pool.request(method, peer.url)).content == b""
    assert len(peer.connections) == 1


@pytest.mark.parametrize(
    "response",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", id="nothing of it"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n123456789", id="one byte short"),
        pytest.param(CHUNKED, id="no chunk"),
        pytest.param(CHUNKED + b"5", id="in a chunk's size"),
        pytest.param(CHUNKED + b"5\r\nhel", id="in a chunk"),
        pytest.param(CHUNKED + b"5\r\nhello\r\n", id="after a chunk"),
        pytest.param(CHUNKED + b"5\r\nhello\r\n0\r\n", id="before the last line"),
        pytest.param(CHUNKED + b"5\r\nhello\r\n0\r\nX-Trailer: ", id="in a trailer"),
        pytest.param(CHUNKED + b"zz\r\nhello\r\n0\r\n\r\n", id="size of letters"),
        pytest.param(CHUNKED + b"\r\nhello\r\n0\r\n\r\n", id="empty size"),
        pytest.param(CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n", id="negative size"),
        pytest.param(CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n", id="prefixed size"),
        pytest.param(CHUNKED + b"fffffffffffffffffffff\r\nhello\r\n0\r\n\r\n", id="size that overflows"),
        pytest.param(CHUNKED + b"3\r\nhello\r\n0\r\n\r\n", id="chunk longer than its size"),
    ],
)
async def test_a_broken_body_is_a_remote_protocol_error(flavour: Flavour, serve: Serve, response: bytes) -> None:
    peer = serve(answers(response))
    async with flavour.pool(max_connections=1) as pool:
        async with pool.stream("GET", peer.url) as received:
            assert received.status == 200
            with pytest.raises(httpcore.RemoteProtocolError) as raised:
                await received.read()
            assert str(raised.value)
        assert pool.connections == []


async def test_a_reset_in_the_body_is_a_read_error(flavour: Flavour, serve: Serve) -> None:
    read = threading.Event()

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")
        connection.wait(read)
        connection.reset()

    peer = serve(script)
    async with flavour.pool(max_connections=1) as pool:
        async with pool.stream("GET", peer.url) as response:
            chunks = response.__aiter__()
            assert await chunks.__anext__() == b"12345"
            read.set()
            with pytest.raises(httpcore.ReadError) as raised:
                await chunks.__anext__()
            assert str(raised.value)
        assert pool.connections == []


@pytest.mark.parametrize(
    ("start", "rest"),
    [
        pytest.param(b"5;", b"x" * 10_000, id="extension"),
        pytest.param(b"", b"0" * 10_000, id="zeros of a size"),
        pytest.param(b"5", b" " * 10_000, id="spaces after a size"),
        pytest.param(b"5\r\nhello\r\n0\r\n", b"X: y\r\n" * 1000, id="trailers"),
        pytest.param(b"5\r\nhello\r\n0\r\nX: ", b"y" * 10_000, id="trailer"),
    ],
)
async def test_endless_framing_is_refused(flavour: Flavour, serve: Serve, start: bytes, rest: bytes) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(CHUNKED + start)
        while not connection.peer.stopping:
            connection.send(rest)

    peer = serve(script)
    async with flavour.pool() as pool:
        with pytest.raises(httpcore.RemoteProtocolError) as raised:
            await pool.request("GET", peer.url)
        assert str(raised.value)
        assert pool.connections == []


FORGED = reply(b"forged")


@pytest.mark.parametrize(
    ("method", "response", "body"),
    [
        pytest.param("GET", reply(b"hello") + FORGED, b"hello", id="after a content-length"),
        pytest.param("GET", CHUNKED + b"5\r\nhello\r\n0\r\n\r\n" + FORGED, b"hello", id="after the last chunk"),
        pytest.param("GET", b"HTTP/1.1 204 No Content\r\n\r\n" + FORGED, b"", id="after a 204"),
        pytest.param("GET", b"HTTP/1.1 304 Not Modified\r\n\r\n" + FORGED, b"", id="after a 304"),
        pytest.param("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 55\r\n\r\n" + FORGED, b"", id="after a HEAD"),
    ],
)
async def test_bytes_beyond_a_response_never_answer_the_next_request(
    flavour: Flavour, serve: Serve, method: str, response: bytes, body: bytes
) -> None:
    def script(connection: Connection) -> None:
        while True:
            genuine = connection.read_request().target == b"/genuine"
            connection.send(reply(b"genuine") if genuine else response)

    peer = serve(script)
    async with flavour.pool() as pool:
        for _ in range(3):
            assert (await pool.request(method, peer.url)).content == body
            assert (await pool.request("GET", peer.url + "genuine")).content == b"genuine"


# Requests.


async def test_bytes_are_sent_with_their_length(flavour: Flavour, serve: Serve) -> None:
    peer = serve(echo)
    async with flavour.pool() as pool:
        await pool.request("POST", peer.url, content=b"hello")
        await pool.request("POST", peer.url, content=b"")
    assert peer.requests[0].header(b"content-length") == b"5"
    assert peer.requests[0].body == b"hello"
    assert peer.requests[1].header(b"content-length") == b"0"
    assert len(peer.connections) == 1


@pytest.mark.parametrize("content", [b"hello", b"x" * 300_000, b""])
async def test_bytes_are_sent_in_chunks_if_the_caller_says_so(flavour: Flavour, serve: Serve, content: bytes) -> None:
    peer = serve(echo)
    async with flavour.pool() as pool:
        for _ in range(2):
            await pool.request("POST", peer.url, headers=[("Transfer-Encoding", "chunked")], content=content)
    assert [request.body for request in peer.requests] == [content] * 2
    assert len(peer.connections) == 1


@pytest.mark.parametrize(
    "chunks", [(), (b"",), (b"hello",), (b"a", b"", b"bc"), (b"x" * 100_000,) * 10, tuple([b"tiny"] * 1000)]
)
async def test_iterables_are_sent_in_chunks(flavour: Flavour, serve: Serve, chunks: tuple[bytes, ...]) -> None:
    peer = serve(echo)
    async with flavour.pool() as pool:
        for _ in range(2):
            response = await pool.request("POST", peer.url, content=flavour.parts(*chunks))
            assert json.loads(response.content)["length"] == len(b"".join(chunks))
    for request in peer.requests:
        assert request.header(b"transfer-encoding") == b"chunked"
        assert request.body == b"".join(chunks)
    assert len(peer.connections) == 1


async def test_iterables_are_sent_with_a_length_that_the_caller_knows(flavour: Flavour, serve: Serve) -> None:
    peer = serve(echo)
    async with flavour.pool() as pool:
        for _ in range(2):
            content = flavour.parts(b"hel", b"", b"lo")
            await pool.request("POST", peer.url, headers=[(b"content-length", b"5")], content=content)
    for request in peer.requests:
        assert request.header(b"transfer-encoding") is None
        assert request.body == b"hello"
    assert b"\r\n\r\nhello" in peer.connections[0].received  # as it is, without chunks' sizes
    assert len(peer.connections) == 1


async def test_plain_iterables_and_async_iterables(flavour: Flavour, serve: Serve) -> None:
    class Body:
        def __iter__(self) -> Any:
            return iter([b"from ", b"a class"])

        async def __aiter__(self) -> AsyncIterator[bytes]:
            for chunk in self:
                yield chunk

    peer = serve(echo)
    async with flavour.pool() as pool:
        await pool.request("POST", peer.url, content=Body())
    assert peer.requests[0].body == b"from a class"


@pytest.mark.parametrize("kind", ["bytes", "parts"])
async def test_a_server_that_expects_100_continue_gets_the_body(flavour: Flavour, serve: Serve, kind: str) -> None:
    # RFC 9110, 10.1.1. `test_informational.py` has the ways in which it may answer.
    def script(connection: Connection) -> None:
        head = connection.read_head()
        assert b"Expect: 100-continue\r\n" in head
        connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        connection.unread = head + connection.unread
        connection.send(reply(connection.read_request().body))

    peer = serve(script)
    content = b"hello" if kind == "bytes" else flavour.parts(b"hel", b"lo")
    async with flavour.pool() as pool:
        response = await pool.request("POST", peer.url, headers={"Expect": "100-continue"}, content=content)
    assert (response.status, response.content) == (200, b"hello")


async def test_a_body_of_8_mib_arrives_whole(flavour: Flavour, serve: Serve) -> None:
    block = bytes(range(256)) * 256
    peer = serve(echo)
    async with flavour.pool() as pool:
        whole = await pool.request("POST", peer.url, content=block * 128)
        parts = await pool.request("POST", peer.url, content=flavour.parts(*[block] * 128))
    for response in (whole, parts):
        assert json.loads(response.content)["sha256"] == hashlib.sha256(block * 128).hexdigest()


@pytest.mark.parametrize("length", [b"4", b"6", b"0", b"1000000"])
@pytest.mark.parametrize("kind", ["bytes", "parts"])
async def test_a_body_that_belies_its_length_is_refused(
    flavour: Flavour, serve: Serve, kind: str, length: bytes
) -> None:
    peer = serve(echo)
    content = b"howdy" if kind == "bytes" else flavour.parts(b"ho", b"wd", b"y")
    async with flavour.pool(max_connections=1) as pool:
        with pytest.raises(httpcore.LocalProtocolError) as raised:
            await pool.request("POST", peer.url, headers=[(b"Content-Length", length)], content=content)
        assert str(raised.value)
        assert pool.connections == []
        assert (await pool.request("GET", peer.url)).status == 200
    # The bytes before the error may have been a whole request; the surplus was not sent.
    if int(length) < 5:
        assert all(b"howdy" not in connection.received for connection in peer.connections)
    # Each connection has a thread of the peer, so that the second request may be recorded first.
    assert sorted(len(request.body) for request in peer.requests) in ([0], [0, int(length)])


async def test_an_exception_of_the_body_reaches_the_caller_unchanged(flavour: Flavour, serve: Serve) -> None:
    class OfTheCaller(Exception):
        pass

    error = OfTheCaller("out of data")

    async def failing() -> AsyncIterator[bytes]:
        yield b"some"
        raise error

    peer = serve(echo)
    async with flavour.pool(max_connections=1) as pool:
        with pytest.raises(OfTheCaller) as raised:
            await pool.request("POST", peer.url, content=flavour.body(failing()))
        assert raised.value is error
        assert pool.connections == []
        assert "Requests: 0 active, 0 queued | Connections: 0 active, 0 idle" in repr(pool)
        await flavour.until(lambda: peer.closed(1))
        assert (await pool.request("GET", peer.url)).status == 200
    assert len(peer.requests) == 1


async def test_an_exception_before_the_bodys_first_chunk(flavour: Flavour, serve: Serve) -> None:
    async def failing() -> AsyncIterator[bytes]:
        raise KeyError("first")
        yield b"never"

    peer = serve(echo)
    async with flavour.pool(max_connections=1) as pool:
        await pool.request("GET", peer.url)
        with pytest.raises(KeyError, match="first"):
            await pool.request("POST", peer.url, content=flavour.body(failing()))
        assert pool.connections == []
        assert (await pool.request("GET", peer.url)).status == 200


async def test_a_body_may_be_a_response_of_the_same_pool(flavour: Flavour, serve: Serve) -> None:
    block = bytes(range(256)) * 256
    source = serve(always(reply(block * 64)))
    sink = serve(echo)
    async with flavour.pool(max_connections=2) as pool:
        for _ in range(2):
            async with pool.stream("GET", source.url) as upstream:
                response = await pool.request("POST", sink.url, content=upstream.raw.stream)
            described = json.loads(response.content)
            assert described["length"] == len(block) * 64
            assert described["sha256"] == hashlib.sha256(block * 64).hexdigest()
    assert len(source.connections) == len(sink.connections) == 1


async def test_a_body_may_send_requests_of_its_own(flavour: Flavour, serve: Serve) -> None:
    peer = serve(echo)

    async with flavour.pool() as pool:

        async def fetching() -> AsyncIterator[bytes]:
            for number in range(3):
                yield json.loads((await pool.request("GET", f"{peer.url}{number}")).content)["target"].encode()

        await pool.request("POST", peer.url, content=flavour.body(fetching()))
    assert peer.requests[-1].body == b"/0/1/2"
