"""`tcp_keepalive` and `tcp_user_timeout`: the options that sockets have once they are connected."""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING, Any

import pytest

import httpcore_rs
from peers import always, reply

if TYPE_CHECKING:
    from pathlib import Path

    from flavours import Flavour
    from libraries import Library
    from peers import Serve

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the names and units of these options are Linux's")

OK = always(reply(b"ok"))
KEEP_ALIVE = (socket.SOL_SOCKET, socket.SO_KEEPALIVE)
TCP = socket.IPPROTO_TCP


def options(extensions: Any) -> dict[str, int]:
    """Returns the options of the socket that a response came on."""
    used = extensions["network_stream"].get_extra_info("socket")
    names = {"keepalive": KEEP_ALIVE, "idle": (TCP, socket.TCP_KEEPIDLE), "interval": (TCP, socket.TCP_KEEPINTVL)}
    names.update(count=(TCP, socket.TCP_KEEPCNT), user_timeout=(TCP, socket.TCP_USER_TIMEOUT))
    return {name: used.getsockopt(*option) for name, option in names.items()}


async def options_of(flavour: Flavour, url: str, **arguments: Any) -> dict[str, int]:
    async with flavour.pool(**arguments) as pool, pool.stream("GET", url) as response:
        return options(response.extensions)


async def test_a_silent_peer_is_probed_by_default(flavour: Flavour, serve: Serve) -> None:
    found = await options_of(flavour, serve(OK).url)
    assert found == {"keepalive": 1, "idle": 60, "interval": 15, "count": 4, "user_timeout": 0}


@pytest.mark.parametrize(("seconds", "idle", "interval"), [(10, 10, 2), (1, 1, 1), (90.0, 90, 22), (1e9, 32_767, 8191)])
async def test_tcp_keepalive(flavour: Flavour, serve: Serve, seconds: float, idle: int, interval: int) -> None:
    found = await options_of(flavour, serve(OK).url, tcp_keepalive=seconds)
    assert (found["keepalive"], found["idle"], found["interval"], found["count"]) == (1, idle, interval, 4)


@pytest.mark.parametrize("seconds", [None, float("inf")])
async def test_without_tcp_keepalive_no_probe_is_sent(flavour: Flavour, serve: Serve, seconds: float | None) -> None:
    assert (await options_of(flavour, serve(OK).url, tcp_keepalive=seconds))["keepalive"] == 0


async def test_tcp_user_timeout(flavour: Flavour, serve: Serve) -> None:
    assert (await options_of(flavour, serve(OK).url, tcp_user_timeout=30.5))["user_timeout"] == 30_500


async def test_socket_options_take_precedence(flavour: Flavour, serve: Serve) -> None:
    given = [(TCP, socket.TCP_KEEPIDLE, 7), (TCP, socket.TCP_USER_TIMEOUT, 5000)]
    found = await options_of(flavour, serve(OK).url, tcp_keepalive=20, tcp_user_timeout=10, socket_options=given)
    assert found == {"keepalive": 1, "idle": 7, "interval": 5, "count": 4, "user_timeout": 5000}
    off = [(*KEEP_ALIVE, 0)]
    assert (await options_of(flavour, serve(OK).url, socket_options=off))["keepalive"] == 0


async def test_unix_sockets_have_none_of_them(flavour: Flavour, serve: Serve, tmp_path: Path) -> None:
    peer = serve(OK, host=str(tmp_path / "server.sock"))
    async with flavour.pool(uds=peer.uds, tcp_keepalive=20, tcp_user_timeout=10) as pool:
        assert (await pool.request("GET", peer.url)).content == b"ok"


async def test_transports_and_install_have_them(flavour: Flavour, serve: Serve, library: Library) -> None:
    url = serve(OK).url
    async with library.client(flavour, library.transport(flavour, tcp_keepalive=30)) as client:
        response = await client.send("GET", url)
        assert options(response.extensions)["idle"] == 30
    httpcore_rs.install(tcp_keepalive=40, tcp_user_timeout=50)
    try:
        cls = library.AsyncHTTPTransport if flavour.is_async else library.HTTPTransport
        async with library.client(flavour, cls()) as client:
            found = options((await client.send("GET", url)).extensions)
    finally:
        httpcore_rs.uninstall()
    assert (found["idle"], found["user_timeout"]) == (40, 50_000)
