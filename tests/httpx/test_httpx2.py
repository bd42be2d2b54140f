"""httpx2 and httpcore2, the maintained fork: the same pools, with the fork's models, exceptions, loggers and trust."""

from __future__ import annotations

import json
import logging
import ssl
from typing import TYPE_CHECKING, Any

import pytest

import httpcore_rs
from certificates import hashed_name, issue, server_context
from libraries import Library
from peers import always, answers, echo, refused_port, reply
from programs import HIDE

pytest.importorskip("httpx2", reason="httpx2 is not installed; it exists for CPython 3.10 and newer")

import httpcore2
import httpx2

import httpcore_rs.httpcore2
import httpcore_rs.httpx2

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from certificates import Certificates
    from flavours import Flavour
    from peers import Serve
    from programs import Program
    from servers import AsgiServer

OK = always(reply(b"ok"))
LIBRARY = Library("httpx2")


def pool_class(flavour: Flavour) -> Any:
    return getattr(httpcore_rs.httpcore2, flavour.prefixed("ConnectionPool"))


# httpx2.


@pytest.mark.parametrize("own", ["httpcore", "httpcore2"])
async def test_pools_in_httpx2s_transport(flavour: Flavour, serve: Serve, own: str) -> None:
    peer = serve(answers(reply(b"ok"), b""))
    transport: Any = httpx2.AsyncHTTPTransport() if flavour.is_async else httpx2.HTTPTransport()
    transport._pool = flavour.pool().raw if own == "httpcore" else pool_class(flavour)()
    async with LIBRARY.client(flavour, transport) as client:
        assert (await client.send("GET", peer.url)).text == "ok"
        with pytest.raises(httpx2.RemoteProtocolError):
            await client.send("POST", peer.url)


def test_a_transport_does_not_look_at_the_file_system(program: Callable[..., Program]) -> None:
    # Guards of event loops, such as blockbuster, replace these functions.
    source = """
    import httpx2
    import httpcore_rs.httpx2

    def refuse(*args, **kwargs):
        raise RuntimeError("this blocks")

    os.stat = os.listdir = os.scandir = refuse
    for make in (httpcore_rs.httpx2.SyncTransport, httpcore_rs.httpx2.AsyncTransport):
        make(trust_env=False)
    """
    program(source, "").output()


async def test_http2(flavour: Flavour, asgi: AsgiServer, certificates: Certificates) -> None:
    using = LIBRARY.transport(flavour, http2=True, verify=str(certificates.ca))
    async with LIBRARY.client(flavour, using) as client:
        response = await client.send("GET", asgi.https + "/bytes/1")
    assert (response.status_code, response.http_version) == (200, "HTTP/2")


@pytest.mark.skipif(not hasattr(httpx2.Client, "sse"), reason="httpx2 has server-sent events from 2.5 on")
async def test_server_sent_events(flavour: Flavour, serve: Serve) -> None:
    events = b"data: first\n\nevent: named\ndata: second\n\n"
    peer = serve(always(reply(events, headers=[(b"Content-Type", b"text/event-stream")])))
    async with LIBRARY.client(flavour) as client:
        if flavour.is_async:
            async with client.raw.sse(peer.url) as source:
                seen = [(event.event, event.data) async for event in source]
        else:
            with client.raw.sse(peer.url) as source:
                seen = [(event.event, event.data) for event in source]
    assert seen == [("message", "first"), ("named", "second")]


