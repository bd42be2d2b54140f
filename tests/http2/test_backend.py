"""HTTP/2 over external streams: those of a `network_backend`, and those that a caller passes to a connection."""

from __future__ import annotations

import json
import ssl
from typing import TYPE_CHECKING, Any

import hpack
import httpcore
import pytest
from hyperframe.frame import DataFrame, GoAwayFrame, HeadersFrame, PingFrame, RstStreamFrame, SettingsFrame

import httpcore_rs
from h2_peer import OK, echo, http2_pool, says

if TYPE_CHECKING:
    from certificates import Certificates
    from flavours import Flavour
    from h2_peer import ServeH2

# Streams of a backend do their own TLS.
OVER = ("plain",)

ORIGIN = httpcore.Origin(b"https", b"example.com", 443)
SHOWN = "'https://example.com:443'"


def mock_backend(flavour: Flavour, frames: list[bytes]) -> Any:
    kind = httpcore.AsyncMockBackend if flavour.is_async else httpcore.MockBackend
    return kind(frames, http2=True)


def mock_stream(flavour: Flavour, frames: list[bytes]) -> Any:
    kind = httpcore.AsyncMockStream if flavour.is_async else httpcore.MockStream
    return kind(frames, http2=True)


def connection(flavour: Flavour, stream: Any, **arguments: Any) -> Any:
    return getattr(httpcore_rs, flavour.prefixed("HTTP2Connection"))(origin=ORIGIN, stream=stream, **arguments)


def settings() -> bytes:
    return SettingsFrame(0, settings={SettingsFrame.MAX_CONCURRENT_STREAMS: 10}).serialize()


def head(number: int, *, end: bool = False, status: bytes = b"200") -> bytes:
    block = hpack.Encoder().encode([(b":status", status), (b"content-type", b"plain/text")])
    return HeadersFrame(number, block, flags=["END_HEADERS", *(["END_STREAM"] if end else [])]).serialize()


def data(number: int, body: bytes, *, end: bool = True) -> bytes:
    return DataFrame(number, body, flags=["END_STREAM"] if end else []).serialize()


# Streams of a network backend.


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_httpcores_own_backend(
    flavour: Flavour, serve_h2: ServeH2, certificates: Certificates, tls: bool
) -> None:
    peer = serve_h2(echo, tls=tls)
    context = ssl.create_default_context(cafile=str(certificates.ca))
    context.set_alpn_protocols(["http/1.1", "h2"])
    arguments: dict[str, Any] = {"network_backend": flavour.backend(), "ssl_context": context}
    async with flavour.pool(http1=tls, http2=True, **arguments) as pool:

        async def ask(name: str) -> None:
            for number in range(4):
                target, content = f"{name}-{number}", name.encode() * 5000 * number
                response = await pool.request("POST", peer.url + target, content=content)
                described = json.loads(response.content)
                assert (described["target"], described["length"]) == (f"/{target}", len(content))
                assert response.extensions["http_version"] == b"HTTP/2"

        await flavour.gather(*[lambda number=number: ask(f"caller{number}") for number in range(16)])
        assert "HTTP/2, IDLE, Request Count: 64]" in repr(pool.connections)
    assert len(peer.connections) == 1


async def test_trio_backend_and_anyio_backend(async_flavour: Flavour, serve_h2: ServeH2) -> None:
    kinds = [httpcore.AnyIOBackend, *([httpcore.TrioBackend] if async_flavour.name == "trio" else [])]
    for kind in kinds:
        peer = serve_h2(echo)
        async with http2_pool(async_flavour, network_backend=kind()) as pool:
            responses = await async_flavour.gather(*[lambda pool=pool, p=peer: pool.request("GET", p.url)] * 20)
            assert {response.status for response in responses} == {200}
        assert len(peer.connections) == 1


async def test_big_bodies_over_a_backend(flavour: Flavour, serve_h2: ServeH2) -> None:
    body = bytes(range(256)) * 12_000
    peer = serve_h2(says(body))
    async with http2_pool(flavour, network_backend=flavour.backend()) as pool:
        for content in (body, flavour.parts(body[:1000], body[1000:])):
            assert (await pool.request("POST", peer.url, content=content)).content == body
    assert [bytes(request.body) for request in peer.requests] == [body, body]


async def serves_on(pool: Any, peer: Any) -> None:
    """Asserts that no stream is left open, without a further request, and that the connection still serves requests."""
    await pool.flavour.until(peer.all_closed)
    assert (await pool.request("GET", peer.url)).content == b"ok"
    assert "[Requests: 0 active, 0 queued | Connections: 0 active, 1 idle]" in repr(pool)
    assert len(peer.connections) == 1


