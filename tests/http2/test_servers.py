"""HTTP/2 with real servers: hypercorn over TLS and by prior knowledge, and nginx over TLS."""

from __future__ import annotations

import hashlib
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

import httpcore_rs
from servers import NginxServer, find_nginx

if TYPE_CHECKING:
    from collections.abc import Iterator

    from certificates import Certificates
    from flavours import Flavour, Pool
    from servers import AsgiServer


def pool_for(flavour: Flavour, certificates: Certificates, **arguments: Any) -> Pool:
    config = httpcore_rs.TLSConfig(verify=str(certificates.ca))
    return flavour.pool(ssl_context=config, http2=True, **arguments)


# hypercorn.


@pytest.fixture(params=["http", "https"])
def url(request: pytest.FixtureRequest, asgi: AsgiServer) -> str:
    return getattr(asgi, request.param)


def asgi_pool(flavour: Flavour, asgi: AsgiServer, url: str, **arguments: Any) -> Pool:
    return pool_for(flavour, asgi.certificates, http1=url.startswith("https"), **arguments)


async def test_hypercorn_keeps_a_connection(flavour: Flavour, asgi: AsgiServer, url: str) -> None:
    async with asgi_pool(flavour, asgi, url) as pool:
        for number in range(20):
            response = await pool.request("POST", f"{url}/echo/{number}", content=b"x" * number)
            described = json.loads(response.content)
            assert described["path"] == f"/echo/{number}"
            assert described["length"] == number
            assert response.extensions["http_version"] == b"HTTP/2"
        assert "HTTP/2, IDLE, Request Count: 20]" in repr(pool.connections)


async def test_hypercorn_big_bodies(flavour: Flavour, asgi: AsgiServer, url: str) -> None:
    block = bytes(range(256)) * 256
    async with asgi_pool(flavour, asgi, url) as pool:
        for content in (block * 32, flavour.parts(*[block] * 32)):
            response = await pool.request("POST", f"{url}/echo", content=content)
            assert json.loads(response.content)["sha256"] == hashlib.sha256(block * 32).hexdigest()
        assert len((await pool.request("GET", f"{url}/bytes/4000000")).content) == 4_000_000
        assert len((await pool.request("GET", f"{url}/chunks/1000")).content) == 1_024_000
        assert "IDLE, Request Count: 4]" in repr(pool.connections)


async def test_hypercorn_many_at_once(flavour: Flavour, asgi: AsgiServer, url: str) -> None:
    async with asgi_pool(flavour, asgi, url, max_connections=10) as pool:

        async def ask(name: str) -> None:
            for number in range(5):
                path = f"/echo/{name}-{number}"
                content = name.encode() * 100 * number
                described = json.loads((await pool.request("POST", url + path, content=content)).content)
                assert (described["path"], described["length"]) == (path, len(content))

        await flavour.gather(*[lambda number=number: ask(f"caller{number}") for number in range(30)])
        assert len(pool.connections) == 1


async def test_hypercorn_responses_left_early(flavour: Flavour, asgi: AsgiServer, url: str) -> None:
    async with asgi_pool(flavour, asgi, url, max_connections=1) as pool:
        for _ in range(10):
            async with pool.stream("GET", f"{url}/chunks/5000") as response:
                async for _chunk in response:
                    break
        assert (await pool.request("GET", f"{url}/bytes/5")).content == b"xxxxx"
        assert "IDLE, Request Count: 11]" in repr(pool.connections)


@pytest.mark.skipif(sys.version_info < (3, 10), reason="the last hypercorn for CPython 3.9 sends no trailers")
async def test_hypercorn_trailers(flavour: Flavour, asgi: AsgiServer, url: str) -> None:
    async with asgi_pool(flavour, asgi, url) as pool:
        response = await pool.request("GET", f"{url}/trailers", headers={"TE": "trailers"})
        assert response.content == b"hello"
        assert response.extensions["trailing_headers"] == [(b"x-checksum", b"123")]


# nginx.


@pytest.fixture(scope="module")
def nginx(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NginxServer]:
    if find_nginx() is None:
        pytest.skip("nginx is not installed")
    with NginxServer(certificates, tmp_path_factory.mktemp("nginx")) as server:
        yield server


async def test_nginx_files(flavour: Flavour, certificates: Certificates, nginx: NginxServer) -> None:
    async with pool_for(flavour, certificates) as pool:
        for name, size in nginx.SIZES.items():
            response = await pool.request("GET", nginx.url + name)
            assert (response.status, response.content) == (200, b"x" * size)
            assert response.extensions["http_version"] == b"HTTP/2"
            assert (b"content-length", b"%d" % size) in response.headers
        head = await pool.request("HEAD", nginx.url + "big")
        assert (head.status, head.content) == (200, b"")
        assert (await pool.request("GET", nginx.url + "missing")).status == 404
        assert "HTTP/2, IDLE, Request Count: 4]" in repr(pool.connections)


async def test_nginx_sends_goaway_now_and_then(
    flavour: Flavour, certificates: Certificates, nginx: NginxServer
) -> None:
    """It does so after 50 requests on a connection, while others are under way on it."""
    async with pool_for(flavour, certificates, max_connections=3) as pool:

        async def ask() -> None:
            for _ in range(20):
                response = await pool.request("GET", nginx.url + "small")
                assert (response.status, len(response.content)) == (200, 1000)

        await flavour.gather(*[ask] * 20)
        assert "Requests: 0 active, 0 queued | Connections: 0 active" in repr(pool)


async def test_nginx_refuses_a_body_early(flavour: Flavour, certificates: Certificates, nginx: NginxServer) -> None:
    async with pool_for(flavour, certificates, max_connections=1) as pool:
        for content in (b"x" * 5_000_000, flavour.parts(*[b"x" * 65_536] * 80)):
            response = await pool.request("POST", nginx.url + "small", content=content)
            # nginx looks at the method of a static file first, if the length is not declared.
            assert response.status in (405, 413)
        assert (await pool.request("GET", nginx.url + "small")).status == 200


async def test_nginx_many_big_files_at_once(flavour: Flavour, certificates: Certificates, nginx: NginxServer) -> None:
    async with pool_for(flavour, certificates, max_connections=1) as pool:

        async def ask() -> None:
            assert len((await pool.request("GET", nginx.url + "big")).content) == nginx.SIZES["big"]

        await flavour.gather(*[ask] * 12)
        assert "Connections: 0 active, 1 idle" in repr(pool)
