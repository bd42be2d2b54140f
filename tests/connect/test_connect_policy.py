"""The option `connect_policy`: it is asked about each address of each connect, and decides what is connected to."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from typing import TYPE_CHECKING, Any

import httpcore
import pytest

import httpcore_rs
from libraries import Client
from peers import always, answers, reply
from proxies import socks5, tunnels

if TYPE_CHECKING:
    from flavours import Flavour
    from libraries import Library
    from peers import Serve

OK = always(reply(b"ok"))
HOST = "named.test"


class Guard:
    """A policy that records what it is asked, and refuses some addresses."""

    def __init__(self, *refused: str, error: Exception | None = None) -> None:
        self.refused = refused
        self.error = error
        self.asked: list[Any] = []

    def __call__(self, address: httpcore_rs.ConnectAddress) -> bool:
        self.asked.append(address)
        if str(address.ip) not in self.refused:
            return True
        if self.error is not None:
            raise self.error
        return False

    @property
    def ips(self) -> list[str]:
        return [str(address.ip) for address in self.asked]


def static(flavour: Flavour, *addresses: str) -> Any:
    return httpcore_rs.StaticHosts({HOST: addresses})


# What it is asked, and what a refusal does.


async def test_a_policy_is_given_the_address_that_is_connected_to(flavour: Flavour, serve: Serve) -> None:
    peer, guard = serve(OK), Guard()
    async with flavour.pool(connect_policy=guard) as pool:
        for _ in range(2):
            assert (await pool.request("GET", peer.url)).content == b"ok"
    expected = ("127.0.0.1", ipaddress.ip_address("127.0.0.1"), peer.port, f"http://127.0.0.1:{peer.port}", False)
    assert guard.asked == [expected], "the second request has used the connection of the first"
    assert guard.asked[0].host == "127.0.0.1"


async def test_a_refused_host_is_not_connected_to(flavour: Flavour, serve: Serve) -> None:
    peer = serve(OK)
    expected = rf"^connecting to {peer.url[:-1]} failed: the connect policy Guard refuses 127\.0\.0\.1$"
    async with flavour.pool(connect_policy=Guard("127.0.0.1")) as pool:
        with pytest.raises(httpcore.ConnectError, match=expected):
            await pool.request("GET", peer.url)
        assert pool.connections == []
    assert peer.connections == []


async def test_the_exception_of_a_policy_refuses(flavour: Flavour, serve: Serve) -> None:
    peer = serve(OK)
    error = PermissionError("internal")
    async with flavour.pool(connect_policy=Guard("127.0.0.1", error=error)) as pool:
        with pytest.raises(httpcore.ConnectError, match=r"Guard refuses 127\.0\.0\.1 \(internal\)$") as caught:
            await pool.request("GET", peer.url)
    assert caught.value.__cause__ is error
    assert peer.connections == []


async def test_an_answer_that_is_no_bool_is_an_error(flavour: Flavour, serve: Serve) -> None:
    async def coroutine() -> bool:
        return True

    peer = serve(OK)
    for answer in (lambda _: None, lambda _: 1, lambda _: coroutine()):
        async with flavour.pool(connect_policy=answer) as pool:
            with pytest.raises(TypeError, match=r"^the connect policy must return True or False, not "):
                await pool.request("GET", peer.url)
    assert peer.connections == []


async def test_refused_addresses_of_a_host_are_left_out(flavour: Flavour, serve: Serve) -> None:
    peer, guard = serve(OK), Guard("10.0.0.1", "::1")
    async with flavour.pool(connect_policy=guard, resolver=static(flavour, "10.0.0.1", "127.0.0.1", "::1")) as pool:
        assert (await pool.request("GET", f"http://{HOST}:{peer.port}/")).content == b"ok"
        guard.refused = ("10.0.0.1", "127.0.0.1", "::1")
        await pool.close()
        with pytest.raises(httpcore.ConnectError, match=r"Guard refuses 10\.0\.0\.1, 127\.0\.0\.1, ::1$"):
            await pool.request("GET", f"http://{HOST}:{peer.port}/")
    assert guard.ips == ["10.0.0.1", "127.0.0.1", "::1"] * 2
    assert {address.host for address in guard.asked} == {HOST}
    assert len(peer.connections) == 1


async def test_a_name_is_not_looked_up_again_behind_the_check(flavour: Flavour, serve: Serve) -> None:
    peer, lookups = serve(answers(reply(b"ok"))), []

    def rebinding(host: str, port: int) -> list[str]:
        lookups.append(host)
        return ["127.0.0.1" if len(lookups) == 1 else "127.0.0.2"]

    async def arebinding(host: str, port: int) -> list[str]:
        return rebinding(host, port)

    resolver = arebinding if flavour.is_async else rebinding
    async with flavour.pool(connect_policy=Guard("127.0.0.2"), resolver=resolver) as pool:
        url = f"http://{HOST}:{peer.port}/"
        assert (await pool.request("GET", url)).content == b"ok"
        assert len(lookups) == 1
        await pool.close()
        with pytest.raises(httpcore.ConnectError, match=r"Guard refuses 127\.0\.0\.2"):
            await pool.request("GET", url)
    assert len(lookups) == 2


async def test_a_refusal_is_not_repeated_and_each_attempt_is_checked(flavour: Flavour, serve: Serve) -> None:
    peer, guard = serve(OK), Guard("127.0.0.1")
    async with flavour.pool(connect_policy=guard, retries=3) as pool:
        with pytest.raises(httpcore.ConnectError):
            await pool.request("GET", peer.url)
        assert len(guard.asked) == 1
    guard = Guard()
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        async with flavour.pool(connect_policy=guard, retries=1) as pool:
            with pytest.raises(httpcore.ConnectError, match="refused"):
                await pool.request("GET", f"http://127.0.0.1:{closed.getsockname()[1]}/")
    assert len(guard.asked) == 2


async def test_redirects_are_checked(flavour: Flavour, serve: Serve, library: Library) -> None:
    inner = serve(OK, host="127.0.0.2")
    outer = serve(always(reply(status=b"302 Found", headers=[(b"Location", inner.url.encode())])))
    transport = library.transport(flavour, connect_policy=Guard("127.0.0.2"))
    async with library.client(flavour, transport, follow_redirects=True) as client:
        with pytest.raises(library.ConnectError, match=r"Guard refuses 127\.0\.0\.2"):
            await client.send("GET", outer.url)
    assert len(outer.requests) == 1
    assert inner.connections == []


async def test_clients_are_guarded_after_install(flavour: Flavour, serve: Serve, library: Library) -> None:
    peer = serve(OK)
    with httpcore_rs.install(connect_policy=httpcore_rs.PublicAddressesOnly()):
        async with Client(flavour, library) as client:
            with pytest.raises(library.ConnectError, match=r"PublicAddressesOnly\(\) refuses 127\.0\.0\.1"):
                await client.send("GET", peer.url)
    assert peer.connections == []


async def test_single_connections_are_guarded(flavour: Flavour, serve: Serve) -> None:
    peer = serve(OK)
    cls = getattr(httpcore_rs, flavour.prefixed("HTTPConnection"))
    connection = cls(httpcore.URL(peer.url).origin, connect_policy=Guard("127.0.0.1"))
    with pytest.raises(httpcore.ConnectError, match="Guard refuses"):
        await flavour.call(connection, "request", "GET", peer.url)
    assert peer.connections == []


# Proxies.


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_the_address_of_a_proxy_is_checked(flavour: Flavour, serve: Serve, scheme: str) -> None:
    peer = serve(OK)
    proxy = httpcore_rs.Proxy(f"{scheme}://{peer.authority}")
    guard = Guard("127.0.0.1")
    async with flavour.pool(proxy=proxy, connect_policy=guard) as pool:
        for url in ("http://origin.test/", "https://origin.test/"):
            with pytest.raises(httpcore.ConnectError, match=rf"^connecting to the proxy {scheme}://.* Guard refuses"):
                await pool.request("GET", url)
    assert [(address.host, address.port, address.origin, address.is_proxy) for address in guard.asked] == [
        ("127.0.0.1", peer.port, "http://origin.test:80", True),
        ("127.0.0.1", peer.port, "https://origin.test:443", True),
    ]
    assert peer.connections == []


# Each is read as an address of the own network by a resolver.
LITERALS = ["10.0.0.1", "10.1", "0xa000001", "167772161", "012.0.0.1", "10.0.0.1.", "[::ffff:10.0.0.1]"]


@pytest.mark.parametrize("literal", LITERALS)
@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_an_address_as_the_target_of_a_proxy_is_checked(
    flavour: Flavour, serve: Serve, scheme: str, literal: str
) -> None:
    peer = serve(socks5() if scheme == "socks5" else tunnels)
    policy = httpcore_rs.PublicAddressesOnly(allow=["127.0.0.1"])
    async with flavour.pool(proxy=httpcore_rs.Proxy(f"{scheme}://{peer.authority}"), connect_policy=policy) as pool:
        for url in (f"http://{literal}/", f"https://{literal}/"):
            with pytest.raises(httpcore.ConnectError, match=r"refuses .*10\.0\.0\.1 \(a private address\)$"):
                await pool.request("GET", url)
    assert peer.connections == []


async def test_a_name_is_left_to_the_proxy(flavour: Flavour, serve: Serve) -> None:
    peer, guard = serve(OK), Guard()
    async with flavour.pool(proxy=httpcore_rs.Proxy(peer.url), connect_policy=guard) as pool:
        assert (await pool.request("GET", "http://origin.test/")).content == b"ok"
    assert [address.is_proxy for address in guard.asked] == [True]


# Other ways to connect.


async def test_a_network_backend_is_given_addresses_that_are_allowed(flavour: Flavour, serve: Serve) -> None:
    peer, guard, hosts = serve(OK), Guard("10.0.0.1"), []
    inner = flavour.backend()

    class Backend:
        def connect_tcp(self, host: str, *args: Any, **kwargs: Any) -> Any:
            hosts.append(host)
            return inner.connect_tcp(host, *args, **kwargs)

    resolver = static(flavour, "10.0.0.1", "127.0.0.9", "127.0.0.1")
    arguments: dict[str, Any] = {"connect_policy": guard, "resolver": resolver}
    for assigned in (False, True):
        del hosts[:]
        async with flavour.pool(**arguments, **({} if assigned else {"network_backend": Backend()})) as pool:
            if assigned:
                pool.raw._network_backend = Backend()
            assert (await pool.request("GET", f"http://{HOST}:{peer.port}/")).content == b"ok"
            assert hosts == ["127.0.0.9", "127.0.0.1"], "the first one refuses connections"
            guard.refused = ("10.0.0.1", "127.0.0.9", "127.0.0.1")
            await pool.close()
            with pytest.raises(httpcore.ConnectError, match="Guard refuses"):
                await pool.request("GET", f"http://{HOST}:{peer.port}/")
            assert len(hosts) == 2
            guard.refused = ("10.0.0.1",)


async def test_replaced_sockets_are_guarded(flavour: Flavour, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    class Recording(socket.socket):
        def connect(self, address: Any) -> None:
            super().connect(address)

    peer, guard = serve(OK), Guard()
    monkeypatch.setattr(socket, "socket", Recording)
    async with flavour.pool(connect_policy=guard) as pool:
        assert (await pool.request("GET", peer.url)).content == b"ok"
        guard.refused = ("127.0.0.1",)
        await pool.close()
        with pytest.raises(httpcore.ConnectError, match="Guard refuses"):
            await pool.request("GET", peer.url)
    assert guard.ips == ["127.0.0.1"] * 2
    assert len(peer.connections) == 1


def test_what_cannot_be_checked_is_refused(flavour: Flavour) -> None:
    with pytest.raises(
        ValueError, match=r"^connect_policy checks IP addresses, and a Unix domain socket \(uds\) has none"
    ):
        flavour.pool(uds="/tmp/socket", connect_policy=Guard())
    origin = httpcore.Origin(b"http", b"example.com", 80)
    stream = getattr(httpcore, flavour.prefixed("MockStream"))([])
    for name in ("HTTP11Connection", "HTTP2Connection"):
        with pytest.raises(ValueError, match="connect_policy cannot check the address of a stream"):
            getattr(httpcore_rs, flavour.prefixed(name))(origin, stream, connect_policy=Guard())


def test_classes_and_coroutine_functions_are_no_policies(flavour: Flavour) -> None:
    async def policy(address: object) -> bool:
        return True

    class Policy:
        async def __call__(self, address: object) -> bool:
            return True

    for wrong, expected in (
        (policy, "not a coroutine function"),
        (Policy(), "not a coroutine function"),
        (httpcore_rs.PublicAddressesOnly, r"not the class PublicAddressesOnly: pass PublicAddressesOnly\(\)"),
    ):
        with pytest.raises(TypeError, match=f"^connect_policy must be a function of an address .*{expected}$"):
            flavour.pool(connect_policy=wrong)


# PublicAddressesOnly.


async def test_private_addresses_are_refused(flavour: Flavour, serve: Serve) -> None:
    peer = serve(OK)
    async with flavour.pool(connect_policy=httpcore_rs.PublicAddressesOnly()) as pool:
        for url, expected in (
            (peer.url, r"PublicAddressesOnly\(\) refuses 127\.0\.0\.1 \(a loopback address\)$"),
            (f"http://127.1:{peer.port}/", r"refuses 127\.0\.0\.1 \(a loopback address\)$"),
            (f"http://[::ffff:127.0.0.1]:{peer.port}/", r"refuses ::ffff:127\.0\.0\.1 \(a loopback address\)$"),
            (f"http://localhost:{peer.port}/", r"refuses .*\(.* loopback address\)"),
            ("http://169.254.169.254/latest/meta-data/", r"refuses 169\.254\.169\.254 \(a link-local address\)$"),
            ("http://0.0.0.0/", r"refuses 0\.0\.0\.0 \(an unspecified address\)$"),
            ("https://10.0.0.1/", r"^connecting to https://10\.0\.0\.1:443 failed: .* \(a private address\)$"),
        ):
            with pytest.raises(httpcore.ConnectError, match=expected):
                await pool.request("GET", url)
    assert peer.connections == []


async def test_networks_can_be_allowed(flavour: Flavour, serve: Serve) -> None:
    peer = serve(OK)
    policy = httpcore_rs.PublicAddressesOnly(allow=["127.0.0.1/32", ipaddress.ip_network("10.0.0.0/8")])
    async with flavour.pool(connect_policy=policy) as pool:
        assert (await pool.request("GET", peer.url)).content == b"ok"
        with pytest.raises(httpcore.ConnectError, match=r"refuses 127\.0\.0\.2"):
            await pool.request("GET", "http://127.0.0.2/")


async def test_it_can_be_a_part_of_another_policy(flavour: Flavour, serve: Serve) -> None:
    peer, public = serve(OK), httpcore_rs.PublicAddressesOnly()
    proxy = httpcore_rs.Proxy(peer.url)
    async with flavour.pool(proxy=proxy, connect_policy=lambda address: address.is_proxy or public(address)) as pool:
        assert (await pool.request("GET", "http://origin.test/")).content == b"ok"
        with pytest.raises(httpcore.ConnectError, match=r"the connect policy .*<lambda> refuses 10\.0\.0\.1$"):
            await pool.request("GET", "http://10.0.0.1/")


def test_the_object() -> None:
    public = httpcore_rs.PublicAddressesOnly()
    assert (repr(public), public.allow) == ("PublicAddressesOnly()", ())
    assert public("8.8.8.8")
    assert public(ipaddress.ip_address("2606:4700::1111"))
    assert not public("fe80::1%lo")
    assert not public(httpcore_rs.ConnectAddress("a", ipaddress.ip_address("10.0.0.1"), 80, "http://a:80", False))
    other = httpcore_rs.PublicAddressesOnly(["fd00::/8", ipaddress.ip_address("10.0.0.1")])
    assert repr(other) == "PublicAddressesOnly(allow=['fd00::/8', '10.0.0.1/32'])"
    assert other.allow == ("fd00::/8", "10.0.0.1/32")
    with pytest.raises(ValueError, match=r'"example\.com" is not an IP address'):
        public("example.com")
    for wrong, exception, expected in (
        ("10.0.0.0/8", TypeError, "^allow must be an iterable of networks"),
        (1, TypeError, "^allow must be an iterable of networks, not int"),
        (["10.0.0.1/8"], ValueError, '^allow: "10.0.0.1/8" has bits of a host behind its prefix'),
        (["private"], ValueError, '^allow: "private" is not a network'),
    ):
        with pytest.raises(exception, match=expected):
            httpcore_rs.PublicAddressesOnly(wrong)  # type: ignore[arg-type]


async def test_tls_is_verified_for_the_name(flavour: Flavour, serve: Serve, certificates: Any) -> None:
    peer = serve(OK, tls=certificates.server_context())
    context = ssl.create_default_context(cafile=str(certificates.ca))
    resolver = httpcore_rs.StaticHosts({"localhost": ["127.0.0.1"], "other.invalid": ["127.0.0.1"]})
    async with flavour.pool(ssl_context=context, connect_policy=Guard(), resolver=resolver) as pool:
        assert (await pool.request("GET", f"https://localhost:{peer.port}/")).content == b"ok"
        assert peer.requests[0].header(b"host") == f"localhost:{peer.port}".encode()
        with pytest.raises(httpcore.ConnectError, match="certificate"):
            await pool.request("GET", f"https://other.invalid:{peer.port}/")
