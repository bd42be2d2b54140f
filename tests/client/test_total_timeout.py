"""The total timeout: one deadline for the request and its response, whatever phase they are in.

Each test has other limits that never end the request by themselves.
"""

from __future__ import annotations

import re
import threading
import time
from typing import TYPE_CHECKING, Any, Callable

import httpcore
import pytest

import engines
from h2_peer import INITIAL_WINDOW_SIZE, http2_pool, only_root
from peers import after_a_response, always, deafness, full_backlog, refused_port, reply, silence
from tracing import recorder

if TYPE_CHECKING:
    from certificates import Certificates
    from flavours import Flavour, Pool
    from h2_peer import ServeH2
    from h2_session import Session
    from peers import Connection, Peer, Serve

BIG = b"x" * 32 * 1024 * 1024
EMPTY = "[Requests: 0 active, 0 queued"


def total(seconds: float | None, **others: float) -> dict[str, Any]:
    return {"timeout": {**dict.fromkeys(("connect", "read", "write", "pool"), 60.0), **others, "total": seconds}}


def is_total(text: str, seconds: float = 0.4) -> str:
    return rf"^{text} within {re.escape(str(seconds))} s \(total timeout\)"


# Within it the head of a response arrives, on a busy machine as well.
FOR_A_HEAD = 1.5


async def connect(pool: Pool, peer: Peer) -> None:
    """Makes the connection first: the limit is not to end the connect, nor the TLS handshake."""
    assert (await pool.request("GET", peer.url, extensions=total(60))).content == b"ok"


def dripping(head: bytes, *, pause: float = 0.05) -> Callable[[Connection], None]:
    """Returns a script that sends a head and then a byte now and then, for ever: each of them begins a new `read`."""

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(head)
        while not connection.peer.stopping:
            connection.send(b"x")
            time.sleep(pause)

    return script


DRIPPING_HEAD = dripping(b"HTTP/1.1 200 OK\r\nX-Slow: ")
DRIPPING_BODY = dripping(b"HTTP/1.1 200 OK\r\n\r\n")
ENDLESS_BODY = dripping(b"HTTP/1.1 200 OK\r\n\r\n", pause=0.0)


async def test_the_wait_for_a_connection(flavour: Flavour, serve: Serve) -> None:
    peer = serve(always(reply(b"ok")))
    async with flavour.pool(max_connections=1) as pool:
        async with pool.stream("GET", peer.url):
            expected = is_total(f"no connection to http://{peer.authority} became free")
            with pytest.raises(httpcore.PoolTimeout, match=expected):
                await pool.request("GET", peer.url, extensions=total(0.4))
        assert (await pool.request("GET", peer.url, extensions=total(60))).content == b"ok"


async def test_a_connect(flavour: Flavour) -> None:
    with full_backlog() as (host, port):
        async with flavour.pool() as pool:
            expected = is_total(f"connecting to http://{host}:{port} was not finished")
            with pytest.raises(httpcore.ConnectTimeout, match=expected):
                await pool.request("GET", f"http://{host}:{port}/", extensions=total(0.4))
            assert pool.connections == []


async def test_all_attempts_to_connect_together(flavour: Flavour) -> None:
    with full_backlog() as (host, port):
        async with flavour.pool(retries=1000) as pool:
            with pytest.raises((httpcore.ConnectTimeout, httpcore.ConnectError)):
                await pool.request("GET", f"http://{host}:{port}/", extensions=total(0.4, connect=0.1))
            assert pool.connections == []


async def test_a_pause_between_attempts_that_is_too_long_is_not_begun(flavour: Flavour) -> None:
    events: list[tuple[str, Any]] = []
    with refused_port() as port:
        async with flavour.pool(retries=1000) as pool:
            extensions = {**total(1.4), "trace": recorder(flavour, events)}
            with pytest.raises(httpcore.ConnectError, match="refused"):
                await pool.request("GET", f"http://127.0.0.1:{port}/", extensions=extensions)
    # The first pause is of 0 seconds, the second of 0.5, the third of 1.
    assert [name for name, _ in events].count("connection.retry.started") == 2


async def test_a_tls_handshake(flavour: Flavour, serve: Serve, certificates: Certificates, engine: str) -> None:
    peer = serve(silence)
    async with flavour.pool(ssl_context=engines.current.trusting(certificates)) as pool:
        expected = is_total(f"connecting to https://{peer.authority} was not finished")
        with pytest.raises(httpcore.ConnectTimeout, match=expected):
            await pool.request("GET", f"https://{peer.authority}/", extensions=total(0.4))
        assert pool.connections == []


