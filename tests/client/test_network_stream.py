"""The stream of a response: usable after an upgrade, and a source of information in any other response."""

from __future__ import annotations

import contextlib
import gc
import socket
import ssl
from typing import TYPE_CHECKING, Any

import httpcore
import pytest

import httpcore_rs
from leaks import descriptors
from peers import Connection, always, reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from certificates import Certificates
    from flavours import Flavour
    from peers import Peer

    Serve = Callable[..., Peer]

UPGRADE = {"Connection": "upgrade", "Upgrade": "echo"}
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"


async def use(flavour: Flavour, stream: Any, name: str, *args: Any, **kwargs: Any) -> Any:
    """Calls `read` or `write`, which have the same names in sync and async."""
    result = getattr(stream, name)(*args, **kwargs)
    return await result if flavour.is_async else result


def echo_after(head: bytes) -> Callable[[Connection], None]:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(head)
        while True:
            connection.send(connection.receive().upper())

    return script


async def test_the_stream_belongs_to_the_caller_after_an_upgrade(flavour: Flavour, serve: Serve) -> None:
    peer = serve(echo_after(SWITCHED))
    async with flavour.pool() as pool:
        async with pool.stream("GET", peer.url, headers=UPGRADE) as response:
            assert response.status == 101
            stream = response.raw.extensions["network_stream"]
            for message in (b"hello", b"x" * 100_000):
                await use(flavour, stream, "write", message, timeout=5.0)
                received = b""
                while len(received) < len(message):
                    received += await use(flavour, stream, "read", max_bytes=65536, timeout=5.0)
                assert received == message.upper()
        # The connection cannot return to HTTP.
        assert pool.connections == []


async def test_bytes_that_followed_the_head_are_read_first(flavour: Flavour, serve: Serve) -> None:
    peer = serve(echo_after(SWITCHED + b"foobar"))
    async with flavour.pool() as pool, pool.stream("GET", peer.url, headers=UPGRADE) as response:
        stream = response.raw.extensions["network_stream"]
        assert await use(flavour, stream, "read", 3) == b"foo"
        assert await use(flavour, stream, "read", 3) == b"bar"
        await use(flavour, stream, "write", b"baz")
        assert await use(flavour, stream, "read", 3) == b"BAZ"


async def test_connect_opens_a_tunnel(flavour: Flavour, serve: Serve) -> None:
    peer = serve(echo_after(b"HTTP/1.1 200 Connection established\r\n\r\n"))
    url = httpcore.URL(scheme="http", host="127.0.0.1", port=peer.port, target="example.com:443")
    async with flavour.pool() as pool, pool.stream("CONNECT", url, headers={"Host": "example.com:443"}) as response:
        stream = response.raw.extensions["network_stream"]
        await use(flavour, stream, "write", b"hello")
        assert await use(flavour, stream, "read", 1024) == b"HELLO"
    assert peer.requests[0].target == b"example.com:443"


async def test_a_refused_connect_is_a_response_like_any_other(flavour: Flavour, serve: Serve) -> None:
    peer = serve(always(reply(b"no", status=b"403 Forbidden")))
    async with flavour.pool() as pool:
        response = await pool.request("CONNECT", peer.url, headers={"Host": "example.com:443"})
        assert (response.status, response.content) == (403, b"no")


async def test_timeouts(flavour: Flavour, serve: Serve) -> None:
    peer = serve(echo_after(SWITCHED))
    async with flavour.pool() as pool, pool.stream("GET", peer.url, headers=UPGRADE) as response:
        stream = response.raw.extensions["network_stream"]
        with pytest.raises(httpcore.ReadTimeout, match=r"127\.0\.0\.1.*0\.1 s"):
            await use(flavour, stream, "read", 10, timeout=0.1)
        await use(flavour, stream, "write", b"still open")
        assert await use(flavour, stream, "read", 100) == b"STILL OPEN"


async def test_the_end_of_the_stream(flavour: Flavour, serve: Serve) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(SWITCHED)

    peer = serve(script)
    async with flavour.pool() as pool, pool.stream("GET", peer.url, headers=UPGRADE) as response:
        stream = response.raw.extensions["network_stream"]
        assert await use(flavour, stream, "read", 10) == b""


async def test_closing_the_response_ends_a_read(flavour: Flavour, serve: Serve) -> None:
    peer = serve(echo_after(SWITCHED))
    async with flavour.pool() as pool:
        async with pool.stream("GET", peer.url, headers=UPGRADE) as response:
            stream = response.raw.extensions["network_stream"]
            reading = flavour.start(lambda: use(flavour, stream, "read", 10))
            await flavour.sleep(0.1)
        await reading.finished()
        # Closed during the read: the end of the stream, or an error that says why.
        assert reading.value == b"" or isinstance(reading.error, httpcore.ReadError)
        with pytest.raises(httpcore.WriteError, match="closed"):
            await use(flavour, stream, "write", b"late")


