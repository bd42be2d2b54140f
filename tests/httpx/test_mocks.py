"""Mocks, recorders, instrumentation and guards that are made for httpx: they get hold of requests here as well."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

import httpcore_rs
from libraries import Client, Library
from peers import always, echo, reply

httpx = pytest.importorskip("httpx", reason="the mocks of this file are made for httpx")
respx = pytest.importorskip("respx", reason="respx is installed beside the newest httpx")

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from flavours import Flavour
    from peers import Serve

OK = always(reply(b"real"))


@pytest.fixture
def library() -> Library:
    return Library("httpx")


@pytest.fixture(params=["transport", "pool", "install"])
def client(request: pytest.FixtureRequest, flavour: Flavour, library: Library) -> Iterator[Client]:
    """Returns a client over a transport, over one with a pool put into it, and after `install()`."""
    if request.param == "install":
        httpcore_rs.install()
        yield Client(flavour, library)
        httpcore_rs.uninstall()
        return
    transport = library.transport(flavour)
    if request.param == "pool":
        transport = (httpx.AsyncHTTPTransport if flavour.is_async else httpx.HTTPTransport)()
        transport._pool = getattr(httpcore_rs, flavour.prefixed("ConnectionPool"))()
    yield library.client(flavour, transport)


@pytest.fixture(params=["httpcore", "httpx"])
def using(request: pytest.FixtureRequest) -> str:
    """Returns each mocker of respx: the default one patches httpcore's pools, the other one httpx's clients."""
    return request.param


# respx


async def test_respx_answers(flavour: Flavour, client: Client, serve: Serve, using: str) -> None:
    peer = serve(OK)
    async with client:
        assert (await client.send("GET", peer.url)).text == "real"
        with respx.mock(using=using) as router:
            route = router.post(peer.url, json={"a": 1}).respond(201, json={"made": "up"}, headers={"X": "y"})
            response = await client.send("POST", peer.url, json={"a": 1})
        assert (response.status_code, response.json(), response.headers["X"]) == (201, {"made": "up"}, "y")
        assert route.call_count == 1
        assert json.loads(route.calls.last.request.content) == {"a": 1}
        assert (await client.send("GET", peer.url)).text == "real"
    assert [request.method for request in peer.requests] == [b"GET", b"GET"]


async def test_respx_refuses_what_it_does_not_know(flavour: Flavour, client: Client, serve: Serve, using: str) -> None:
    peer = serve(OK)
    async with client:
        with respx.mock(using=using, assert_all_called=False) as router:
            router.get("http://elsewhere.test/")
            with pytest.raises(AssertionError, match="not mocked"):
                await client.send("GET", peer.url)
        with respx.mock(using=using, assert_all_mocked=False):
            assert (await client.send("GET", peer.url)).content == b""
    assert peer.requests == []


async def test_respx_passes_through(flavour: Flavour, client: Client, serve: Serve, using: str) -> None:
    peer = serve(echo)
    async with client:
        with respx.mock(using=using) as router:
            router.route(host="127.0.0.1").pass_through()
            for _ in range(3):
                response = await client.send("POST", peer.url, content=flavour.body(chunks()))
                assert response.json()["length"] == 4
    assert len(peer.requests) == 3
    assert len(peer.connections) == 1


async def test_respx_raises(flavour: Flavour, client: Client, using: str) -> None:
    async with client:
        with respx.mock(using=using) as router:
            router.get("https://elsewhere.test/").mock(side_effect=httpx.ConnectTimeout)
            with pytest.raises(httpx.ConnectTimeout):
                await client.send("GET", "https://elsewhere.test/")
            router.get("https://elsewhere.test/").mock(
                side_effect=[httpx.Response(503), httpx.Response(200, text="second")]
            )
            assert (await client.send("GET", "https://elsewhere.test/")).status_code == 503
            assert (await client.send("GET", "https://elsewhere.test/")).text == "second"


async def test_respx_answers_streams(flavour: Flavour, client: Client, using: str) -> None:
    async with client:
        with respx.mock(using=using) as router:
            stream: Any = httpx.ByteStream(b"data: 1\n\ndata: 2\n\n")
            router.get("https://elsewhere.test/events").mock(return_value=httpx.Response(200, stream=stream))
            manager = client.raw.stream("GET", "https://elsewhere.test/events")
            response = await flavour.call(manager, "__enter__")
            assert await flavour.call(response, "read") == b"data: 1\n\ndata: 2\n\n"
            await flavour.call(manager, "__exit__", None, None, None)


async def chunks() -> AsyncIterator[bytes]:
    yield b"bo"
    yield b"dy"


RESPX = """
import httpx, pytest, respx
import httpcore_rs

