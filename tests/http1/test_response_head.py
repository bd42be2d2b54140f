"""The response head reaches the caller as the server wrote it, in whichever segments it arrived."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpcore
import pytest

from peers import answers, reply

if TYPE_CHECKING:
    from flavours import Flavour
    from peers import Connection, Serve

HEADERS = [
    (b"Server", b"Peer/1.0"),
    (b"set-cookie", b"a=1; Path=/"),
    (b"X-MiXeD", b"one"),
    (b"SET-COOKIE", b"b=2"),
    (b"Set-Cookie", b"a=1; Path=/"),
    (b"X-Empty", b""),
    (b"X-Latin", b"caf\xe9 \xff"),
    (b"Content-Length", b"4"),
    (b"aLast", b"inner  spaces\tand tabs"),
]
RESPONSE = reply(b"body", headers=HEADERS, length=False)


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


async def test_names_values_order_and_duplicates_are_kept(flavour: Flavour, serve: Serve) -> None:
    peer = serve(answers(RESPONSE))
    async with flavour.pool() as pool:
        response = await pool.request("GET", peer.url)
    assert response.status == 200
    assert response.headers == HEADERS
    assert response.content == b"body"


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param(cut(RESPONSE, 1), id="byte by byte"),
        pytest.param(cut(RESPONSE, 7), id="seven bytes"),
        pytest.param(RESPONSE.splitlines(keepends=True), id="lines"),
        pytest.param([RESPONSE[:-5], RESPONSE[-5:]], id="between the last CR and LF"),
        pytest.param([RESPONSE[:-4], RESPONSE[-4:]], id="between head and body"),
        pytest.param([RESPONSE[:15], RESPONSE[15:17], RESPONSE[17:]], id="around the first line's end"),
    ],
)
async def test_segmentation_changes_nothing(flavour: Flavour, serve: Serve, pieces: list[bytes]) -> None:
    def script(connection: Connection) -> None:
        for _ in range(2):
            connection.read_request()
            connection.send_pieces(pieces)

    peer = serve(script)
    async with flavour.pool() as pool:
        for _ in range(2):
            response = await pool.request("GET", peer.url)
            assert response.headers == HEADERS
            assert response.content == b"body"
    assert len(peer.connections) == 1


@pytest.mark.parametrize(
    ("line", "version", "status", "reason"),
    [
        (b"HTTP/1.1 200 OK", b"HTTP/1.1", 200, b"OK"),
        (b"HTTP/1.0 404 Not Found", b"HTTP/1.0", 404, b"Not Found"),
        (b"HTTP/1.1 200 D\xe9j\xe0 vu", b"HTTP/1.1", 200, b"D\xe9j\xe0 vu"),
        (b"HTTP/1.1 200 ", b"HTTP/1.1", 200, b""),
        (b"HTTP/1.1 200", b"HTTP/1.1", 200, b""),
        (b"HTTP/1.1 299 Quite  all\tright", b"HTTP/1.1", 299, b"Quite  all\tright"),
        (b"HTTP/1.1 599 ok", b"HTTP/1.1", 599, b"ok"),
    ],
)
async def test_status_line(
    flavour: Flavour, serve: Serve, line: bytes, version: bytes, status: int, reason: bytes
) -> None:
    peer = serve(answers(line + b"\r\nContent-Length: 2\r\n\r\nhi"))
    async with flavour.pool() as pool:
        response = await pool.request("GET", peer.url)
    assert response.status == status
    assert response.extensions["http_version"] == version
    assert response.extensions["reason_phrase"] == reason
    assert response.content == b"hi"


async def test_300_headers(flavour: Flavour, serve: Serve) -> None:
    headers = [(b"X-%d" % number, b"%d" % number) for number in range(300)]
    peer = serve(answers(reply(b"body", headers=headers)))
    async with flavour.pool() as pool:
        response = await pool.request("GET", peer.url)
    assert response.headers == [*headers, (b"Content-Length", b"4")]
    assert response.content == b"body"


@pytest.mark.parametrize("size", [200, 1000, 100_000])
async def test_a_head_of_90_kib(flavour: Flavour, serve: Serve, size: int) -> None:
    value = b"v" * 90 * 1024
    response = reply(b"body", headers=[(b"X-Long", value)])
    peer = serve(lambda connection: (connection.read_request(), connection.send_pieces(cut(response, size))))
    async with flavour.pool() as pool:
        received = await pool.request("GET", peer.url)
    assert received.headers[0] == (b"X-Long", value)
    assert received.content == b"body"


@pytest.mark.parametrize("size", [2000, 200_000])
@pytest.mark.parametrize("kind", ["one long value", "many headers"])
async def test_a_head_beyond_100_kib_is_refused(flavour: Flavour, serve: Serve, kind: str, size: int) -> None:
    if kind == "one long value":
        headers = [(b"X-Long", b"v" * 300 * 1024)]
    else:
        headers = [(b"X-%d" % number, b"v" * 20) for number in range(10_000)]
    response = reply(headers=headers)
    peer = serve(lambda connection: (connection.read_request(), connection.send_pieces(cut(response, size))))
    async with flavour.pool() as pool:
        with pytest.raises(httpcore.RemoteProtocolError) as raised:
            await pool.request("GET", peer.url)
        assert str(raised.value)
        assert pool.connections == []


async def test_an_endless_head_is_refused(flavour: Flavour, serve: Serve) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\n")
        for number in range(100_000):
            connection.send(b"X-%d: %b\r\n" % (number, b"v" * 1000))
        connection.send(b"Content-Length: 0\r\n\r\n")

    peer = serve(script)
    async with flavour.pool() as pool:
        with pytest.raises(httpcore.RemoteProtocolError):
            await pool.request("GET", peer.url)


INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"


@pytest.mark.parametrize(
    "interim",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n",
        INTERIM,
        b"HTTP/1.1 102 Processing\r\n\r\n" + INTERIM * 3,
        b"HTTP/1.1 199 Whatever\r\nContent-Length: 10\r\n\r\n",
    ],
)
@pytest.mark.parametrize("size", [1, 10_000])
async def test_informational_responses_are_skipped(flavour: Flavour, serve: Serve, interim: bytes, size: int) -> None:
    def script(connection: Connection) -> None:
        for _ in range(2):
            connection.read_request()
            connection.send_pieces(cut(interim + RESPONSE, size))

    peer = serve(script)
    async with flavour.pool() as pool:
        for _ in range(2):
            response = await pool.request("GET", peer.url)
            assert response.status == 200
            assert response.headers == HEADERS
            assert response.extensions["reason_phrase"] == b"OK"
            assert response.content == b"body"
    assert len(peer.connections) == 1


async def test_endless_informational_responses_are_refused(flavour: Flavour, serve: Serve) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        for _ in range(2000):
            connection.send(INTERIM * 200)
        connection.send(RESPONSE)

    peer = serve(script)
    async with flavour.pool() as pool:
        with pytest.raises(httpcore.RemoteProtocolError):
            await pool.request("GET", peer.url)


@pytest.mark.parametrize(
    "garbage",
    [
        pytest.param(b"\0\1\2\3garbage\r\n\r\n", id="binary"),
        pytest.param(b"SSH-2.0-OpenSSH_9.6\r\n", id="ssh"),
        pytest.param(b"\x15\x03\x01\x00\x02\x02\x16", id="tls alert"),
        pytest.param(b"<html>hello</html>\r\n\r\n", id="html"),
        pytest.param(b"200 OK\r\n\r\n", id="no version"),
        pytest.param(b"HTTP/1.1\r\n\r\n", id="no status"),
        pytest.param(b"HTTP/1.1 abc OK\r\n\r\n", id="status of letters"),
        pytest.param(b"HTTP/1.1 20 OK\r\n\r\n", id="status of two digits"),
        pytest.param(b"HTTP/1.1 2000 OK\r\n\r\n", id="status of four digits"),
        pytest.param(b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n", id="header without colon"),
        pytest.param(b"HTTP/1.1 200 OK\r\n: no name\r\n\r\n", id="header without name"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX Y: 1\r\n\r\n", id="space in a name"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n", id="NUL in a value"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: ten\r\n\r\n", id="content-length of letters"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", id="negative content-length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n", id="huge content-length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", id="two lengths"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 2, 02\r\n\r\nab", id="two spellings of a length"),
        pytest.param(b"HTTP/1.1 101 Switching Protocols\r\n\r\n", id="101 that was not requested"),
    ],
)
async def test_garbage_is_a_remote_protocol_error(flavour: Flavour, serve: Serve, garbage: bytes) -> None:
    peer = serve(answers(garbage))
    async with flavour.pool(max_connections=1) as pool:
        with pytest.raises(httpcore.RemoteProtocolError) as raised:
            await pool.request("GET", peer.url)
        assert str(raised.value)
        assert pool.connections == []


@pytest.mark.parametrize("length", [1, 9, 16, 17, 40, len(RESPONSE) - 5])
async def test_a_truncated_head_is_a_remote_protocol_error(flavour: Flavour, serve: Serve, length: int) -> None:
    peer = serve(answers(RESPONSE[:length]))
    async with flavour.pool(max_connections=1) as pool:
        with pytest.raises(httpcore.RemoteProtocolError):
            await pool.request("GET", peer.url)
        assert pool.connections == []


@pytest.mark.parametrize("interim", [b"", INTERIM])
async def test_no_response_at_all_has_httpcores_message(flavour: Flavour, serve: Serve, interim: bytes) -> None:
    peer = serve(answers(interim))
    async with flavour.pool(max_connections=1) as pool:
        with pytest.raises(httpcore.RemoteProtocolError) as raised:
            await pool.request("GET", peer.url)
        assert str(raised.value).startswith("Server disconnected without sending a response.")
        assert pool.connections == []


async def test_a_reset_instead_of_a_response_is_a_read_error(flavour: Flavour, serve: Serve) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.reset()

    peer = serve(script)
    async with flavour.pool(max_connections=1) as pool:
        with pytest.raises(httpcore.ReadError) as raised:
            await pool.request("GET", peer.url)
        assert str(raised.value)
        assert pool.connections == []


async def test_extensions_are_the_callers_own(flavour: Flavour, serve: Serve) -> None:
    peer = serve(answers(RESPONSE, RESPONSE))
    async with flavour.pool() as pool:
        first: Any = (await pool.request("GET", peer.url)).extensions
        second: Any = (await pool.request("GET", peer.url)).extensions
    first["mine"] = True
    assert "mine" not in second
