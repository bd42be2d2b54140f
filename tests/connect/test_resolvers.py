"""The option `resolver`: functions and objects that look names up, fixed addresses, and the cache."""

from __future__ import annotations

import ipaddress
import socket
import threading
from typing import TYPE_CHECKING, Any

import httpcore
import pytest

import httpcore_rs
from libraries import Client
from peers import always, answers, reply

if TYPE_CHECKING:
    from flavours import Flavour
    from libraries import Library
    from peers import Serve

OK = always(reply(b"ok"))
HOST = "named.test"


class Names:
    """A resolver of both kinds that records what it is asked."""

    def __init__(self, *addresses: Any, error: Exception | None = None) -> None:
        self.addresses = addresses
        self.error = error
        self.asked: list[tuple[str, int]] = []
        # Lookups that wait until a test lets them go on.
        self.gate: threading.Event | None = None
        self.flavour: Flavour | None = None

    def resolve(self, host: str, port: int) -> Any:
        self.asked.append((host, port))
        if self.gate is not None:
            self.gate.wait(30)
        return self._answer()

    async def aresolve(self, host: str, port: int) -> Any:
        self.asked.append((host, port))
        if self.gate is not None and self.flavour is not None:
            await self.flavour.until(self.gate.is_set)
        return self._answer()

    def _answer(self) -> Any:
        if self.error is not None:
            raise self.error
        return list(self.addresses)


def functions(names: Names, flavour: Flavour) -> Any:
    return names.aresolve if flavour.is_async else names.resolve


# Pools.


@pytest.mark.parametrize("kind", ["object", "function", "objects of ipaddress"])
async def test_a_resolver_looks_names_up(flavour: Flavour, serve: Serve, kind: str) -> None:
    peer = serve(OK)
    names = Names(ipaddress.ip_address("127.0.0.1") if kind == "objects of ipaddress" else "127.0.0.1")
    async with flavour.pool(resolver=functions(names, flavour) if kind == "function" else names) as pool:
        assert (await pool.request("GET", f"http://{HOST}:{peer.port}/")).content == b"ok"
        assert names.asked == [(HOST, peer.port)]
        assert peer.requests[0].header(b"host") == f"{HOST}:{peer.port}".encode()
        # An address is no name.
        assert (await pool.request("GET", peer.url)).content == b"ok"
    assert len(names.asked) == 1


async def test_all_addresses_are_tried(flavour: Flavour, serve: Serve) -> None:
    peer = serve(OK)
    async with flavour.pool(resolver=Names("127.0.0.9", "::1", "127.0.0.1")) as pool:
        assert (await pool.request("GET", f"http://{HOST}:{peer.port}/")).content == b"ok"


async def test_a_proxy_is_looked_up_as_well(flavour: Flavour, serve: Serve) -> None:
    peer, names = serve(OK), Names("127.0.0.1")
    async with flavour.pool(proxy=httpcore_rs.Proxy(f"http://{HOST}:{peer.port}"), resolver=names) as pool:
        assert (await pool.request("GET", "http://origin.test/")).content == b"ok"
    assert names.asked == [(HOST, peer.port)]


async def test_an_oserror_is_a_connect_error(flavour: Flavour) -> None:
    error = socket.gaierror(socket.EAI_NONAME, "no such name")
    async with flavour.pool(resolver=Names(error=error)) as pool:
        with pytest.raises(httpcore.ConnectError, match=f"^resolving {HOST} failed: .*no such name") as caught:
            await pool.request("GET", f"http://{HOST}/")
    assert isinstance(caught.value.__cause__, socket.gaierror)


async def test_a_host_without_addresses_is_a_connect_error(flavour: Flavour) -> None:
    async with flavour.pool(resolver=Names()) as pool:
        with pytest.raises(httpcore.ConnectError, match=f"the resolver Names has no address for {HOST}"):
            await pool.request("GET", f"http://{HOST}/")