{before}

@respx.mock
def test_decorator():
    route = respx.get("https://elsewhere.test/").respond(204)
    with httpx.Client({transport}) as client:
        assert client.get("https://elsewhere.test/").status_code == 204
    assert route.called

def test_fixture(respx_mock):
    respx_mock.get("https://elsewhere.test/").mock(return_value=httpx.Response(204))
    with httpx.Client({transport}) as client:
        assert client.get("https://elsewhere.test/").status_code == 204

@pytest.mark.respx(base_url="https://base.test")
def test_marker(respx_mock):
    respx_mock.get("/path").respond(404)
    with httpx.Client({transport}) as client:
        assert client.get("https://base.test/path").status_code == 404

@respx.mock
async def test_async_decorator():
    respx.get("https://elsewhere.test/").respond(204)
    async with httpx.AsyncClient({async_transport}) as client:
        assert (await client.get("https://elsewhere.test/")).status_code == 204

@pytest.fixture
def anyio_backend():
    return "asyncio"

pytestmark = pytest.mark.anyio
"""

HOW = {
    "install": {"before": "httpcore_rs.install()", "transport": "", "async_transport": ""},
    "transport": {
        "before": "",
        "transport": "transport=httpcore_rs.SyncTransport()",
        "async_transport": "transport=httpcore_rs.AsyncTransport()",
    },
}


@pytest.fixture(params=HOW)
def how(request: pytest.FixtureRequest) -> dict[str, str]:
    return HOW[request.param]


def run_pytest(folder: Path, source: str, *arguments: str, passed: int) -> None:
    """Runs a file of tests with the plugins that are installed, in a process of its own, as users do."""
    (folder / "test_program.py").write_text(source)
    (folder / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments, str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=folder, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{passed} passed" in result.stdout, result.stdout


def test_respx_in_pytest(tmp_path: Path, how: dict[str, str]) -> None:
    run_pytest(tmp_path, RESPX.format_map(how), passed=4)


# pytest-httpx

PYTEST_HTTPX = """
import httpx, pytest
import httpcore_rs

{before}

def test_answers(httpx_mock):
    httpx_mock.add_response(url="https://elsewhere.test/", json={{"made": "up"}})
    with httpx.Client({transport}) as client:
        assert client.get("https://elsewhere.test/").json() == {{"made": "up"}}
    assert httpx_mock.get_request().url == "https://elsewhere.test/"

def test_raises(httpx_mock):
    httpx_mock.add_exception(httpx.ReadTimeout("late"))
    with httpx.Client({transport}) as client, pytest.raises(httpx.ReadTimeout, match="late"):
        client.get("https://elsewhere.test/")

@pytest.mark.anyio
async def test_async(httpx_mock):
    httpx_mock.add_response(status_code=404)
    async with httpx.AsyncClient({async_transport}) as client:
        assert (await client.get("https://elsewhere.test/")).status_code == 404

@pytest.mark.httpx_mock(should_mock=lambda request: request.url.host != "127.0.0.1")
def test_others_are_real(httpx_mock):
    with httpx.Client({transport}) as client:
        assert client.get({url!r}).text == "real"

def test_proxies(httpx_mock):
    httpx_mock.add_response(proxy_url="http://user:word@proxy.test:3128/")
    with httpx.Client({proxied}) as client:
        client.get("http://elsewhere.test/")

@pytest.fixture
def anyio_backend():
    return "asyncio"
"""


def test_pytest_httpx(tmp_path: Path, how: dict[str, str], serve: Serve) -> None:
    pytest.importorskip("pytest_httpx", reason="pytest-httpx is installed beside the newest httpx")
    proxy = "proxy='http://user:word@proxy.test:3128'"
    proxied = proxy if not how["transport"] else f"transport=httpcore_rs.SyncTransport({proxy})"
    source = PYTEST_HTTPX.format(url=serve(OK).url, proxied=proxied, **how)
    run_pytest(tmp_path, source, passed=5)


# pytest-socket

PYTEST_SOCKET = """
import httpx, pytest
import pytest_socket
import httpcore_rs

{before}

def test_is_blocked():
    with httpx.Client({transport}) as client, pytest.raises(pytest_socket.SocketBlockedError):
        client.get({url!r})

