"""Real proxies: proxy.py, and pproxy, which speaks SOCKS5 as well. Origins are hypercorn's."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import ssl
import sys
from typing import TYPE_CHECKING, Any

import httpcore
import httpx
import pytest

import httpcore_rs
from peers import refused_port
from servers import ProxyServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from certificates import Certificates
    from flavours import Flavour
    from servers import AsgiServer

    ProxyOf = Callable[[str], ProxyServer]

USER, PASSWORD = "user", "pass:word"
BODY = b"0123456789abcdef" * 32768  # text: pproxy looks for requests in chunked bodies


@pytest.fixture(scope="module")
def proxy_of(
    certificates: Certificates, tmp_path_factory: pytest.TempPathFactory, asgi: AsgiServer
) -> Iterator[ProxyOf]:
    """Returns a function that returns the proxy of a kind, and starts it at the first call."""
    folder = tmp_path_factory.mktemp("proxies")
    with contextlib.ExitStack() as stack:

        @functools.cache
        def start(kind: str) -> ProxyServer:
            proxy = stack.enter_context(ProxyServer.of(kind, f"{USER}:{PASSWORD}", certificates, folder))
            # A proxy listens before it serves: its first response may take longer than the limits of a test.
            with httpcore_rs.ConnectionPool(**way(proxy, certificates)) as pool:
                assert pool.request("GET", f"{asgi.http}/echo").status == 200
            return proxy

        yield start


KINDS = ["proxy.py", "proxy.py over TLS", "pproxy", "pproxy, SOCKS5"]


def way(proxy: ProxyServer, certificates: Certificates, password: str = PASSWORD) -> dict[str, Any]:
    """Returns the arguments of a pool that uses a proxy."""
    trust: Any = httpcore_rs.TLSConfig(verify=str(certificates.ca))
    context = trust if proxy.url.startswith("https") else None
    return {
        "proxy": httpcore.Proxy(proxy.url, auth=(USER, password), ssl_context=context),
        "ssl_context": trust,
    }


@pytest.fixture(params=KINDS)
def arguments(request: pytest.FixtureRequest, proxy_of: ProxyOf, certificates: Certificates) -> dict[str, Any]:
    return way(proxy_of(request.param), certificates)


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_bodies_both_ways(flavour: Flavour, asgi: AsgiServer, arguments: dict[str, Any], scheme: str) -> None:
    url = getattr(asgi, scheme)
    async with flavour.pool(**arguments) as pool:
        for content in (None, BODY, flavour.parts(BODY[:1000], BODY[1000:])):
            response = await pool.request("POST", f"{url}/echo", content=content)
            expected = BODY if content is not None else b""
            assert json.loads(response.content)["sha256"] == hashlib.sha256(expected).hexdigest()
        assert (await pool.request("GET", f"{url}/bytes/1000000")).content == b"x" * 1_000_000
        async with pool.stream("GET", f"{url}/chunks/100") as response:
            assert b"".join([chunk async for chunk in response]) == b"".join(bytes([n]) * 1024 for n in range(100))


@pytest.fixture
def arguments_for_many(request: pytest.FixtureRequest, arguments: dict[str, Any]) -> dict[str, Any]:
    if "pproxy" in request.node.name and sys.version_info >= (3, 14):
        pytest.skip("on CPython 3.14 pproxy closes connections when there are many, of httpcore's own pools as well")
    return arguments


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_many_at_a_time(
    flavour: Flavour, asgi: AsgiServer, arguments_for_many: dict[str, Any], scheme: str
) -> None:
    url = getattr(asgi, scheme)
    async with flavour.pool(max_connections=5, **arguments_for_many) as pool:

        async def ask(number: int) -> None:
            response = await pool.request("GET", f"{url}/echo/{number}")
            assert json.loads(response.content)["path"] == f"/echo/{number}"

        await flavour.gather(*[lambda number=number: ask(number) for number in range(20)])
        assert len(pool.connections) <= 5


async def test_connections_are_kept(flavour: Flavour, asgi: AsgiServer, arguments: dict[str, Any]) -> None:
    async with flavour.pool(**arguments) as pool:
        for _ in range(3):
            assert (await pool.request("GET", f"{asgi.https}/echo")).status == 200
        assert "Request Count: 3" in repr(pool.connections)


async def test_http2(flavour: Flavour, asgi: AsgiServer, arguments: dict[str, Any]) -> None:
    async with flavour.pool(http2=True, **arguments) as pool:
        jobs = [lambda: pool.request("POST", f"{asgi.https}/echo", content=BODY)] * 3
        for response in await flavour.gather(*jobs):
            assert response.extensions["http_version"] == b"HTTP/2"
            assert json.loads(response.content)["sha256"] == hashlib.sha256(BODY).hexdigest()
        assert "HTTP/2, IDLE, Request Count: 3]" in repr(pool.connections)


async def test_tls_by_python_ssl(
    flavour: Flavour, asgi: AsgiServer, arguments: dict[str, Any], certificates: Certificates
) -> None:
    context = ssl.create_default_context(cafile=str(certificates.ca))
    async with flavour.pool(**{**arguments, "ssl_context": context}) as pool:
        response = await pool.request("POST", f"{asgi.https}/echo", content=BODY)
        assert json.loads(response.content)["length"] == len(BODY)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_wrong_password(
    flavour: Flavour, asgi: AsgiServer, proxy_of: ProxyOf, certificates: Certificates, kind: str
) -> None:
    async with flavour.pool(**way(proxy_of(kind), certificates, "wrong")) as pool:
        with pytest.raises(httpcore.ProxyError) as caught:
            await pool.request("GET", f"{asgi.https}/echo")
        assert pool.connections == []
        if kind.endswith("SOCKS5"):
            # It closes the connection of a client that it does not know.
            assert "closed the connection in the middle of the handshake" in str(caught.value)
        else:
            text = str(caught.value)
            assert text.startswith("407 Proxy Authentication Required: the proxy http")
            assert "refuses the credentials that it was sent (Proxy-Authenticate: Basic" in text
            assert "wrong" not in text
            assert (await pool.request("GET", f"{asgi.http}/echo")).status == 407


async def test_an_origin_that_is_not_there(flavour: Flavour, asgi: AsgiServer, arguments: dict[str, Any]) -> None:
    async with flavour.pool(max_connections=1, **arguments) as pool:
        with refused_port() as port:
            with pytest.raises((httpcore.ProxyError, httpcore.RemoteProtocolError, httpcore.NetworkError)) as caught:
                await pool.request("GET", f"https://127.0.0.1:{port}/", extensions={"timeout": {"connect": 5.0}})
        assert str(caught.value)
        assert (await pool.request("GET", f"{asgi.https}/echo")).status == 200


@pytest.mark.parametrize("kind", KINDS)
async def test_httpx(
    flavour: Flavour, asgi: AsgiServer, proxy_of: ProxyOf, certificates: Certificates, kind: str
) -> None:
    proxy: Any = proxy_of(kind).url.replace("://", f"://{USER}:{PASSWORD.replace(':', '%3A')}@")
    if "TLS" in kind:
        trust: Any = httpcore_rs.TLSConfig(verify=str(certificates.ca))
        proxy = httpx.Proxy(proxy, ssl_context=trust)
    transport = httpcore_rs.AsyncTransport if flavour.is_async else httpcore_rs.SyncTransport
    client: Any = (httpx.AsyncClient if flavour.is_async else httpx.Client)(
        transport=transport(verify=str(certificates.ca), proxy=proxy)
    )
    await flavour.call(client, "__enter__")
    for url in (asgi.http, asgi.https):
        response = await flavour.call(client, "request", "POST", f"{url}/echo", content=BODY)
        assert response.json()["length"] == len(BODY)
    await flavour.call(client, "__exit__")
