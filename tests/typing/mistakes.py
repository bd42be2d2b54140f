"""Mistakes that type checkers find: each comment names the error of mypy and that of pyright on its line.

`scripts/check` fails if a checker does not report one of them. Nothing here is run.
"""

from __future__ import annotations

import httpcore
import httpcore2
import httpx
import httpx2

import httpcore_rs
import httpcore_rs.httpcore2
import httpcore_rs.httpx2

pool = httpcore_rs.ConnectionPool()
pool2 = httpcore_rs.httpcore2.ConnectionPool()

# Misspelt arguments.
httpcore_rs.ConnectionPool(max_connection=5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
httpcore_rs.ConnectionPool(http2_ping_intervall=5.0)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
httpcore_rs.httpcore2.ConnectionPool(max_connection=5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
httpcore_rs.HTTPProxy("http://127.0.0.1:1", proxy_header={})  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
httpcore_rs.SyncTransport(proxies={})  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
httpcore_rs.httpx2.AsyncTransport(proxies={})  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
httpcore_rs.SyncTransport.environment_mounts(veryfy=0)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
httpcore_rs.TLSConfig(ca="ca.pem")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
httpcore_rs.install(http2_ping=5.0)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
pool.request("GET", "https://example.org/", header={})  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
pool2.request("GET", "https://example.org/", header={})  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
httpcore_rs.request("GET", "https://example.org/", header={})  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]

# Arguments of another type.
httpcore_rs.ConnectionPool(max_connections="5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
httpcore_rs.ConnectionPool(http2_ping_interval="5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
httpcore_rs.ConnectionPool(retry=3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
httpcore_rs.ConnectionPool(replay="always")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
httpcore_rs.SyncTransport(retries="1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
httpcore_rs.SyncTransport.environment_mounts(retries="1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
httpcore_rs.TLSConfig(minimum_version=3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
pool.request("GET", "https://example.org/", content="text")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

# Objects of the other library.
httpcore_rs.ConnectionPool(proxy=httpcore2.Proxy("http://127.0.0.1:1"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
httpcore_rs.httpcore2.ConnectionPool(proxy=httpcore.Proxy("http://127.0.0.1:1"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
httpcore_rs.SyncTransport(limits=httpx2.Limits())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
httpcore_rs.httpx2.SyncTransport(limits=httpx.Limits())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
httpcore_rs.httpx2.SyncTransport(proxy=httpx.Proxy("http://127.0.0.1:1"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
httpx.Client(transport=httpcore_rs.httpx2.SyncTransport())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
httpx2.Client(transport=httpcore_rs.SyncTransport())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
pool.handle_request(httpcore2.Request("GET", "https://example.org/"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
pool2.handle_request(httpcore.Request("GET", "https://example.org/"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

# Sync in the place of async.
httpx.AsyncClient(transport=httpcore_rs.SyncTransport())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
httpx2.Client(transport=httpcore_rs.httpx2.AsyncTransport())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
httpcore_rs.ConnectionPool(network_backend=httpcore.AsyncMockBackend([]))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
httpcore_rs.httpx2.AsyncTransport(network_backend=httpcore2.SyncBackend())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

# Results.
text: str = pool.request("GET", "https://example.org/").content  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
response: httpcore.Response = pool2.request("GET", "https://example.org/")  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
httpcore_rs.AsyncConnectionPool().request("GET", "https://example.org/").status  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
pool.connections[0].request_count  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]

# Names that do not exist.
httpcore_rs.ConnectionPools()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
httpcore_rs.httpx2.Transport()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
