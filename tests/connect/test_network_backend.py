"""A `network_backend` of the caller transports the bytes, passed to the constructor or assigned to the pool later."""

from __future__ import annotations

import contextlib
import inspect
import ssl
import threading
from typing import TYPE_CHECKING, Any

import httpcore
import pytest

from flavours import Trio, drive, trio
from peers import always, answers, deafness, echo, refused_port, reply, silence

if TYPE_CHECKING:
    from certificates import Certificates
    from flavours import Flavour
    from peers import Connection, Serve

TIMEOUTS = {"timeout": {"connect": 11.0, "read": 12.0, "write": 13.0, "pool": 14.0}}


class Blocking:
    """Wraps an object with coroutine methods into one with blocking methods, by httpcore's sync names."""

    def __init__(self, target: Any) -> None:
        self.target = target

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.target, "aclose" if name == "close" else name)
        if not inspect.iscoroutinefunction(value):
            return value
        return lambda *args, **kwargs: drive(value(*args, **kwargs))


async def call(flavour: Flavour, target: Any, name: str, *args: Any, **kwargs: Any) -> Any:
    """Calls a method of a backend or stream of the flavour."""
    if flavour.is_async:
        return await getattr(target, "aclose" if name == "close" else name)(*args, **kwargs)
    return getattr(target, name)(*args, **kwargs)


def in_flavour(flavour: Flavour, target: Any) -> Any:
    return target if flavour.is_async else Blocking(target)


class Backend:
    """httpcore's own backend for the flavour, which records its calls."""

    def __init__(self, flavour: Flavour) -> None:
        self.flavour = flavour
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.streams: list[Stream] = []
        if not flavour.is_async:
            self.inner: Any = httpcore.SyncBackend()
        else:
            self.inner = httpcore.TrioBackend() if flavour.name == "trio" else httpcore.AnyIOBackend()

    async def connect_tcp(self, **kwargs: Any) -> Any:
        return await self.connect("connect_tcp", kwargs)

    async def connect_unix_socket(self, **kwargs: Any) -> Any:
        return await self.connect("connect_unix_socket", kwargs)

    async def connect(self, name: str, kwargs: dict[str, Any]) -> Any:
        self.calls.append((name, kwargs))
        stream = Stream(self, await call(self.flavour, self.inner, name, **kwargs))
        return in_flavour(self.flavour, stream)

    async def sleep(self, seconds: float) -> None:
        self.calls.append(("sleep", {"seconds": seconds}))

    def called(self, name: str) -> list[dict[str, Any]]:
        return [kwargs for called, kwargs in self.calls if called == name]


