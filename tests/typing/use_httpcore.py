"""Programs of users of httpcore, for type checkers only: `scripts/check` passes them to mypy and to pyright."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterator, Sequence

import httpcore
from typing_extensions import assert_type

import httpcore_rs


def pool() -> None:
    proxy = httpcore.Proxy("http://127.0.0.1:3128", auth=("name", "password"), headers={"X-Team": "a"})
    config = httpcore_rs.TLSConfig(verify="ca.pem", cert=("chain.pem", "key.pem"), system_store=False)
    shaped = httpcore_rs.TLSConfig(
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
    by_host = httpcore_rs.TLSConfig(cert=lambda host: (host, host))
    print(shaped.pins, by_host.cert)
    with httpcore_rs.ConnectionPool(
        ssl_context=config,
        proxy=proxy,
        max_connections=5,
        max_keepalive_connections=None,
        keepalive_expiry=5.0,
        http2=True,
        retries=1,
        local_address="127.0.0.1",
        network_backend=httpcore.SyncBackend(),
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
        assert_type(made, httpcore_rs.ConnectionPool)
        response = made.request(
            "GET", "https://example.org/", extensions={"timeout": {"read": 5.0, "total": httpcore_rs.Deadline(5)}}
        )
        assert_type(response, httpcore.Response)
        assert_type(response.status, int)
        assert_type(response.content, bytes)
        with made.stream(
            "POST", httpcore.URL("https://example.org/"), headers=[("A", "b")], content=chunks()
        ) as streamed:
            assert_type(streamed, httpcore.Response)
            assert_type(streamed.read(), bytes)
        assert_type(made.handle_request(httpcore.Request("GET", "https://example.org/")), httpcore.Response)
        assert_type(made.connections, Sequence[httpcore.ConnectionInterface])
        metrics = made.metrics()
        assert_type(metrics, httpcore_rs.PoolMetrics)
        assert_type(metrics.total, httpcore_rs.Counters)
        assert_type(metrics.total.requests_failed["ReadTimeout"], int)
        assert_type(metrics.origins["https://example.org:443"].first_byte, httpcore_rs.Histogram)
        assert_type(metrics.requests, tuple[httpcore_rs.RequestInFlight, ...])


def on_pool_wait(wait: httpcore_rs.PoolWait) -> None:
    assert_type(wait.holders, tuple[httpcore_rs.Holder, ...])


httpcore_rs.ConnectionPool(pool_wait_warning=None)
httpcore_rs.AsyncHTTPProxy("http://127.0.0.1:3128", pool_wait_warning=5.0, on_pool_wait=on_pool_wait)


def chunks() -> Iterator[bytes]:
    yield b"chunk"


async def async_chunks() -> AsyncIterator[bytes]:
    yield b"chunk"


async def async_pool() -> None:
    context = ssl.create_default_context()
    async with httpcore_rs.AsyncConnectionPool(context, network_backend=httpcore.AsyncMockBackend([])) as made:
        assert_type(made, httpcore_rs.AsyncConnectionPool)
        assert_type(await made.request("GET", "https://example.org/", content=async_chunks()), httpcore.Response)
        async with made.stream("GET", b"https://example.org/") as response:
            assert_type(response, httpcore.Response)
            assert_type(await response.aread(), bytes)
        request = httpcore.Request("GET", "https://example.org/")
        assert_type(await made.handle_async_request(request), httpcore.Response)
        assert_type(made.connections, Sequence[httpcore.AsyncConnectionInterface])


def proxies() -> list[httpcore_rs.ConnectionPool]:
    return [
        httpcore_rs.HTTPProxy("http://127.0.0.1:3128", proxy_auth=("name", "password"), proxy_headers={"A": "b"}),
        httpcore_rs.SOCKSProxy(httpcore.URL("socks5://127.0.0.1:1080"), socket_options=[], http2_ping_timeout=5.0),
    ]


def policy(address: httpcore_rs.ConnectAddress) -> bool:
    assert_type(address.host, str)
    assert_type(address.is_proxy, bool)
    return httpcore_rs.PublicAddressesOnly(allow=["10.0.0.0/8"])(address)


async def aresolve(host: str, port: int) -> list[str]:
    return await httpcore_rs.SystemResolver().aresolve(host, port)


def connecting() -> list[httpcore_rs.ConnectionPool | httpcore_rs.AsyncConnectionPool]:
    hosts = httpcore_rs.StaticHosts({"api.example.com": ["10.0.0.1"]})
    cache = httpcore_rs.CachingResolver(hosts, ttl=30, negative_ttl=1, maxsize=10)
    return [
        httpcore_rs.ConnectionPool(connect_policy=httpcore_rs.PublicAddressesOnly(), resolver=cache),
        httpcore_rs.ConnectionPool(connect_policy=policy, resolver=lambda host, port: ["10.0.0.1"]),
        httpcore_rs.AsyncConnectionPool(connect_policy=policy, resolver=aresolve, max_connections_per_origin=5),
        httpcore_rs.AsyncConnectionPool(resolver=cache, max_keepalive_connections_per_origin=None),
    ]


def negotiate(challenge: httpcore_rs.ProxyChallenge) -> dict[str, str] | None:
    assert_type(challenge.headers, list[tuple[bytes, bytes]])
    return {"Proxy-Authorization": "Negotiate abc"} if challenge.round == 1 else None


async def anegotiate(challenge: httpcore_rs.ProxyChallenge) -> list[tuple[bytes, bytes]]:
    return [(b"Proxy-Authorization", challenge.proxy.encode())]


def authenticating() -> list[httpcore_rs.ConnectionPool | httpcore_rs.AsyncConnectionPool]:
    return [
        httpcore_rs.HTTPProxy("http://127.0.0.1:3128", proxy_authenticate=negotiate, interface="eth0"),
        httpcore_rs.AsyncHTTPProxy("http://127.0.0.1:3128", proxy_authenticate=anegotiate),
        httpcore_rs.AsyncHTTPProxy(
            "http://127.0.0.1:3128", proxy_authenticate=negotiate, expect_continue_timeout=0.5, interface=None
        ),
    ]


def async_proxies() -> list[httpcore_rs.AsyncConnectionPool]:
    return [
        httpcore_rs.AsyncHTTPProxy(b"https://127.0.0.1:3128", proxy_ssl_context=httpcore_rs.TLSConfig(False)),
        httpcore_rs.AsyncSOCKSProxy("socks5h://127.0.0.1:1080", network_backend=httpcore.AsyncMockBackend([])),
    ]


def connection(stream: httpcore.NetworkStream) -> None:
    origin = httpcore.Origin(b"https", b"example.org", 443)
    made: list[httpcore.ConnectionInterface] = [
        httpcore_rs.HTTPConnection(origin, ssl_context=httpcore_rs.TLSConfig()),
        httpcore_rs.HTTP11Connection(origin, stream, keepalive_expiry=1.0),
    ]
    with httpcore_rs.HTTP2Connection(origin, stream) as http2:
        assert_type(http2.request("GET", "https://example.org/"), httpcore.Response)
        assert_type(http2.is_idle(), bool)
    assert made


async def async_connection(stream: httpcore.AsyncNetworkStream) -> None:
    origin = httpcore.Origin(b"https", b"example.org", 443)
    made: list[httpcore.AsyncConnectionInterface] = [
        httpcore_rs.AsyncHTTPConnection(origin),
        httpcore_rs.AsyncHTTP11Connection(origin, stream),
    ]
    async with httpcore_rs.AsyncHTTP2Connection(origin, stream) as http2:
        assert_type(await http2.request("GET", "https://example.org/"), httpcore.Response)
    assert made


def without_a_pool() -> None:
    assert_type(httpcore_rs.request("GET", "https://example.org/", headers={"A": "b"}), httpcore.Response)
    with httpcore_rs.stream("GET", "https://example.org/") as response:
        assert_type(response, httpcore.Response)


def exceptions() -> None:
    try:
        httpcore_rs.request("GET", "https://example.org/")
    except httpcore_rs.ConnectError as error:
        assert_type(error, httpcore.ConnectError)
    except (httpcore_rs.TimeoutException, httpcore.NetworkError):
        pass


def upgraded(response: httpcore.Response) -> None:
    use(response.extensions["network_stream"])


def use(stream: httpcore.NetworkStream) -> None:
    stream.write(b"hello", timeout=5.0)
    assert_type(stream.read(1024), bytes)
    secured = stream.start_tls(ssl.create_default_context(), server_hostname="example.org")
    assert_type(secured, httpcore.NetworkStream)


def configuration(config: httpcore_rs.TLSConfig) -> None:
    assert_type(config.trust_env, bool)
    assert_type(config.minimum_version, "ssl.TLSVersion | None")


class Subclass(httpcore_rs.ConnectionPool):
    """A pool that counts its requests."""

    count = 0

    def handle_request(self, request: httpcore.Request) -> httpcore.Response:
        self.count += 1
        return super().handle_request(request)
