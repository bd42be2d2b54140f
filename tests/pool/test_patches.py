"""Patches of httpcore's own classes: they get the requests of the pools of this package, as mocks and guards expect."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import pytest

import httpcore_rs
from httpcore_rs import _patches
from peers import always, echo, reply
from proxies import tunnels

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from certificates import Certificates
    from flavours import Flavour
    from peers import Serve
    from programs import Program

OK = always(reply(b"ok"))


class Core:
    """httpcore or httpcore2, and the module of this package that stands for it."""

    def __init__(self, name: str) -> None:
        self.library = pytest.importorskip(name, reason=f"{name} is not installed")
        self.ours: Any = httpcore_rs if name == "httpcore" else importlib.import_module("httpcore_rs.httpcore2")


@pytest.fixture(params=["httpcore", "httpcore2"])
def core(request: pytest.FixtureRequest) -> Core:
    return Core(request.param)


class Patch:
    """A method in the place of one of httpcore's. It notes the requests, and answers or calls the genuine method."""

    def __init__(self, flavour: Flavour, cls: Any, answer: Callable[[], Any] | None = None) -> None:
        self.calls: list[tuple[Any, Any]] = []
        self.name = "handle_async_request" if flavour.is_async else "handle_request"
        self.cls = cls
        genuine = getattr(cls, self.name)

        def handle(owner: Any, request: Any) -> Any:
            self.calls.append((owner, request))
            return genuine(owner, request) if answer is None else answer()

        async def handle_async(owner: Any, request: Any) -> Any:
            self.calls.append((owner, request))
            return await genuine(owner, request) if answer is None else answer()

        self.method = handle_async if flavour.is_async else handle


@pytest.fixture
def patched(flavour: Flavour, core: Core, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Patch]:
    def patch(name: str, answer: Callable[[], Any] | None = None) -> Patch:
        made = Patch(flavour, getattr(core.library, flavour.prefixed(name)), answer)
        monkeypatch.setattr(made.cls, made.name, made.method)
        return made

    return patch


async def send(flavour: Flavour, pool: Any, url: str) -> Any:
    return await flavour.call(pool, "request", "GET", url)


def pool_of(flavour: Flavour, core: Core, name: str = "ConnectionPool", **arguments: Any) -> Any:
    return getattr(core.ours, flavour.prefixed(name))(**arguments)


