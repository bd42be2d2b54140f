"""The fast path of the transports: when a request takes it, and that its results are those of the slow path.

The slow path makes an `httpcore.Request` of the request, the fast path does not: the tests count them.
"""

from __future__ import annotations

import inspect
import logging
import pickle
from typing import TYPE_CHECKING, Any

import pytest

import httpcore_rs
from libraries import Client
from peers import always, echo, refused_port, reply, silence

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from flavours import Flavour
    from libraries import Library
    from peers import Connection, Serve
    from programs import Program

OK = always(reply(b"ok"))
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"


async def chunks() -> AsyncIterator[bytes]:
    yield b"stre"
    yield b"amed"


class Paths:
    """Counts the requests that took the slow path."""

    def __init__(self, library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
        self.slow = 0
        genuine = library.core.Request.__init__

        def init(request: Any, *args: Any, **kwargs: Any) -> None:
            self.slow += 1
            genuine(request, *args, **kwargs)

        monkeypatch.setattr(library.core.Request, "__init__", init)


@pytest.fixture
def paths(library: Library, monkeypatch: pytest.MonkeyPatch) -> Paths:
    return Paths(library, monkeypatch)


def method_of(flavour: Flavour) -> str:
    return "handle_async_request" if flavour.is_async else "handle_request"


def transport_of(flavour: Flavour, library: Library) -> Any:
    """The library's own class of transports."""
    return library.AsyncHTTPTransport if flavour.is_async else library.HTTPTransport


def pool_of(flavour: Flavour, library: Library) -> Any:
    return getattr(library.pools, flavour.prefixed("ConnectionPool"))()


def spy(flavour: Flavour, genuine: Any, seen: list[str]) -> Any:
    """Returns a method that notes its calls and then calls the genuine one."""

    def handle(self: Any, request: Any) -> Any:
        seen.append(type(request).__module__.partition(".")[0])
        return genuine(self, request)

    async def handle_async(self: Any, request: Any) -> Any:
        seen.append(type(request).__module__.partition(".")[0])
        return await genuine(self, request)

    return handle_async if flavour.is_async else handle


async def test_requests_take_it(flavour: Flavour, library: Library, paths: Paths, serve: Serve) -> None:
    peer = serve(echo)
    async with library.client(flavour) as client:
        plain = await client.send("GET", peer.url + "path?a=b")
        posted = await client.send("POST", peer.url, content=b"content")
        upload = await client.send("PUT", peer.url, content=flavour.body(chunks()))
    assert [plain.json()["target"], posted.json()["method"], upload.json()["method"]] == ["/path?a=b", "POST", "PUT"]
    assert [request.body for request in peer.requests] == [b"", b"content", b"streamed"]
    assert paths.slow == 0


@pytest.mark.parametrize("body", [reply(b"ok"), reply(), CHUNKED, reply(b"x" * 300_000)], ids=len)
async def test_its_responses_are_those_of_the_slow_path(
    flavour: Flavour, library: Library, paths: Paths, serve: Serve, body: bytes
) -> None:
    peer = serve(always(body))
    slow = transport_of(flavour, library)()
    slow._pool = pool_of(flavour, library)
    found = []
    for transport in (library.transport(flavour), slow):
        async with library.client(flavour, transport) as client:
            response = await client.send("GET", peer.url)
            attributes = {**vars(response)}
            for name in ("_request", "stream", "_elapsed", "_decoder"):
                attributes.pop(name, None)
            assert attributes["extensions"].pop("network_stream") is not None
            # Differs from one exchange to the next.
            assert attributes["extensions"].pop("timings").total is not None
            attributes["headers"] = vars(attributes["headers"])
            found.append(attributes)
            assert response.elapsed.total_seconds() >= 0  # it is unset until the response is closed
            assert pickle.loads(pickle.dumps(response)).content == response.content
    assert paths.slow == 1
    assert list(found[0]) == list(found[1])
    assert found[0] == found[1]


async def test_a_patch_of_the_librarys_method(
    flavour: Flavour, library: Library, paths: Paths, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    owner, name = transport_of(flavour, library), method_of(flavour)
    peer = serve(OK)
    async with library.client(flavour) as client:
        await client.send("GET", peer.url)
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, spy(flavour, getattr(owner, name), seen))
            await client.send("GET", peer.url)
        await client.send("GET", peer.url)
    assert seen == [library.name]
    assert paths.slow == 1


async def test_subclasses(flavour: Flavour, library: Library, paths: Paths, serve: Serve) -> None:
    seen: list[str] = []
    name = method_of(flavour)
    own, ours = transport_of(flavour, library), type(library.transport(flavour))
    above = type("Above", (ours,), {name: spy(flavour, getattr(ours, name), seen)})
    below = type("Below", (own,), {name: spy(flavour, getattr(own, name), seen)})
    peer = serve(OK)
    async with library.client(flavour, above()) as client:
        await client.send("GET", peer.url)
    # The method of a subclass may call the inherited one, which takes the fast path.
    assert (seen, paths.slow) == ([library.name], 0)
    async with library.client(flavour, type("Both", (ours, below), {})()) as client:
        await client.send("GET", peer.url)
    assert (seen, paths.slow) == ([library.name] * 2, 1)


async def test_patches_and_subclasses_of_the_pool(
    flavour: Flavour, library: Library, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    name = method_of(flavour)
    genuine = getattr(type(pool_of(flavour, library)), name)
    handler = spy(flavour, genuine, seen)
    peer = serve(OK)
    async with library.client(flavour) as client:
        pool = client.raw._transport._pool
        with monkeypatch.context() as patch:
            patch.setattr(type(pool), name, handler)
            await client.send("GET", peer.url)
        with monkeypatch.context() as patch:
            patch.setattr(pool, name, handler.__get__(pool))
            await client.send("GET", peer.url)
        client.raw._transport._pool = type("Subclass", (type(pool),), {name: handler})()
        await client.send("GET", peer.url)
        assert seen == [library.core.__name__] * 3
        client.raw._transport._pool = type("Subclass", (type(pool),), {})()
        await client.send("GET", peer.url)
    assert len(seen) == 3


async def test_a_patch_of_httpcores_pool(
    flavour: Flavour, library: Library, paths: Paths, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    owner = getattr(library.core, flavour.prefixed("ConnectionPool"))
    peer = serve(OK)
    async with library.client(flavour) as client:
        with monkeypatch.context() as patch:
            patch.setattr(owner, method_of(flavour), spy(flavour, getattr(owner, method_of(flavour)), seen))
            await client.send("GET", peer.url)
        assert seen == [library.core.__name__]
        assert paths.slow == 1
        await client.send("GET", peer.url)
    assert paths.slow == 1


async def test_a_pool_of_httpcore(flavour: Flavour, library: Library, serve: Serve) -> None:
    transport = library.transport(flavour)
    transport._pool = getattr(library.core, flavour.prefixed("ConnectionPool"))()
    async with library.client(flavour, transport) as client:
        assert (await client.send("GET", serve(OK).url)).text == "ok"


async def test_traced_and_logged_requests(
    flavour: Flavour, library: Library, paths: Paths, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    events: list[str] = []

    def trace(event: str, _: Any) -> None:
        events.append(event)

    async def atrace(event: str, _: Any) -> None:
        events.append(event)

    peer = serve(OK)
    async with library.client(flavour) as client:
        await client.send("GET", peer.url, extensions={"trace": atrace if flavour.is_async else trace})
        assert "http11.send_request_headers.started" in events
        assert paths.slow == 1
        with caplog.at_level(logging.DEBUG, library.core.__name__):
            await client.send("GET", peer.url)
        assert any("send_request_headers" in record.getMessage() for record in caplog.records)
    assert paths.slow == 2


async def test_requests_of_unusual_types(flavour: Flavour, library: Library, paths: Paths, serve: Serve) -> None:
    class Request(library.Request):  # type: ignore[misc]
        pass

    peer = serve(OK)
    async with library.client(flavour) as client:
        response = await flavour.call(client.raw, "send", Request("GET", peer.url))
        assert response.text == "ok"
        assert paths.slow == 1


async def test_a_body_of_the_other_kind(flavour: Flavour, library: Library, serve: Serve) -> None:
    content = iter([b"x"]) if flavour.is_async else chunks()
    request = library.Request("POST", serve(OK).url, content=content)
    transport = library.transport(flavour)
    with pytest.raises(AssertionError):
        await flavour.call(transport, "handle_request", request)


async def test_its_exceptions_are_the_librarys(flavour: Flavour, library: Library, serve: Serve) -> None:
    peer = serve(silence)
    limits = library.Timeout(5, read=0.05)
    async with library.client(flavour, timeout=limits) as client:
        with pytest.raises(library.ReadTimeout) as info:
            await client.send("GET", peer.url)
        assert isinstance(info.value.__cause__, library.core.ReadTimeout)
        assert info.value.request.url == peer.url
        with refused_port() as port, pytest.raises(library.ConnectError) as info:
            await client.send("GET", f"http://127.0.0.1:{port}/")
        assert isinstance(info.value.__cause__, library.core.ConnectError)
        with pytest.raises(library.UnsupportedProtocol):
            await client.send("GET", "ftp://127.0.0.1/")
        with pytest.raises(library.LocalProtocolError):
            await client.send("GET", peer.url, headers={"Name": "a\nb"})


async def test_exceptions_of_a_body(flavour: Flavour, library: Library, serve: Serve) -> None:
    def cut_off(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")

    async with library.client(flavour) as client:
        with pytest.raises(library.RemoteProtocolError) as info:
            await client.send("GET", serve(cut_off).url)
        assert isinstance(info.value.__cause__, library.core.RemoteProtocolError)
        assert "0 active" in repr(client.raw._transport._pool)


async def test_private_extensions_pass_through(flavour: Flavour, library: Library, paths: Paths, serve: Serve) -> None:
    class Anything:
        def __eq__(self, other: object) -> bool:
            raise AssertionError("the value was looked at")

        __hash__ = object.__hash__

    private = Anything()
    peer = serve(OK)
    async with library.client(flavour) as client:
        response = await client.send("GET", peer.url, extensions={"sdk_retries": private, "sdk_id": [1, 2]})
        assert response.request.extensions["sdk_retries"] is private
        assert response.request.extensions["sdk_id"] == [1, 2]
    assert paths.slow == 0


async def test_the_extension_target(flavour: Flavour, library: Library, paths: Paths, serve: Serve) -> None:
    peer = serve(echo)
    async with library.client(flavour) as client:
        response = await client.send("OPTIONS", peer.url, extensions={"target": b"*"})
    assert response.json()["target"] == "*"
    assert paths.slow == 0


async def test_installed(flavour: Flavour, library: Library, paths: Paths, serve: Serve) -> None:
    owner, name = transport_of(flavour, library), method_of(flavour)
    own = getattr(owner, name)
    peer = serve(OK)
    httpcore_rs.install()
    try:
        assert getattr(owner, name).__wrapped__ is own
        assert inspect.iscoroutinefunction(getattr(owner, name)) is flavour.is_async
        async with Client(flavour, library) as client, library.client(flavour) as other:
            for one in (client, other):
                assert (await one.send("GET", peer.url)).text == "ok"
            assert paths.slow == 0
            httpcore_rs.uninstall()
            assert getattr(owner, name) is own
            # A transport that was made in between keeps its pool.
            assert (await client.send("GET", peer.url)).text == "ok"
    finally:
        httpcore_rs.uninstall()
    assert paths.slow == 1


async def test_install_leaves_a_patch_in_place(
    flavour: Flavour, library: Library, paths: Paths, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    owner, name = transport_of(flavour, library), method_of(flavour)
    peer = serve(OK)
    with monkeypatch.context() as patch:
        handler = spy(flavour, getattr(owner, name), seen)
        patch.setattr(owner, name, handler)
        httpcore_rs.install()
        try:
            async with Client(flavour, library) as client:
                await client.send("GET", peer.url)
            assert getattr(owner, name) is handler
        finally:
            httpcore_rs.uninstall()
        assert getattr(owner, name) is handler
    assert (seen, paths.slow) == ([library.name], 1)


@pytest.mark.parametrize("method", ["get", "stream"])
def test_responses_with_more_attributes(
    method: str, serve: Serve, library: Library, program: Callable[..., Program]
) -> None:
    """A constructor of responses that does more than it is known to do is called."""
    before = f"""
    import {library.name} as httpx

    genuine = httpx.Response.__init__

    def init(self, *args, **kwargs):
        genuine(self, *args, **kwargs)
        self.more = []

    httpx.Response.__init__ = init
    """
    source = f"""
    import contextlib
    from {library.package_name} import SyncTransport
    with httpx.Client(transport=SyncTransport()) as client:
        method = client.{method}
        with contextlib.nullcontext(method(url)) if "{method}" == "get" else method("GET", url) as response:
            response.read()
            assert (response.text, response.headers["content-length"], response.more) == ("ok", "2", [])
    """
    program(source, serve(OK).url, before=before).output()


def test_requests_of_another_shape(serve: Serve, library: Library, program: Callable[..., Program]) -> None:
    """All requests take the slow path if the models of requests are not as they are known."""
    before = f"""
    import {library.name} as httpx

    genuine = httpx.Headers.__init__

    def init(self, *args, **kwargs):
        genuine(self, *args, **kwargs)
        self._list = [list(field) for field in self._list]

    httpx.Headers.__init__ = init
    """
    source = f"""
    from {library.package_name} import SyncTransport
    assert SyncTransport._fast_path._models is None
    response = SyncTransport().handle_request(httpx.Request("GET", url))
    assert response.read() == b"ok"
    """
    program(source, serve(OK).url, before=before).output()


def test_a_patch_that_was_there_first(serve: Serve, library: Library, program: Callable[..., Program]) -> None:
    """A method that was wrapped before the import is known when the wrapper is gone."""
    before = f"""
    import functools
    import {library.name} as httpx

    genuine = httpx.HTTPTransport.handle_request

    @functools.wraps(genuine)
    def wrapper(self, request):
        calls.append(request)
        return genuine(self, request)

    calls = []
    httpx.HTTPTransport.handle_request = wrapper
    """
    source = f"""
    from {library.package_name} import SyncTransport
    with httpx.Client(transport=SyncTransport()) as client:
        assert client.get(url).text == "ok"
        assert len(calls) == 1
        httpx.HTTPTransport.handle_request = genuine
        assert SyncTransport._fast_path.own_handler is genuine
        assert client.get(url).text == "ok"
        assert len(calls) == 1
    """
    program(source, serve(OK).url, before=before).output()