@pytest.mark.parametrize("kind", ["bytes", "parts"])
async def test_an_upload(flavour: Flavour, serve: Serve, kind: str) -> None:
    peer = serve(after_a_response(deafness))
    content = BIG if kind == "bytes" else flavour.parts(*[BIG[:65536]] * 512)
    async with flavour.pool() as pool:
        await connect(pool, peer)
        with pytest.raises(httpcore.WriteTimeout, match=is_total(f"the request was not sent to {peer.url[:-1]}")):
            await pool.request("POST", peer.url, content=content, extensions=total(0.4))
        assert pool.connections == []


@pytest.mark.parametrize("script", [silence, DRIPPING_HEAD])
async def test_the_wait_for_the_head(flavour: Flavour, serve: Serve, script: Any) -> None:
    peer = serve(after_a_response(script))
    async with flavour.pool() as pool:
        await connect(pool, peer)
        with pytest.raises(httpcore.ReadTimeout, match=is_total(f"no response from {peer.url[:-1]}")):
            await pool.request("GET", peer.url, extensions=total(0.4))
        assert pool.connections == []
        await flavour.until(lambda: peer.closed(1))


@pytest.mark.parametrize("script", [DRIPPING_BODY, ENDLESS_BODY])
@pytest.mark.parametrize("method", ["request", "stream"])
async def test_the_body(flavour: Flavour, serve: Serve, script: Any, method: str) -> None:
    peer = serve(after_a_response(script))
    expected = is_total(f"the response body from {peer.url[:-1]} was not read", FOR_A_HEAD)
    async with flavour.pool() as pool:
        await connect(pool, peer)
        if method == "request":
            with pytest.raises(httpcore.ReadTimeout, match=expected):
                await pool.request("GET", peer.url, extensions=total(FOR_A_HEAD))
        else:
            async with pool.stream("GET", peer.url, extensions=total(FOR_A_HEAD)) as response:
                with pytest.raises(httpcore.ReadTimeout, match=expected):
                    await response.read()
        assert pool.connections == []
        await flavour.until(lambda: peer.closed(1))


async def test_the_body_over_tls(flavour: Flavour, serve: Serve, certificates: Certificates, engine: str) -> None:
    peer = serve(after_a_response(DRIPPING_BODY), tls=certificates.server_context())
    async with flavour.pool(ssl_context=engines.current.trusting(certificates)) as pool:
        await connect(pool, peer)
        with pytest.raises(httpcore.ReadTimeout, match=r"was not read within 1\.5 s \(total timeout\)$"):
            await pool.request("GET", peer.url, extensions=total(FOR_A_HEAD))
        assert pool.connections == []


async def test_a_read_that_begins_after_the_deadline(flavour: Flavour, serve: Serve) -> None:
    peer = serve(DRIPPING_BODY)
    expected = is_total("the response body from .* was not read", FOR_A_HEAD)
    async with flavour.pool() as pool:
        async with pool.stream("GET", peer.url, extensions=total(FOR_A_HEAD)) as response:
            await flavour.sleep(FOR_A_HEAD + 0.2)
            with pytest.raises(httpcore.ReadTimeout, match=expected):
                await response.read()
        assert pool.connections == []


async def test_a_body_that_has_arrived_is_returned_after_the_deadline(flavour: Flavour, serve: Serve) -> None:
    peer = serve(always(reply(b"all of it")))
    async with flavour.pool() as pool:
        async with pool.stream("GET", peer.url, extensions=total(FOR_A_HEAD)) as response:
            await flavour.sleep(FOR_A_HEAD + 0.2)
            assert await response.read() == b"all of it"
        assert "1 idle" in repr(pool)


async def test_a_request_with_time_enough(flavour: Flavour, serve: Serve) -> None:
    peer = serve(always(reply(b"x" * 1_000_000)))
    async with flavour.pool() as pool:
        for seconds in (60, 1e18, None, float("inf")):
            content = (await pool.request("POST", peer.url, content=b"body", extensions=total(seconds))).content
            assert len(content) == 1_000_000
    assert len(peer.connections) == 1


async def test_a_shorter_timeout_of_a_phase_comes_first(flavour: Flavour, serve: Serve) -> None:
    peer = serve(silence)
    async with flavour.pool() as pool:
        with pytest.raises(httpcore.ReadTimeout, match=r"no response from .* within 0\.1 s \(read timeout\)"):
            await pool.request("GET", peer.url, extensions=total(60, read=0.1))


