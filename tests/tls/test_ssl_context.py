"""A user's `ssl.SSLContext`: a layer on the engine's socket, with all features of the engine's own TLS."""

from __future__ import annotations

import asyncio
import hashlib
import json
import ssl
import threading
import time
from typing import TYPE_CHECKING, Any

import httpcore
import pytest

import h2_peer
import httpcore_rs
from peers import always, echo, reply
from proxies import tunnels
from tracing import recorder

if TYPE_CHECKING:
    from certificates import Certificates
    from flavours import Flavour
    from h2_peer import ServeH2
    from libraries import Library
    from peers import Connection, Serve

# The tests choose the TLS engine themselves.
OVER = ("ssl",)
OK = always(reply(b"ok"))


# HTTP/2, and the protocols that ALPN offers.


async def test_http2_is_spoken_if_the_pool_allows_it(
    flavour: Flavour, serve_h2: ServeH2, context: ssl.SSLContext
) -> None:
    peer = serve_h2(h2_peer.echo, tls=True)
    async with flavour.pool(ssl_context=context, http2=True) as pool:
        for length in (0, 500_000):
            response = await pool.request("POST", peer.url, content=b"x" * length)
            assert response.extensions["http_version"] == b"HTTP/2"
            assert json.loads(response.content)["length"] == length
    assert len(peer.connections) == 1


async def test_httpx_speaks_http2_with_a_context(
    flavour: Flavour, serve_h2: ServeH2, context: ssl.SSLContext, library: Library
) -> None:
    peer = serve_h2(h2_peer.says(b"hello"), tls=True)
    transport = library.transport(flavour, verify=context, http2=True)
    async with library.client(flavour, transport) as client:
        response = await client.send("GET", peer.url)
    assert (response.http_version, response.text) == ("HTTP/2", "hello")


class Watched(ssl.SSLContext):
    """A context that records the ALPN lists that were set."""

    lists: list[list[str]]

    def set_alpn_protocols(self, alpn_protocols: Any) -> None:
        self.lists = [*getattr(self, "lists", []), list(alpn_protocols)]
        super().set_alpn_protocols(alpn_protocols)


async def test_the_alpn_list_of_a_context_is_set_only_for_http2(
    flavour: Flavour, serve: Serve, certificates: Certificates
) -> None:
    peer = serve(OK, tls=certificates.server_context(alpn=["http/1.1"]))
    watched = Watched(ssl.PROTOCOL_TLS_CLIENT)
    watched.load_verify_locations(str(certificates.ca))
    for arguments, expected in (
        ({}, []),
        ({"http2": True}, [["h2", "http/1.1"]]),
        # From now on the context would offer HTTP/2 for a pool that does not speak it.
        ({}, [["h2", "http/1.1"], ["http/1.1"]]),
    ):
        async with flavour.pool(ssl_context=watched, **arguments) as pool:
            assert (await pool.request("GET", peer.url)).extensions["http_version"] == b"HTTP/1.1"
        assert getattr(watched, "lists", []) == expected


async def test_a_pool_that_speaks_only_http2_offers_nothing_else(
    flavour: Flavour, serve_h2: ServeH2, certificates: Certificates
) -> None:
    peer = serve_h2(h2_peer.OK, tls=certificates.server_context(alpn=["http/1.1", "h2"]))
    watched = Watched(ssl.PROTOCOL_TLS_CLIENT)
    watched.load_verify_locations(str(certificates.ca))
    async with flavour.pool(ssl_context=watched, http1=False, http2=True) as pool:
        assert (await pool.request("GET", peer.url)).extensions["http_version"] == b"HTTP/2"
    assert watched.lists == [["h2"]]


class Stubborn(ssl.SSLContext):
    """A context whose ALPN list only its owner can set."""

    def set_alpn_protocols(self, alpn_protocols: Any) -> None:
        pass

    def offer(self, *protocols: str) -> Stubborn:
        super().set_alpn_protocols(protocols)
        return self


@pytest.mark.parametrize("chosen", ["http/1.1", "acme-tls/1"])
async def test_a_protocol_that_the_pool_does_not_speak(
    flavour: Flavour, serve: Serve, certificates: Certificates, chosen: str
) -> None:
    peer = serve(OK, tls=certificates.server_context(alpn=[chosen]))
    own = Stubborn(ssl.PROTOCOL_TLS_CLIENT).offer(chosen)
    own.load_verify_locations(str(certificates.ca))
    async with flavour.pool(ssl_context=own, http1=False, http2=True) as pool:
        with pytest.raises(httpcore.ConnectError, match=rf"has chosen the protocol {chosen} \(ALPN\).*speaks h2"):
            await pool.request("GET", peer.url)
        assert pool.connections == []
    assert peer.requests == []


async def test_http2_that_the_context_offers_by_itself(
    flavour: Flavour, serve_h2: ServeH2, context: ssl.SSLContext
) -> None:
    context.set_alpn_protocols(["h2"])
    peer = serve_h2(h2_peer.OK, tls=True)
    async with flavour.pool(ssl_context=context) as pool:
        assert (await pool.request("GET", peer.url)).extensions["http_version"] == b"HTTP/2"


