"""Tracing a request through a proxy: events and logs as httpcore has them, without secrets."""

from __future__ import annotations

import logging
import ssl
from typing import TYPE_CHECKING, Any

import httpcore
import pytest

from peers import Connection, always, echo, reply
from proxies import read_connect, socks5, tunnels
from tracing import both, names_of, recorder

if TYPE_CHECKING:
    from certificates import Certificates
    from flavours import Flavour
    from peers import Serve


@pytest.mark.parametrize("way", ["forward", "tunnel", "socks5", "socks5 to TLS"])
async def test_events_come_as_in_httpcore(flavour: Flavour, serve: Serve, certificates: Certificates, way: str) -> None:
    tls = None if way in ("forward", "socks5") else certificates.server_context()
    origin = serve(echo, tls=tls)
    script = {"forward": echo, "tunnel": tunnels}.get(way, socks5())
    peer = serve(script)
    url = f"socks5://{peer.authority}" if way.startswith("socks5") else peer.url
    context = ssl.create_default_context(cafile=str(certificates.ca))
    reference, tested = both(flavour, proxy=httpcore.Proxy(url), ssl_context=context)
    for _ in range(2):  # on a new connection, and then on the kept one, if any
        expected = await names_of(reference, flavour, "GET", origin.url)
        assert await names_of(tested, flavour, "GET", origin.url) == expected
    await flavour.call(reference, "close")
    await flavour.call(tested, "close")


async def test_events_of_a_refused_tunnel_come_as_in_httpcore(flavour: Flavour, serve: Serve) -> None:
    peer = serve(always(reply(status=b"403 No")))
    told: list[list[str]] = []
    for pool in both(flavour, proxy=httpcore.Proxy(peer.url)):
        events: list[tuple[str, Any]] = []
        extensions = {"trace": recorder(flavour, events)}
        with pytest.raises(httpcore.ProxyError):
            await flavour.call(pool, "request", "GET", "https://origin.test/", extensions=extensions)
        # httpcore reports the closing without a request.
        told.append([name for name, _ in events if not name.startswith("connection.close")])
        await flavour.call(pool, "close")
    assert told[0] == told[1]


async def test_the_contents_of_the_events_of_a_tunnel(flavour: Flavour, serve: Serve) -> None:
    def refuses(connection: Connection) -> None:
        read_connect(connection)
        connection.send(reply(status=b"403 No"))

    peer = serve(refuses)
    events: list[tuple[str, Any]] = []
    proxy = httpcore.Proxy(peer.url, auth=("user", "pass"))
    async with flavour.pool(proxy=proxy) as pool:
        extensions = {"trace": recorder(flavour, events), "timeout": {"connect": 5.0}}
        with pytest.raises(httpcore.ProxyError):
            await pool.request("GET", "https://origin.test/", extensions=extensions)
    said = dict(events)
    assert said["connection.connect_tcp.started"]["host"] == "127.0.0.1"
    assert said["connection.connect_tcp.started"]["port"] == peer.port
    request = said["http11.send_request_headers.started"]["request"]
    assert isinstance(request, httpcore.Request)
    assert (request.method, request.url.target) == (b"CONNECT", b"origin.test:443")
    assert (request.url.host, request.url.port) == (b"127.0.0.1", peer.port)
    sent = b"".join(b"%b: %b\r\n" % header for header in request.headers)
    assert peer.requests[0].head == b"CONNECT origin.test:443 HTTP/1.1\r\n" + sent + b"\r\n"
    assert said["http11.receive_response_headers.complete"]["return_value"][1:3] == (403, b"No")


@pytest.mark.parametrize("by_backend", [False, True], ids=["own sockets", "a backend"])
async def test_the_contents_of_the_events_of_socks(
    flavour: Flavour, serve: Serve, certificates: Certificates, caplog: pytest.LogCaptureFixture, by_backend: bool
) -> None:
    origin = serve(echo, tls=certificates.server_context())
    peer = serve(socks5(credentials=(b"user", b"hunter2")))
    events: list[tuple[str, Any]] = []
    proxy = httpcore.Proxy(f"socks5://{peer.authority}", auth=("user", "hunter2"))
    context = ssl.create_default_context(cafile=str(certificates.ca))
    backend = flavour.backend() if by_backend else None
    async with flavour.pool(proxy=proxy, ssl_context=context, network_backend=backend) as pool:
        with caplog.at_level(logging.DEBUG, logger="httpcore"):
            await pool.request("GET", origin.url, extensions={"trace": recorder(flavour, events)})
    said = dict(events)
    setup = said["socks.setup_socks5_connection.started"]
    assert (setup["host"], setup["port"]) == ("127.0.0.1", origin.port)
    assert setup["auth"] == (b"user", b"[secure]")
    connected = said["socks.connect_tcp.complete"]["return_value"]
    if by_backend:
        assert setup["stream"] is connected
    else:
        # Each event shows the socket by an object of its own.
        assert setup["stream"].get_extra_info("client_addr") == connected.get_extra_info("client_addr")
    assert said["socks.start_tls.started"]["server_hostname"] == "127.0.0.1"
    assert {record.name for record in caplog.records} == {"httpcore.socks", "httpcore.http11"}
    assert "setup_socks5_connection.started" in caplog.text
    assert "hunter2" not in caplog.text