async def test_the_time_of_the_callers_iterator_counts(flavour: Flavour, serve: Serve) -> None:
    # The iterator is the caller's: it is not interrupted, and asked for nothing more.
    peer = serve(always(reply(b"ok")))
    taken: list[int] = []

    class Slow:
        def __aiter__(self) -> Any:
            return self

        async def __anext__(self) -> bytes:
            if len(taken) == 100:
                raise StopAsyncIteration
            taken.append(1)
            await flavour.sleep(0.1)
            return b"chunk"

    async with flavour.pool() as pool:
        await connect(pool, peer)
        with pytest.raises(httpcore.WriteTimeout, match=is_total("the request was not sent to .*")):
            await pool.request("POST", peer.url, content=flavour.body(Slow()), extensions=total(0.4))
        assert pool.connections == []
    assert len(taken) < 100


async def test_the_trace_callback_gets_the_exception(flavour: Flavour, serve: Serve) -> None:
    peer = serve(after_a_response(DRIPPING_HEAD))
    events: list[tuple[str, Any]] = []
    async with flavour.pool() as pool:
        await connect(pool, peer)
        with pytest.raises(httpcore.ReadTimeout) as raised:
            await pool.request("GET", peer.url, extensions={**total(0.4), "trace": recorder(flavour, events)})
    failed = [(name, info["exception"]) for name, info in events if name.endswith(".failed")]
    assert failed == [("http11.receive_response_headers.failed", raised.value)]
    assert events[-1][0] == "http11.response_closed.complete"


# Streams of a network backend: their own timeouts are cut short.


async def test_a_connect_by_a_backend(flavour: Flavour) -> None:
    with full_backlog() as (host, port):
        async with flavour.pool(network_backend=flavour.backend()) as pool:
            with pytest.raises(httpcore.ConnectTimeout, match=is_total("connecting to .* was not finished")) as raised:
                await pool.request("GET", f"http://{host}:{port}/", extensions=total(0.4))
            assert pool.connections == []
    assert isinstance(raised.value.__cause__, httpcore.ConnectTimeout)


@pytest.mark.parametrize("script", [silence, DRIPPING_HEAD])
async def test_the_wait_for_the_head_over_a_backend(flavour: Flavour, serve: Serve, script: Any) -> None:
    peer = serve(after_a_response(script))
    async with flavour.pool(network_backend=flavour.backend()) as pool:
        await connect(pool, peer)
        with pytest.raises(httpcore.ReadTimeout, match=is_total(f"no response from {peer.url[:-1]}")):
            await pool.request("GET", peer.url, extensions=total(0.4))
        assert pool.connections == []


async def test_the_body_over_a_backend(flavour: Flavour, serve: Serve) -> None:
    peer = serve(after_a_response(DRIPPING_BODY))
    expected = is_total("the response body from .* was not read", FOR_A_HEAD)
    async with flavour.pool(network_backend=flavour.backend()) as pool:
        await connect(pool, peer)
        with pytest.raises(httpcore.ReadTimeout, match=expected):
            await pool.request("GET", peer.url, extensions=total(FOR_A_HEAD))
        assert pool.connections == []


async def test_an_upload_over_a_backend(flavour: Flavour, serve: Serve) -> None:
    peer = serve(after_a_response(deafness))
    async with flavour.pool(network_backend=flavour.backend()) as pool:
        await connect(pool, peer)
        with pytest.raises((httpcore.WriteTimeout, httpcore.ReadTimeout), match=r"\(total timeout\)"):
            await pool.request("POST", peer.url, content=BIG, extensions=total(0.4))
        assert pool.connections == []


# HTTP/2: the stream is reset, and the connection stays.


async def test_the_wait_for_the_head_over_http2(flavour: Flavour, serve_h2: ServeH2, engine: str) -> None:
    peer = serve_h2(only_root)
    async with http2_pool(flavour) as pool:
        await connect(pool, peer)
        with pytest.raises(httpcore.ReadTimeout, match=is_total(f"no response from {peer.url[:-1]}")):
            await pool.request("GET", peer.url + "silence", extensions=total(0.4))
        await flavour.until(peer.all_closed)
        assert "1 idle" in repr(pool)


async def test_the_body_over_http2(flavour: Flavour, serve_h2: ServeH2, engine: str) -> None:
    def script(session: Session) -> None:
        session.respond(session.read_request(), b"ok")
        stream = session.read_request()
        session.head(stream)
        while not stream.done:
            session.data(stream, b"x")
            session.pump(0.05)

    peer = serve_h2(script)
    expected = is_total(f"the response body from {peer.url[:-1]} was not read", FOR_A_HEAD)
    async with http2_pool(flavour) as pool:
        await connect(pool, peer)
        with pytest.raises(httpcore.ReadTimeout, match=expected):
            await pool.request("GET", peer.url, extensions=total(FOR_A_HEAD))
        await flavour.until(peer.all_closed)
        assert "1 idle" in repr(pool)


