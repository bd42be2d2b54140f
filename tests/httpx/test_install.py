"""`httpcore_rs.install()` and `uninstall()`: the pools under clients that other code makes."""

from __future__ import annotations

import concurrent.futures
import inspect
import itertools
import ssl
import threading
from typing import TYPE_CHECKING, Any

import pytest

import httpcore_rs
from libraries import Client
from peers import always, echo, reply
from programs import HIDE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from certificates import Certificates
    from flavours import Flavour
    from libraries import Library
    from peers import Serve
    from programs import Program

OK = always(reply(b"ok"))


@pytest.fixture
def installed() -> Iterator[None]:
    httpcore_rs.install()
    yield
    httpcore_rs.uninstall()


def is_ours(pool: Any) -> bool:
    return isinstance(pool, (httpcore_rs.ConnectionPool, httpcore_rs.AsyncConnectionPool))


async def get(flavour: Flavour, library: Library, url: str, **arguments: Any) -> Any:
    async with Client(flavour, library, **arguments) as client:
        return client.raw, await client.send("GET", url)


@pytest.mark.usefixtures("installed")
async def test_clients_use_the_pools(flavour: Flavour, serve: Serve, library: Library) -> None:
    client, response = await get(flavour, library, serve(OK).url)
    assert response.text == "ok"
    assert is_ours(client._transport._pool)
    # The class is the library's own, as `isinstance` checks expect.
    assert type(client._transport) in (library.HTTPTransport, library.AsyncHTTPTransport)