# Loops, deadlines, and closing: the engine owns the socket.


@pytest.mark.parametrize("http2", [False, True])
def test_a_pool_serves_one_loop_after_the_other(
    serve: Serve, serve_h2: ServeH2, context: ssl.SSLContext, certificates: Certificates, http2: bool
) -> None:
    peer = serve_h2(h2_peer.OK, tls=True) if http2 else serve(OK, tls=certificates.server_context())
    pool = httpcore_rs.AsyncConnectionPool(ssl_context=context, http2=http2)

    async def get() -> bytes:
        return (await pool.request("GET", peer.url)).content

    for _ in range(4):
        assert asyncio.run(get()) == b"ok"
    assert len(peer.connections) == 1
    asyncio.run(pool.aclose())


async def test_the_connect_deadline_covers_the_handshake(
    flavour: Flavour, serve: Serve, context: ssl.SSLContext
) -> None:
    def trickle(connection: Connection) -> None:
        # A record of 16 KiB that arrives byte by byte: no single read takes long.
        connection.receive()
        connection.send(b"\x16\x03\x03\x40\x00")
        while not connection.peer.stopping:
            connection.send(b"\x02")
            time.sleep(0.02)

    peer = serve(trickle)
    async with flavour.pool(ssl_context=context) as pool:
        with pytest.raises(httpcore.ConnectTimeout, match=r"the TLS handshake to .* \(connect timeout\)"):
            await pool.request(
                "GET", f"https://{peer.authority}/", extensions={"timeout": {"connect": 1.5, "read": 30.0}}
            )
        assert pool.connections == []
        await flavour.until(lambda: peer.closed(1))


async def test_a_client_certificate_that_is_wrong_is_a_read_error(
    flavour: Flavour, serve: Serve, certificates: Certificates, context: ssl.SSLContext
) -> None:
    demanding = certificates.server_context()
    demanding.verify_mode = ssl.CERT_REQUIRED
    demanding.minimum_version = ssl.TLSVersion.TLSv1_3
    certificates.authority.configure_trust(demanding)
    peer = serve(OK, tls=demanding)
    async with flavour.pool(ssl_context=context) as pool:
        # With TLS 1.3 the client receives the alert only after its own handshake is complete.
        with pytest.raises(httpcore.ReadError, match=r"(?i)alert|reset by peer") as raised:
            await pool.request("GET", peer.url)
        assert raised.value.__cause__ is not None
        assert pool.connections == []


async def test_a_handshake_that_fails_says_why(flavour: Flavour, serve: Serve, certificates: Certificates) -> None:
    peer = serve(OK, tls=certificates.server_context())
    async with flavour.pool(ssl_context=ssl.create_default_context()) as pool:
        with pytest.raises(httpcore.ConnectError) as raised:
            await pool.request("GET", peer.url)
    assert str(raised.value).startswith("the TLS handshake with 127.0.0.1 failed: [SSL: CERTIFICATE_VERIFY_FAILED]")
    assert isinstance(raised.value.__cause__, ssl.SSLCertVerificationError)