@pytest.mark.skipif(not hasattr(httpx2.Client, "websocket"), reason="httpx2 has WebSockets from 2.6 on")
async def test_websockets(flavour: Flavour, asgi: AsgiServer) -> None:
    # A thread reads in the background while another one writes, and closing ends the read.
    url = asgi.http.replace("http://", "ws://") + "/websocket"
    async with LIBRARY.client(flavour) as client:
        if flavour.is_async:
            async with client.raw.websocket(url) as session:
                for number in range(20):
                    await session.send_text(f"text {number}")
                    assert await session.receive_text() == f"text {number}"
                await session.send_bytes(bytes(60_000))
                assert await session.receive_bytes() == bytes(60_000)
        else:
            with client.raw.websocket(url) as session:
                for number in range(20):
                    session.send_text(f"text {number}")
                    assert session.receive_text() == f"text {number}"
                session.send_bytes(bytes(60_000))
                assert session.receive_bytes() == bytes(60_000)
        assert (await client.send("GET", asgi.http + "/bytes/1")).status_code == 200


# httpx2 trusts the authorities of the operating system.


# The paths of the system are those of Python's OpenSSL, and are looked up once in a process.
SYSTEM = """
import ssl
from httpcore_rs import _ssl_context

file, folder = (sys.argv[2], sys.argv[3])
built = ssl.get_default_verify_paths()._replace(openssl_cafile=file, openssl_capath=folder)
ssl.get_default_verify_paths = lambda: built
_ssl_context.BUNDLES = sys.argv[4:]

def outcome(ask):
    try:
        return ask()
    except Exception as exc:
        assert "CERTIFICATE_VERIFY_FAILED" in str(exc) or "authorities" in str(exc), exc
        return type(exc).__name__

import httpcore2, httpx2
import httpcore_rs.httpcore2, httpcore_rs.httpx2

def by_transport():
    with httpx2.Client(transport=httpcore_rs.httpx2.SyncTransport()) as client:
        return client.get(url).text

def by_pool(**arguments):
    with httpcore_rs.httpcore2.ConnectionPool(**arguments) as pool:
        return pool.request("GET", url).content.decode()

config = httpcore_rs.TLSConfig(system_store=True)
print(json.dumps([
    outcome(by_transport),
    outcome(by_pool),
    # By Python's ssl.
    outcome(lambda: by_pool(network_backend=httpcore2.SyncBackend(), ssl_context=config)),
]))
"""


@pytest.mark.parametrize(
    ("layout", "trusted"),
    [
        ("file", True),
        ("hashed", True),
        ("wrong", False),
        ("names", False),
        ("both", True),
        ("bundle", True),
        ("nothing", False),
    ],
)
def test_the_system_names_authorities(
    serve: Serve,
    program: Callable[..., Program],
    certificates: Certificates,
    tmp_path: Path,
    layout: str,
    trusted: bool,
) -> None:
    missing, folder = str(tmp_path / "missing"), tmp_path / "folder"
    folder.mkdir()
    authority = certificates.ca.read_bytes()
    hashed = hashed_name(authority)
    name = {"hashed": hashed, "names": "authority.pem", "both": hashed, "wrong": "0123abcd.0"}.get(layout)
    if name is not None:
        (folder / name).write_bytes(authority)
    file = str(certificates.ca) if layout in ("file", "both") else missing
    bundles = [missing, str(certificates.ca)] if layout == "bundle" else [missing]
    peer = serve(OK, tls=certificates.server_context())
    by_transport, by_pool, by_python = json.loads(program(SYSTEM, peer.url, file, str(folder), *bundles).output())
    expected = "ok" if trusted else "ConnectError"
    assert (by_transport, by_pool, by_python) == (expected, expected, expected)


@pytest.mark.parametrize("shown", ["itself", "one that its key has signed"])
def test_the_system_names_a_certificate_that_is_no_authority(
    serve: Serve, program: Callable[..., Program], tmp_path: Path, shown: str
) -> None:
    """Debian's `ssl-cert-snakeoil.pem` is an example, under its hash in `/etc/ssl/certs`."""
    folder = tmp_path / "folder"
    folder.mkdir()
    pin = issue("snakeoil", names=["localhost"])
    (folder / hashed_name(pin.certificate)).write_bytes(pin.pem)
    chain = [pin] if shown == "itself" else [issue("forged", pin, names=["localhost"]), pin]
    peer = serve(OK, tls=server_context(chain, tmp_path / "server.pem"))
    missing = str(tmp_path / "missing")
    output = program(SYSTEM, f"https://localhost:{peer.port}/", missing, str(folder), missing).output()
    assert json.loads(output) == ["ok" if shown == "itself" else "ConnectError"] * 3