async def test_a_patch_answers(
    flavour: Flavour, core: Core, serve: Serve, patched: Callable[..., Patch], monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = serve(OK)
    pool = pool_of(flavour, core)
    assert (await send(flavour, pool, peer.url)).content == b"ok"
    patch = patched("ConnectionPool", lambda: core.library.Response(204, content=b"made up"))
    response = await send(flavour, pool, peer.url)
    assert (response.status, response.content) == (204, b"made up")
    manager = pool.stream("GET", peer.url)
    assert (await flavour.call(manager, "__enter__")).status == 204
    await flavour.call(manager, "__exit__", None, None, None)
    request = core.library.Request("GET", peer.url)
    assert (await flavour.call(pool, "handle_request", request)).status == 204
    assert len(patch.calls) == 3
    # The patch is called as in httpcore: with a pool of httpcore's, and the request.
    owner, seen = patch.calls[-1]
    assert type(owner).__name__ == flavour.prefixed("ConnectionPool")
    assert isinstance(owner, patch.cls)
    assert seen is request
    monkeypatch.undo()
    assert (await send(flavour, pool, peer.url)).content == b"ok"
    assert len(peer.requests) == 2
    await flavour.call(pool, "close")


@pytest.mark.parametrize("name", ["ConnectionPool", "HTTPConnection"])
async def test_a_patch_calls_the_genuine_method(
    flavour: Flavour, core: Core, serve: Serve, patched: Callable[..., Patch], name: str
) -> None:
    peer = serve(echo)
    patch = patched(name)
    pool = pool_of(flavour, core)
    for _ in range(3):
        assert b"GET" in (await send(flavour, pool, peer.url)).content
    assert len(patch.calls) == len(peer.requests) == 3
    # The engine's pool has sent them, over one connection.
    assert len(peer.connections) == len(pool.connections) == 1
    assert pool.connections[0].is_idle()
    await flavour.call(pool, "close")


async def test_a_patch_that_raises_blocks_requests(
    flavour: Flavour, core: Core, serve: Serve, patched: Callable[..., Patch]
) -> None:
    class BlockedError(Exception):
        pass

    def block() -> None:
        raise BlockedError("blocked")

    peer = serve(OK)
    for name in ("HTTPConnection", "ConnectionPool"):
        patched(name, block)
        pool = pool_of(flavour, core)
        with pytest.raises(BlockedError, match="blocked"):
            await send(flavour, pool, peer.url)
        assert pool.connections == []
    assert peer.requests == []


async def test_a_body_passes_through_a_patch(
    flavour: Flavour, core: Core, serve: Serve, patched: Callable[..., Patch]
) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"stre"
        yield b"amed"

    peer = serve(OK)
    patched("ConnectionPool")
    patched("HTTPConnection")
    pool = pool_of(flavour, core)
    content = flavour.body(chunks())
    assert (await flavour.call(pool, "request", "PUT", peer.url, content=content)).content == b"ok"
    assert peer.requests[0].body == b"streamed"
    await flavour.call(pool, "close")


async def test_errors_of_the_engine_pass_through_a_patch(
    flavour: Flavour, core: Core, serve: Serve, patched: Callable[..., Patch]
) -> None:
    patch = patched("ConnectionPool")
    peer = serve(lambda connection: connection.send(b"nonsense\r\n\r\n"))
    pool = pool_of(flavour, core)
    with pytest.raises(core.library.RemoteProtocolError, match="nonsense"):
        await send(flavour, pool, peer.url)
    with pytest.raises(core.library.UnsupportedProtocol):
        await send(flavour, pool, "ftp://elsewhere.test/")
    assert len(patch.calls) == 2
    assert pool.connections == []


@pytest.mark.parametrize("name", ["ConnectionPool", "HTTPProxy", "HTTPConnection"])
async def test_requests_by_a_proxy(
    flavour: Flavour,
    core: Core,
    serve: Serve,
    certificates: Certificates,
    patched: Callable[..., Patch],
    name: str,
) -> None:
    peer, proxy = serve(OK, tls=certificates.server_context()), serve(tunnels)
    patch = patched(name)
    tls = httpcore_rs.TLSConfig(verify=str(certificates.ca))
    pool = pool_of(flavour, core, "HTTPProxy", proxy_url=f"http://{proxy.authority}", ssl_context=tls)
    assert (await send(flavour, pool, peer.url)).content == b"ok"
    assert len(patch.calls) == len(proxy.requests) == len(peer.requests) == 1
    owner, request = patch.calls[0]
    assert request.url.origin.port == peer.port
    if name != "HTTPConnection":
        assert isinstance(owner, getattr(core.library, flavour.prefixed("HTTPProxy")))
        assert owner._proxy_url.port == proxy.port
    await flavour.call(pool, "close")


async def test_a_patch_of_proxies_leaves_other_pools_alone(
    flavour: Flavour, core: Core, serve: Serve, patched: Callable[..., Patch]
) -> None:
    patch = patched("HTTPProxy", lambda: None)
    pool = pool_of(flavour, core)
    assert (await send(flavour, pool, serve(OK).url)).content == b"ok"
    assert patch.calls == []
    await flavour.call(pool, "close")


async def test_a_single_connection(flavour: Flavour, core: Core, serve: Serve, patched: Callable[..., Patch]) -> None:
    peer = serve(OK)
    request = core.library.Request("GET", peer.url, headers={"Host": peer.authority})
    connection = getattr(core.ours, flavour.prefixed("HTTPConnection"))(request.url.origin)
    # The pool's method has nothing to do with it.
    patched("ConnectionPool", lambda: None)
    patch = patched("HTTPConnection")
    response = await flavour.call(connection, "handle_request", request)
    assert await flavour.call(response, "read") == b"ok"
    await flavour.call(response, "close")
    assert len(patch.calls) == 1
    patched("HTTPConnection", lambda: core.library.Response(204))
    assert (await flavour.call(connection, "handle_request", request)).status == 204
    assert len(peer.requests) == 1
    await flavour.call(connection, "close")


async def test_methods_are_compared_only_after_a_change(
    flavour: Flavour, core: Core, serve: Serve, patched: Callable[..., Patch], monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = []
    genuine = _patches.is_patched

    def compare(*arguments: Any) -> bool:
        compared.append(arguments)
        return genuine(*arguments)

    monkeypatch.setattr(_patches, "is_patched", compare)
    peer = serve(OK)
    pool = pool_of(flavour, core)
    await send(flavour, pool, peer.url)
    del compared[:]
    for _ in range(5):
        await send(flavour, pool, peer.url)
    assert compared == []
    # Another attribute of the class, and back: the methods are the same.
    cls = getattr(core.library, flavour.prefixed("ConnectionPool"))
    cls.added = 1
    del cls.added
    for _ in range(5):
        await send(flavour, pool, peer.url)
    assert 1 <= len(compared) <= 2
    await flavour.call(pool, "close")


async def test_patches_of_patches(
    flavour: Flavour, core: Core, serve: Serve, patched: Callable[..., Patch], monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = serve(OK)
    pool = pool_of(flavour, core)
    patches = [patched("ConnectionPool") for _ in range(3)]
    assert (await send(flavour, pool, peer.url)).content == b"ok"
    assert [len(patch.calls) for patch in patches] == [1, 1, 1]
    monkeypatch.undo()
    assert (await send(flavour, pool, peer.url)).content == b"ok"
    assert [len(patch.calls) for patch in patches] == [1, 1, 1]
    await flavour.call(pool, "close")


def test_an_import_under_a_patch(serve: Serve, program: Callable[..., Program]) -> None:
    peer = serve(OK)
    before = """
        import httpcore
        genuine = httpcore.ConnectionPool.handle_request
        httpcore.ConnectionPool.handle_request = lambda *_: httpcore.Response(204, content=b"")
    """
    source = """
        pool = httpcore_rs.ConnectionPool()
        print(pool.request("GET", url).status)
        httpcore.ConnectionPool.handle_request = genuine
        for _ in range(3):
            print(pool.request("GET", url).status)
        pool.close()
    """
    assert program(source, peer.url, before=before).output() == "204\n200\n200\n200\n"
    assert len(peer.requests) == 3


async def test_pools_count_as_httpcores(flavour: Flavour, core: Core) -> None:
    classes = [getattr(core.library, flavour.prefixed(name)) for name in ("ConnectionPool", "HTTPProxy", "SOCKSProxy")]
    url = {"HTTPProxy": "http://user:word@proxy.test:1", "SOCKSProxy": "socks5://proxy.test:1"}
    for name in ("ConnectionPool", "HTTPProxy", "SOCKSProxy"):
        pool = pool_of(flavour, core, name, **({"proxy_url": url[name]} if name in url else {}))
        counterpart = getattr(core.library, flavour.prefixed(name))
        assert isinstance(pool, counterpart)
        assert isinstance(pool, getattr(core.ours, flavour.prefixed(name)))
        assert [isinstance(pool, cls) for cls in classes] == [issubclass(counterpart, cls) for cls in classes]


async def test_headers_for_the_proxy_can_be_read(flavour: Flavour, core: Core) -> None:
    arguments: Any = {"proxy_url": "http://proxy.test:1", "proxy_auth": ("user", "word"), "proxy_headers": {"A": "b"}}
    genuine = getattr(core.library, flavour.prefixed("HTTPProxy"))(**arguments)
    pool = pool_of(flavour, core, "HTTPProxy", **arguments)
    assert pool._proxy_headers == genuine._proxy_headers
    assert pool._proxy_url == genuine._proxy_url
