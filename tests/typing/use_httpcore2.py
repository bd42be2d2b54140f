"""Programs of users of httpcore2, for type checkers only: `scripts/check` passes them to mypy and to pyright."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterator, Sequence

import httpcore2
from typing_extensions import assert_type

import httpcore_rs.httpcore2


def pool() -> None:
    proxy = httpcore2.Proxy("http://127.0.0.1:3128", auth=("name", "password"), headers={"X-Team": "a"})
    config = httpcore_rs.httpcore2.TLSConfig(verify="ca.pem", cert=("chain.pem", "key.pem"), system_store=False)
    shaped = httpcore_rs.httpcore2.TLSConfig(
        extra_ca=["system", "ca.pem", b""],
        cert=(b"chain", "key.pem", lambda: "password"),
        maximum_version=ssl.TLSVersion.TLSv1_3,
        ciphers=["TLS_AES_128_GCM_SHA256"],
        groups="X25519",
        alpn=("http/1.1",),
        verify_hostname=False,
        pins=["sha256/"],
        crls="revoked.pem",
        keylog=False,
        session_cache_size=0,
        reload=None,
        require_close_notify=True,
        early_data=True,
        engine="rustls",
    )
    by_host = httpcore_rs.httpcore2.TLSConfig(cert=lambda host: (host, host))
    print(shaped.pins, by_host.cert)
    with httpcore_rs.httpcore2.ConnectionPool(
        ssl_context=config,
        proxy=proxy,
        max_connections=5,
        max_keepalive_connections=None,
        keepalive_expiry=5.0,
        http2=True,
        retries=1,
        local_address="127.0.0.1",
        network_backend=httpcore2.SyncBackend(),
        socket_options=[(1, 2, 3)],
        http2_ping_interval=10.0,
        tcp_keepalive=30.0,
        tcp_user_timeout=120.0,
        replay="unsent",
        retry=httpcore_rs.RetryPolicy(attempts=2, statuses=[503], methods=None, exceptions=[OSError], budget=None),
        total_timeout=60.0,
        default_timeout={"connect": 3.0, "read": None},
        user_agent="tool/1.0",
    ) as made:
        assert_type(made, httpcore_rs.httpcore2.ConnectionPool)
        response = made.request("GET", "https://example.org/", extensions={"timeout": {"read": 5.0}})
        assert_type(response, httpcore2.Response)
        assert_type(response.status, int)
        assert_type(response.content, bytes)
        with made.stream(
            "POST", httpcore2.URL("https://example.org/"), headers=[("A", "b")], content=chunks()
        ) as streamed:
            assert_type(streamed, httpcore2.Response)
            assert_type(streamed.read(), bytes)
        assert_type(made.handle_request(httpcore2.Request("GET", "https://example.org/")), httpcore2.Response)
        assert_type(made.connections, Sequence[httpcore2.ConnectionInterface])


def chunks() -> Iterator[bytes]:
    yield b"chunk"


async def async_chunks() -> AsyncIterator[bytes]:
    yield b"chunk"


async def async_pool() -> None:
    context = ssl.create_default_context()
    async with httpcore_rs.httpcore2.AsyncConnectionPool(
        context, network_backend=httpcore2.AsyncMockBackend([])
    ) as made:
        assert_type(made, httpcore_rs.httpcore2.AsyncConnectionPool)
        assert_type(await made.request("GET", "https://example.org/", content=async_chunks()), httpcore2.Response)
        async with made.stream("GET", b"https://example.org/") as response:
            assert_type(response, httpcore2.Response)
            assert_type(await response.aread(), bytes)
        request = httpcore2.Request("GET", "https://example.org/")
        assert_type(await made.handle_async_request(request), httpcore2.Response)
        assert_type(made.connections, Sequence[httpcore2.AsyncConnectionInterface])


def proxies() -> list[httpcore_rs.httpcore2.ConnectionPool]:
    return [
        httpcore_rs.httpcore2.HTTPProxy(
            "http://127.0.0.1:3128", proxy_auth=("name", "password"), proxy_headers={"A": "b"}
        ),
        httpcore_rs.httpcore2.SOCKSProxy(
            httpcore2.URL("socks5://127.0.0.1:1080"), socket_options=[], http2_ping_timeout=5.0
        ),
    ]


def async_proxies() -> list[httpcore_rs.httpcore2.AsyncConnectionPool]:
    return [
        httpcore_rs.httpcore2.AsyncHTTPProxy(
            b"https://127.0.0.1:3128", proxy_ssl_context=httpcore_rs.httpcore2.TLSConfig(False)
        ),
        httpcore_rs.httpcore2.AsyncSOCKSProxy(
            "socks5h://127.0.0.1:1080", network_backend=httpcore2.AsyncMockBackend([])
        ),
    ]


def connection(stream: httpcore2.NetworkStream) -> None:
    origin = httpcore2.Origin(b"https", b"example.org", 443)
    made: list[httpcore2.ConnectionInterface] = [
        httpcore_rs.httpcore2.HTTPConnection(origin, ssl_context=httpcore_rs.httpcore2.TLSConfig()),
        httpcore_rs.httpcore2.HTTP11Connection(origin, stream, keepalive_expiry=1.0),
    ]
    with httpcore_rs.httpcore2.HTTP2Connection(origin, stream) as http2:
        assert_type(http2.request("GET", "https://example.org/"), httpcore2.Response)
        assert_type(http2.is_idle(), bool)
    assert made


async def async_connection(stream: httpcore2.AsyncNetworkStream) -> None:
    origin = httpcore2.Origin(b"https", b"example.org", 443)
    made: list[httpcore2.AsyncConnectionInterface] = [
        httpcore_rs.httpcore2.AsyncHTTPConnection(origin),
        httpcore_rs.httpcore2.AsyncHTTP11Connection(origin, stream),
    ]
    async with httpcore_rs.httpcore2.AsyncHTTP2Connection(origin, stream) as http2:
        assert_type(await http2.request("GET", "https://example.org/"), httpcore2.Response)
    assert made


def without_a_pool() -> None:
    assert_type(httpcore_rs.httpcore2.request("GET", "https://example.org/", headers={"A": "b"}), httpcore2.Response)
    with httpcore_rs.httpcore2.stream("GET", "https://example.org/") as response:
        assert_type(response, httpcore2.Response)


def exceptions() -> None:
    try:
        httpcore_rs.httpcore2.request("GET", "https://example.org/")
    except httpcore_rs.httpcore2.ConnectError as error:
        assert_type(error, httpcore2.ConnectError)
    except (httpcore_rs.httpcore2.TimeoutException, httpcore2.NetworkError):
        pass


def upgraded(response: httpcore2.Response) -> None:
    use(response.extensions["network_stream"])


def use(stream: httpcore2.NetworkStream) -> None:
    stream.write(b"hello", timeout=5.0)
    assert_type(stream.read(1024), bytes)
    secured = stream.start_tls(ssl.create_default_context(), server_hostname="example.org")
    assert_type(secured, httpcore2.NetworkStream)


def configuration(config: httpcore_rs.httpcore2.TLSConfig) -> None:
    assert_type(config.trust_env, bool)
    assert_type(config.minimum_version, "ssl.TLSVersion | None")


class Subclass(httpcore_rs.httpcore2.ConnectionPool):
    """A pool that counts its requests."""

    count = 0

    def handle_request(self, request: httpcore2.Request) -> httpcore2.Response:
        self.count += 1
        return super().handle_request(request)
