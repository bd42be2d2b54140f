"""Informational responses over HTTP/1.1, and requests that wait for `100 Continue` before they send their body."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import httpcore
import pytest

import httpcore_rs
from peers import always, echo, reply, silence

if TYPE_CHECKING:
    from certificates import Certificates
    from flavours import Flavour
    from libraries import Library
    from peers import Connection, Serve

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\nLink: </app.js>\r\n\r\n"
PROCESSING = b"HTTP/1.1 102 Processing\r\n\r\n"
EXPECT = {"Expect": "100-continue"}
# A time that no test waits for.
LONG: dict[str, Any] = {"expect_continue_timeout": 60.0}


class Record:
    """A callback of the flavour's kind that records what it is called with."""

    def __init__(self, flavour: Flavour, error: Exception | None = None) -> None:
        self.calls: list[tuple[int, Any]] = []
        self.error = error
        self.callback = self.acall if flavour.is_async else self.call

    def call(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.calls.append((status, headers))
        if self.error is not None:
            raise self.error

    async def acall(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.call(status, headers)

    @property
    def statuses(self) -> list[int]:
        return [status for status, _ in self.calls]


# The callback.


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("together", [True, False])
async def test_informational_responses_are_passed_on(
    flavour: Flavour, serve: Serve, method: str, together: bool
) -> None:
    record = Record(flavour)

    def script(connection: Connection) -> None:
        connection.read_request()
        parts = [PROCESSING, HINTS, reply(b"ok")]
        connection.send_pieces([b"".join(parts)] if together else parts)

    peer = serve(script)
    content = b"body" if method == "POST" else None
    async with flavour.pool() as pool:
        response = await pool.request(method, peer.url, content=content, extensions={"informational": record.callback})
    assert (response.status, response.content) == (200, b"ok")
    assert record.calls == [(102, []), (103, [(b"Link", b"</style.css>; rel=preload"), (b"Link", b"</app.js>")])]


async def test_the_callback_is_called_before_the_final_response_arrives(flavour: Flavour, serve: Serve) -> None:
    record, seen = Record(flavour), threading.Event()

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(HINTS)
        connection.wait(seen)
        connection.send(reply(b"ok"))

    peer = serve(script)
    async with flavour.pool() as pool:
        task = flavour.start(lambda: pool.request("GET", peer.url, extensions={"informational": record.callback}))
        await flavour.until(lambda: record.calls)
        assert not task.done
        seen.set()
        assert (await task.wait()).content == b"ok"


async def test_an_async_request_takes_a_plain_function(async_flavour: Flavour, serve: Serve) -> None:
    record = Record(async_flavour)
    peer = serve(always(HINTS + reply(b"ok")))
    async with async_flavour.pool() as pool:
        for _ in range(2):
            await pool.request("GET", peer.url, extensions={"informational": record.call})
    assert record.statuses == [103, 103]
    assert len(peer.connections) == 1


def test_a_sync_request_takes_no_coroutine_function(serve: Serve) -> None:
    async def callback(status: int, headers: Any) -> None:
        pass

    peer = serve(always(HINTS + reply(b"ok")))
    with httpcore_rs.ConnectionPool() as pool:
        with pytest.raises(TypeError, match="callback must be a plain function"):
            pool.request("GET", peer.url, extensions={"informational": callback})
        assert pool.request("GET", peer.url).content == b"ok"


async def test_an_exception_of_the_callback_ends_the_request(flavour: Flavour, serve: Serve) -> None:
    record = Record(flavour, KeyError("mine"))
    peer = serve(always(HINTS + reply(b"ok")))
    async with flavour.pool() as pool:
        with pytest.raises(KeyError, match="mine"):
            await pool.request("GET", peer.url, extensions={"informational": record.callback})
        assert pool.connections == []
        assert (await pool.request("GET", peer.url)).content == b"ok"
    assert record.statuses == [103]


async def test_switching_protocols_is_no_informational_response(flavour: Flavour, serve: Serve) -> None:
    record = Record(flavour)
    peer = serve(always(HINTS + b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"))
    async with flavour.pool() as pool:
        headers = {"Upgrade": "x", "Connection": "upgrade"}
        async with pool.stream(
            "GET", peer.url, headers=headers, extensions={"informational": record.callback}
        ) as response:
            assert response.status == 101
    assert record.statuses == [103]


async def test_a_callback_that_cannot_be_called_is_refused(flavour: Flavour) -> None:
    async with flavour.pool() as pool:
        with pytest.raises(TypeError, match=r"^the extension informational must be a function of a status and headers"):
            await pool.request("GET", "http://example.com/", extensions={"informational": 1})


async def test_a_traced_request_reports_them_too(flavour: Flavour, serve: Serve) -> None:
    record, events = Record(flavour), []

    def trace(name: str, info: Any) -> None:
        events.append(name)

    async def atrace(name: str, info: Any) -> None:
        events.append(name)

    peer = serve(always(HINTS + reply(b"ok")))
    async with flavour.pool() as pool:
        extensions = {"informational": record.callback, "trace": atrace if flavour.is_async else trace}
        assert (await pool.request("GET", peer.url, extensions=extensions)).content == b"ok"
    assert record.statuses == [103]
    assert events.count("http11.receive_response_headers.complete") == 1


async def test_clients_pass_the_callback_on(flavour: Flavour, serve: Serve, library: Library) -> None:
    record = Record(flavour)
    peer = serve(always(HINTS + reply(b"ok")))
    async with library.client(flavour) as client:
        response = await client.send("GET", peer.url, extensions={"informational": record.callback})
        assert response.text == "ok"
    assert record.statuses == [103]


# Expect: 100-continue.


def body(flavour: Flavour, kind: str) -> Any:
    return b"hello" if kind == "bytes" else flavour.parts(b"hel", b"lo")


@pytest.fixture(params=["bytes", "parts"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


async def test_the_body_waits_for_the_100(flavour: Flavour, serve: Serve, kind: str) -> None:
    record = Record(flavour)

    def script(connection: Connection) -> None:
        for _ in range(2):
            head = connection.read_head()
            assert b"Expect: 100-continue\r\n" in head
            connection.send(HINTS)
            assert connection.unread == b""
            connection.socket.settimeout(0.1)
            with pytest.raises(OSError, match="timed out"):
                connection.receive()
            connection.socket.settimeout(None)
            connection.send(CONTINUE)
            connection.unread = head + connection.unread
            connection.send(reply(connection.read_request().body))

    peer = serve(script)
    async with flavour.pool(**LONG) as pool:
        for _ in range(2):
            response = await pool.request(
                "POST",
                peer.url,
                headers=EXPECT,
                content=body(flavour, kind),
                extensions={"informational": record.callback},
            )
            assert (response.status, response.content) == (200, b"hello")
    assert record.statuses == [103, 100] * 2
    assert len(peer.connections) == 1, "the connection is kept"


async def test_over_tls(flavour: Flavour, serve: Serve, certificates: Certificates, kind: str) -> None:
    def script(connection: Connection) -> None:
        head = connection.read_head()
        connection.send(CONTINUE)
        connection.unread = head + connection.unread
        connection.send(reply(connection.read_request().body))

    peer = serve(script, tls=certificates.server_context())
    tls = httpcore_rs.TLSConfig(verify=str(certificates.ca))
    async with flavour.pool(ssl_context=tls, **LONG) as pool:
        response = await pool.request("POST", peer.url, headers=EXPECT, content=body(flavour, kind))
    assert (response.status, response.content) == (200, b"hello")


async def test_the_body_is_sent_after_the_timeout(flavour: Flavour, serve: Serve, kind: str) -> None:
    peer = serve(echo)
    async with flavour.pool(expect_continue_timeout=0.05) as pool:
        for _ in range(2):
            response = await pool.request("POST", peer.url, headers=EXPECT, content=body(flavour, kind))
            assert response.status == 200
    assert [request.body for request in peer.requests] == [b"hello"] * 2
    assert len(peer.connections) == 1


async def test_the_100_may_come_after_the_timeout(flavour: Flavour, serve: Serve) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        # A part of it, and the rest.
        connection.send_pieces([CONTINUE[:9], CONTINUE[9:] + reply(b"ok")])

    peer = serve(script)
    async with flavour.pool(expect_continue_timeout=0.05) as pool:
        response = await pool.request("POST", peer.url, headers=EXPECT, content=b"hello")
        assert (response.status, response.content) == (200, b"ok")


@pytest.mark.parametrize("part", range(1, len(CONTINUE)))
def test_the_body_goes_out_in_the_middle_of_a_100(serve: Serve, part: int) -> None:
    def script(connection: Connection) -> None:
        head = connection.read_head()
        # The body may have come with it.
        connection.unread = head + connection.unread
        connection.send(CONTINUE[:part])
        connection.read_request()
        connection.send(CONTINUE[part:] + reply(b"ok"))

    peer = serve(script)
    with httpcore_rs.ConnectionPool(expect_continue_timeout=0.02) as pool:
        assert pool.request("POST", peer.url, headers=EXPECT, content=b"hello").content == b"ok"
    assert peer.requests[0].body == b"hello"


@pytest.mark.parametrize(
    "status", [b"417 Expectation Failed", b"401 Unauthorized", b"413 Content Too Large", b"200 OK"]
)
@pytest.mark.parametrize("length", [True, False])
async def test_a_final_response_keeps_the_body_back(
    flavour: Flavour, serve: Serve, kind: str, status: bytes, length: bool
) -> None:
    asked: list[bool] = []

    class Body:
        def __init__(self) -> None:
            self.parts = body(flavour, "parts")

        def __iter__(self) -> Any:
            asked.append(True)
            return iter(self.parts)

        def __aiter__(self) -> Any:
            asked.append(True)
            return self.parts

    def script(connection: Connection) -> None:
        if connection.number == 1:
            connection.read_request()
            connection.send(reply(b"ok"))
            return
        connection.read_head()
        connection.send(reply(b"no", status=status, length=length))
        if not length:
            connection.end()
        connection.wait_closed()

    peer = serve(script)
    async with flavour.pool(**LONG) as pool:
        content = b"hello" if kind == "bytes" else Body()
        response = await pool.request("POST", peer.url, headers=EXPECT, content=content)
        assert (response.status, response.content) == (int(status[:3]), b"no")
        # The server may wait for the body: the connection is not used again.
        assert pool.connections == []
        await flavour.until(peer.connections[0].closed.is_set)
        assert (await pool.request("GET", peer.url)).content == b"ok"
    assert b"hel" not in peer.connections[0].received
    assert asked == []


async def test_a_final_response_behind_the_100_is_the_response(flavour: Flavour, serve: Serve) -> None:
    record = Record(flavour)

    def script(connection: Connection) -> None:
        connection.read_head()
        connection.send(CONTINUE + reply(b"no", status=b"401 Unauthorized"))
        connection.wait_closed()

    peer = serve(script)
    async with flavour.pool(**LONG) as pool:
        response = await pool.request(
            "POST", peer.url, headers=EXPECT, content=b"hello", extensions={"informational": record.callback}
        )
        assert (response.status, response.content) == (401, b"no")
    assert record.statuses == [100]


async def test_a_connection_that_ends_during_the_wait_is_an_error(flavour: Flavour, serve: Serve, kind: str) -> None:
    def script(connection: Connection) -> None:
        connection.read_head()

    peer = serve(script)
    async with flavour.pool(**LONG) as pool:
        with pytest.raises(httpcore.RemoteProtocolError, match="Server disconnected"):
            await pool.request("POST", peer.url, headers=EXPECT, content=body(flavour, kind))
        assert pool.connections == []


async def test_a_wait_can_be_cancelled(async_flavour: Flavour, serve: Serve) -> None:
    peer = serve(silence)
    async with async_flavour.pool(**LONG) as pool:
        task = async_flavour.start(lambda: pool.request("POST", peer.url, headers=EXPECT, content=b"hello"))
        await async_flavour.until(lambda: peer.connections)
        await async_flavour.sleep(0.05)
        task.cancel()
        await task.finished()
        assert pool.connections == []
        await async_flavour.until(lambda: peer.closed(1))


@pytest.mark.parametrize("timeout", [0, 60.0])
async def test_without_a_wait(flavour: Flavour, serve: Serve, timeout: float) -> None:
    # 0 does not wait, and requests without a body or without the header do not either.
    peer = serve(echo)
    async with flavour.pool(expect_continue_timeout=timeout) as pool:
        if timeout == 0:
            await pool.request("POST", peer.url, headers=EXPECT, content=b"hello")
        await pool.request("POST", peer.url, headers=EXPECT, content=b"")
        await pool.request("GET", peer.url, headers=EXPECT)
        await pool.request("POST", peer.url, headers={"Expect": "something-else"}, content=b"hello")
        await pool.request("POST", peer.url, content=b"hello")
    assert len(peer.connections) == 1


async def test_a_network_backend_does_not_wait(flavour: Flavour, serve: Serve) -> None:
    # A read of its streams cannot be ended early.
    peer = serve(echo)
    async with flavour.pool(network_backend=flavour.backend(), **LONG) as pool:
        response = await pool.request("POST", peer.url, headers=EXPECT, content=b"hello")
        assert response.status == 200


async def test_clients_wait_too(flavour: Flavour, serve: Serve, library: Library) -> None:
    def script(connection: Connection) -> None:
        connection.read_head()
        connection.send(reply(b"no", status=b"413 Content Too Large"))
        connection.wait_closed()

    peer = serve(script)
    transport = library.transport(flavour, **LONG)
    async with library.client(flavour, transport) as client:
        response = await client.send("POST", peer.url, headers=EXPECT, content=b"hello")
        assert (response.status_code, response.text) == (413, "no")
    assert b"hello" not in peer.connections[0].received