async def test_other_exceptions_pass_through(flavour: Flavour) -> None:
    async with flavour.pool(resolver=Names(error=KeyError("bug"))) as pool:
        with pytest.raises(KeyError, match="bug"):
            await pool.request("GET", f"http://{HOST}/")


@pytest.mark.parametrize("wrong", ["a.test", 1, b"\x7f\0\0\1", None])
async def test_what_is_no_address_is_named(flavour: Flavour, wrong: object) -> None:
    async with flavour.pool(resolver=Names(wrong)) as pool:
        with pytest.raises(TypeError, match=r"^the resolver Names must return IP addresses, not "):
            await pool.request("GET", f"http://{HOST}/")


async def test_a_text_is_no_list(flavour: Flavour) -> None:
    for wrong in ("127.0.0.1", None):

        def resolve(host: str, port: int, wrong: object = wrong) -> Any:
            return wrong

        async def aresolve(host: str, port: int, wrong: object = wrong) -> Any:
            return wrong

        async with flavour.pool(resolver=aresolve if flavour.is_async else resolve) as pool:
            with pytest.raises(TypeError, match="must return a list of IP addresses, not "):
                await pool.request("GET", f"http://{HOST}/")


async def test_concurrent_requests_share_a_lookup(flavour: Flavour, serve: Serve) -> None:
    peer, names = serve(OK), Names("127.0.0.1")
    names.gate, names.flavour = threading.Event(), flavour
    # Two pools with one resolver.
    async with flavour.pool(resolver=names) as pool, flavour.pool(resolver=names) as other:
        url = f"http://{HOST}:{peer.port}/"
        tasks = [flavour.start(lambda pool=pool: pool.request("GET", url)) for pool in (pool, other) * 5]
        await flavour.until(lambda: names.asked)
        await flavour.sleep(0.05)
        names.gate.set()
        assert {(await task.wait()).content for task in tasks} == {b"ok"}
    if flavour.is_async:
        assert len(names.asked) == 1
    # A thread may have begun after the first lookup.
    assert len(names.asked) < 10


async def test_a_cancelled_waiter_leaves_the_lookup_to_the_others(async_flavour: Flavour, serve: Serve) -> None:
    peer, names = serve(OK), Names("127.0.0.1")
    names.gate, names.flavour = threading.Event(), async_flavour
    async with async_flavour.pool(resolver=names) as pool:
        tasks = [async_flavour.start(lambda: pool.request("GET", f"http://{HOST}:{peer.port}/")) for _ in range(3)]
        await async_flavour.until(lambda: names.asked)
        tasks[0].cancel()
        await tasks[0].finished()
        names.gate.set()
        assert [(await task.wait()).content for task in tasks[1:]] == [b"ok"] * 2
    assert len(names.asked) == 1


async def test_the_connect_timeout_bounds_a_lookup(async_flavour: Flavour) -> None:
    names = Names("127.0.0.1")
    names.gate, names.flavour = threading.Event(), async_flavour
    async with async_flavour.pool(resolver=names) as pool:
        with pytest.raises(httpcore.ConnectTimeout):
            await pool.request("GET", f"http://{HOST}/", extensions={"timeout": {"connect": 0.05}})
    names.gate.set()


async def test_clients_use_a_resolver(flavour: Flavour, serve: Serve, library: Library) -> None:
    peer = serve(OK)
    transport = library.transport(flavour, resolver=httpcore_rs.StaticHosts({HOST: ["127.0.0.1"]}))
    async with Client(flavour, library, transport=transport) as client:
        assert (await client.send("GET", f"http://{HOST}:{peer.port}/")).text == "ok"


def test_a_resolver_of_the_other_kind_is_refused(flavour: Flavour) -> None:
    class Other:
        pass

    def blocking(host: str, port: int) -> list[str]:
        return []

    async def coroutine(host: str, port: int) -> list[str]:
        return []

    other: Any = Other()
    setattr(other, "resolve" if flavour.is_async else "aresolve", blocking)
    for wrong in (other, blocking if flavour.is_async else coroutine, httpcore_rs.StaticHosts):
        with pytest.raises(TypeError, match=r"^resolver must be a function of a host and a port"):
            flavour.pool(resolver=wrong)