@pytest.mark.parametrize("kind", ["bytes", "parts"])
async def test_an_upload_over_http2(flavour: Flavour, serve_h2: ServeH2, engine: str, kind: str) -> None:
    # The peer grants no window beyond the first one, and does not answer.
    peer = serve_h2(only_root, settings={INITIAL_WINDOW_SIZE: 0})
    content = BIG[:1_000_000] if kind == "bytes" else flavour.parts(*[BIG[:65536]] * 16)
    async with http2_pool(flavour) as pool:
        await connect(pool, peer)
        with pytest.raises(httpcore.WriteTimeout, match=is_total(f"the request was not sent to {peer.url[:-1]}")):
            await pool.request("POST", peer.url + "silence", content=content, extensions=total(0.4))
        await flavour.until(peer.all_closed)
        assert "1 idle" in repr(pool)


# The options of pools.


async def test_total_timeout_of_a_pool(flavour: Flavour, serve: Serve) -> None:
    go = threading.Event()

    def script(connection: Connection) -> None:
        while True:
            connection.read_request()
            connection.wait(go)
            connection.send(reply(b"late"))

    peer = serve(after_a_response(script))
    async with flavour.pool(total_timeout=0.4) as pool:
        for extensions in ({}, {"timeout": {"read": 60.0}}):
            await connect(pool, peer)
            with pytest.raises(httpcore.ReadTimeout, match=is_total(f"no response from {peer.url[:-1]}")):
                await pool.request("GET", peer.url, extensions=extensions)
        # A request's own value comes first, also `None`.
        await connect(pool, peer)
        with pytest.raises(httpcore.ReadTimeout, match=r"within 0\.1 s \(total timeout\)"):
            await pool.request("GET", peer.url, extensions=total(0.1))

        async def get() -> bytes:
            return (await pool.request("GET", peer.url, extensions=total(None))).content

        await connect(pool, peer)
        task = flavour.start(get)
        await flavour.sleep(0.6)
        assert not task.done
        go.set()
        assert await task.wait() == b"late"


@pytest.mark.parametrize("default", [0.1, {"read": 0.1}])
async def test_default_timeout_of_a_pool(flavour: Flavour, serve: Serve, default: Any) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(reply(b"ok"))
        connection.wait_closed()

    async def connected() -> None:
        """The limits begin when there is a connection."""
        response = await pool.request("GET", peer.url, extensions={"timeout": {"total": 20.0}})
        assert response.content == b"ok"

    peer = serve(script)
    async with flavour.pool(default_timeout=default, total_timeout=0.4) as pool:
        await connected()
        with pytest.raises(httpcore.ReadTimeout, match=r"within 0\.1 s \(read timeout\)"):
            await pool.request("GET", peer.url)
        # A request that has timeouts of its own has no others.
        await connected()
        with pytest.raises(httpcore.ReadTimeout, match=r"within 0\.4 s \(total timeout\)"):
            await pool.request("GET", peer.url, extensions={"timeout": {"connect": 5.0}})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"total": 1.0}, "default_timeout has no total: pass it as total_timeout"),
        ({"raed": 1.0}, "default_timeout has connect, read, write and pool, not 'raed'"),
        ({"read": -1.0}, "read of default_timeout must be a number of seconds from 0 on, not -1"),
    ],
)
def test_a_default_timeout_that_makes_no_sense(flavour: Flavour, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        flavour.pool(default_timeout=value)


@pytest.fixture
def user_agents(serve: Serve) -> tuple[str, list[bytes | None]]:
    def script(connection: Connection) -> None:
        while True:
            seen.append(connection.read_request().header(b"user-agent"))
            connection.send(reply(b"ok"))

    seen: list[bytes | None] = []
    return serve(script).url, seen


@pytest.mark.parametrize("value", ["tool/1.0 (test)", b"tool/1.0 (test)"])
async def test_user_agent_of_a_pool(
    flavour: Flavour, user_agents: tuple[str, list[bytes | None]], value: str | bytes
) -> None:
    url, seen = user_agents
    async with flavour.pool(user_agent=value) as pool:
        await pool.request("GET", url)
        await pool.request("POST", url, content=b"body", headers=[(b"X-Other", b"1")])
        await pool.request("GET", url, headers=[(b"user-AGENT", b"mine")])
        await pool.handle(httpcore.Request("GET", url, headers=[("Host", "example.com")]))
    assert seen == [b"tool/1.0 (test)", b"tool/1.0 (test)", b"mine", b"tool/1.0 (test)"]


async def test_without_user_agent_none_is_sent(flavour: Flavour, user_agents: tuple[str, list[bytes | None]]) -> None:
    url, seen = user_agents
    async with flavour.pool() as pool:
        await pool.request("GET", url)
    assert seen == [None]