@pytest.mark.enable_socket
def test_may_connect():
    with httpx.Client({transport}) as client:
        assert client.get({url!r}).text == "real"

@pytest.mark.enable_socket
@pytest.mark.anyio
async def test_asynchronously():
    async with httpx.AsyncClient({async_transport}) as client:
        assert (await client.get({url!r})).text == "real"
        await client.aclose()
    pytest_socket.disable_socket(allow_unix_socket=True)
    async with httpx.AsyncClient({async_transport}) as client:
        with pytest.raises(BaseException) as raised:
            await client.get({url!r})
    found = raised.value
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    assert isinstance(found, pytest_socket.SocketBlockedError)

@pytest.mark.allow_hosts(["127.0.0.1"])
def test_may_connect_to_this_host():
    with httpx.Client({transport}) as client:
        assert client.get({url!r}).text == "real"
        with pytest.raises(pytest_socket.SocketConnectBlockedError):
            client.get({url!r}.replace("127.0.0.1", "127.0.0.2"))

@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param

try:
    BaseExceptionGroup
except NameError:
    from exceptiongroup import BaseExceptionGroup
"""


def test_pytest_socket(tmp_path: Path, how: dict[str, str], serve: Serve) -> None:
    pytest.importorskip("pytest_socket", reason="pytest-socket is installed beside the newest httpx")
    source = PYTEST_SOCKET.format(url=serve(OK).url, **how)
    run_pytest(tmp_path, source, "--disable-socket", "--allow-unix-socket", passed=5)


# vcrpy


async def test_vcrpy_records_and_replays(flavour: Flavour, client: Client, serve: Serve, tmp_path: Path) -> None:
    vcr = pytest.importorskip("vcr", reason="vcrpy is installed beside the newest httpx")
    from vcr.errors import CannotOverwriteExistingCassetteException

    peer = serve(always(reply(b"real", headers=[(b"X", b"y"), (b"X", b"z")])))
    recorder = vcr.VCR(record_mode="once", cassette_library_dir=str(tmp_path))

    async def play() -> Any:
        with recorder.use_cassette("cassette.yaml") as cassette:
            response = await client.send("POST", peer.url + "path", content=b"body")
            assert response.status_code == 200
            assert response.text == "real"
            assert response.headers.get_list("X") == ["y", "z"]
            return cassette.play_count

    async with client:
        assert await play() == 0
        assert [request.body for request in peer.requests] == [b"body"]
        assert await play() == 1
        with recorder.use_cassette("cassette.yaml"), pytest.raises(CannotOverwriteExistingCassetteException):
            await client.send("GET", peer.url)
        assert len(peer.requests) == 1
        assert (await client.send("GET", peer.url)).text == "real"
    assert len(peer.requests) == 2


# OpenTelemetry


async def test_opentelemetry(flavour: Flavour, client: Client, serve: Serve) -> None:
    instrumentation = pytest.importorskip(
        "opentelemetry.instrumentation.httpx", reason="OpenTelemetry is installed beside the newest httpx"
    )
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrumentor = instrumentation.HTTPXClientInstrumentor()
    peer = serve(OK)
    async with client:
        instrumentor.instrument(tracer_provider=provider)
        try:
            assert (await client.send("GET", peer.url)).text == "real"
        finally:
            instrumentor.uninstrument()
        (span,) = exporter.get_finished_spans()
        assert span.name == "GET"
        trace_id = format(span.context.trace_id, "032x").encode()
        assert trace_id in (peer.requests[0].header(b"traceparent") or b"")
        assert (await client.send("GET", peer.url)).text == "real"
        assert peer.requests[1].header(b"traceparent") is None
        assert len(exporter.get_finished_spans()) == 1


# httpx's own


async def test_mock_transport(flavour: Flavour, client: Client, library: Library, serve: Serve) -> None:
    peer = serve(OK)
    mock = httpx.MockTransport(lambda request: httpx.Response(204, headers={"Path": request.url.path}))
    async with client:
        async with Client(flavour, library, transport=mock) as mocked:
            assert (await mocked.send("GET", peer.url + "path")).headers["Path"] == "/path"
        async with Client(flavour, library, mounts={"http://elsewhere.test": mock}) as mounted:
            assert (await mounted.send("GET", "http://elsewhere.test/")).status_code == 204
            assert (await mounted.send("GET", peer.url)).text == "real"
    assert len(peer.requests) == 1