async def test_a_function_of_the_other_kind_is_found_when_it_is_called(flavour: Flavour) -> None:
    async def coroutine(host: str, port: int) -> list[str]:
        return []

    class Hidden:
        def __call__(self, host: str, port: int) -> Any:
            return [] if flavour.is_async else coroutine(host, port)

    resolver: Any = Hidden()
    async with flavour.pool(resolver=resolver) as pool:
        with pytest.raises(TypeError, match=r"Hidden must (be async|return addresses) here"):
            await pool.request("GET", f"http://{HOST}/")


# Static hosts.


async def test_static_hosts(flavour: Flavour, serve: Serve) -> None:
    peer, names = serve(answers(reply(b"ok"))), Names("127.0.0.1")
    hosts = httpcore_rs.StaticHosts({"Api.Test": ["127.0.0.1"]}, names)
    async with flavour.pool(resolver=hosts) as pool:
        for host in ("api.test", "API.test", "api.test.", HOST):
            assert (await pool.request("GET", f"http://{host}:{peer.port}/")).content == b"ok"
    assert names.asked == [(HOST, peer.port)]


async def test_other_hosts_are_asked_of_the_system(flavour: Flavour, serve: Serve) -> None:
    peer = serve(OK)
    async with flavour.pool(resolver=httpcore_rs.StaticHosts({HOST: ["127.0.0.9"]})) as pool:
        assert (await pool.request("GET", f"http://localhost:{peer.port}/")).content == b"ok"
        with pytest.raises(httpcore.ConnectError, match=r"resolving no-such-name\.invalid failed"):
            await pool.request("GET", "http://no-such-name.invalid/")


def test_wrong_hosts_are_refused() -> None:
    for wrong in ("127.0.0.1", ["a.test"], [1]):
        with pytest.raises(TypeError, match="the resolver StaticHosts must return"):
            httpcore_rs.StaticHosts({HOST: wrong})  # type: ignore[dict-item]
    with pytest.raises(OSError, match=f"no address for {HOST}"):
        httpcore_rs.StaticHosts({HOST: []})
    for resolver in (1, httpcore_rs.SystemResolver):
        for cls in (httpcore_rs.StaticHosts, httpcore_rs.CachingResolver):
            arguments: list[Any] = [{}, resolver] if cls is httpcore_rs.StaticHosts else [resolver]
            with pytest.raises(TypeError, match=r"^resolver must be a function"):
                cls(*arguments)