async def test_leaving_early_over_a_backend(flavour: Flavour, serve_h2: ServeH2) -> None:
    def script(session: Any) -> None:
        while True:
            stream = session.read_head()
            session.head(stream, 200)
            session.data(stream, b"ok", end=stream.target == b"/")

    peer = serve_h2(script)
    async with http2_pool(flavour, max_connections=1, network_backend=flavour.backend()) as pool:
        for _ in range(5):
            async with pool.stream("GET", peer.url + "half") as response:
                assert await response.__aiter__().__anext__() == b"ok"
        with pytest.raises(httpcore.ReadTimeout):
            await pool.request("GET", peer.url + "half", extensions={"timeout": {"read": 0.1}})
        await serves_on(pool, peer)
    assert [stream.reset for stream in peer.streams] == [8] * 6 + [None]


async def test_cancelling_over_a_backend(async_flavour: Flavour, serve_h2: ServeH2) -> None:
    def script(session: Any) -> None:
        while True:
            stream = session.read_head()
            if stream.target == b"/":
                session.respond(stream, b"ok")

    peer = serve_h2(script)
    async with http2_pool(async_flavour, max_connections=1, network_backend=async_flavour.backend()) as pool:
        tasks = [async_flavour.start(lambda: pool.request("GET", peer.url + "never")) for _ in range(10)]
        # A write that is cancelled before it has returned costs the connection: how much of it was sent is unknown.
        # The last one may be the acknowledgement of the peer's settings.
        await async_flavour.until(lambda: len(peer.streams) == 10 and peer.sessions[0].acknowledged)
        await async_flavour.sleep(0.05)
        for task in tasks:
            task.cancel()
        for task in tasks:
            await task.finished()
        await serves_on(pool, peer)


async def test_an_idle_connection_over_a_backend_that_ended(flavour: Flavour, serve_h2: ServeH2) -> None:
    def script(session: Any) -> None:
        session.respond(session.read_request(), b"ok")
        if len(peer.connections) == 1:
            session.hang_up()

    peer = serve_h2(script)
    async with http2_pool(flavour, max_connections=1, network_backend=flavour.backend()) as pool:
        await pool.request("GET", peer.url)
        await flavour.until(lambda: peer.sessions[0].ended)
        await flavour.sleep(0.05)
        assert (await pool.request("GET", peer.url)).content == b"ok"


# Scripted streams: the frames to be read are there from the start.


async def test_mock_backend(flavour: Flavour) -> None:
    frames = [settings(), head(1), data(1, b"Hello, ", end=False), data(1, b"world!"), head(3), data(3, b"again")]
    async with flavour.pool(http2=True, network_backend=mock_backend(flavour, frames)) as pool:
        response = await pool.request("GET", "https://example.com/")
        assert (response.status, response.content) == (200, b"Hello, world!")
        assert response.extensions["http_version"] == b"HTTP/2"
        assert (await pool.request("GET", "https://example.com/")).content == b"again"
        name = flavour.prefixed("HTTPConnection")
        assert repr(pool.connections) == f"[<{name} [{SHOWN}, HTTP/2, IDLE, Request Count: 2]>]"


async def test_mock_backend_asked_for_a_post(flavour: Flavour) -> None:
    frames = [settings(), head(1), data(1, b"ok")]
    async with flavour.pool(http2=True, network_backend=mock_backend(flavour, frames)) as pool:
        response = await pool.request("POST", "https://example.com/", content=b"x" * 1000)
        assert response.content == b"ok"


# Connections that the caller constructs.


async def test_a_connection_of_the_callers(flavour: Flavour) -> None:
    stream = mock_stream(flavour, [settings(), head(1), data(1, b"Hello, world!"), head(3), data(3, b"again")])
    mine = connection(flavour, stream, keepalive_expiry=5.0)
    await flavour.call(mine, "__enter__")
    for number, body in enumerate([b"Hello, world!", b"again"]):
        response = await flavour.call(mine, "request", "GET", "https://example.com/")
        assert (response.status, response.content) == (200, body)
        assert response.extensions["stream_id"] == 2 * number + 1
        assert mine.is_idle()
        assert mine.is_available()
        assert not mine.is_closed()
        assert not mine.has_expired()
        assert mine.info() == f"{SHOWN}, HTTP/2, IDLE, Request Count: {number + 1}"
        name = flavour.prefixed("HTTP2Connection")
        assert repr(mine) == f"<{name} [{SHOWN}, IDLE, Request Count: {number + 1}]>"
    await flavour.call(mine, "__exit__", None, None, None)
    assert mine.is_closed()


