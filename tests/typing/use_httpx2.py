"""Programs of users of httpx2, for type checkers only: `scripts/check` passes them to mypy and to pyright."""

from __future__ import annotations

import ssl
from pathlib import Path

import httpcore2
import httpx2
from typing_extensions import assert_type

import httpcore_rs


def client() -> None:
    transport = httpcore_rs.httpx2.SyncTransport(
        verify=httpcore_rs.TLSConfig(verify=Path("ca.pem"), cert="client.pem"),
        http2=True,
        limits=httpx2.Limits(max_connections=5),
        proxy=httpx2.Proxy("http://127.0.0.1:3128", auth=("name", "password")),
        retries=2,
        socket_options=[(1, 2, 3)],
        network_backend=httpcore2.SyncBackend(),
        http2_ping_interval=10.0,
        tcp_keepalive=30.0,
        tcp_user_timeout=120.0,
        replay="unsent",
        retry=httpcore_rs.RetryPolicy(attempts=2, statuses=[503], methods=None, exceptions=[OSError], budget=None),
        total_timeout=60.0,
        default_timeout={"connect": 3.0, "read": None},
        user_agent="tool/1.0",
    )
    assert_type(transport, httpcore_rs.httpx2.SyncTransport)
    mounts = {"http://": httpcore_rs.httpx2.SyncTransport(proxy="socks5://[::1]:1")}
    made = httpx2.Client(transport=transport, mounts=mounts)
    assert_type(made.get("https://example.org/"), httpx2.Response)
    request = httpx2.Request("GET", "https://example.org/")
    assert_type(transport.handle_request(request), httpx2.Response)
    # `with` has the type of the object from Python 3.11 on, as in httpx2.
    with httpx2.Client(transport=transport):
        pass


async def async_client() -> None:
    transport = httpcore_rs.httpx2.AsyncTransport(
        ssl.create_default_context(),
        ("chain.pem", "key.pem", "password"),
        limits=httpx2.Limits(max_keepalive_connections=None),
        proxy=httpx2.URL("http://127.0.0.1:3128"),
        network_backend=httpcore2.AsyncMockBackend([]),
        http2_ping_timeout=5.0,
    )
    made = httpx2.AsyncClient(transport=transport)
    assert_type(await made.get("https://example.org/"), httpx2.Response)
    request = httpx2.Request("GET", "https://example.org/")
    assert_type(await transport.handle_async_request(request), httpx2.Response)


def any_transport(is_async: bool) -> httpx2.BaseTransport | httpx2.AsyncBaseTransport:
    return (
        httpcore_rs.httpx2.AsyncTransport(verify=False)
        if is_async
        else httpcore_rs.httpx2.SyncTransport(verify="ca.pem")
    )


def installed() -> None:
    httpcore_rs.install()
    httpcore_rs.install(http2_ping_interval=10.0, http2_ping_timeout=5.0)
    assert_type(httpx2.get("https://example.org/"), httpx2.Response)
    httpcore_rs.uninstall()
