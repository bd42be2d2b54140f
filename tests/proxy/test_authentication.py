"""Tunnels: headers of one request for its tunnel, and authentication in several rounds on one connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable

import httpcore
import pytest

import httpcore_rs
from peers import Connection, always, echo, reply
from proxies import ESTABLISHED, read_connect, relay, tunnels

if TYPE_CHECKING:
    from certificates import Certificates
    from flavours import Flavour
    from libraries import Library
    from peers import Peer, Serve

REQUIRED = b"407 Proxy Authentication Required"


@pytest.fixture
def origin(serve: Serve, certificates: Certificates) -> Peer:
    return serve(echo, tls=certificates.server_context())


@pytest.fixture
def pool(flavour: Flavour, certificates: Certificates) -> Callable[..., Any]:
    """Makes a pool over a proxy that trusts the origins of the tests."""
    tls = httpcore_rs.TLSConfig(verify=str(certificates.ca))

    def make(proxy: Peer, headers: Any = None, **options: Any) -> Any:
        return flavour.pool(proxy=httpcore_rs.Proxy(proxy.url, headers=headers), ssl_context=tls, **options)

    return make


def headers_of(proxy: Peer, name: bytes) -> list[bytes | None]:
    return [request.header(name) for request in proxy.requests]


def assert_clean(origin: Peer) -> None:
    """Nothing that is meant for the proxy has reached the origin."""
    names = {name.lower() for request in origin.requests for name, _ in request.headers}
    assert names <= {b"host", b"accept", b"accept-encoding", b"connection", b"user-agent"}


# Headers of one request.


@pytest.mark.parametrize("form", [list, dict])
async def test_a_request_adds_headers_to_its_tunnel(
    flavour: Flavour, serve: Serve, origin: Peer, pool: Any, form: Any
) -> None:
    proxy = serve(tunnels)
    async with pool(proxy, {"X-Proxy": "1", "X-Mine": "theirs"}) as made:
        headers = form([("x-mine", "2"), (b"Proxy-Authorization", b"Bearer a")])
        response = await made.request("GET", origin.url, extensions={"connect_headers": headers})
        assert response.status == 200
    (request,) = proxy.requests
    assert [request.header(name) for name in (b"x-proxy", b"x-mine", b"proxy-authorization")] == [
        b"1",
        b"2",
        b"Bearer a",
    ]
    assert request.head.lower().count(b"x-mine:") == 1
    assert_clean(origin)


async def test_a_tunnel_serves_requests_with_the_same_headers_only(
    flavour: Flavour, serve: Serve, origin: Peer, pool: Any
) -> None:
    proxy = serve(tunnels)
    async with pool(proxy) as made:
        for value in ("a", "b", "a", None, "b", None):
            extensions = {} if value is None else {"connect_headers": [("Proxy-Authorization", value)]}
            assert (await made.request("GET", origin.url, extensions=extensions)).status == 200
        assert len(made.connections) == 3
        assert "Authorization" not in repr(made.connections) + repr(made.raw)
        metrics = made.raw.metrics()
        assert list(metrics.origins.values()) == [metrics.total]
        assert metrics.total.requests_finished == 6
    assert headers_of(proxy, b"proxy-authorization") == [b"a", b"b", None]
    assert len(origin.requests) == 6
    assert_clean(origin)


async def test_waiting_requests_do_not_get_the_tunnel_of_others(
    flavour: Flavour, serve: Serve, origin: Peer, pool: Any
) -> None:
    proxy = serve(tunnels)
    async with pool(proxy, max_connections=1) as made:
        jobs = [
            lambda value=value: made.request("GET", origin.url, extensions={"connect_headers": {"X-User": value}})
            for value in ("a", "b") * 4
        ]
        assert {response.status for response in await flavour.gather(*jobs)} == {200}
    # Each new tunnel follows one of another user.
    users = headers_of(proxy, b"x-user")
    assert set(users) == {b"a", b"b"}
    assert len(proxy.requests) == len(proxy.connections)


async def test_other_routes_ignore_them(flavour: Flavour, serve: Serve) -> None:
    peer = serve(always(reply(b"ok")))
    extensions = {"connect_headers": {"X-Tunnel": "1"}}
    for arguments in ({}, {"proxy": httpcore_rs.Proxy(peer.url)}):
        async with flavour.pool(**arguments) as made:
            assert (await made.request("GET", peer.url, extensions=extensions)).content == b"ok"
            assert (await made.request("GET", peer.url)).content == b"ok"
            assert len(made.connections) == 1
    assert headers_of(peer, b"x-tunnel") == [None] * 4


async def test_wrong_headers_are_refused(flavour: Flavour, serve: Serve, pool: Any) -> None:
    proxy = serve(tunnels)
    async with pool(proxy) as made:
        for wrong in (1, [1], [("a",)], [("a", 1)], {"a": None}):
            with pytest.raises(TypeError, match=r"^the extension connect_headers must be pairs of strings or bytes"):
                await made.request("GET", "https://origin.test/", extensions={"connect_headers": wrong})
        for name, value in (
            ("Content-Length", "1"),
            ("transfer-encoding", "chunked"),
            ("a b", "c"),
            ("a", "secret\r\nb: c"),
        ):
            with pytest.raises(httpcore.LocalProtocolError) as caught:
                await made.request("GET", "https://origin.test/", extensions={"connect_headers": {name: value}})
            assert "secret" not in str(caught.value)
    assert proxy.requests == []


# Authentication in rounds.


def rounds(*answers: bytes, keep: bool = True, length: int = 5) -> Any:
    """Returns the script of a proxy that wants these values of `Proxy-Authorization`, one after the other."""

    def script(connection: Connection) -> None:
        for number in range(len(answers) + 1):
            port = read_connect(connection)
            given = connection.peer.requests[-1].header(b"proxy-authorization")
            if number == len(answers):
                assert given == answers[-1]
                connection.send(ESTABLISHED)
                relay(connection, port)
                return
            assert given == (answers[number - 1] if number else None)
            headers = [(b"Proxy-Authenticate", b"Negotiate token%d" % number)]
            if not keep:
                headers.append((b"Connection", b"close"))
            connection.send(reply(b"x" * length, status=REQUIRED, headers=headers))
            if not keep:
                return

    return script


class Negotiation:
    """A callback of the flavour's kind that records its challenges and answers with the next value."""

    def __init__(self, flavour: Flavour, *answers: Any) -> None:
        self.answers = list(answers)
        self.challenges: list[httpcore_rs.ProxyChallenge] = []
        self.callback = self.acall if flavour.is_async else self.call

    def call(self, challenge: httpcore_rs.ProxyChallenge) -> Any:
        self.challenges.append(challenge)
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def acall(self, challenge: httpcore_rs.ProxyChallenge) -> Any:
        return self.call(challenge)


