"""The option `interface`: connections leave by one network interface."""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING

import httpcore
import pytest

import httpcore_rs
from peers import always, reply

if TYPE_CHECKING:
    from flavours import Flavour
    from libraries import Library
    from peers import Serve

OK = always(reply(b"ok"))

has_interfaces = pytest.mark.skipif(sys.platform not in ("linux", "darwin"), reason="the system has no such option")
LOOPBACK = "lo" if sys.platform == "linux" else "lo0"


@has_interfaces
async def test_connections_leave_by_the_interface(flavour: Flavour, serve: Serve) -> None:
    peer = serve(OK)
    async with flavour.pool(interface=LOOPBACK) as pool, pool.stream("GET", peer.url) as response:
        assert await response.read() == b"ok"
        if sys.platform == "linux":
            stream = response.extensions["network_stream"]
            bound = stream.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16)
            assert bound.rstrip(b"\0") == b"lo"


@has_interfaces
async def test_an_interface_that_does_not_exist_is_named(flavour: Flavour, serve: Serve) -> None:
    peer = serve(OK)
    async with flavour.pool(interface="no-such-if") as pool:
        with pytest.raises(
            httpcore.ConnectError, match=r'binding to the interface "no-such-if" failed: .*No such device'
        ):
            await pool.request("GET", peer.url)
    assert peer.connections == []


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the option is refused with a network backend")
async def test_a_network_backend_is_given_the_interface(flavour: Flavour, serve: Serve) -> None:
    peer, given = serve(OK), []
    inner = flavour.backend()

    class Backend:
        def connect_tcp(self, *args: object, **kwargs: object) -> object:
            given.append(kwargs["socket_options"])
            return inner.connect_tcp(*args, **kwargs)

    nodelay = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    async with flavour.pool(interface="lo", network_backend=Backend(), socket_options=[nodelay]) as pool:
        assert (await pool.request("GET", peer.url)).content == b"ok"
    assert given == [[nodelay, (socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")]]


@pytest.mark.skipif(sys.platform in ("linux", "darwin"), reason="the system has such an option")
def test_it_is_refused_elsewhere() -> None:
    with pytest.raises(ValueError, match=r"^interface must be None here: it exists on Linux and macOS only"):
        httpcore_rs.ConnectionPool(interface="eth0")


@has_interfaces
async def test_clients_leave_by_the_interface(flavour: Flavour, serve: Serve, library: Library) -> None:
    peer = serve(OK)
    async with library.client(flavour, library.transport(flavour, interface=LOOPBACK)) as client:
        assert (await client.send("GET", peer.url)).text == "ok"