# The cache.


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("httpcore_rs._resolvers._now", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


async def ask(flavour: Flavour, resolver: Any, host: str = HOST) -> Any:
    return await resolver.aresolve(host, 80) if flavour.is_async else resolver.resolve(host, 80)


async def test_addresses_are_kept_for_their_time(flavour: Flavour, clock: Clock) -> None:
    names = Names("127.0.0.1")
    cache = httpcore_rs.CachingResolver(names, ttl=30)
    for now, lookups in ((0, 1), (29.9, 1), (30, 2), (59.9, 2), (60, 3)):
        clock.now = 1000 + now
        assert await ask(flavour, cache) == ["127.0.0.1"]
        assert len(names.asked) == lookups
    cache.clear()
    await ask(flavour, cache)
    assert len(names.asked) == 4


async def test_what_is_kept_cannot_be_changed(flavour: Flavour, clock: Clock) -> None:
    cache = httpcore_rs.CachingResolver(Names("127.0.0.1"))
    for _ in range(3):
        found = await ask(flavour, cache)
        assert found == ["127.0.0.1"]
        found.append("10.0.0.1")


async def test_errors_are_kept_for_their_time(flavour: Flavour, clock: Clock) -> None:
    names = Names(error=socket.gaierror(socket.EAI_NONAME, "no such name"))
    cache = httpcore_rs.CachingResolver(names, ttl=30, negative_ttl=2)
    raised = []
    for now, lookups in ((0, 1), (1.9, 1), (2, 2), (3.9, 2)):
        clock.now = 1000 + now
        with pytest.raises(socket.gaierror, match="no such name") as caught:
            await ask(flavour, cache)
        raised.append(caught.value)
        assert len(names.asked) == lookups
    assert len({id(error) for error in raised[1:]}) == 3, "each caller gets an exception of its own"
    names.error, names.addresses = None, ("127.0.0.1",)
    clock.now += 2
    assert await ask(flavour, cache) == ["127.0.0.1"]


async def test_errors_need_not_be_kept(flavour: Flavour, clock: Clock) -> None:
    names = Names(error=OSError("down"))
    cache = httpcore_rs.CachingResolver(names, negative_ttl=0)
    for lookups in (1, 2):
        with pytest.raises(OSError, match="down"):
            await ask(flavour, cache)
        assert len(names.asked) == lookups
    # An exception that is none of a lookup is not kept.
    names.error = KeyError()
    cache = httpcore_rs.CachingResolver(names)
    for lookups in (3, 4):
        with pytest.raises(KeyError):
            await ask(flavour, cache)
        assert len(names.asked) == lookups


async def test_the_oldest_result_makes_room(flavour: Flavour, clock: Clock) -> None:
    names = Names("127.0.0.1")
    cache = httpcore_rs.CachingResolver(names, maxsize=2)
    for host in ("a.test", "b.test", "c.test", "b.test", "c.test", "a.test", "c.test", "b.test"):
        await ask(flavour, cache, host)
    assert [host for host, _ in names.asked] == ["a.test", "b.test", "c.test", "a.test", "b.test"]


async def test_a_pool_uses_the_cache(flavour: Flavour, serve: Serve) -> None:
    peer, names = serve(answers(reply(b"ok"))), Names("127.0.0.1")
    async with flavour.pool(resolver=httpcore_rs.CachingResolver(names)) as pool:
        for _ in range(3):
            assert (await pool.request("GET", f"http://{HOST}:{peer.port}/")).content == b"ok"
    assert len(peer.connections) == 3
    assert names.asked == [(HOST, peer.port)]


async def test_the_systems_resolver(flavour: Flavour) -> None:
    found = await ask(flavour, httpcore_rs.SystemResolver(), "localhost")
    assert "127.0.0.1" in found
    with pytest.raises(OSError, match=r"."):
        await ask(flavour, httpcore_rs.CachingResolver(), "no-such-name.invalid")


def test_wrong_numbers_are_refused() -> None:
    for arguments, exception, expected in (
        ({"ttl": "1"}, TypeError, "^ttl must be a number of seconds, not str"),
        ({"ttl": -1}, ValueError, "^ttl must be a number of seconds from 0 on, not -1"),
        ({"negative_ttl": True}, TypeError, "^negative_ttl must be a number"),
        ({"ttl": float("nan")}, ValueError, "^ttl must be"),
        ({"maxsize": 0}, ValueError, "^maxsize must be at least 1, not 0"),
        ({"maxsize": 1.5}, TypeError, "^maxsize must be an integer, not float"),
    ):
        with pytest.raises(exception, match=expected):
            httpcore_rs.CachingResolver(**arguments)  # type: ignore[arg-type]


def test_objects_say_what_they_are() -> None:
    hosts = httpcore_rs.StaticHosts({"A.test": ["10.0.0.1"]})
    assert repr(hosts) == "StaticHosts({'a.test': ['10.0.0.1']}, SystemResolver())"
    cache = httpcore_rs.CachingResolver(hosts, ttl=1)
    assert repr(cache) == f"CachingResolver({hosts!r}, ttl=1, negative_ttl=5.0, maxsize=1000)"
