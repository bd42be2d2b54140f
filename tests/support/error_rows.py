"""The error messages that users meet: what each of them says, and a request that ends with it.

The text of a row is a line of `docs/troubleshooting.md`, whose `<parts>` differ from case to case.
"""

from __future__ import annotations

import re
import ssl
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

import httpcore

import httpcore_rs
from flavours import Pool
from h2_peer import MAX_CONCURRENT_STREAMS, H2Peer, http2_pool
from peers import Peer, always, answers, deafness, full_backlog, refused_port, reply, silence

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from pathlib import Path

    import h2_peer
    from certificates import Certificates
    from flavours import Flavour
    from peers import Connection, Script

# Is in the target, the headers and the credentials of every request, and in no message.
SECRET = "TOK3N"
HEADERS = [("Authorization", f"Bearer {SECRET}"), ("Cookie", f"session={SECRET}")]
OK = reply(b"ok")

# The parts of a text that have a form.
ORIGIN = r"(?:https?|wss?|socks5h?)://(?:\[[0-9a-f:.]+\]|[\w.-]+):\d+"
PARTS = {
    "origin": ORIGIN,
    "other origin": ORIGIN,
    "proxy": ORIGIN,
    "seconds": r"\d+\.\d+(?:e-\d+)?",
    "number": r"\d+",
    "time": r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC",
    "byte": r"(?:\\x[0-9a-f]{2}|\\.|.)",
}


class Row(NamedTuple):
    """A message, the exception that has it, and what provokes it."""

    text: str
    error: type[Exception]
    provoke: Callable[[Bench], Awaitable[object]]

    @property
    def pattern(self) -> str:
        """A regular expression for the whole message."""
        pieces = re.split(r"<([^<>]+)>", self.text)
        pattern = "".join(
            PARTS.get(piece, ".+") if number % 2 else re.escape(piece) for number, piece in enumerate(pieces)
        )
        # The errors of the system have another name on Windows.
        return pattern.replace(r"\[Errno", r"\[(?:Errno|WinError)")


ROWS: list[Row] = []


def row(text: str, error: type[Exception]) -> Callable[[Any], Any]:
    """Returns a decorator that makes a function the one that provokes a message."""

    def add(function: Any) -> Any:
        ROWS.append(Row(text, error, function))
        return function

    return add


class Bench:
    """Peers for a row, and ways to send a request."""

    def __init__(self, flavour: Flavour, certificates: Certificates, directory: Path) -> None:
        self.flavour = flavour
        self.certificates = certificates
        self.directory = directory
        self.peers: list[Peer] = []

    def serve(self, script: Script, **arguments: Any) -> Peer:
        self.peers.append(Peer(script, **arguments))
        return self.peers[-1]

    def serve_h2(self, script: h2_peer.Script, **arguments: Any) -> H2Peer:
        peer = H2Peer(script, **arguments)
        self.peers.append(peer)
        return peer

    def close(self) -> None:
        """Closes the peers, and raises the first exception of their scripts."""
        for peer in self.peers:
            peer.close()
        for peer in self.peers:
            for error in peer.errors:
                raise error

    async def get(
        self,
        url: Any,
        *,
        method: str = "GET",
        pool: dict[str, Any] | None = None,
        headers: Any = (),
        limits: dict[str, float] | None = None,
        **arguments: Any,
    ) -> object:
        """Sends a request with secrets in it, over a pool of its own."""
        extensions = {"timeout": limits or {}, **arguments.pop("extensions", {})}
        url = f"{url}?token={SECRET}" if isinstance(url, str) else url
        async with self.flavour.pool(**(pool or {})) as made:
            return await made.request(method, url, headers=[*HEADERS, *headers], extensions=extensions, **arguments)

    async def get_from(self, script: Script, *, tls: ssl.SSLContext | None = None, **arguments: Any) -> object:
        """Sends a request to a scripted peer."""
        return await self.get(self.serve(script, tls=tls).url, **arguments)

    async def get_answer(self, *parts: bytes, **arguments: Any) -> object:
        """Sends a request to a peer that sends these bytes and then ends the connection."""

        def script(connection: Connection) -> None:
            connection.read_request()
            for part in parts:
                connection.send(part)

        return await self.get_from(script, **arguments)

    async def get_h2(self, script: h2_peer.Script, *, pool: dict[str, Any] | None = None, **arguments: Any) -> object:
        """Sends a request to a scripted peer that speaks HTTP/2."""
        peer = self.serve_h2(script)
        async with http2_pool(self.flavour, **(pool or {})) as made:
            headers = [*HEADERS, *arguments.pop("headers", ())]
            return await made.request("GET", f"{peer.url}?token={SECRET}", headers=headers, **arguments)

    async def use(self, stream: Any, name: str, *arguments: Any, **named: Any) -> Any:
        """Calls `read` or `write` of a network stream, which have the same names in sync and async."""
        result = getattr(stream, name)(*arguments, **named)
        return await result if self.flavour.is_async else result