@pytest.mark.usefixtures("installed")
def test_functions_use_the_pools(serve: Serve, library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    genuine = httpcore_rs.ConnectionPool.__init__

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        made.append(self)
        genuine(self, *args, **kwargs)

    monkeypatch.setattr(httpcore_rs.ConnectionPool, "__init__", init)
    assert library.get(serve(OK).url).text == "ok"
    assert len(made) == 1


@pytest.mark.usefixtures("installed")
async def test_proxies_of_the_environment(
    flavour: Flavour, serve: Serve, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = serve(echo)
    monkeypatch.setenv("HTTP_PROXY", f"http://{proxy.authority}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    client, _ = await get(flavour, library, "http://elsewhere.test/path")
    assert proxy.requests[0].target == b"http://elsewhere.test/path"
    (pool,) = (mount._pool for mount in client._mounts.values() if mount is not None)
    assert isinstance(pool, (library.pools.HTTPProxy, library.pools.AsyncHTTPProxy))


@pytest.mark.usefixtures("installed")
async def test_arguments_keep_their_meaning(
    flavour: Flavour, serve: Serve, library: Library, certificates: Certificates
) -> None:
    peer = serve(OK, tls=certificates.server_context())
    context = ssl.create_default_context(cafile=str(certificates.ca))
    for verify in (False, context):
        limits = library.Limits(max_connections=1)
        client, response = await get(flavour, library, peer.url, verify=verify, limits=limits)
        assert response.text == "ok"
        assert is_ours(client._transport._pool)
    with pytest.raises(library.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        await get(flavour, library, peer.url)


@pytest.mark.usefixtures("installed")
def test_arguments_may_be_given_by_position(serve: Serve, library: Library, certificates: Certificates) -> None:
    peer = serve(OK, tls=certificates.server_context())
    with library.Client(transport=library.HTTPTransport(False, None)) as client:
        assert client.get(peer.url).text == "ok"
    with pytest.raises(TypeError, match="no_such_argument"):
        library.HTTPTransport(no_such_argument=1)


@pytest.mark.usefixtures("installed")
def test_subclasses_use_the_pools(serve: Serve, library: Library) -> None:
    class Retrying(library.HTTPTransport):  # type: ignore[misc]
        def __init__(self, attempts: int) -> None:
            super().__init__(retries=attempts)
            self.attempts = attempts

    transport = Retrying(2)
    assert is_ours(transport._pool)
    with library.Client(transport=transport) as client:
        assert client.get(serve(OK).url).text == "ok"


def test_installing_twice_and_uninstalling(library: Library) -> None:
    genuine = library.HTTPTransport.__init__
    signature = inspect.signature(library.HTTPTransport)
    before = library.HTTPTransport()
    httpcore_rs.install()
    httpcore_rs.install()
    meanwhile = library.HTTPTransport()
    assert inspect.signature(library.HTTPTransport) == signature
    httpcore_rs.uninstall()
    httpcore_rs.uninstall()
    assert library.HTTPTransport.__init__ is genuine
    assert [is_ours(each._pool) for each in (before, meanwhile, library.HTTPTransport())] == [False, True, False]


def test_a_patch_on_top_stays(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    with monkeypatch.context() as patching:
        httpcore_rs.install()
        installed = library.HTTPTransport.__init__

        def patched(self: Any, *args: Any, **kwargs: Any) -> None:
            seen.append(self)
            installed(self, *args, **kwargs)

        patching.setattr(library.HTTPTransport, "__init__", patched)
        assert is_ours(library.HTTPTransport()._pool)
        httpcore_rs.uninstall()
        assert not is_ours(library.HTTPTransport()._pool)
        assert library.HTTPTransport.__init__ is patched
        httpcore_rs.install()
        assert is_ours(library.HTTPTransport()._pool)
        httpcore_rs.uninstall()
        assert len(seen) == 3
    # Undoing the outer patch restores the inner one, which has no effect any more.
    assert not is_ours(library.HTTPTransport()._pool)
    httpcore_rs.install()
    assert is_ours(library.HTTPTransport()._pool)
    httpcore_rs.uninstall()
    assert not is_ours(library.HTTPTransport()._pool)


def test_a_patch_below(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    class Patched(library.HTTPTransport):  # type: ignore[misc]
        pass

    genuine = library.HTTPTransport.__init__

    def patched(self: Any, *args: Any, **kwargs: Any) -> None:
        genuine(self, *args, **kwargs)

    monkeypatch.setattr(Patched, "__init__", patched)
    replacement = httpcore_rs._install._constructor(Patched, library.SyncTransport)
    assert replacement.original is patched
    monkeypatch.setattr(Patched, "__init__", replacement.replacing)
    monkeypatch.setattr(httpcore_rs._install._State, "current", httpcore_rs.Installation((), False, {}).settings)
    assert is_ours(Patched(verify=False)._pool)
    monkeypatch.setattr(httpcore_rs._install._State, "current", None)
    assert not is_ours(Patched(verify=False)._pool)


@pytest.mark.usefixtures("installed")
def test_transports_of_httpcore_rs_are_as_before(library: Library) -> None:
    assert is_ours(library.SyncTransport(retries=1)._pool)


def test_httpx2_in_the_place_of_httpx(serve: Serve, program: Callable[..., Program]) -> None:
    httpx2 = pytest.importorskip("httpx2", reason="httpx2 is not installed; it exists for CPython 3.10 and newer")
    if not hasattr(httpx2, "alias_httpx"):
        pytest.skip("httpx2 has alias_httpx() from 2.9 on")
    before = """
    import httpx2
    httpx2.alias_httpx()
    """
    source = """
    import httpx
    import httpx2

    httpcore_rs.install()
    assert httpx is httpx2
    with httpx.Client() as client:
        assert client.get(url).text == "ok"
        assert type(client._transport._pool) is httpcore_rs.httpcore2.ConnectionPool
    with httpcore_rs.ConnectionPool() as pool:
        assert type(pool.request("GET", url)).__module__ == "httpcore2"
    with httpx.Client(transport=httpcore_rs.SyncTransport()) as client:
        assert client.get(url).text == "ok"
    """
    program(source, serve(OK).url, before=before).output()


def test_without_either_library(program: Callable[..., Program]) -> None:
    source = """
    try:
        httpcore_rs.install()
    except ModuleNotFoundError as exc:
        assert "httpx" in str(exc)
    else:
        raise AssertionError("nothing was said")
    """
    program(source, "", "httpx", "httpx2", before=HIDE).output()


def test_with_blocks_restore_what_was_in_effect(library: Library) -> None:
    genuine = dict(vars(library.HTTPTransport))
    with httpcore_rs.install() as outer:
        assert library.name in [each.library for each in outer.covered]
        assert library.module.__version__ in str(outer)
        with httpcore_rs.install(http2_ping_timeout=3.0):
            assert is_ours(library.HTTPTransport()._pool)
        assert is_ours(library.HTTPTransport()._pool)
    assert dict(vars(library.HTTPTransport)) == genuine
    httpcore_rs.install()
    with httpcore_rs.install():
        pass
    assert is_ours(library.HTTPTransport()._pool)
    httpcore_rs.uninstall()
    assert dict(vars(library.HTTPTransport)) == genuine


# Each letter is a thread, which calls `install()`, enters the block and leaves it. "i" calls it without a block.
@pytest.mark.parametrize("threads", ["aaabbb", "aaabbbi", "aaabbbccc"])
@pytest.mark.parametrize("before", [False, True])
def test_blocks_of_several_threads_in_each_order(library: Library, threads: str, before: bool) -> None:
    genuine = dict(vars(library.HTTPTransport))
    for order in sorted(set(itertools.permutations(threads))):
        if before:
            httpcore_rs.install()
        made: dict[str, list[Any]] = {name: [] for name in threads}
        for name in order:
            if not made[name]:
                made[name] = [httpcore_rs.install()]
            else:
                method = "__exit__" if len(made[name]) == 2 else "__enter__"
                made[name].append(getattr(made[name][0], method)())
            if before or made.get("i") or any(len(steps) == 2 for steps in made.values()):
                assert vars(library.HTTPTransport) != genuine, order
        is_covered = before or "i" in threads
        assert (vars(library.HTTPTransport) != genuine) == is_covered, order
        httpcore_rs.uninstall()
        assert vars(library.HTTPTransport) == genuine


def test_a_block_that_outlasts_uninstall(library: Library) -> None:
    genuine = dict(vars(library.HTTPTransport))
    first = httpcore_rs.install()
    second = httpcore_rs.install()
    httpcore_rs.uninstall()
    with second:
        assert vars(library.HTTPTransport) != genuine
    assert vars(library.HTTPTransport) == genuine
    with first:
        httpcore_rs.uninstall()
        assert vars(library.HTTPTransport) == genuine
    assert vars(library.HTTPTransport) == genuine


def test_threads_install_at_the_same_time(library: Library, serve: Serve) -> None:
    genuine = dict(vars(library.HTTPTransport))
    url = serve(OK).url
    count = 8
    barrier = threading.Barrier(count)

    def run(number: int) -> int:
        sent = 0
        barrier.wait(30)
        for _ in range(20):
            with httpcore_rs.install(http2_ping_timeout=1.0 + number) as outer, httpcore_rs.install():
                assert library.name in [each.library for each in outer.covered]
                with library.Client(verify=False) as client:
                    assert is_ours(client._transport._pool)
                    sent += client.get(url).text == "ok"
        return sent

    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        assert list(pool.map(run, range(count))) == [20] * count
    assert vars(library.HTTPTransport) == genuine


@pytest.mark.parametrize("kind", ["ConnectionPool", "HTTPProxy", "SOCKSProxy"])
async def test_pools_of_httpcore(flavour: Flavour, library: Library, kind: str) -> None:
    cls = getattr(library.core, flavour.prefixed(kind))
    arguments = {"HTTPProxy": ["http://p.test:1"], "SOCKSProxy": ["socks5://p.test:1"]}.get(kind, [])
    genuine = cls.__init__
    with httpcore_rs.install():
        assert not is_ours(cls(*arguments))
    with httpcore_rs.install(httpcore=True):
        pool = cls(*arguments)
        assert isinstance(pool, cls)
        assert isinstance(pool, getattr(library.pools, flavour.prefixed(kind)))
    assert cls.__init__ is genuine
    assert not is_ours(cls(*arguments))


async def test_requests_of_httpcores_pools(flavour: Flavour, library: Library, serve: Serve) -> None:
    cls = getattr(library.core, flavour.prefixed("ConnectionPool"))
    name = "handle_async_request" if flavour.is_async else "handle_request"
    seen: list[Any] = []

    def handler(self: Any, request: Any) -> Any:
        seen.append(request)
        return getattr(super(subclass, self), name)(request)

    subclass: Any = type("Counting", (cls,), {name: handler})
    private: Any = type("Private", (cls,), {"create_connection": lambda self, origin: None})
    peer = serve(OK)
    with httpcore_rs.install(httpcore=True):
        assert not is_ours(private())
        for each in (cls, subclass):
            pool = each(max_connections=1)
            assert is_ours(pool)
            response = await flavour.call(pool, "request", "GET", peer.url)
            assert response.content == b"ok"
            assert type(response).__module__.partition(".")[0] == library.core.__name__
            await flavour.call(pool, "close")
    assert len(seen) == 1