@pytest.mark.parametrize(
    ("frames", "what"),
    [
        ([settings()], "no response from https://example.com:443"),
        ([settings(), head(1)], "the response body from https://example.com:443 was not read"),
    ],
    ids=["head", "body"],
)
@pytest.mark.parametrize("total", [30.0, 90.0])
async def test_a_read_that_the_total_has_shortened(
    flavour: Flavour, frames: list[bytes], what: str, total: float
) -> None:
    early = httpcore.ReadTimeout("early")
    stream = mock_stream(flavour, list(frames))
    read = stream.read

    def ends_early(data: bytes) -> bytes:
        if not data:
            raise early
        return data

    async def read_in_task(*arguments: Any, **keywords: Any) -> bytes:
        return ends_early(await read(*arguments, **keywords))

    def read_in_thread(*arguments: Any, **keywords: Any) -> bytes:
        return ends_early(read(*arguments, **keywords))

    stream.read = read_in_task if flavour.is_async else read_in_thread
    mine = connection(flavour, stream)
    timeout = {"read": 60.0, "total": total}
    with pytest.raises(httpcore.ReadTimeout) as raised:
        await flavour.call(mine, "request", "GET", "https://example.com/", extensions={"timeout": timeout})
    await flavour.call(mine, "close")
    if total > 60:
        assert raised.value is early
    else:
        assert str(raised.value) == f"{what} within 30.0 s (total timeout)"
        assert raised.value.__cause__ is early


async def test_a_connection_of_the_callers_has_one_origin(flavour: Flavour) -> None:
    mine = connection(flavour, mock_stream(flavour, [settings(), head(1), data(1, b"ok")]))
    assert mine.can_handle_request(ORIGIN)
    assert not mine.can_handle_request(httpcore.Origin(b"https", b"other.com", 443))
    with pytest.raises(RuntimeError):
        await flavour.call(mine, "request", "GET", "https://other.com/")
    await flavour.call(mine, "close")


async def test_a_closed_connection_of_the_callers(flavour: Flavour) -> None:
    mine = connection(flavour, mock_stream(flavour, [settings(), head(1), data(1, b"ok")]))
    await flavour.call(mine, "close")
    with pytest.raises(httpcore.ConnectionNotAvailable):
        await flavour.call(mine, "request", "GET", "https://example.com/")


ENDS: dict[str, list[bytes]] = {
    "a reset": [head(1), data(1, b"Hello", end=False), RstStreamFrame(1, error_code=8).serialize()],
    "GOAWAY": [head(1), data(1, b"Hello", end=False), GoAwayFrame(0, last_stream_id=1, error_code=1).serialize()],
    "the end": [head(1), data(1, b"Hello", end=False), b""],
}


@pytest.mark.parametrize("ending", ENDS)
async def test_a_connection_of_the_callers_that_breaks(flavour: Flavour, ending: str) -> None:
    mine = connection(flavour, mock_stream(flavour, [settings(), *ENDS[ending], b""]))
    with pytest.raises(httpcore.RemoteProtocolError) as raised:
        await flavour.call(mine, "request", "GET", "https://example.com/")
    assert str(raised.value)
    await flavour.call(mine, "close")
    assert mine.is_closed()


async def test_a_ping_in_between_is_answered_on_the_callers_stream(flavour: Flavour) -> None:
    stream = mock_stream(flavour, [settings(), PingFrame(0, b"pingpong").serialize() + head(1), data(1, b"ok")])
    written: list[bytes] = []
    if flavour.is_async:

        async def awrite(buffer: bytes, timeout: float | None = None) -> None:
            written.append(bytes(buffer))

        stream.write = awrite
    else:
        stream.write = lambda buffer, timeout=None: written.append(bytes(buffer))
    mine = connection(flavour, stream)
    assert (await flavour.call(mine, "request", "GET", "https://example.com/")).content == b"ok"
    await flavour.call(mine, "close")
    assert PingFrame(0, b"pingpong", flags=["ACK"]).serialize() in b"".join(written)


async def test_a_connection_of_the_callers_over_a_real_stream(flavour: Flavour, serve_h2: ServeH2) -> None:
    peer = serve_h2(OK)
    stream = await flavour.call(flavour.backend(), "connect_tcp", "127.0.0.1", peer.port)
    origin = httpcore.Origin(b"http", b"127.0.0.1", peer.port)
    mine = getattr(httpcore_rs, flavour.prefixed("HTTP2Connection"))(origin=origin, stream=stream)
    for _ in range(3):
        assert (await flavour.call(mine, "request", "GET", peer.url)).content == b"ok"
    await flavour.call(mine, "close")
    await flavour.until(lambda: peer.closed(1))