# Timeouts.


@row(
    "no connection to <origin> became free within <seconds> s (pool timeout): <what the connections do>",
    httpcore.PoolTimeout,
)
async def pool_timeout(bench: Bench) -> object:
    url = bench.serve(always(OK)).url
    async with bench.flavour.pool(max_connections=1) as pool, pool.stream("GET", url):
        return await pool.request("GET", url, extensions={"timeout": {"pool": 0.05}})


@row("the connection to <origin> took no more requests within <seconds> s (pool timeout)", httpcore.PoolTimeout)
async def pool_timeout_of_a_connection(bench: Bench) -> object:
    peer = bench.serve_h2(lambda session: session.stay(), settings={MAX_CONCURRENT_STREAMS: 1})
    made = getattr(httpcore_rs, bench.flavour.prefixed("HTTPConnection"))
    connection = Pool(bench.flavour, made(httpcore.URL(peer.url).origin, http1=False, http2=True))
    first = bench.flavour.start(lambda: connection.request("GET", peer.url))
    await bench.flavour.until(lambda: peer.streams and peer.sessions[0].acknowledged)
    try:
        return await connection.request("GET", peer.url, extensions={"timeout": {"pool": 0.05}})
    finally:
        await connection.close()
        await first.finished()


@row("connecting to <origin> took longer than <seconds> s (connect timeout)", httpcore.ConnectTimeout)
async def connect_timeout(bench: Bench) -> object:
    with full_backlog() as (host, port):
        return await bench.get(f"http://{host}:{port}/", limits={"connect": 0.1})


@row("the TLS handshake to <origin> took longer than <seconds> s (connect timeout)", httpcore.ConnectTimeout)
async def handshake_timeout(bench: Bench) -> object:
    return await bench.get(f"https://{bench.serve(silence).authority}/", limits={"connect": 0.1})


@row("the handshake with the proxy <proxy> took longer than <seconds> s (connect timeout)", httpcore.ConnectTimeout)
async def proxy_timeout(bench: Bench) -> object:
    return await bench.get("https://origin.test/", limits={"connect": 0.1}, pool=through(bench.serve(silence)))


@row("no response from <origin> within <seconds> s (read timeout)", httpcore.ReadTimeout)
async def response_timeout(bench: Bench) -> object:
    return await bench.get_from(silence, limits={"read": 0.05})


@row("no more of the response body from <origin> within <seconds> s (read timeout)", httpcore.ReadTimeout)
async def body_timeout(bench: Bench) -> object:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(reply(b"cut short")[:-1])
        connection.wait_closed()

    # The head arrives within it, on a busy machine as well.
    return await bench.get_from(script, limits={"read": 1.0})


@row("<origin> took no data for <seconds> s (write timeout)", httpcore.WriteTimeout)
async def write_timeout(bench: Bench) -> object:
    return await bench.get_from(deafness, method="POST", content=bytes(20_000_000), limits={"write": 0.1})