def token(value: str) -> dict[str, str]:
    return {"Proxy-Authorization": value}


async def test_a_proxy_is_answered_on_one_connection(flavour: Flavour, serve: Serve, origin: Peer, pool: Any) -> None:
    proxy = serve(rounds(b"Negotiate 1", b"Negotiate 2", length=60_000))
    negotiation = Negotiation(flavour, token("Negotiate 1"), [(b"Proxy-Authorization", b"Negotiate 2")])
    async with pool(proxy, proxy_authenticate=negotiation.callback) as made:
        for _ in range(2):
            assert (await made.request("GET", origin.url)).status == 200
    assert len(proxy.connections) == 1
    assert [challenge.round for challenge in negotiation.challenges] == [1, 2]
    first = negotiation.challenges[0]
    assert (first.proxy, first.origin, first.status) == (proxy.url[:-1], origin.url[:-1], 407)
    assert (b"Proxy-Authenticate", b"Negotiate token0") in first.headers
    assert_clean(origin)


async def test_the_answer_replaces_other_credentials(flavour: Flavour, serve: Serve, origin: Peer, pool: Any) -> None:
    def script(connection: Connection) -> None:
        read_connect(connection)
        connection.send(reply(status=REQUIRED))
        port = read_connect(connection)
        connection.send(ESTABLISHED)
        relay(connection, port)

    proxy = serve(script)
    negotiation = Negotiation(flavour, token("Bearer answer"))
    async with pool(proxy, token("Basic configured"), proxy_authenticate=negotiation.callback) as made:
        extensions = {"connect_headers": token("Basic request")}
        assert (await made.request("GET", origin.url, extensions=extensions)).status == 200
    assert headers_of(proxy, b"proxy-authorization") == [b"Basic request", b"Bearer answer"]
    assert all(request.head.lower().count(b"proxy-authorization:") == 1 for request in proxy.requests)


async def test_an_async_pool_takes_a_plain_function(
    async_flavour: Flavour, serve: Serve, certificates: Certificates
) -> None:
    target = serve(echo, tls=certificates.server_context())
    proxy = serve(rounds(b"a"))
    negotiation = Negotiation(async_flavour, token("a"))
    tls = httpcore_rs.TLSConfig(verify=str(certificates.ca))
    arguments = {"proxy": httpcore_rs.Proxy(proxy.url), "ssl_context": tls}
    async with async_flavour.pool(proxy_authenticate=negotiation.call, **arguments) as made:
        assert (await made.request("GET", target.url)).status == 200


async def test_a_callback_may_give_up(flavour: Flavour, serve: Serve, pool: Any) -> None:
    proxy = serve(rounds(b"a", b"b"))
    negotiation = Negotiation(flavour, token("a"), None)
    async with pool(proxy, proxy_authenticate=negotiation.callback) as made:
        expected = r"^407 Proxy Authentication Required: .*Negotiate token1.*; proxy_authenticate has given up$"
        with pytest.raises(httpcore.ProxyError, match=expected):
            await made.request("GET", "https://origin.test/")
        assert made.connections == []
    assert len(negotiation.challenges) == 2


