"""HTTP/2 responses as the caller receives them."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import pytest

from h2_peer import always, describe, http2_pool, says, secure_pool

if TYPE_CHECKING:
    from certificates import Certificates
    from flavours import Flavour
    from h2_peer import ServeH2
    from h2_session import Session, Stream


async def test_a_response_is_passed_on_as_it_arrived(flavour: Flavour, serve_h2: ServeH2) -> None:
    headers = [
        (b"x-zulu", b"1"),
        (b"set-cookie", b"a=1"),
        (b"x-alpha", b"caf\xe9"),
        (b"set-cookie", b"b=2"),
        (b"x-empty", b""),
    ]
    peer = serve_h2(says(b"hello", status=418, headers=headers))
    async with http2_pool(flavour) as pool:
        response = await pool.request("GET", peer.url)
        assert (response.status, response.content) == (418, b"hello")
        got = [pair for pair in response.headers if pair[0] != b"content-length"]
        assert [pair for pair in got if pair[0] == b"set-cookie"] == [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]
        assert sorted(got) == sorted(headers)
        assert [name for name, _ in dict(got).items()] == [b"x-zulu", b"set-cookie", b"x-alpha", b"x-empty"]
        # There is no reason phrase in HTTP/2; httpx supplies one where it is missing.
        assert set(response.extensions) == {
            "http_version",
            "stream_id",
            "network_stream",
            "timings",
            "trailing_headers",
        }
        stream = response.extensions["network_stream"]
        assert stream.get_extra_info("server_addr") == ("127.0.0.1", peer.port)
        assert stream.get_extra_info("client_addr") == peer.connections[0].address


@pytest.mark.parametrize("status", [204, 304, 200, 500])
async def test_responses_without_a_body(flavour: Flavour, serve_h2: ServeH2, status: int) -> None:
    peer = serve_h2(says(b"", status=status, length=False))
    async with http2_pool(flavour) as pool:
        for _ in range(2):
            response = await pool.request("GET", peer.url)
            assert (response.status, response.content, response.headers) == (status, b"", [])
    assert len(peer.connections) == 1


async def test_head_has_a_length_and_no_body(flavour: Flavour, serve_h2: ServeH2) -> None:
    def respond(session: Session, stream: Stream) -> None:
        session.head(stream, 200, [(b"content-length", b"1000")], end=True)

    peer = serve_h2(always(respond))
    async with http2_pool(flavour) as pool:
        for _ in range(2):
            response = await pool.request("HEAD", peer.url)
            assert response.headers == [(b"content-length", b"1000")]
            assert response.content == b""
    assert len(peer.connections) == 1


async def test_informational_heads_come_before_the_response(flavour: Flavour, serve_h2: ServeH2) -> None:
    def respond(session: Session, stream: Stream) -> None:
        session.head(stream, 100)
        for _ in range(3):
            session.head(stream, 103, [(b"link", b"</style.css>")])
        session.respond(stream, b"ok")

    peer = serve_h2(always(respond))
    async with http2_pool(flavour) as pool:
        response = await pool.request("GET", peer.url)
        assert (response.status, response.content) == (200, b"ok")
        assert response.headers == [(b"content-length", b"2")]


async def test_a_body_arrives_as_it_is_sent(flavour: Flavour, serve_h2: ServeH2) -> None:
    go = [threading.Event() for _ in range(3)]

    def respond(session: Session, stream: Stream) -> None:
        session.head(stream, 200)
        for number, event in enumerate(go):
            session.data(stream, b"part %d" % number)
            session.wait(event)
        session.data(stream, b"", end=True)

    peer = serve_h2(always(respond))
    async with http2_pool(flavour) as pool:
        async with pool.stream("GET", peer.url) as response:
            number = 0
            async for chunk in response:
                assert chunk == b"part %d" % number
                go[number].set()
                number += 1
        assert number == 3


async def test_empty_and_padded_frames_add_nothing_to_a_body(flavour: Flavour, serve_h2: ServeH2) -> None:
    def respond(session: Session, stream: Stream) -> None:
        session.head(stream, 200)
        for _ in range(50):
            session.h2.send_data(stream.id, b"")
            session.h2.send_data(stream.id, b"x" * 100, pad_length=200)
        session.h2.send_data(stream.id, b"", end_stream=True)

    peer = serve_h2(always(respond))
    async with http2_pool(flavour) as pool:
        async with pool.stream("GET", peer.url) as response:
            chunks = [chunk async for chunk in response]
    assert b"".join(chunks) == b"x" * 5000
    assert b"" not in chunks


async def test_a_big_response(flavour: Flavour, serve_h2: ServeH2, certificates: Certificates) -> None:
    body = bytes(range(256)) * 65_536
    peer = serve_h2(says(body), tls=True)
    async with secure_pool(flavour, certificates) as pool:
        assert (await pool.request("GET", peer.url)).content == body


async def test_a_head_of_many_frames(flavour: Flavour, serve_h2: ServeH2) -> None:
    headers = [(b"x-%d" % number, b"%d" % number * 15) for number in range(600)]  # some 50 KiB, and less than 64
    peer = serve_h2(always(lambda session, stream: session.respond(stream, describe(stream), headers=headers)))
    async with http2_pool(flavour) as pool:
        for _ in range(2):
            response = await pool.request("GET", peer.url, headers=headers)
            assert response.headers[:600] == headers
            assert len(json.loads(response.content)["headers"]) == 604