# Connecting.


@row("connecting to <origin> failed: [Errno <number>] <reason of the system>", httpcore.ConnectError)
async def refused(bench: Bench) -> object:
    with refused_port() as port:
        return await bench.get(f"http://127.0.0.1:{port}/")


@row("resolving <host> failed: <reason of the resolver>", httpcore.ConnectError)
async def unknown_name(bench: Bench) -> object:
    return await bench.get("http://name.invalid/")


@row("connecting to <origin> failed: <number> is not a port (0-65535)", httpcore.ConnectError)
async def no_port(bench: Bench) -> object:
    return await bench.get(httpcore.URL(scheme=b"http", host=b"127.0.0.1", port=65536, target=b"/"))


@row("connecting to b'<host>' failed: the host must be ASCII (IDNA)", httpcore.ConnectError)
async def no_ascii(bench: Bench) -> object:
    return await bench.get(httpcore.URL(scheme=b"http", host="bücher.test".encode(), port=80, target=b"/"))


@row("connecting to <origin> failed: the host has no address of the local address's family", httpcore.ConnectError)
async def other_family(bench: Bench) -> object:
    return await bench.get("http://127.0.0.1:1/", pool={"local_address": "::1"})


@row("connecting to <path> failed: [Errno <number>] <reason of the system>", httpcore.ConnectError)
async def no_socket(bench: Bench) -> object:
    return await bench.get("http://uds.test/", pool={"uds": str(bench.directory / "none.sock")})


@row("connecting to the proxy <proxy> failed: [Errno <number>] <reason of the system>", httpcore.ConnectError)
async def refused_by_a_proxy(bench: Bench) -> object:
    with refused_port() as port:
        return await bench.get("https://origin.test/", pool={"proxy": httpcore.Proxy(f"http://127.0.0.1:{port}")})


@row("the connection pool was closed while connecting to <origin>", httpcore.ConnectError)
async def closed_while_connecting(bench: Bench) -> object:
    url = f"https://{bench.serve(silence).authority}/"
    async with bench.flavour.pool() as pool:
        connecting = bench.flavour.start(lambda: pool.request("GET", url))
        await bench.flavour.until(lambda: bench.peers[0].connections)
        await pool.close()
        await connecting.finished()
    raise connecting.error or AssertionError("the request has succeeded")


# Proxies.


def through(proxy: Peer, scheme: str = "http", auth: tuple[str, str] | None = None) -> dict[str, Any]:
    """Returns the arguments of a pool whose requests go through a peer."""
    return {"proxy": httpcore.Proxy(f"{scheme}://{proxy.authority}", auth=auth)}


async def tunnel(bench: Bench, answer: bytes, **arguments: Any) -> object:
    """Asks a proxy with this answer for a tunnel."""

    def script(connection: Connection) -> None:
        connection.read_head()
        connection.send(answer)

    return await bench.get("https://origin.test/", pool=through(bench.serve(script), **arguments))


