"""Programs of users of httpx, for type checkers only: `scripts/check` passes them to mypy and to pyright."""

from __future__ import annotations

import ssl
from pathlib import Path

import httpcore
import httpx
from typing_extensions import assert_type

import httpcore_rs


def client() -> None:
    transport = httpcore_rs.SyncTransport(
        verify=httpcore_rs.TLSConfig(verify=Path("ca.pem"), cert="client.pem"),
        http2=True,
        limits=httpx.Limits(max_connections=5),
        proxy=httpx.Proxy("http://127.0.0.1:3128", auth=("name", "password")),
        retries=2,
        socket_options=[(1, 2, 3)],
        network_backend=httpcore.SyncBackend(),
        http2_ping_interval=10.0,
        tcp_keepalive=30.0,
        tcp_user_timeout=120.0,
        replay="unsent",
        retry=httpcore_rs.RetryPolicy(attempts=2, statuses=[503], methods=None, exceptions=[OSError], budget=None),
        total_timeout=60.0,
        default_timeout={"connect": 3.0, "read": None},
        user_agent="tool/1.0",
    )
    assert_type(transport, httpcore_rs.SyncTransport)
    with httpx.Client(
        transport=transport, mounts={"http://": httpcore_rs.SyncTransport(proxy="socks5://[::1]:1")}
    ) as made:
        assert_type(made.get("https://example.org/"), httpx.Response)
    request = httpx.Request("GET", "https://example.org/")
    assert_type(transport.handle_request(request), httpx.Response)
    with transport as entered:
        assert_type(entered, httpcore_rs.SyncTransport)


async def async_client() -> None:
    transport = httpcore_rs.AsyncTransport(
        ssl.create_default_context(),
        ("chain.pem", "key.pem", "password"),
        limits=httpx.Limits(max_keepalive_connections=None),
        proxy=httpx.URL("http://127.0.0.1:3128"),
        network_backend=httpcore.AsyncMockBackend([]),
        http2_ping_timeout=5.0,
    )
    async with httpx.AsyncClient(transport=transport) as made:
        assert_type(await made.get("https://example.org/"), httpx.Response)
    request = httpx.Request("GET", "https://example.org/")
    assert_type(await transport.handle_async_request(request), httpx.Response)


def any_transport(is_async: bool) -> httpx.BaseTransport | httpx.AsyncBaseTransport:
    return httpcore_rs.AsyncTransport(verify=False) if is_async else httpcore_rs.SyncTransport(verify="ca.pem")


def installed() -> None:
    httpcore_rs.install()
    httpcore_rs.install(http2_ping_interval=10.0, http2_ping_timeout=5.0)
    assert_type(httpx.get("https://example.org/"), httpx.Response)
    httpcore_rs.uninstall()
