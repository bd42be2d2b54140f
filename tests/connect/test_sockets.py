"""Replacements of Python's sockets (guards, recorders, proxies): connections are made with what is there."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import anyio
import httpcore
import pytest
import trio

import httpcore_rs
from flavours import FLAVOURS, Flavour
from httpcore_rs._sockets import socket_patches
from peers import always, reply
from proxies import tunnels

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from certificates import Certificates
    from peers import Serve
    from programs import Program

OK = always(reply(b"ok"))


class BlockedError(RuntimeError):
    """The exception of a guard: no `OSError`, so that no library handles it."""


@pytest.fixture(params=[name for name in FLAVOURS if name != "uvloop"])
def flavour(request: pytest.FixtureRequest) -> Flavour:
    """Returns the flavours that open sockets in Python. libuv does so by itself, for httpcore as well."""
    return FLAVOURS[request.param]()


@pytest.fixture
def connects(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Returns the addresses that Python's sockets are asked to connect to."""
    seen: list[Any] = []
    genuine = socket.socket.connect

    def connect(self: socket.socket, address: Any) -> None:
        seen.append(address)
        genuine(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)
    return seen


def httpcores_pool(flavour: Flavour, **arguments: Any) -> Any:
    return getattr(httpcore, flavour.prefixed("ConnectionPool"))(**arguments)


async def outcome(flavour: Flavour, pool: Any, url: str) -> Any:
    """Returns the class of the exception of a request, of the first one in a group; or its response."""
    try:
        return (await flavour.call(pool, "request", "GET", url)).content
    except Exception as exc:  # noqa: BLE001  (compared)
        while hasattr(exc, "exceptions"):
            exc = exc.exceptions[0]
        return type(exc)


async def test_nothing_is_replaced(flavour: Flavour) -> None:
    assert socket_patches(flavour.is_async) is None