async def test_the_rounds_are_bounded(flavour: Flavour, serve: Serve, pool: Any) -> None:
    proxy = serve(always(reply(status=REQUIRED)))
    negotiation = Negotiation(flavour, *[token("again")] * 100)
    async with pool(proxy, proxy_authenticate=negotiation.callback) as made:
        with pytest.raises(httpcore.ProxyError, match=r"proxy_authenticate has answered too often$"):
            await made.request("GET", "https://origin.test/")
    assert (len(negotiation.challenges), len(proxy.requests), len(proxy.connections)) == (5, 6, 1)


@pytest.mark.parametrize("fault", ["closes", "is long"])
async def test_a_connection_that_cannot_go_on_is_named(flavour: Flavour, serve: Serve, pool: Any, fault: str) -> None:
    proxy = serve(rounds(b"a", keep=fault == "is long", length=5 if fault == "closes" else 1_000_000))
    negotiation = Negotiation(flavour, token("a"))
    async with pool(proxy, proxy_authenticate=negotiation.callback) as made:
        with pytest.raises(
            httpcore.ProxyError, match=r"^407 .* the proxy has ended the connection, or sent a long body"
        ):
            await made.request("GET", "https://origin.test/")
    assert len(proxy.requests) == 1


async def test_a_proxy_that_disconnects_between_rounds(flavour: Flavour, serve: Serve, pool: Any) -> None:
    def script(connection: Connection) -> None:
        read_connect(connection)
        connection.send(reply(status=REQUIRED))
        read_connect(connection)

    proxy = serve(script)
    async with pool(proxy, proxy_authenticate=Negotiation(flavour, token("a")).callback) as made:
        with pytest.raises(httpcore.ProxyError, match=r"^407 .* the proxy has ended the connection, or sent"):
            await made.request("GET", "https://origin.test/")


async def test_an_exception_of_the_callback_passes_through(flavour: Flavour, serve: Serve, pool: Any) -> None:
    proxy = serve(rounds(b"a"))
    async with pool(proxy, proxy_authenticate=Negotiation(flavour, KeyError("mine")).callback) as made:
        with pytest.raises(KeyError, match="mine"):
            await made.request("GET", "https://origin.test/")
        assert made.connections == []


@pytest.mark.parametrize("answer", [1, ["a"], [("a", 1)], "text"])
async def test_a_wrong_answer_is_named(flavour: Flavour, serve: Serve, pool: Any, answer: object) -> None:
    proxy = serve(rounds(b"a"))
    async with pool(proxy, proxy_authenticate=Negotiation(flavour, answer).callback) as made:
        with pytest.raises(TypeError):
            await made.request("GET", "https://origin.test/")


async def test_other_refusals_are_not_asked_about(flavour: Flavour, serve: Serve, pool: Any) -> None:
    proxy = serve(always(reply(status=b"403 No")))
    negotiation = Negotiation(flavour, token("a"))
    async with pool(proxy, proxy_authenticate=negotiation.callback) as made:
        with pytest.raises(httpcore.ProxyError, match=r"^403 No$"):
            await made.request("GET", "https://origin.test/")
    assert negotiation.challenges == []


async def test_an_origin_is_not_answered(flavour: Flavour, serve: Serve, certificates: Certificates, pool: Any) -> None:
    # A 407 of an origin is its response, also in a tunnel.
    target = serve(always(reply(b"no", status=REQUIRED)), tls=certificates.server_context())
    proxy = serve(tunnels)
    negotiation = Negotiation(flavour, token("a"))
    async with pool(proxy, proxy_authenticate=negotiation.callback) as made:
        assert (await made.request("GET", target.url)).status == 407
    tls = httpcore_rs.TLSConfig(verify=str(certificates.ca))
    async with flavour.pool(ssl_context=tls, proxy_authenticate=negotiation.callback) as made:
        assert (await made.request("GET", target.url)).status == 407
    assert negotiation.challenges == []


async def test_clients_authenticate(
    flavour: Flavour, serve: Serve, origin: Peer, certificates: Certificates, library: Library
) -> None:
    proxy = serve(rounds(b"a", b"b"))
    negotiation = Negotiation(flavour, token("a"), token("b"))
    tls = httpcore_rs.TLSConfig(verify=str(certificates.ca))
    transport = library.transport(flavour, verify=tls, proxy=proxy.url, proxy_authenticate=negotiation.callback)
    async with library.client(flavour, transport) as client:
        response = await client.send("GET", origin.url, extensions={"connect_headers": {"X-A": "1"}})
        assert response.status_code == 200
    assert headers_of(proxy, b"x-a") == [b"1"] * 3
    assert_clean(origin)
