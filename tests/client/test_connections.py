"""Single connections, compared with `httpcore.HTTPConnection` and the other classes: methods, states and texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpcore
import pytest

import httpcore_rs
from peers import always, echo, refused_port, reply

if TYPE_CHECKING:
    from flavours import Flavour
    from peers import Serve

HELLO = [b"HTTP/1.1 200 OK\r\n", b"Content-Length: 5\r\n", b"\r\n", b"hello"]
CLASSES = ["HTTPConnection", "HTTP11Connection", "AsyncHTTPConnection", "AsyncHTTP11Connection"]


@pytest.mark.parametrize("name", CLASSES)
def test_methods_are_httpcores(name: str) -> None:
    tested, reference = getattr(httpcore_rs, name), getattr(httpcore, name)
    methods = {
        method for method in dir(reference) if callable(getattr(reference, method)) and not method.startswith("_")
    }
    missing = {method for method in methods if not callable(getattr(tested, method, None))}
    assert not missing
    interface = httpcore.AsyncConnectionInterface if name.startswith("Async") else httpcore.ConnectionInterface
    assert issubclass(tested, interface)


class Diary:
    """The public state of a connection, step by step."""

    def __init__(self, flavour: Flavour, module: Any, connection: Any) -> None:
        self.flavour = flavour
        self.connection = connection
        self.entries: list[Any] = []
        self.request = httpcore.Request("GET", "https://example.com/", headers={"Host": "example.com"})
        self.other = httpcore.Request("GET", "https://example.org/", headers={"Host": "example.org"})

    def look(self) -> None:
        each = self.connection
        states = (each.is_idle(), each.is_available(), each.is_closed(), bool(each.has_expired()))
        reaches = [each.can_handle_request(request.url.origin) for request in (self.request, self.other)]
        self.entries.append((repr(each), each.info(), states, reaches))

    async def send(self, request: httpcore.Request) -> Any:
        try:
            return await self.flavour.call(self.connection, "handle_request", request)
        except (RuntimeError, httpcore.ConnectionNotAvailable, httpcore.NetworkError, httpcore.ProtocolError) as exc:
            # httpcore's exception has no message.
            is_empty = isinstance(exc, httpcore.ConnectionNotAvailable)
            self.entries.append((type(exc), "" if is_empty else str(exc)))
            return None

    async def call(self, target: Any, name: str) -> Any:
        return await self.flavour.call(target, name)


async def live(flavour: Flavour, module: Any, connection: Any) -> list[Any]:
    """Records the states of a connection, from before its first request to after its end."""
    diary = Diary(flavour, module, connection)
    diary.look()
    await diary.send(diary.other)
    response = await diary.send(diary.request)
    diary.look()
    await diary.send(diary.request)  # not now
    diary.look()
    # The two differ in between: this one is idle as soon as the body has been read to its end.
    diary.entries.append(await diary.call(response, "read"))
    await diary.call(response, "close")
    diary.look()
    response = await diary.send(diary.request)
    diary.look()
    await diary.call(response, "close")  # unread: the connection is closed
    diary.look()
    await diary.send(diary.request)
    await diary.call(connection, "close")
    diary.look()
    return diary.entries


def origin() -> httpcore.Origin:
    return httpcore.Origin(b"https", b"example.com", 443)


async def test_a_connections_life_is_as_in_httpcore(flavour: Flavour) -> None:
    mock = getattr(httpcore, flavour.prefixed("MockBackend"))

    def connection(module: Any) -> Any:
        return getattr(module, flavour.prefixed("HTTPConnection"))(origin(), network_backend=mock(HELLO * 2))

    reference = await live(flavour, httpcore, connection(httpcore))
    assert await live(flavour, httpcore_rs, connection(httpcore_rs)) == reference


async def test_a_life_over_a_stream_is_as_in_httpcore(flavour: Flavour) -> None:
    mock = getattr(httpcore, flavour.prefixed("MockStream"))

    def connection(module: Any) -> Any:
        return getattr(module, flavour.prefixed("HTTP11Connection"))(origin(), mock(list(HELLO * 2)))

    reference = await live(flavour, httpcore, connection(httpcore))
    assert await live(flavour, httpcore_rs, connection(httpcore_rs)) == reference


async def test_a_connect_that_fails_is_as_in_httpcore(flavour: Flavour) -> None:
    async def fail(module: Any, port: int) -> list[Any]:
        to = httpcore.Origin(b"http", b"127.0.0.1", port)
        connection = getattr(module, flavour.prefixed("HTTPConnection"))(to)
        diary = Diary(flavour, module, connection)
        diary.request = httpcore.Request("GET", f"http://127.0.0.1:{port}/", headers={"Host": "127.0.0.1"})
        diary.look()
        await diary.send(diary.request)
        diary.entries[-1] = diary.entries[-1][0]  # the text differs from httpcore's
        diary.look()
        return diary.entries

    with refused_port() as port:
        assert await fail(httpcore_rs, port) == await fail(httpcore, port)


async def test_it_serves_one_request_after_another(flavour: Flavour, serve: Serve) -> None:
    peer = serve(echo)
    url = httpcore.URL(peer.url)
    connection = getattr(httpcore_rs, flavour.prefixed("HTTPConnection"))(url.origin)
    await flavour.call(connection, "__enter__")
    for body in [b"one", b"two"]:
        response = await flavour.call(connection, "request", "POST", peer.url, content=body)
        assert response.status == 200
    async with Streaming(flavour, connection.stream("GET", peer.url)) as response:
        await flavour.call(response, "read")
    await flavour.call(connection, "__exit__", None, None, None)
    await flavour.until(lambda: peer.closed(1))
    assert [request.body for request in peer.requests] == [b"one", b"two", b""]
    assert len(peer.connections) == 1


class Streaming:
    """An open response, by `with` or `async with`."""

    def __init__(self, flavour: Flavour, manager: Any) -> None:
        self.flavour = flavour
        self.manager = manager

    async def __aenter__(self) -> Any:
        return await self.flavour.call(self.manager, "__enter__")

    async def __aexit__(self, *exc_info: object) -> None:
        await self.flavour.call(self.manager, "__exit__", *exc_info)


async def test_a_dead_connection_is_not_replaced(flavour: Flavour, serve: Serve) -> None:
    # A single connection is never replaced; only a pool may send a request again, on another connection.
    peer = serve(lambda connection: (connection.read_request(), connection.send(reply(b"ok"))))
    connection = getattr(httpcore_rs, flavour.prefixed("HTTPConnection"))(httpcore.URL(peer.url).origin)
    await flavour.call(connection, "request", "GET", peer.url)
    # If the end has arrived at once, the connection is closed already.
    await flavour.until(lambda: connection.has_expired() or connection.is_closed())
    with pytest.raises((httpcore.RemoteProtocolError, httpcore.ReadError, httpcore.ConnectionNotAvailable)):
        await flavour.call(connection, "request", "GET", peer.url)
    assert len(peer.requests) == 1


async def test_a_pools_connections_are_of_these_classes(flavour: Flavour, serve: Serve) -> None:
    peer = serve(always(reply(b"ok")))
    async with flavour.pool() as pool:
        await pool.request("GET", peer.url)
        (connection,) = pool.connections
        assert isinstance(connection, getattr(httpcore_rs, flavour.prefixed("HTTPConnection")))
        assert connection == pool.connections[0]
        await flavour.call(connection, "close")
        assert pool.connections == []
        await flavour.until(lambda: peer.closed(1))
