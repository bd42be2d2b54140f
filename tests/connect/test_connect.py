"""Connecting: names, several addresses, retries, local addresses, and the messages of errors."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import sys
from typing import TYPE_CHECKING, Any, Callable

import httpcore
import pytest

from flavours import trio, uvloop
from leaks import sockets_to
from peers import Peer, always, full_backlog, refused_port, reply, silence

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from flavours import Flavour
    from peers import Serve

OK = always(reply(b"ok"))
Resolver = Callable[[str, Any], "list[Any]"]


def entry(address: str, port: Any) -> tuple[Any, ...]:
    """Returns an address as `getaddrinfo` lists it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sockaddr = (address, port, 0, 0) if ":" in address else (address, port)
    return (family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", sockaddr)


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Callable[[Resolver], None]:
    """Replaces name resolution: that of the socket module, which asyncio and trio use too, and that of uvloop."""
    genuine = socket.getaddrinfo

    def install(resolver: Resolver) -> None:
        def getaddrinfo(host: Any, port: Any, *args: Any, **kwargs: Any) -> list[Any]:
            name = host.decode() if isinstance(host, bytes) else host
            if name.endswith(".test"):
                return resolver(name, port)
            return genuine(host, port, *args, **kwargs)

        async def of_uvloop(_: Any, *args: Any, **kwargs: Any) -> list[Any]:
            return getaddrinfo(*args, **kwargs)

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        if uvloop is not None:
            monkeypatch.setattr(uvloop.Loop, "getaddrinfo", of_uvloop)

    return install


@contextlib.contextmanager
def serve_beside(
    serve: Serve, host: str, neighbour: Callable[[int], contextlib.AbstractContextManager[Any]]
) -> Iterator[Peer]:
    """Yields a peer on one loopback address, with `neighbour(port)` entered: what holds the same port on the other.

    Without a neighbour a server of another test process may listen there.
    """
    with contextlib.ExitStack() as stack:
        while True:
            peer = serve(OK, host=host)
            try:
                stack.enter_context(neighbour(peer.port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            else:
                break
        yield peer


# Addresses.


async def test_localhost(flavour: Flavour, serve: Serve) -> None:
    peer = serve(OK)
    async with flavour.pool() as pool:
        assert (await pool.request("GET", f"http://localhost:{peer.port}/")).content == b"ok"


async def test_ipv6(flavour: Flavour, serve: Serve) -> None:
    peer = serve(OK, host="::1")
    async with flavour.pool() as pool:
        assert (await pool.request("GET", peer.url)).content == b"ok"


@pytest.mark.parametrize("listening", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("order", [("::1", "127.0.0.1"), ("127.0.0.1", "::1")])
async def test_a_name_with_two_addresses_of_which_one_refuses(
    flavour: Flavour, serve: Serve, resolve: Any, order: tuple[str, str], listening: str
) -> None:
    resolve(lambda name, port: [entry(address, port) for address in order])
    refusing = next(address for address in order if address != listening)
    with serve_beside(serve, listening, lambda port: refused_port(refusing, port)) as peer:
        async with flavour.pool() as pool:
            assert (await pool.request("GET", f"http://both.test:{peer.port}/")).content == b"ok"
    assert peer.requests[0].header(b"host") == b"both.test:%d" % peer.port


@pytest.mark.parametrize(("dead", "alive"), [("::1", "127.0.0.1"), ("127.0.0.1", "::1")])
async def test_a_name_whose_first_address_does_not_answer(
    flavour: Flavour, serve: Serve, resolve: Any, dead: str, alive: str
) -> None:
    # The connect timeout covers all addresses: waiting for the first alone would leave no time for the second.
    resolve(lambda name, port: [entry(dead, port), entry(alive, port)])
    with serve_beside(serve, alive, lambda port: full_backlog(dead, port)) as peer:
        async with flavour.pool() as pool:
            url = f"http://both.test:{peer.port}/"
            response = await pool.request("GET", url, extensions={"timeout": {"connect": 3.0}})
            assert response.content == b"ok"
            assert len(pool.connections) == 1


async def test_the_connect_timeout_covers_all_addresses(flavour: Flavour, resolve: Any) -> None:
    resolve(lambda name, port: [entry("127.0.0.1", port)] * 3)
    with full_backlog() as (_, port):
        async with flavour.pool() as pool:
            with pytest.raises(httpcore.ConnectTimeout) as raised:
                await pool.request("GET", f"http://dead.test:{port}/", extensions={"timeout": {"connect": 0.2}})
            assert "dead.test" in str(raised.value)
            assert pool.connections == []


# Failures.


async def test_refused(flavour: Flavour) -> None:
    with refused_port() as port:
        async with flavour.pool() as pool:
            with pytest.raises(httpcore.ConnectError) as raised:
                await pool.request("GET", f"http://127.0.0.1:{port}/")
            assert f"127.0.0.1:{port}" in str(raised.value)
            assert "refused" in str(raised.value).lower()
            assert pool.connections == []


async def test_refused_by_all_addresses(flavour: Flavour, resolve: Any) -> None:
    resolve(lambda name, port: [entry("127.0.0.1", port), entry("::1", port)])
    with refused_port() as port:
        async with flavour.pool() as pool:
            with pytest.raises(httpcore.ConnectError) as raised:
                await pool.request("GET", f"http://both.test:{port}/")
            assert "both.test" in str(raised.value)
            assert "refused" in str(raised.value).lower()


async def test_a_name_that_does_not_resolve(flavour: Flavour, resolve: Any) -> None:
    def fail(name: str, port: Any) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    resolve(fail)
    async with flavour.pool() as pool:
        with pytest.raises(httpcore.ConnectError) as raised:
            await pool.request("GET", "http://nowhere.test/")
        assert "nowhere.test" in str(raised.value)
        assert pool.connections == []


async def test_a_name_without_addresses(flavour: Flavour, resolve: Any) -> None:
    resolve(lambda name, port: [])
    async with flavour.pool() as pool:
        with pytest.raises(httpcore.ConnectError) as raised:
            await pool.request("GET", "http://empty.test/")
        assert "empty.test" in str(raised.value)


@pytest.mark.parametrize("host", [b"", b"a" * 300, b"a..b", b"exa mple", b"caf\xe9.test", b"nul\0.test"])
async def test_an_impossible_host_is_an_error_of_httpcore(flavour: Flavour, host: bytes) -> None:
    url = httpcore.URL(scheme=b"http", host=host, port=1, target=b"/")
    async with flavour.pool(max_connections=1) as pool:
        with pytest.raises((httpcore.ConnectError, httpcore.LocalProtocolError)) as raised:
            await pool.request("GET", url, headers={"Host": "test"})
        assert str(raised.value)
        assert pool.connections == []


# Retries.


async def test_retries_until_it_works(flavour: Flavour, serve: Serve, resolve: Any) -> None:
    # The name resolves to the right address only from the third time on.
    attempts: list[str] = []

    def moving(name: str, port: Any) -> list[Any]:
        attempts.append(name)
        return [entry("::1" if len(attempts) < 3 else "127.0.0.1", port)]

    peer = serve(OK)
    resolve(moving)
    async with flavour.pool(retries=2) as pool:
        assert (await pool.request("GET", f"http://moving.test:{peer.port}/")).content == b"ok"
    assert len(attempts) == 3
    assert len(peer.connections) == 1


@pytest.mark.parametrize("retries", [0, 1, 2])
async def test_retries_are_counted(flavour: Flavour, serve: Serve, retries: int) -> None:
    # A TLS handshake that fails is a failed connect too, and this peer can count it.
    peer = serve(lambda connection: connection.socket.close())
    async with flavour.pool(retries=retries) as pool:
        with pytest.raises(httpcore.ConnectError) as raised:
            await pool.request("GET", f"https://{peer.authority}/")
        assert str(raised.value)
        assert pool.connections == []
    await flavour.until(lambda: len(peer.connections) == retries + 1)


async def test_a_connect_timeout_is_retried_too(flavour: Flavour, serve: Serve) -> None:
    peer = serve(silence)
    async with flavour.pool(retries=1) as pool:
        with pytest.raises(httpcore.ConnectTimeout):
            await pool.request("GET", f"https://{peer.authority}/", extensions={"timeout": {"connect": 0.5}})
    await flavour.until(lambda: peer.closed(2))
    assert len(peer.connections) == 2


# Local addresses and socket options.


async def test_local_address(flavour: Flavour, serve: Serve) -> None:
    own = "127.0.0.2" if sys.platform == "linux" else "127.0.0.1"
    peer = serve(OK)
    async with flavour.pool(local_address=own) as pool:
        await pool.request("GET", peer.url)
    assert peer.connections[0].address[0] == own


async def test_local_address_chooses_the_family(flavour: Flavour, serve: Serve, resolve: Any) -> None:
    peer = serve(OK)
    resolve(lambda name, port: [entry("::1", port), entry("127.0.0.1", port)])
    async with flavour.pool(local_address="0.0.0.0") as pool:
        await pool.request("GET", f"http://both.test:{peer.port}/")
    assert len(peer.connections) == 1


async def test_a_local_address_of_another_machine(flavour: Flavour, serve: Serve) -> None:
    peer = serve(OK)
    async with flavour.pool(local_address="198.51.100.1") as pool:
        with pytest.raises(httpcore.ConnectError) as raised:
            await pool.request("GET", peer.url)
        assert str(raised.value)
        assert pool.connections == []


async def test_uds(flavour: Flavour, tmp_path: Path) -> None:
    with contextlib.closing(Peer(OK, host=str(tmp_path / "socket"))) as peer:
        async with flavour.pool(uds=str(tmp_path / "socket")) as pool:
            for _ in range(2):
                assert (await pool.request("GET", "http://named.test/path")).content == b"ok"
            assert "'http://named.test:80', HTTP/1.1, IDLE, Request Count: 2" in repr(pool.connections)
        assert [request.header(b"host") for request in peer.requests] == [b"named.test"] * 2
        assert len(peer.connections) == 1


async def test_a_uds_that_is_not_there(flavour: Flavour, tmp_path: Path) -> None:
    path = str(tmp_path / "missing")
    async with flavour.pool(uds=path) as pool:
        with pytest.raises(httpcore.ConnectError) as raised:
            await pool.request("GET", "http://named.test/")
        assert path in str(raised.value)
        assert pool.connections == []


@contextlib.contextmanager
def own_socket(peer: Peer) -> Iterator[socket.socket]:
    """Returns the pool's socket of its only connection."""
    (found,) = sockets_to(peer.address)
    with found:
        yield found


async def test_socket_options_are_set_and_nodelay_always(flavour: Flavour, serve: Serve) -> None:
    peer = serve(OK)
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), (socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")]
    async with flavour.pool(socket_options=options) as pool:
        await pool.request("GET", peer.url)
        with own_socket(peer) as client:
            assert client.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) != 0
            assert client.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)[0] == 1
            assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


async def test_a_socket_option_that_does_not_exist(flavour: Flavour, serve: Serve) -> None:
    peer = serve(OK)
    async with flavour.pool(socket_options=[(socket.SOL_SOCKET, 9999, 1)]) as pool:
        with pytest.raises(httpcore.ConnectError) as raised:
            await pool.request("GET", peer.url)
        assert str(raised.value)
        assert pool.connections == []


# uvloop's own methods, written in C, cannot be replaced.
@pytest.mark.parametrize("async_flavour", ["asyncio", "trio"], indirect=True)
async def test_the_timeout_covers_the_name(
    async_flavour: Flavour, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*_: Any, **__: Any) -> Any:
        await async_flavour.sleep(60)

    if async_flavour.name == "trio":
        monkeypatch.setattr(trio.socket, "getaddrinfo", never)
    else:
        monkeypatch.setattr(type(asyncio.get_running_loop()), "getaddrinfo", never)
    async with async_flavour.pool() as pool:
        with pytest.raises(httpcore.ConnectTimeout, match=r"some\.name.*0\.2 s"):
            await pool.request("GET", "http://some.name/", extensions={"timeout": {"connect": 0.2}})
        assert pool.connections == []


async def test_close_ends_a_connect(flavour: Flavour) -> None:
    with full_backlog() as address:
        async with flavour.pool() as pool:
            connecting = flavour.start(lambda: pool.request("GET", f"http://{address[0]}:{address[1]}/"))
            await flavour.until(lambda: len(pool.connections) == 1)
            await flavour.sleep(0.1)
            await pool.close()
            await connecting.finished()
            assert isinstance(connecting.error, httpcore.ConnectError)
            assert pool.connections == []
