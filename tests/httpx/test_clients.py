"""httpx and httpx2 over the pools: their clients, exceptions and arguments."""

from __future__ import annotations

import json
import ssl
from typing import TYPE_CHECKING, Any

import pytest

import httpcore_rs
from peers import always, answers, echo, full_backlog, refused_port, reply, silence

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from certificates import Certificates
    from flavours import Flavour
    from libraries import Library
    from peers import Connection, Serve

OK = always(reply(b"ok"))


def test_transports_are_the_librarys_own(library: Library) -> None:
    assert issubclass(library.SyncTransport, library.HTTPTransport)
    assert issubclass(library.AsyncTransport, library.AsyncHTTPTransport)


@pytest.mark.parametrize("arguments", [{}, {"verify": False}, {"trust_env": False}, {"http1": True, "retries": 1}])
def test_making_a_transport_builds_no_ssl_context(
    library: Library, monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any]
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise AssertionError("an SSLContext was built")

    monkeypatch.setattr(ssl, "create_default_context", fail)
    monkeypatch.setattr(ssl.SSLContext, "__new__", fail)
    library.SyncTransport(**arguments)
    library.AsyncTransport(**arguments)
    httpcore_rs.ConnectionPool()


async def test_a_pool_in_httpxs_transport(flavour: Flavour, library: Library, serve: Serve) -> None:
    peer = serve(OK)
    transport: Any = library.AsyncHTTPTransport() if flavour.is_async else library.HTTPTransport()
    transport._pool = flavour.pool().raw
    async with library.client(flavour, transport) as client:
        for _ in range(2):
            assert (await client.send("GET", peer.url)).text == "ok"
    assert len(peer.connections) == 1


async def test_requests_and_responses_travel_whole(flavour: Flavour, library: Library, serve: Serve) -> None:
    peer = serve(echo)
    async with library.client(flavour, headers={"X-Mine": "yes"}) as client:
        response = await client.send("POST", peer.url + "path?a=b&c=%20", json={"key": "value"})
    described = response.json()
    assert response.status_code == 200
    assert response.http_version == "HTTP/1.1"
    assert response.reason_phrase == "OK"
    assert described["target"] == "/path?a=b&c=%20"
    assert ["X-Mine", "yes"] in described["headers"]
    assert json.loads(peer.requests[0].body) == {"key": "value"}


async def test_redirects_cookies_and_event_hooks(flavour: Flavour, library: Library, serve: Serve) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        headers = [(b"Location", b"/there"), (b"Set-Cookie", b"id=7")]
        connection.send(reply(status=b"302 Found", headers=headers))
        OK(connection)

    seen: list[Any] = []

    def see(what: Any) -> None:
        seen.append(type(what).__name__)

    async def see_async(what: Any) -> None:
        see(what)

    hook = see_async if flavour.is_async else see
    peer = serve(script)
    hooks = {"request": [hook], "response": [hook]}
    async with library.client(flavour, follow_redirects=True, event_hooks=hooks) as client:
        response = await client.send("GET", peer.url)
    assert response.text == "ok"
    assert response.url.path == "/there"
    assert peer.requests[1].header(b"cookie") == b"id=7"
    assert seen == ["Request", "Response"] * 2
    assert len(peer.connections) == 1


async def test_streaming_down(flavour: Flavour, library: Library, serve: Serve) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nline1\r\n6\r\n\nline2\r\n0\r\n\r\n"
    peer = serve(always(chunked))
    async with library.client(flavour) as client:
        if flavour.is_async:
            async with client.raw.stream("GET", peer.url) as response:
                lines = [line async for line in response.aiter_lines()]
        else:
            with client.raw.stream("GET", peer.url) as response:
                lines = list(response.iter_lines())
        assert response.is_closed
        assert (await client.send("GET", peer.url)).text == "line1\nline2"
    assert lines == ["line1", "line2"]
    assert len(peer.connections) == 1