async def test_it_cannot_be_read_without_an_upgrade(flavour: Flavour, serve: Serve) -> None:
    peer = serve(always(reply(b"hello")))
    async with flavour.pool() as pool:
        async with pool.stream("GET", peer.url) as response:
            stream = response.raw.extensions["network_stream"]
            with pytest.raises(httpcore.ReadError):
                await use(flavour, stream, "read", 10)
            assert await response.read() == b"hello"
        assert (await pool.request("GET", peer.url)).content == b"hello"
        with pytest.raises(httpcore.WriteError):
            await use(flavour, stream, "write", b"GET / HTTP/1.1\r\n\r\n")
    assert len(peer.requests) == 2


async def test_information_about_the_connection(flavour: Flavour, serve: Serve) -> None:
    peer = serve(always(reply(b"hello")))
    async with flavour.pool() as pool:
        response = await pool.request("GET", peer.url)
        stream: Any = response.raw.extensions["network_stream"]
        assert stream.get_extra_info("server_addr") == ("127.0.0.1", peer.port)
        assert stream.get_extra_info("client_addr") == peer.connections[0].address
        assert stream.get_extra_info("is_readable") is False
        assert stream.get_extra_info("nonsense") is None
        duplicate = stream.get_extra_info("socket")
        assert duplicate.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
        assert duplicate.getpeername() == ("127.0.0.1", peer.port)
    assert stream.get_extra_info("server_addr") is None


async def test_a_response_that_is_kept_keeps_no_descriptor(flavour: Flavour, serve: Serve) -> None:
    peer = serve(always(reply(b"hello")))
    async with flavour.pool() as pool:
        await pool.request("GET", peer.url)
        before = descriptors()
        kept = []
        for _ in range(10):
            async with pool.stream("GET", peer.url) as response:
                kept.append(response.raw)
                response.raw.extensions["network_stream"].get_extra_info("socket")
        gc.collect()
        # The last response was not read, so its connection was closed; the responses that are kept hold no descriptor.
        assert len(kept) == 10
        # The peer closes its side in a thread.
        await flavour.until(lambda: descriptors() <= before)


TUNNEL = b"HTTP/1.1 200 Connection established\r\n\r\n"
TARGET = {"Host": "localhost:443"}


def tunnel_to(peer: Peer) -> httpcore.URL:
    return httpcore.URL(scheme="http", host="127.0.0.1", port=peer.port, target="localhost:443")


def tls_echo_after(head: bytes, context: ssl.SSLContext) -> Callable[[Connection], None]:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(head)
        with contextlib.suppress(OSError), context.wrap_socket(connection.socket, server_side=True) as secured:
            while data := secured.recv(65536):
                secured.sendall(data.upper())

    return script


async def test_tls_can_begin_in_a_tunnel(flavour: Flavour, serve: Serve, certificates: Certificates) -> None:
    peer = serve(tls_echo_after(TUNNEL, certificates.server_context()))
    async with flavour.pool() as pool, pool.stream("CONNECT", tunnel_to(peer), headers=TARGET) as response:
        stream = response.raw.extensions["network_stream"]
        context = ssl.create_default_context(cafile=certificates.ca)
        secured = await use(flavour, stream, "start_tls", context, "localhost", timeout=5.0)
        assert secured.get_extra_info("ssl_object").version() == "TLSv1.3"
        assert secured.get_extra_info("server_addr") == ("127.0.0.1", peer.port)
        message = b"x" * 300_000
        await use(flavour, secured, "write", message[:1000], timeout=5.0)
        received = await use(flavour, secured, "read", 65536, timeout=5.0)
        assert received == b"X" * len(received)
        for start in range(1000, len(message), 10_000):
            await use(flavour, secured, "write", message[start : start + 10_000], timeout=5.0)
            received += await use(flavour, secured, "read", 65536, timeout=5.0)
        while len(received) < len(message):
            received += await use(flavour, secured, "read", 65536, timeout=5.0)
        assert received == message.upper()
        with pytest.raises(httpcore.ReadTimeout):
            await use(flavour, secured, "read", 1, timeout=0.05)
        await use(flavour, secured, "aclose" if flavour.is_async else "close")


async def test_tls_in_a_tunnel_verifies_the_server(flavour: Flavour, serve: Serve, certificates: Certificates) -> None:
    peer = serve(tls_echo_after(TUNNEL, certificates.server_context()))
    for context, name in (
        (ssl.create_default_context(), "localhost"),
        (httpcore_rs.TLSConfig(verify=str(certificates.ca)), "another.test"),
    ):
        async with flavour.pool() as pool, pool.stream("CONNECT", tunnel_to(peer), headers=TARGET) as response:
            stream = response.raw.extensions["network_stream"]
            with pytest.raises(httpcore.ConnectError, match="certificate verify failed"):
                await use(flavour, stream, "start_tls", context, name, timeout=5.0)


async def test_a_tls_handshake_in_a_tunnel_that_stalls(
    flavour: Flavour, serve: Serve, certificates: Certificates
) -> None:
    def silent(connection: Connection) -> None:
        connection.read_request()
        connection.send(TUNNEL)
        connection.wait_closed()

    peer = serve(silent)
    async with flavour.pool() as pool, pool.stream("CONNECT", tunnel_to(peer), headers=TARGET) as response:
        stream = response.raw.extensions["network_stream"]
        context = ssl.create_default_context(cafile=certificates.ca)
        with pytest.raises(httpcore.ConnectTimeout):
            await use(flavour, stream, "start_tls", context, "localhost", timeout=0.05)