@row("<status> <reason of the proxy>", httpcore.ProxyError)
async def refused_tunnel(bench: Bench) -> object:
    return await tunnel(bench, b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")


WANTS = (
    b'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="a"\r\nContent-Length: 0\r\n\r\n'
)


@row(
    "407 <reason of the proxy>: the proxy <proxy> wants credentials (Proxy-Authenticate: <challenges>); pass a user "
    "name and a password, in the URL of the proxy or as Proxy(auth=...)",
    httpcore.ProxyError,
)
async def wanted_credentials(bench: Bench) -> object:
    return await tunnel(bench, WANTS)


@row(
    "407 <reason of the proxy>: the proxy <proxy> refuses the credentials that it was sent (Proxy-Authenticate: "
    "<challenges>); check user name and password",
    httpcore.ProxyError,
)
async def refused_credentials(bench: Bench) -> object:
    return await tunnel(bench, WANTS, auth=("name", SECRET))


@row("the proxy <proxy> sent data in a tunnel before it was used", httpcore.ProxyError)
async def early_data(bench: Bench) -> object:
    return await tunnel(bench, b"HTTP/1.1 200 OK\r\n\r\nearly")


async def socks(
    bench: Bench, *answered: bytes, auth: tuple[str, str] | None = None, host: str = "origin.test"
) -> object:
    """Asks a SOCKS proxy for a connection; it answers each message with one of these."""

    def script(connection: Connection) -> None:
        for answer in answered:
            connection.receive()
            connection.send(answer)

    return await bench.get(f"http://{host}/", pool=through(bench.serve(script), "socks5", auth))


@row("Requested <method> from proxy server, but got <method of the proxy>.", httpcore.ProxyError)
async def other_method(bench: Bench) -> object:
    return await socks(bench, b"\x05\x02")


@row("Invalid username/password", httpcore.ProxyError)
async def refused_password(bench: Bench) -> object:
    return await socks(bench, b"\x05\x02", b"\x01\x01", auth=("name", SECRET))


@row("Proxy Server could not connect: <reason of the proxy>.", httpcore.ProxyError)
async def unreachable_origin(bench: Bench) -> object:
    return await socks(bench, b"\x05\x00", b"\x05\x04\x00\x01\x00\x00\x00\x00\x00\x00")


@row("the proxy <proxy> does not speak SOCKS5: <what it sent>", httpcore.ProxyError)
async def no_socks(bench: Bench) -> object:
    return await socks(bench, b"HTTP/1.1 400 Bad Request\r\n\r\n")


@row("the proxy <proxy> closed the connection in the middle of the handshake", httpcore.ProxyError)
async def closing_proxy(bench: Bench) -> object:
    return await socks(bench, b"\x05")


@row('a SOCKS proxy takes host names of 1 to 255 bytes, not "<host>"', httpcore.ProxyError)
async def long_host(bench: Bench) -> object:
    return await socks(bench, b"\x05\x00", host="a" * 300)


@row("the <part> for the proxy <proxy> has <number> bytes; SOCKS takes 1 to 255", httpcore.LocalProtocolError)
async def long_password(bench: Bench) -> object:
    return await socks(bench, auth=("name", SECRET * 100))


@row(
    "Proxy protocol must be either 'http', 'https', 'socks5', or 'socks5h', but got '<scheme>'.",
    httpcore.UnsupportedProtocol,
)
async def other_proxy(bench: Bench) -> object:
    return await bench.get("http://origin.test/", pool={"proxy": httpcore.Proxy("ftp://127.0.0.1:1")})


@row("<header> cannot be a header for the proxy <proxy>", httpcore.LocalProtocolError)
async def framing_for_a_proxy(bench: Bench) -> object:
    proxy = httpcore.Proxy("http://127.0.0.1:1", headers=[("Content-Length", "1")])
    return await bench.get("http://origin.test/", pool={"proxy": proxy})


# Requests that cannot be sent.


@row("Request URL is missing an 'http://' or 'https://' protocol.", httpcore.UnsupportedProtocol)
async def no_scheme(bench: Bench) -> object:
    return await bench.get("//origin.test/")


@row("Request URL has an unsupported protocol '<scheme>://'.", httpcore.UnsupportedProtocol)
async def other_scheme(bench: Bench) -> object:
    return await bench.get("ftp://origin.test/")


def unsendable(text: str, url: Any = "http://127.0.0.1:1/", **arguments: Any) -> None:
    """Adds a row for a request that is refused before it is sent."""

    async def provoke(bench: Bench) -> object:
        if "handle" in arguments:
            async with bench.flavour.pool() as pool:
                return await pool.handle(httpcore.Request("GET", url, headers=arguments["handle"]))
        return await bench.get(url, **arguments)

    ROWS.append(Row(text, httpcore.LocalProtocolError, provoke))


def url_with(host: bytes = b"127.0.0.1", target: bytes = b"/") -> httpcore.URL:
    return httpcore.URL(scheme=b"http", host=host, port=1, target=target)


unsendable("Illegal header name b'<name>'", headers=[("X Y", SECRET)])
unsendable("Illegal header value of <name>: byte b'<byte>' at index <number>", headers=[("X", f"{SECRET}\n")])
unsendable("Illegal target: byte b'<byte>' at index <number>", url_with(target=b"/ " + SECRET.encode()))
unsendable("Illegal target: it is empty", extensions={"target": b""})
unsendable("Illegal method: byte b'<byte>' at index <number>", method="GE T")
unsendable("Illegal host: byte b'<byte>' at index <number>", url_with(b"127.0.0.1\0" + SECRET.encode()))
unsendable("Illegal host: with a colon in it, it can only be an address of IPv6", url_with(b"user:" + SECRET.encode()))
unsendable(
    "Illegal sni_hostname: byte b'<byte>' at index <number>", "https://127.0.0.1:1/", extensions={"sni_hostname": "a b"}
)
unsendable("Missing mandatory Host: header", handle=[])
unsendable("Found multiple Host: headers", handle=[("Host", "a"), ("Host", "b")])
unsendable(
    "Request has both Content-Length and Transfer-Encoding headers",
    headers=[("Content-Length", "1"), ("Transfer-Encoding", "chunked")],
)
unsendable("bad Content-Length: it must be a decimal number", headers=[("Content-Length", SECRET)])
unsendable("conflicting Content-Length headers", headers=[("Content-Length", "1"), ("Content-Length", "2")])
unsendable("Only Transfer-Encoding: chunked is supported", headers=[("Transfer-Encoding", "gzip")])


@row("Illegal trailer name b'<name>': it comes too late", httpcore.LocalProtocolError)
async def late_trailer(bench: Bench) -> object:
    extensions = {"trailing_headers": [("Host", SECRET)]}
    return await bench.get_from(answers(OK), method="POST", content=bench.flavour.parts(b"a"), extensions=extensions)


@row("Too much data for declared Content-Length", httpcore.LocalProtocolError)
async def long_body(bench: Bench) -> object:
    return await bench.get_from(silence, method="POST", content=b"longer", headers=[("Content-Length", "1")])


@row("Too little data for declared Content-Length", httpcore.LocalProtocolError)
async def short_body(bench: Bench) -> object:
    return await bench.get_from(silence, method="POST", content=b"short", headers=[("Content-Length", "100")])


@row(
    "the trailer <name> cannot be sent: the body must be chunked, and the trailer known when the body begins, or "
    "named by a Trailer header",
    httpcore.LocalProtocolError,
)
async def unsendable_trailer(bench: Bench) -> object:
    extensions = {"trailing_headers": [("X-Sum", SECRET)]}
    return await bench.get_from(answers(OK), method="POST", content=b"a", extensions=extensions)


@row("the connection to <origin> takes no request now: it is in use, or closed", httpcore.ConnectionNotAvailable)
async def busy_connection(bench: Bench) -> object:
    peer = bench.serve(always(reply(b"ok")))
    made = getattr(httpcore_rs, bench.flavour.prefixed("HTTPConnection"))(httpcore.URL(peer.url).origin)
    connection = Pool(bench.flavour, made)
    try:
        async with connection.stream("GET", peer.url):
            return await connection.request("GET", peer.url)
    finally:
        await connection.close()


@row("Attempted to send request to <origin> on connection to <other origin>", RuntimeError)
async def other_origin(bench: Bench) -> object:
    made = getattr(httpcore_rs, bench.flavour.prefixed("HTTPConnection"))(httpcore.URL("http://a.test/").origin)
    return await Pool(bench.flavour, made).request("GET", "http://b.test/")