@pytest.mark.parametrize("http2", [False, True])
async def test_closing_the_pool_ends_reads(
    flavour: Flavour, serve: Serve, serve_h2: ServeH2, certificates: Certificates, context: ssl.SSLContext, http2: bool
) -> None:
    def answer_in_part(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        connection.wait_closed()

    def begin(session: Any) -> None:
        stream = session.read_request()
        session.head(stream)
        session.data(stream, b"hello")
        session.stay()

    peer = serve_h2(begin, tls=True) if http2 else serve(answer_in_part, tls=certificates.server_context())
    async with flavour.pool(ssl_context=context, http2=http2) as pool, pool.stream("GET", peer.url) as response:
        chunks = response.__aiter__()
        assert await chunks.__anext__() == b"hello"
        reading = flavour.start(chunks.__anext__)
        await flavour.sleep(0.05)
        await pool.close()
        with pytest.raises(httpcore.ReadError):
            await reading.wait()
        await flavour.until(lambda: peer.closed(1))


# Bytes.


async def test_large_bodies_both_ways_at_once(
    flavour: Flavour, serve: Serve, certificates: Certificates, context: ssl.SSLContext
) -> None:
    block = bytes(range(256)) * 4096
    peer = serve(echo, tls=certificates.server_context())
    down = serve(always(reply(block * 8)), tls=certificates.server_context())
    async with flavour.pool(ssl_context=context) as pool:

        async def upload() -> None:
            described = json.loads((await pool.request("POST", peer.url, content=block * 8)).content)
            assert described["sha256"] == hashlib.sha256(block * 8).hexdigest()

        async def download() -> None:
            assert (await pool.request("GET", down.url)).content == block * 8

        await flavour.gather(upload, download, upload, download)


async def test_an_upgrade(flavour: Flavour, serve: Serve, certificates: Certificates, context: ssl.SSLContext) -> None:
    def script(connection: Connection) -> None:
        connection.read_head()
        connection.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nearly")
        while True:
            connection.send(connection.receive())

    peer = serve(script, tls=certificates.server_context())
    headers = {"Connection": "upgrade", "Upgrade": "echo"}
    async with flavour.pool(ssl_context=context) as pool, pool.stream("GET", peer.url, headers=headers) as response:
        assert response.status == 101
        stream = response.extensions["network_stream"]

        async def read() -> bytes:
            reading = stream.read(65536, timeout=5)
            return await reading if flavour.is_async else reading

        async def write() -> None:
            writing = stream.write(payload, timeout=5)
            if flavour.is_async:
                await writing

        assert await read() == b"early"
        payload = bytes(range(256)) * 2000
        writing, received = flavour.start(write), b""
        while len(received) < len(payload):
            received += await read()
        await writing.wait()
        assert received == payload


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
async def test_an_idle_connection_with_session_tickets_is_used_again(
    flavour: Flavour, serve: Serve, certificates: Certificates, context: ssl.SSLContext, version: str
) -> None:
    server = certificates.server_context()
    server.minimum_version = server.maximum_version = ssl.TLSVersion[version]
    if version == "TLSv1_3":
        server.num_tickets = 10
    peer = serve(OK, tls=server)
    async with flavour.pool(ssl_context=context) as pool:
        for _ in range(5):
            assert (await pool.request("GET", peer.url)).content == b"ok"
            await flavour.sleep(0.01)
    assert len(peer.connections) == 1


async def test_unexpected_bytes_end_an_idle_connection(
    flavour: Flavour, serve: Serve, certificates: Certificates, context: ssl.SSLContext
) -> None:
    more = threading.Event()

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(reply(b"ok"))
        if connection.number == 0:
            connection.wait(more)
            connection.send(reply(b"smuggled"))
            sent.set()
            connection.wait_closed()

    sent = threading.Event()
    peer = serve(script, tls=certificates.server_context())
    async with flavour.pool(ssl_context=context) as pool:
        assert (await pool.request("GET", peer.url)).content == b"ok"
        more.set()
        await flavour.until(sent.is_set)
        await flavour.sleep(0.02)
        assert (await pool.request("GET", peer.url)).content == b"ok"
    assert len(peer.connections) == 2


# Public state.


@pytest.mark.parametrize("http2", [False, True])
async def test_the_ssl_object_is_available(
    flavour: Flavour, serve: Serve, serve_h2: ServeH2, certificates: Certificates, context: ssl.SSLContext, http2: bool
) -> None:
    peer = serve_h2(h2_peer.OK, tls=True) if http2 else serve(OK, tls=certificates.server_context())
    events: list[tuple[str, Any]] = []
    async with flavour.pool(ssl_context=context, http2=http2) as pool:
        response = await pool.request("GET", peer.url, extensions={"trace": recorder(flavour, events)})
    (info,) = [info for name, info in events if name == "connection.start_tls.complete"]
    for stream in (info["return_value"], response.extensions["network_stream"]):
        secured = stream.get_extra_info("ssl_object")
        assert isinstance(secured, ssl.SSLObject)
        assert secured.version() == "TLSv1.3"
        assert secured.getpeercert()["subjectAltName"]
    assert info["return_value"].get_extra_info("server_addr")[1] == peer.port


async def test_an_https_proxy_and_its_origin_have_a_context_each(
    flavour: Flavour, serve: Serve, certificates: Certificates, context: ssl.SSLContext
) -> None:
    origin = serve(echo, tls=certificates.server_context())
    peer = serve(tunnels, tls=certificates.server_context())
    own = ssl.create_default_context(cafile=str(certificates.ca))
    proxy = httpcore.Proxy(peer.url.replace("127.0.0.1", "localhost"), ssl_context=own)
    async with flavour.pool(ssl_context=context, proxy=proxy) as pool:
        response = await pool.request("POST", origin.url, content=b"x" * 200_000)
        assert json.loads(response.content)["length"] == 200_000
        secured = response.extensions["network_stream"].get_extra_info("ssl_object")
        assert secured.server_hostname == "127.0.0.1"


# Names.


async def test_start_tls_without_a_name_where_names_are_checked(
    flavour: Flavour, serve: Serve, certificates: Certificates, engine: str
) -> None:
    def script(connection: Connection) -> None:
        connection.read_head()
        connection.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: tls\r\n\r\n")
        sent.append(connection.socket.recv(65536))

    sent: list[bytes] = []
    peer = serve(script)
    config: Any = httpcore_rs.TLSConfig(verify=str(certificates.ca))
    if engine == "ssl":
        config = ssl.create_default_context(cafile=str(certificates.ca))
    headers = {"Connection": "upgrade", "Upgrade": "tls"}
    async with flavour.pool() as pool, pool.stream("GET", peer.url, headers=headers) as response:
        stream = response.extensions["network_stream"]
        with pytest.raises(ValueError, match=r"^check_hostname requires server_hostname$"):
            await flavour.call(stream, "start_tls", config)
    await flavour.until(lambda: sent)
    assert sent == [b""]