async def test_streaming_up(flavour: Flavour, library: Library, serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "upload"
    file.write_bytes(b"from a file " * 10_000)

    async def parts() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"part"

    peer = serve(echo)
    async with library.client(flavour) as client:
        assert (await client.send("POST", peer.url, content=flavour.body(parts()))).json()["length"] == 12
        with file.open("rb") as opened:
            response = await client.send("POST", peer.url, files={"file": opened})
    assert response.status_code == 200
    assert b"from a file " * 10_000 in peer.requests[1].body


@pytest.mark.parametrize(
    ("script", "arguments", "expected"),
    [
        (silence, {"timeout": (5, 0.1, 5, 5)}, "ReadTimeout"),
        (answers(b""), {}, "RemoteProtocolError"),
        (answers(b"garbage\r\n\r\n"), {}, "RemoteProtocolError"),
        (answers(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345"), {}, "RemoteProtocolError"),
        (lambda connection: (connection.read_request(), connection.reset()), {}, "ReadError"),
        (OK, {"headers": {"Content-Length": "3"}, "content": b"longer"}, "LocalProtocolError"),
    ],
)
async def test_exceptions_are_httpxs(
    flavour: Flavour,
    library: Library,
    serve: Serve,
    script: Callable[[Any], Any],
    arguments: dict[str, Any],
    expected: str,
) -> None:
    peer = serve(script)
    async with library.client(flavour) as client:
        with pytest.raises(getattr(library, expected)) as raised:
            await client.send("POST", peer.url, **arguments)
        assert type(raised.value) is getattr(library, expected)
        assert type(raised.value.__cause__) is getattr(library.core, expected)
        assert str(raised.value)
        assert raised.value.request.url == peer.url  # type: ignore[attr-defined]


async def test_connect_exceptions_are_httpxs(flavour: Flavour, library: Library) -> None:
    async with library.client(flavour) as client:
        with full_backlog() as (host, port):
            with pytest.raises(library.ConnectTimeout):
                await client.send("GET", f"http://{host}:{port}/", timeout=library.Timeout(5, connect=0.1))
        with refused_port() as port:
            with pytest.raises(library.ConnectError, match=str(port)):
                await client.send("GET", f"http://127.0.0.1:{port}/")
        with pytest.raises(library.UnsupportedProtocol):
            await client.send("GET", "ftp://127.0.0.1/")


async def test_limits_are_passed_on(flavour: Flavour, library: Library, serve: Serve) -> None:
    peer = serve(OK)
    limits = library.Limits(max_connections=1, max_keepalive_connections=0)
    timeout = library.Timeout(5, pool=0.1)
    async with library.client(flavour, library.transport(flavour, limits=limits), timeout=timeout) as client:
        await client.send("GET", peer.url)
        await client.send("GET", peer.url)
        assert len(peer.connections) == 2  # none was kept
        request = client.raw.build_request("GET", peer.url)
        held = await flavour.call(client.raw, "send", request, stream=True)
        with pytest.raises(library.PoolTimeout):
            await client.send("GET", peer.url)
        await flavour.call(held, "close")


async def test_other_arguments_are_passed_on(
    flavour: Flavour, library: Library, serve: Serve, certificates: Certificates
) -> None:
    peer = serve(OK, tls=certificates.server_context())
    own = "127.0.0.1"
    for verify in (False, str(certificates.ca), httpcore_rs.TLSConfig(verify=str(certificates.ca))):
        using = library.transport(flavour, verify=verify, local_address=own, retries=1)
        async with library.client(flavour, using) as client:
            assert (await client.send("GET", peer.url)).text == "ok"
    async with library.client(flavour) as client:
        with pytest.raises(library.ConnectError, match=r"(?i)certificate"):
            await client.send("GET", peer.url)


@pytest.mark.parametrize("trust_env", [True, False])
async def test_trust_env_decides_about_the_environment(
    flavour: Flavour,
    library: Library,
    serve: Serve,
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
    trust_env: bool,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca))
    peer = serve(OK, tls=certificates.server_context())
    async with library.client(flavour, library.transport(flavour, trust_env=trust_env)) as client:
        if trust_env:
            assert (await client.send("GET", peer.url)).text == "ok"
        else:
            with pytest.raises(library.ConnectError):
                await client.send("GET", peer.url)


async def test_a_client_certificate_is_passed_on(
    flavour: Flavour, library: Library, serve: Serve, certificates: Certificates
) -> None:
    context = certificates.server_context()
    context.verify_mode = ssl.CERT_REQUIRED
    certificates.authority.configure_trust(context)
    peer = serve(OK, tls=context)
    cert = (str(certificates.client_chain), str(certificates.client_key))
    async with library.client(flavour, library.transport(flavour, verify=str(certificates.ca), cert=cert)) as client:
        assert (await client.send("GET", peer.url)).text == "ok"


async def test_uds_is_passed_on(flavour: Flavour, library: Library, serve: Serve, tmp_path: Path) -> None:
    serve(OK, host=str(tmp_path / "socket"))
    async with library.client(flavour, library.transport(flavour, uds=str(tmp_path / "socket"))) as client:
        assert (await client.send("GET", "http://named.test/")).text == "ok"


async def test_many_requests_of_one_client(flavour: Flavour, library: Library, serve: Serve) -> None:
    peer = serve(echo)
    async with library.client(flavour) as client:

        async def ask(number: int) -> None:
            assert (await client.send("GET", f"{peer.url}{number}")).json()["target"] == f"/{number}"

        await flavour.gather(*[lambda number=number: ask(number) for number in range(100)])
    assert len(peer.requests) == 100


PROXIES = {
    "HTTP_PROXY": "http://p.test:1",
    "https_proxy": "p.test:2",
    "ALL_PROXY": "socks5://p.test:3",
    "NO_PROXY": "x.test",
}


# docs/proxies.md has a table of what the libraries make of these.
EXCEPTIONS = [
    "*",
    ".x.test",
    "*.x.test",
    "x.test:8080",
    "http://x.test",
    "127.0.0.0/8",
    "127.0.0.1",
    "::1",
    "x.test, a.test",
]
URLS = [
    *(
        "http://a.test",
        "https://a.test",
        "http://x.test",
        "http://x.test:8080",
        "https://www.x.test",
        "http://notx.test",
    ),
    *("ws://a.test", "http://127.0.0.1", "http://127.0.0.0", "http://127.1.2.3", "http://[::1]", "http://[::2]"),
]


@pytest.mark.parametrize(
    "variables",
    [PROXIES, *({**PROXIES, "NO_PROXY": value} for value in EXCEPTIONS), {"ALL_PROXY": "http://u:p@p.test"}, {}],
    ids=lambda variables: variables.get("NO_PROXY", "") or "+".join(variables),
)
def test_proxies_of_the_environment_are_the_librarys(
    library: Library, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    mounts = library.SyncTransport.environment_mounts(verify=False)
    with library.Client(transport=library.SyncTransport(), mounts=mounts) as tested, library.Client() as reference:
        for url in URLS:
            expected: Any = reference._transport_for_url(library.URL(url))
            transport: Any = tested._transport_for_url(library.URL(url))
            assert isinstance(transport, library.SyncTransport)
            assert type(transport._pool).__name__ == type(expected._pool).__name__
            assert getattr(transport._pool, "_proxy_url", None) == getattr(expected._pool, "_proxy_url", None)


def test_the_repr_of_a_transport(library: Library) -> None:
    name = f"{library.package_name}.SyncTransport"
    pool = "[Requests: 0 active, 0 queued | Connections: 0 active, 0 idle]"
    assert repr(library.SyncTransport()) == f"<{name} over <ConnectionPool {pool}>>"
    assert repr(library.SyncTransport(proxy="http://user:secret@p.test")) == f"<{name} over <HTTPProxy {pool}>>"


@pytest.mark.parametrize("variables", [PROXIES, {}], ids=["proxies", "none"])
def test_wrong_arguments_for_the_proxies_of_the_environment(
    library: Library, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    for cls in (library.SyncTransport, library.AsyncTransport):
        expected = rf"^{cls.__name__}\.environment_mounts\(\) got an unexpected keyword argument 'veryfy'"
        with pytest.raises(TypeError, match=expected):
            cls.environment_mounts(veryfy=False)
        with pytest.raises(TypeError, match=r"takes the proxies of the environment, not proxy="):
            cls.environment_mounts(proxy="http://p.test")


async def test_a_client_by_the_proxy_of_the_environment(
    flavour: Flavour, library: Library, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, origin = serve(echo), serve(echo)
    monkeypatch.setenv("HTTP_PROXY", f"http://user:pass@{proxy.authority}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    kind = type(library.transport(flavour))
    async with library.client(flavour, mounts=kind.environment_mounts()) as client:
        await client.send("GET", "http://elsewhere.test/path")
        await client.send("GET", origin.url)
    (forwarded,) = proxy.requests
    assert forwarded.target == b"http://elsewhere.test/path"
    assert forwarded.header(b"proxy-authorization") == b"Basic dXNlcjpwYXNz"
    assert len(origin.requests) == 1
