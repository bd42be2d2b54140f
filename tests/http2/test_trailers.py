"""Trailers, of responses and of requests, in HTTP/2 and in HTTP/1.1's chunked bodies.

The trailers of a response are in a list that its extensions have from the start, and that is filled when the body
ends: httpx copies the extensions, not the list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpcore
import httpx
import pytest

import engines
import httpcore_rs
from h2_peer import OK, always, http2_pool, says, still_works
from peers import always as http1_always
from peers import answers, reply

if TYPE_CHECKING:
    from flavours import Flavour, Pool
    from h2_peer import ServeH2
    from peers import Connection, Serve

TRAILERS = [
    (b"grpc-status", b"0"),
    (b"x-checksum", b"caf\xe9"),
    (b"x-twice", b"1"),
    (b"x-twice", b"2"),
    (b"x-none", b""),
]
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-checksum\r\n\r\n5\r\nhello\r\n0\r\n"


def sending(*trailers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"trailing_headers": list(trailers)}


# Of responses, HTTP/2.


@pytest.mark.parametrize("body", [b"hello", b"", b"x" * 1_000_000], ids=["short", "empty", "long"])
async def test_trailers_of_a_response(flavour: Flavour, serve_h2: ServeH2, body: bytes) -> None:
    peer = serve_h2(says(body, trailers=TRAILERS, length=False))
    async with http2_pool(flavour) as pool:
        async with pool.stream("GET", peer.url) as response:
            trailers = response.extensions["trailing_headers"]
            assert trailers == []
            assert b"".join([chunk async for chunk in response]) == body
            # The same list.
            assert trailers == TRAILERS
        response = await pool.request("GET", peer.url)
        assert response.content == body
        assert response.extensions["trailing_headers"] == TRAILERS
        assert response.headers == []
    assert len(peer.connections) == 1


async def test_a_response_without_trailers_has_an_empty_list(flavour: Flavour, serve_h2: ServeH2) -> None:
    peer = serve_h2(OK)
    async with http2_pool(flavour) as pool:
        assert (await pool.request("GET", peer.url)).extensions["trailing_headers"] == []


async def test_each_response_has_a_list_of_its_own(flavour: Flavour, serve_h2: ServeH2) -> None:
    peer = serve_h2(always(lambda session, s: session.respond(s, s.target, trailers=[(b"x-target", s.target)])))
    async with http2_pool(flavour) as pool:
        responses = await flavour.gather(
            *[lambda number=number: pool.request("GET", f"{peer.url}{number}") for number in range(20)]
        )
        for response in responses:
            assert response.extensions["trailing_headers"] == [(b"x-target", response.content)]


async def test_a_response_of_a_head_and_trailers_closed_before_its_end(flavour: Flavour, serve_h2: ServeH2) -> None:
    peer = serve_h2(says(b"ok", trailers=TRAILERS))
    async with http2_pool(flavour) as pool:
        response = await pool.handle(httpcore.Request("GET", peer.url, headers={"Host": "test"}))
        await response.close()
        await still_works(pool, peer)


@pytest.mark.parametrize("bad", [(b"X-Upper", b"1")], ids=["upper case"])
async def test_trailers_that_are_wrong(flavour: Flavour, serve_h2: ServeH2, bad: tuple[bytes, bytes]) -> None:
    def respond(session: Any, stream: Any) -> None:
        if stream.target == b"/bad":
            session.respond(stream, b"hello", trailers=[bad], length=False)
        else:
            session.respond(stream, b"ok")

    peer = serve_h2(always(respond))
    async with http2_pool(flavour) as pool:
        with pytest.raises(httpcore.RemoteProtocolError):
            await pool.request("GET", peer.url + "bad")
        assert (await pool.request("GET", peer.url)).content == b"ok"


async def test_httpx_hands_them_on(flavour: Flavour, serve_h2: ServeH2) -> None:
    peer = serve_h2(says(b"hello", trailers=TRAILERS))
    transport = httpcore_rs.AsyncTransport if flavour.is_async else httpcore_rs.SyncTransport
    kind: Any = httpx.AsyncClient if flavour.is_async else httpx.Client
    client = kind(transport=transport(engines.current.verifying_nothing(), http1=False, http2=True))
    response = await flavour.call(client, "get", peer.url)
    assert response.extensions["trailing_headers"] == TRAILERS
    await flavour.call(client, "__exit__", None, None, None)


# Of responses, HTTP/1.1.


async def test_trailers_of_a_chunked_response(flavour: Flavour, serve: Serve) -> None:
    peer = serve(http1_always(CHUNKED + b"X-Checksum: caf\xe9\r\nx-twice: 1\r\nX-Twice:2\r\nx-none:\r\n\r\n"))
    expected = [(b"X-Checksum", b"caf\xe9"), (b"x-twice", b"1"), (b"X-Twice", b"2"), (b"x-none", b"")]
    async with flavour.pool() as pool:
        for _ in range(2):
            async with pool.stream("GET", peer.url) as response:
                trailers = response.extensions["trailing_headers"]
                assert trailers == []
                assert await response.read() == b"hello"
                assert [(name.lower(), value) for name, value in trailers] == [
                    (name.lower(), value) for name, value in expected
                ]
    assert len(peer.connections) == 1


async def test_a_chunked_response_without_trailers(flavour: Flavour, serve: Serve) -> None:
    peer = serve(http1_always(CHUNKED + b"\r\n"))
    async with flavour.pool() as pool:
        for _ in range(2):
            response = await pool.request("GET", peer.url)
            assert (response.content, response.extensions["trailing_headers"]) == (b"hello", [])
    assert len(peer.connections) == 1


async def test_trailers_in_small_segments(flavour: Flavour, serve: Serve) -> None:
    whole = CHUNKED + b"X-Checksum: 123\r\nX-Other: 4\r\n\r\n"

    def script(connection: Connection) -> None:
        while True:
            connection.read_request()
            connection.send_pieces(whole[start : start + 3] for start in range(0, len(whole), 3))

    peer = serve(script)
    async with flavour.pool() as pool:
        for _ in range(2):
            response = await pool.request("GET", peer.url)
            assert response.content == b"hello"
            assert [value for _, value in response.extensions["trailing_headers"]] == [b"123", b"4"]
    assert len(peer.connections) == 1


async def test_trailers_without_end(flavour: Flavour, serve: Serve) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(CHUNKED)
        for _ in range(1000):
            connection.send(b"X-More: y\r\n" * 6000)
        raise AssertionError("the client would have read for ever")

    peer = serve(script)
    async with flavour.pool() as pool:
        with pytest.raises(httpcore.RemoteProtocolError):
            await pool.request("GET", peer.url)
        assert pool.connections == []


async def test_trailers_that_are_invalid_in_http1(flavour: Flavour, serve: Serve) -> None:
    peer = serve(answers(CHUNKED + b"no colon\r\n\r\n"))
    async with flavour.pool() as pool:
        with pytest.raises(httpcore.RemoteProtocolError):
            await pool.request("GET", peer.url)
        assert pool.connections == []


# Of requests, HTTP/2.


@pytest.mark.parametrize("kind", ["bytes", "parts", "nothing", "no parts", "much"])
async def test_trailers_of_a_request(flavour: Flavour, serve_h2: ServeH2, kind: str) -> None:
    contents: dict[str, Any] = {
        "bytes": b"hello",
        "parts": flavour.parts(b"hel", b"lo"),
        "nothing": None,
        "no parts": flavour.parts(),
        "much": b"x" * 300_000,
    }
    peer = serve_h2(OK)
    async with http2_pool(flavour) as pool:
        extensions = sending((b"X-Checksum", b"123"), (b"x-other", b"4"))
        response = await pool.request("POST", peer.url, content=contents[kind], extensions=extensions)
        assert response.content == b"ok"
        await still_works(pool, peer)
    request = peer.requests[0]
    assert request.trailers == [(b"x-checksum", b"123"), (b"x-other", b"4")]
    assert len(request.body) == {"bytes": 5, "parts": 5, "much": 300_000}.get(kind, 0)
    assert peer.requests[1].trailers is None


async def test_trailers_may_be_known_only_when_the_body_has_been_sent(flavour: Flavour, serve_h2: ServeH2) -> None:
    trailers: list[tuple[bytes, bytes]] = []

    async def body() -> Any:
        for number in range(3):
            yield b"part"
            trailers.append((b"x-part", b"%d" % number))

    peer = serve_h2(OK)
    async with http2_pool(flavour) as pool:
        extensions = {"trailing_headers": trailers}
        await pool.request("POST", peer.url, content=flavour.body(body()), extensions=extensions)
    assert peer.requests[0].trailers == [(b"x-part", b"0"), (b"x-part", b"1"), (b"x-part", b"2")]


async def test_an_empty_list_of_trailers_sends_none(flavour: Flavour, serve_h2: ServeH2) -> None:
    peer = serve_h2(OK)
    async with http2_pool(flavour) as pool:
        await pool.request("POST", peer.url, content=b"hello", extensions=sending())
    assert peer.requests[0].trailers is None


BAD = [(b"x\r\ny", b"1"), (b"x", b"1\r\ny: 2"), (b"x", b"\0"), (b":status", b"200"), (b"", b"1")]


async def test_trailers_that_cannot_be_sent(flavour: Flavour, serve_h2: ServeH2) -> None:
    peer = serve_h2(OK)
    async with http2_pool(flavour) as pool:
        await pool.request("GET", peer.url)
        for bad in BAD:
            with pytest.raises(httpcore.LocalProtocolError):
                await pool.request("POST", peer.url, content=b"hello", extensions=sending(bad))
        await still_works(pool, peer)
    assert all(not stream.trailers for stream in peer.streams)


# Of requests, HTTP/1.1.


async def http1_trailers(pool: Pool, serve: Serve, **arguments: Any) -> bytes:
    """Returns the bytes that followed the last chunk of the request's body."""

    def script(connection: Connection) -> None:
        connection.read_head()
        while size := int(connection.read_until(b"\r\n"), 16):
            connection.read_exactly(size + 2)
        lines = [connection.read_until(b"\r\n")]
        while lines[-1] != b"\r\n":
            lines.append(connection.read_until(b"\r\n"))
        seen.append(b"".join(lines))
        connection.send(reply(b"ok"))

    seen: list[bytes] = []
    peer = serve(script)
    assert (await pool.request("POST", peer.url, **arguments)).content == b"ok"
    return seen[0]


async def test_trailers_of_a_chunked_request(flavour: Flavour, serve: Serve) -> None:
    async with flavour.pool() as pool:
        extensions = sending((b"X-Checksum", b"123"), (b"x-other", b"4"))
        parts = flavour.parts(b"hel", b"lo")
        got = await http1_trailers(pool, serve, content=parts, extensions=extensions)
        assert got.lower() == b"x-checksum: 123\r\nx-other: 4\r\n\r\n"
        # Without the extension the body ends with an empty trailer section.
        assert await http1_trailers(pool, serve, content=flavour.parts(b"hel", b"lo")) == b"\r\n"


async def test_trailers_of_a_chunked_request_that_cannot_be_sent(flavour: Flavour, serve: Serve) -> None:
    peer = serve(http1_always(reply(b"ok")))
    async with flavour.pool() as pool:
        for bad in BAD:
            with pytest.raises(httpcore.LocalProtocolError):
                await pool.request("POST", peer.url, content=flavour.parts(b"hello"), extensions=sending(bad))
            assert "Requests: 0 active, 0 queued | Connections: 0 active" in repr(pool)
    assert all(b"y" not in request.head for request in peer.requests)