async def test_a_class_that_refuses(
    flavour: Flavour, serve: Serve, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Guarded(socket.socket):
        def __new__(cls, *args: Any, **kwargs: Any) -> Any:
            raise BlockedError("a test tried to use socket.socket")

    peers = [serve(OK), serve(OK, tls=certificates.server_context())]
    # An asyncio loop resolves names in a thread that it starts, and has its own sockets already.
    with monkeypatch.context() as patch:
        patch.setattr(socket, "socket", Guarded)
        for peer in peers:
            expected = await outcome(flavour, httpcores_pool(flavour), peer.url)
            assert expected is BlockedError
            assert await outcome(flavour, flavour.pool().raw, peer.url) == expected
    assert not any(peer.requests for peer in peers)


@pytest.mark.parametrize("tls", [False, True])
async def test_connects_are_seen(
    flavour: Flavour, serve: Serve, certificates: Certificates, connects: list[Any], tls: bool
) -> None:
    peer = serve(OK, tls=certificates.server_context() if tls else None)
    context = httpcore_rs.TLSConfig(verify=str(certificates.ca))
    async with flavour.pool(ssl_context=context) as pool:
        for _ in range(2):
            assert (await pool.request("GET", peer.url)).content == b"ok"
        assert len(peer.connections) == 1
    assert connects == [("127.0.0.1", peer.port)]


async def test_connects_to_proxies_are_seen(
    flavour: Flavour, serve: Serve, certificates: Certificates, connects: list[Any]
) -> None:
    peer, proxy = serve(OK, tls=certificates.server_context()), serve(tunnels)
    arguments = {
        "proxy": httpcore_rs.Proxy(f"http://{proxy.authority}"),
        "ssl_context": httpcore_rs.TLSConfig(verify=str(certificates.ca)),
    }
    async with flavour.pool(**arguments) as pool:
        assert (await pool.request("GET", peer.url)).content == b"ok"
    # The proxy of the test connects to the origin with Python's sockets as well.
    assert connects[0] == ("127.0.0.1", proxy.port)


async def test_a_connect_that_is_refused_by_a_guard(
    flavour: Flavour, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(self: socket.socket, address: Any) -> None:
        self.close()  # `socket.create_connection` closes it only after an `OSError`
        raise BlockedError(address)

    peer = serve(OK)
    with monkeypatch.context() as patch:
        patch.setattr(socket.socket, "connect", connect)
        expected = await outcome(flavour, httpcores_pool(flavour), peer.url)
        assert await outcome(flavour, flavour.pool().raw, peer.url) == expected
        assert expected is BlockedError


async def test_unix_sockets_are_seen(flavour: Flavour, serve: Serve, connects: list[Any], tmp_path: Path) -> None:
    peer = serve(OK, host=str(tmp_path / "socket"))
    async with flavour.pool(uds=peer.uds) as pool:
        assert (await pool.request("GET", "http://uds.test/")).content == b"ok"
    assert connects == [peer.uds]


async def test_a_single_connection_is_seen(flavour: Flavour, serve: Serve, connects: list[Any]) -> None:
    peer = serve(OK)
    request = httpcore.Request("GET", peer.url, headers={"Host": peer.authority})
    connection = getattr(httpcore_rs, flavour.prefixed("HTTPConnection"))(request.url.origin)
    response = await flavour.call(connection, "handle_request", request)
    assert await flavour.call(response, "read") == b"ok"
    await flavour.call(response, "close")
    await flavour.call(connection, "close")
    assert connects == [("127.0.0.1", peer.port)]


async def test_functions_that_connect(flavour: Flavour, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    owner: Any = {"sync": socket, "trio": trio}.get(flavour.name, anyio)
    name = {"sync": "create_connection", "trio": "open_tcp_stream"}.get(flavour.name, "connect_tcp")
    genuine = getattr(owner, name)

    def connect(*args: Any, **kwargs: Any) -> Any:
        seen.append((args, kwargs))
        return genuine(*args, **kwargs)

    monkeypatch.setattr(owner, name, connect)
    async with flavour.pool() as pool:
        assert (await pool.request("GET", serve(OK).url)).content == b"ok"
    assert len(seen) == 1


async def test_lookups_of_addresses(flavour: Flavour, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up = []
    genuine = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        looked_up.append(host)
        return genuine(host, *args, **kwargs)

    peer = serve(OK)
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    async with flavour.pool() as pool:
        assert (await pool.request("GET", peer.url)).content == b"ok"
        assert (await pool.request("GET", peer.url.replace("127.0.0.1", "localhost"))).content == b"ok"
    # trio looks a name up as an address first.
    names = [name if isinstance(name, str) else name.decode() for name in looked_up]
    assert list(dict.fromkeys(names)) == ["127.0.0.1", "localhost"]


async def test_a_network_backend_comes_first(flavour: Flavour, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "socket", None)
    mock = getattr(httpcore, flavour.prefixed("MockBackend"))([b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"])
    pool = flavour.pool(network_backend=mock)
    assert (await pool.request("GET", "http://elsewhere.test/")).content == b"ok"


def test_an_import_while_sockets_are_replaced(serve: Serve, program: Callable[..., Program]) -> None:
    before = """
        import socket
        genuine = socket.socket

        class Guarded(socket.socket):
            def __new__(cls, *args, **kwargs):
                raise RuntimeError("blocked")

        socket.socket = Guarded
    """
    source = """
        pool = httpcore_rs.ConnectionPool()
        try:
            pool.request("GET", url)
        except RuntimeError as exc:
            print(exc)
        socket.socket = genuine
        response = pool.request("GET", url)
        print(response.content)
        # The engine has connected.
        print(type(response.extensions["network_stream"].get_extra_info("socket")).__name__)
        pool.close()
    """
    expected = "blocked\nb'ok'\nDuplicateSocket\n"
    assert program(source, serve(OK).url, before=before).output() == expected
