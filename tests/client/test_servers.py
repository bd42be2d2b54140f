"""Real servers: httpbin on wsgiref, and hypercorn; each over HTTP and over HTTPS."""

from __future__ import annotations

import gzip
import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest
import pytest_httpbin.certs

import httpcore_rs

if TYPE_CHECKING:
    from flavours import Flavour, Pool
    from servers import AsgiServer

SCHEMES = ["http", "https"]


@pytest.fixture
def bin_pool(flavour: Flavour) -> Pool:
    return flavour.pool(ssl_context=httpcore_rs.TLSConfig(verify=pytest_httpbin.certs.where()))


@pytest.fixture(params=SCHEMES)
def bin_url(request: pytest.FixtureRequest, httpbin: Any, httpbin_secure: Any) -> str:
    return httpbin_secure.url if request.param == "https" else httpbin.url


async def test_httpbin_methods(flavour: Flavour, bin_pool: Pool, bin_url: str) -> None:
    async with bin_pool as pool:
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            content = None if method == "GET" else b"some data"
            response = await pool.request(
                method, f"{bin_url}/anything?a=1", headers={"X-Name": "value"}, content=content
            )
            described = json.loads(response.content)
            assert described["method"] == method
            assert described["args"] == {"a": "1"}
            assert described["headers"]["X-Name"] == "value"
            assert described["data"] == ("" if content is None else "some data")


async def test_httpbin_statuses_and_redirects(flavour: Flavour, bin_pool: Pool, bin_url: str) -> None:
    async with bin_pool as pool:
        for status in (200, 204, 304, 404, 418, 500):
            assert (await pool.request("GET", f"{bin_url}/status/{status}")).status == status
        response = await pool.request("GET", f"{bin_url}/redirect/1")
        assert response.status == 302  # a pool does not follow
        assert (b"Location", b"/get") in response.headers
        assert (await pool.request("HEAD", f"{bin_url}/get")).content == b""


async def test_httpbin_bodies(flavour: Flavour, bin_pool: Pool, bin_url: str) -> None:
    async with bin_pool as pool:
        assert len((await pool.request("GET", f"{bin_url}/bytes/100000")).content) == 100_000
        assert (await pool.request("GET", f"{bin_url}/stream/20")).content.count(b"\n") == 20
        packed = await pool.request("GET", f"{bin_url}/gzip")
        assert json.loads(gzip.decompress(packed.content))["gzipped"] is True  # a pool does not decode
        async with pool.stream("GET", f"{bin_url}/drip?duration=0.2&numbytes=5&delay=0") as response:
            assert b"".join([chunk async for chunk in response]) == b"*****"


@pytest.fixture(params=SCHEMES)
def asgi_url(request: pytest.FixtureRequest, asgi: AsgiServer) -> str:
    return asgi.https if request.param == "https" else asgi.http


def asgi_pool(flavour: Flavour, asgi: AsgiServer, **arguments: Any) -> Pool:
    return flavour.pool(ssl_context=httpcore_rs.TLSConfig(verify=str(asgi.certificates.ca)), **arguments)


async def test_hypercorn_keeps_a_connection_alive(flavour: Flavour, asgi: AsgiServer, asgi_url: str) -> None:
    async with asgi_pool(flavour, asgi) as pool:
        for number in range(20):
            response = await pool.request("POST", f"{asgi_url}/echo/{number}", content=b"x" * number)
            described = json.loads(response.content)
            assert described["path"] == f"/echo/{number}"
            assert described["length"] == number
        assert "IDLE, Request Count: 20]" in repr(pool.connections)


async def test_hypercorn_big_bodies(flavour: Flavour, asgi: AsgiServer, asgi_url: str) -> None:
    block = bytes(range(256)) * 256
    async with asgi_pool(flavour, asgi) as pool:
        for content in (block * 64, flavour.parts(*[block] * 64)):
            response = await pool.request("POST", f"{asgi_url}/echo", content=content)
            assert json.loads(response.content)["sha256"] == hashlib.sha256(block * 64).hexdigest()
        assert len((await pool.request("GET", f"{asgi_url}/bytes/4000000")).content) == 4_000_000
        assert len((await pool.request("GET", f"{asgi_url}/chunks/1000")).content) == 1_024_000
        assert "IDLE, Request Count: 4]" in repr(pool.connections)


async def test_hypercorn_many_at_once(flavour: Flavour, asgi: AsgiServer, asgi_url: str) -> None:
    async with asgi_pool(flavour, asgi, max_connections=10) as pool:

        async def ask(name: str) -> None:
            for number in range(5):
                path = f"/echo/{name}-{number}"
                assert json.loads((await pool.request("GET", asgi_url + path)).content)["path"] == path

        await flavour.gather(*[lambda number=number: ask(f"caller{number}") for number in range(30)])
        assert len(pool.connections) <= 10


async def test_hypercorn_responses_left_early(flavour: Flavour, asgi: AsgiServer, asgi_url: str) -> None:
    async with asgi_pool(flavour, asgi, max_connections=1) as pool:
        for _ in range(3):
            async with pool.stream("GET", f"{asgi_url}/chunks/5000") as response:
                async for _chunk in response:
                    break
        assert (await pool.request("GET", f"{asgi_url}/bytes/5")).content == b"xxxxx"