def test_the_system_store_is_a_property_of_the_config() -> None:
    assert httpcore_rs.TLSConfig(system_store=True).system_store
    assert not httpcore_rs.TLSConfig().system_store
    with pytest.raises(TypeError):
        httpcore_rs.TLSConfig(True, None, True, True)  # type: ignore[misc]


# httpcore2.


OWN = ["ConnectionPool", "HTTPConnection", "HTTP11Connection", "HTTP2Connection", "HTTPProxy", "SOCKSProxy"]


@pytest.mark.parametrize("name", sorted(httpcore2.__all__))
def test_every_name_of_httpcore2_is_there(name: str) -> None:
    tested, reference = getattr(httpcore_rs.httpcore2, name), getattr(httpcore2, name)
    is_own = name in ("request", "stream") or name.removeprefix("Async") in OWN
    assert (tested is not reference) == is_own
    assert name in httpcore_rs.httpcore2.__all__


async def test_pools_of_httpcore2(flavour: Flavour, serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    peer = serve(OK)
    pool = pool_class(flavour)()
    response = await flavour.call(pool, "request", "GET", peer.url)
    assert type(response) is httpcore2.Response
    assert response.content == b"ok"
    request = httpcore2.Request("GET", peer.url, headers={"Host": peer.authority})
    response = await flavour.call(pool, "handle_request", request)
    assert type(response) is httpcore2.Response
    await flavour.call(response, "read")
    await flavour.call(response, "close")
    assert type(pool._network_backend).__module__.startswith("httpcore2")
    await flavour.call(pool, "close")
    assert {record.name.partition(".")[0] for record in caplog.records if "httpcore" in record.name} == {"httpcore2"}
    assert "close.complete" in [record.message.split(" ")[0] for record in caplog.records]


async def test_exceptions_of_httpcore2s_pools(flavour: Flavour) -> None:
    pool = pool_class(flavour)()
    with refused_port() as port:
        with pytest.raises(httpcore2.ConnectError):
            await flavour.call(pool, "request", "GET", f"http://127.0.0.1:{port}/")
    with pytest.raises(httpcore2.UnsupportedProtocol):
        await flavour.call(pool, "request", "GET", "ftp://127.0.0.1/")
    with pytest.raises(httpcore2.UnsupportedProtocol):
        pool_class(flavour)(proxy=httpcore2.Proxy("ftp://127.0.0.1/"))
    with pytest.raises(httpcore2.LocalProtocolError):
        getattr(httpcore_rs.httpcore2, flavour.prefixed("HTTPProxy"))("http://p.test", proxy_headers={"a b": "c"})


async def test_proxies_of_httpcore2(flavour: Flavour, serve: Serve) -> None:
    proxy = serve(echo)
    pool = getattr(httpcore_rs.httpcore2, flavour.prefixed("HTTPProxy"))(f"http://{proxy.authority}")
    assert isinstance(pool, pool_class(flavour))
    response = await flavour.call(pool, "request", "GET", "http://elsewhere.test/path")
    assert type(response) is httpcore2.Response
    assert proxy.requests[0].target == b"http://elsewhere.test/path"
    await flavour.call(pool, "close")


async def test_single_connections_for_httpcore2(flavour: Flavour, serve: Serve) -> None:
    peer = serve(answers(reply(b"ok"), b""))
    origin = httpcore2.URL(peer.url).origin
    connection = getattr(httpcore_rs.httpcore2, flavour.prefixed("HTTPConnection"))(origin)
    request = httpcore2.Request("POST", peer.url, headers={"Host": peer.authority})
    response = await flavour.call(connection, "handle_request", request)
    assert type(response) is httpcore2.Response
    await flavour.call(response, "read")
    await flavour.call(response, "close")
    with pytest.raises(httpcore2.RemoteProtocolError):
        await flavour.call(connection, "request", "GET", peer.url)
    await flavour.call(connection, "close")
    assert isinstance(connection, getattr(httpcore2, flavour.prefixed("ConnectionInterface")))


def test_an_origin_of_a_class_of_the_callers() -> None:
    class Own(httpcore2.Origin):
        pass

    with pytest.raises(httpcore2.ConnectError):
        httpcore_rs.httpcore2.HTTPConnection(Own(b"http", "h\u00f6st".encode(), 1))


async def test_connections_of_httpcore2s_pools(flavour: Flavour, serve: Serve) -> None:
    peer = serve(OK)
    pool = pool_class(flavour)()
    await flavour.call(pool, "request", "GET", peer.url)
    (connection,) = pool.connections
    assert isinstance(connection, getattr(httpcore2, flavour.prefixed("ConnectionInterface")))
    assert not isinstance(connection, getattr(httpcore_rs, flavour.prefixed("ConnectionInterface")))
    assert type(await flavour.call(connection, "request", "GET", peer.url)) is httpcore2.Response
    await flavour.call(pool, "close")


def test_functions_of_httpcore2(serve: Serve) -> None:
    peer = serve(OK)
    assert type(httpcore_rs.httpcore2.request("GET", peer.url)) is httpcore2.Response
    with httpcore_rs.httpcore2.stream("GET", peer.url) as response:
        assert type(response) is httpcore2.Response
        assert b"".join(response.iter_stream()) == b"ok"


def test_python_ssl_by_httpcore2s_backend(serve: Serve, certificates: Certificates) -> None:
    peer = serve(OK, tls=certificates.server_context())
    context = ssl.create_default_context(cafile=str(certificates.ca))
    with httpcore_rs.httpcore2.ConnectionPool(ssl_context=context) as pool:
        response = pool.request("GET", peer.url)
        assert response.content == b"ok"
        stream = response.extensions["network_stream"]
        assert stream.get_extra_info("ssl_object") is not None


# Neither library needs the other.

ALONE = """
try:
    import httpx as library
    package = httpcore_rs
except ModuleNotFoundError:
    import httpx2 as library
    import httpcore_rs.httpx2 as package

with library.Client(transport=package.SyncTransport()) as client:
    assert client.get(url).text == "ok"
    assert "IDLE" in repr(client._transport._pool.connections)

async def main():
    async with library.AsyncClient(transport=package.AsyncTransport()) as client:
        assert (await client.get(url)).text == "ok"
        assert "IDLE" in repr(client._transport._pool.connections)

asyncio.run(main())

# What names neither is whichever is there.
with httpcore_rs.ConnectionPool() as pool:
    assert pool.request("GET", url).content == b"ok"
assert issubclass(httpcore_rs.ConnectError, httpcore_rs.NetworkError)

httpcore_rs.install()
assert library.get(url).text == "ok"
assert type(library.Client()._transport._pool).__module__.startswith("httpcore_rs")
assert not {*sys.argv[2:]} & {*sys.modules}

if "httpx" in sys.argv:
    try:
        httpcore_rs.SyncTransport
    except ModuleNotFoundError as exc:
        assert "httpcore_rs.httpx2.SyncTransport" in str(exc)
    else:
        raise AssertionError("nothing was said")
"""


@pytest.mark.parametrize("hidden", [["httpcore2", "httpx2"], ["httpcore", "httpx"]])
def test_neither_needs_the_other(serve: Serve, program: Callable[..., Program], hidden: list[str]) -> None:
    pytest.importorskip("httpx", reason="httpx is not installed")
    program(ALONE, serve(OK).url, *hidden, before=HIDE).output()