class Stream:
    def __init__(self, backend: Backend, inner: Any) -> None:
        self.backend = backend
        self.inner = inner
        self.closed = False
        backend.streams.append(self)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self.backend.calls.append(("read", {"max_bytes": max_bytes, "timeout": timeout}))
        return await call(self.backend.flavour, self.inner, "read", max_bytes, timeout=timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.backend.calls.append(("write", {"buffer": buffer, "timeout": timeout}))
        await call(self.backend.flavour, self.inner, "write", buffer, timeout=timeout)

    async def start_tls(self, **kwargs: Any) -> Any:
        self.backend.calls.append(("start_tls", kwargs))
        self.inner = await call(self.backend.flavour, self.inner, "start_tls", **kwargs)
        return in_flavour(self.backend.flavour, self)

    async def aclose(self) -> None:
        assert not self.closed, "closed twice"
        self.closed = True
        await call(self.backend.flavour, self.inner, "close")

    def get_extra_info(self, info: str) -> Any:
        return self.inner.get_extra_info(info)


@pytest.mark.parametrize("when", ["at construction", "later"])
async def test_it_carries_the_bytes(flavour: Flavour, serve: Serve, when: str) -> None:
    peer = serve(echo)
    backend = Backend(flavour)
    given = in_flavour(flavour, backend)
    options = [(6, 1, 1)]
    arguments: dict[str, Any] = {"local_address": "127.0.0.1", "socket_options": options}
    async with flavour.pool(**arguments, **({"network_backend": given} if when == "at construction" else {})) as pool:
        if when == "later":
            pool.raw._network_backend = given
        assert pool.raw._network_backend is given
        for _ in range(2):
            await pool.request("POST", peer.url, content=b"body", extensions=TIMEOUTS)
        assert [stream.closed for stream in backend.streams] == [False]
    assert [stream.closed for stream in backend.streams] == [True]
    assert backend.called("connect_tcp") == [
        {
            "host": "127.0.0.1",
            "port": peer.port,
            "timeout": 11.0,
            "local_address": "127.0.0.1",
            "socket_options": options,
        }
    ]
    assert {call["timeout"] for call in backend.called("read")} == {12.0}
    assert {call["timeout"] for call in backend.called("write")} == {13.0}
    assert all(call["max_bytes"] > 0 for call in backend.called("read"))
    sent = b"".join(call["buffer"] for call in backend.called("write"))
    assert sent == b"".join(request.head + request.body for request in peer.requests)
    assert len(peer.requests) == 2


async def test_without_timeouts_none_are_passed(flavour: Flavour, serve: Serve) -> None:
    peer = serve(always(reply(b"ok")))
    backend = Backend(flavour)
    async with flavour.pool(network_backend=in_flavour(flavour, backend)) as pool:
        await pool.request("GET", peer.url)
    assert {kwargs.get("timeout") for _, kwargs in backend.calls} == {None}


async def test_it_does_tls(flavour: Flavour, serve: Serve, certificates: Certificates) -> None:
    peer = serve(always(reply(b"ok")), tls=certificates.server_context())
    backend = Backend(flavour)
    context = ssl.create_default_context(cafile=str(certificates.ca))
    async with flavour.pool(network_backend=in_flavour(flavour, backend), ssl_context=context) as pool:
        url = f"https://127.0.0.1:{peer.port}/"
        response = await pool.request("GET", url, extensions={**TIMEOUTS, "sni_hostname": "named.test"})
        assert response.content == b"ok"
    assert backend.called("start_tls") == [{"ssl_context": context, "server_hostname": "named.test", "timeout": 11.0}]
    assert [stream.closed for stream in backend.streams] == [True]


async def test_it_connects_to_a_unix_domain_socket(flavour: Flavour, serve: Serve, tmp_path: Any) -> None:
    path = str(tmp_path / "socket")
    serve(always(reply(b"ok")), host=path)
    backend = Backend(flavour)
    async with flavour.pool(network_backend=in_flavour(flavour, backend), uds=path) as pool:
        assert (await pool.request("GET", "http://uds.test/")).content == b"ok"
    (called,) = backend.called("connect_unix_socket")
    assert called["path"] == path


async def test_it_sleeps_between_retries(flavour: Flavour, serve: Serve) -> None:
    peer = serve(always(reply(b"ok")))

    class Reluctant(Backend):
        async def connect(self, name: str, kwargs: dict[str, Any]) -> Any:
            if len(self.called(name)) < 4:
                self.calls.append((name, kwargs))
                raise httpcore.ConnectTimeout("not yet") if len(self.calls) == 1 else httpcore.ConnectError("not yet")
            return await super().connect(name, kwargs)

    backend = Reluctant(flavour)
    async with flavour.pool(network_backend=in_flavour(flavour, backend), retries=4) as pool:
        assert (await pool.request("GET", peer.url)).content == b"ok"
    assert backend.called("sleep") == [{"seconds": seconds} for seconds in (0, 0.5, 1.0, 2.0)]


async def test_a_guard_wraps_what_the_pool_has(flavour: Flavour, serve: Serve) -> None:
    peer = serve(always(reply(b"ok")))

    class Guard:
        def __init__(self, inner: Any) -> None:
            self.inner = inner

        async def connect_tcp(self, host: str, port: int, **kwargs: Any) -> Any:
            if host == "forbidden.test":
                raise httpcore.ConnectError(f"{host} is forbidden")
            return await call(flavour, self.inner, "connect_tcp", host, port, **kwargs)

    async with flavour.pool() as pool:
        pool.raw._network_backend = in_flavour(flavour, Guard(pool.raw._network_backend))
        assert (await pool.request("GET", peer.url)).content == b"ok"
        with pytest.raises(httpcore.ConnectError, match=r"^forbidden\.test is forbidden$"):
            await pool.request("GET", "http://forbidden.test/")
        assert len(pool.connections) == 1


class Failing(Backend):
    """A backend whose streams raise an exception in one method, after a number of successful calls."""

    def __init__(self, flavour: Flavour, method: str, failure: Exception, after: int = 0) -> None:
        super().__init__(flavour)
        self.method = method
        self.failure = failure
        self.after = after

    async def connect(self, name: str, kwargs: dict[str, Any]) -> Any:
        if name == self.method:
            raise self.failure
        stream = FailingStream(self, await call(self.flavour, self.inner, name, **kwargs))
        return in_flavour(self.flavour, stream)

    def act(self, name: str) -> None:
        self.calls.append((name, {}))
        if name == self.method and len(self.called(name)) > self.after:
            raise self.failure


class FailingStream(Stream):
    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self.backend.act("read")
        return await call(self.backend.flavour, self.inner, "read", max_bytes, timeout=timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.backend.act("write")
        await call(self.backend.flavour, self.inner, "write", buffer, timeout=timeout)


@pytest.mark.parametrize(
    ("method", "after", "failure"),
    [
        ("connect_tcp", 0, httpcore.ConnectError("no way")),
        ("connect_tcp", 0, httpcore.ConnectTimeout("too slow")),
        ("connect_tcp", 0, ZeroDivisionError("not httpcore's")),
        ("write", 0, httpcore.WriteTimeout("too slow")),
        ("write", 0, ZeroDivisionError("not httpcore's")),
        ("read", 0, httpcore.ReadError("broken")),
        ("read", 0, httpcore.ReadTimeout("too slow")),
        ("read", 0, ZeroDivisionError("not httpcore's")),
        ("read", 1, httpcore.ReadError("broken in the body")),
        ("read", 1, ZeroDivisionError("not httpcore's, in the body")),
    ],
    ids=repr,
)
async def test_what_it_raises_reaches_the_caller(
    flavour: Flavour, serve: Serve, method: str, after: int, failure: Exception
) -> None:
    peer = serve(answers(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"))
    backend = Failing(flavour, method, failure, after)
    async with flavour.pool(network_backend=in_flavour(flavour, backend), max_connections=1) as pool:
        with pytest.raises(type(failure)) as raised:
            await pool.request("GET", peer.url)
        assert raised.value is failure
        assert pool.connections == []
        assert [stream.closed for stream in backend.streams] == [True] * len(backend.streams)


@pytest.mark.parametrize(
    ("method", "after", "failure", "what"),
    [
        ("connect_tcp", 0, httpcore.ConnectTimeout("early"), "connecting to {} was not finished"),
        ("write", 0, httpcore.WriteTimeout("early"), "the request was not sent to {}"),
        ("read", 0, httpcore.ReadTimeout("early"), "no response from {}"),
        ("read", 1, httpcore.ReadTimeout("early"), "the response body from {} was not read"),
    ],
    ids=["connect", "write", "head", "body"],
)
@pytest.mark.parametrize("total", [30.0, 90.0])
async def test_a_timeout_that_the_total_has_shortened_is_the_total(
    flavour: Flavour, serve: Serve, method: str, after: int, failure: Exception, what: str, total: float
) -> None:
    # Clocks differ: that of an event loop may be a millisecond ahead of the engine's.
    peer = serve(answers(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"))
    backend = Failing(flavour, method, failure, after)
    timeout = {**dict.fromkeys(("connect", "read", "write", "pool"), 60.0), "total": total}
    async with flavour.pool(network_backend=in_flavour(flavour, backend), retries=2) as pool:
        with pytest.raises(type(failure)) as raised:
            await pool.request("GET", peer.url, extensions={"timeout": timeout})
        assert pool.connections == []
    if total > 60:
        assert raised.value is failure
    else:
        assert str(raised.value) == f"{what.format(peer.url[:-1])} within 30.0 s (total timeout)"
        assert raised.value.__cause__ is failure
        assert backend.called("sleep") == []


def faults(certificates: Certificates) -> dict[str, tuple[Any, bool, dict[str, float], Any, str]]:
    """Returns the server's script, whether it speaks TLS, the timeouts, and the expected exception and message."""
    half = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"

    def stops(connection: Connection) -> None:
        connection.read_request()
        connection.send(half)
        silence(connection)

    def resets(connection: Connection) -> None:
        connection.read_request()
        connection.send(half)
        connection.reset()

    def mumbles(connection: Connection) -> None:
        connection.receive()
        connection.send(b"no TLS")

    return {
        "no answer": (silence, True, {"read": 0.1}, httpcore.ReadTimeout, r"read|timed out"),
        "half an answer": (stops, True, {"read": 0.1}, httpcore.ReadTimeout, r"read|timed out"),
        # Python's sockets report it as an end of the stream.
        "a reset": (resets, True, {}, (httpcore.ReadError, httpcore.RemoteProtocolError), r"read|reset|closed"),
        "no room": (deafness, True, {"write": 0.1}, httpcore.WriteTimeout, r"writ|timed out"),
        # The connection itself has to be made within this limit.
        "no handshake": (silence, False, {"connect": 1.0}, httpcore.ConnectTimeout, r"handshake|timed out"),
        "no TLS": (mumbles, False, {}, httpcore.ConnectError, r"(?i)handshake|version|record layer"),
    }


@pytest.mark.parametrize(
    "fault", ["no answer", "half an answer", "a reset", "no room", "no handshake", "no TLS", "refused", "unknown"]
)
async def test_exceptions_by_python_ssl_have_messages(
    flavour: Flavour, serve: Serve, certificates: Certificates, fault: str
) -> None:
    # Under asyncio and trio many of httpcore's exceptions have no message.
    context = ssl.create_default_context(cafile=str(certificates.ca))
    with contextlib.ExitStack() as stack:
        if fault == "refused":
            url = f"https://127.0.0.1:{stack.enter_context(refused_port())}/"
            timeouts, expected, words = {}, httpcore.ConnectError, r"(?i)connect"
        elif fault == "unknown":
            url = serve(silence, tls=certificates.server_context()).url
            context = ssl.create_default_context()
            timeouts, expected, words = {}, httpcore.ConnectError, r"CERTIFICATE_VERIFY_FAILED"
        else:
            script, tls, timeouts, expected, words = faults(certificates)[fault]
            url = serve(script, tls=certificates.server_context() if tls else None).url.replace("http:", "https:")
        async with flavour.pool(ssl_context=context) as pool:
            content = bytes(50_000_000) if fault == "no room" else None
            with pytest.raises(expected, match=words):
                await pool.request("POST", url, content=content, extensions={"timeout": timeouts})


async def test_an_exception_without_a_message_gets_one(flavour: Flavour) -> None:
    failure = httpcore.ConnectTimeout()

    class Silent(type(flavour.backend())):  # type: ignore[misc]
        if flavour.is_async:

            async def connect_tcp(self, *_: Any, **__: Any) -> Any:
                raise failure
        else:

            def connect_tcp(self, *_: Any, **__: Any) -> Any:
                raise failure

    async with flavour.pool(network_backend=Silent()) as pool:
        with pytest.raises(httpcore.ConnectTimeout) as raised:
            await pool.request("GET", "http://a.test:81/", extensions={"timeout": {"connect": 0.5}})
    assert raised.value is failure
    assert str(failure) == "connecting to a.test:81 took longer than 0.5 s (connect timeout)"


@pytest.mark.parametrize("is_streamed", [False, True], ids=["whole", "streamed"])
async def test_a_write_that_fails_lets_an_early_answer_be_read(
    flavour: Flavour, serve: Serve, is_streamed: bool
) -> None:
    def script(connection: Connection) -> None:
        connection.read_head()
        connection.send(reply(b"too large", status=b"413 Content Too Large"))

    peer = serve(script)
    backend = Failing(flavour, "write", httpcore.WriteError("gone"), after=1)
    async with flavour.pool(network_backend=in_flavour(flavour, backend)) as pool:
        content = flavour.parts(b"x" * 10, b"y" * 10, b"z" * 10)
        if is_streamed:
            async with pool.stream("POST", peer.url, content=content) as response:
                assert (response.status, await response.read()) == (413, b"too large")
        else:
            response = await pool.request("POST", peer.url, content=content)
            assert (response.status, response.content) == (413, b"too large")
        assert pool.connections == []
    assert len(backend.called("write")) > 1


async def test_a_response_whose_pool_is_closed(flavour: Flavour, serve: Serve) -> None:
    """The connection, which holds an exception of the stream, is freed where no lock of the engine is held."""

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")
        connection.wait_closed()

    backend = Backend(flavour)
    async with flavour.pool(network_backend=in_flavour(flavour, backend)) as pool:
        async with pool.stream("GET", serve(script).url) as response:
            await pool.close()
            with pytest.raises(httpcore.ReadError, match="was closed by its pool"):
                await response.read()
    assert [stream.closed for stream in backend.streams] == [True]


async def test_the_end_of_the_stream(flavour: Flavour) -> None:
    mock = httpcore.AsyncMockBackend if flavour.is_async else httpcore.MockBackend
    async with flavour.pool(network_backend=mock([])) as pool:
        with pytest.raises(httpcore.RemoteProtocolError, match=r"^Server disconnected without sending a response\.$"):
            await pool.request("GET", "http://mock.test/")
        assert pool.connections == []


async def test_a_stream_that_has_become_readable_is_not_used_again(flavour: Flavour, serve: Serve) -> None:
    end = threading.Event()

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(reply(b"ok"))
        if connection.number == 0:
            connection.wait(end)

    peer = serve(script)
    backend = Backend(flavour)
    async with flavour.pool(network_backend=in_flavour(flavour, backend)) as pool:
        await pool.request("GET", peer.url)
        end.set()
        await flavour.until(pool.connections[0].has_expired)
        # A POST, which would not be sent again.
        assert (await pool.request("POST", peer.url)).content == b"ok"
        assert [stream.closed for stream in backend.streams] == [True, False]


@pytest.mark.parametrize("phase", ["head", "body"])
async def test_cancelling_a_read_closes_the_stream(async_flavour: Flavour, serve: Serve, phase: str) -> None:
    flavour = async_flavour
    start = b"" if phase == "head" else b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(start)
        silence(connection)

    peer = serve(script)
    backend = Backend(flavour)
    async with flavour.pool(network_backend=backend, max_connections=1) as pool:
        task = flavour.start(lambda: pool.request("GET", peer.url))
        await flavour.until(lambda: len(backend.called("read")) == (1 if phase == "head" else 2))
        task.cancel()
        await task.finished()
        assert task.cancelled
        assert pool.connections == []
        assert [stream.closed for stream in backend.streams] == [True]
        await flavour.until(lambda: peer.closed(1))


async def test_a_cancel_scope_closes_the_stream_before_it_is_left(serve: Serve, trio_flavour: Flavour) -> None:
    peer = serve(silence)
    backend = Backend(trio_flavour)
    async with trio_flavour.pool(network_backend=backend) as pool:
        with trio.move_on_after(0.01) as scope:
            await pool.request("GET", peer.url)
        assert scope.cancelled_caught
        assert pool.connections == []
        assert [stream.closed for stream in backend.streams] == [True] * len(backend.streams)


@pytest.fixture
def trio_flavour() -> Flavour:
    return Trio()
