"""Faults of a network, and the exceptions of httpx for them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator

import httpx

import httpcore_rs
from servers.process import free_ports
from showcase.report import Report, require


def faults(report: Report, plain: str, tls: str) -> None:
    """Each fault raises the exception that httpx's documentation names, with a message that names the fault."""
    report.title("faults")
    [closed] = free_ports(1)
    with httpx.Client(transport=httpcore_rs.SyncTransport()) as client:
        with report.showing("a port without a server") as line:
            line.says(_fault(httpx.ConnectError, client, f"http://127.0.0.1:{closed}/"))
        with report.showing("a server that takes too long") as line:
            line.says(_fault(httpx.ReadTimeout, client, f"{plain}/slow?5", timeout=0.2))
        with report.showing("a certificate of an unknown authority") as line:
            line.says(_fault(httpx.ConnectError, client, f"{tls}/hello"))
        with report.showing("a header with a line break in it") as line:
            line.says(_fault(httpx.LocalProtocolError, client, f"{plain}/hello", headers={"X-Name": "a\r\nX-Evil: b"}))
        for what, answer in (
            ("an answer that is not HTTP", b"220 mail.example ESMTP\r\n"),
            ("a body that ends too early", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this"),
        ):
            with report.showing(what) as line, _scripted(answer) as url:
                line.says(_fault(httpx.RemoteProtocolError, client, url))
    one = httpx.Limits(max_connections=1)
    with httpx.Client(transport=httpcore_rs.SyncTransport(limits=one)) as client:
        with report.showing("all connections in use") as line, client.stream("GET", f"{plain}/lines?50"):
            line.says(_fault(httpx.PoolTimeout, client, f"{plain}/hello", timeout=httpx.Timeout(5, pool=0.1)))
    with report.showing("a cancelled task, whose connection is closed") as line:
        line.says(asyncio.run(_cancelled(plain)))


def _fault(expected: type[Exception], client: httpx.Client, url: str, **options: object) -> str:
    try:
        response = client.get(url, **options)  # type: ignore[arg-type]
    except expected as exc:
        require(str(exc), "the exception has no message")
        return f"{type(exc).__name__}: {exc}"
    raise AssertionError(f"expected {expected.__name__}, got an answer with status {response.status_code}")


async def _cancelled(plain: str) -> str:
    limits = httpx.Limits(max_connections=1)
    async with httpx.AsyncClient(transport=httpcore_rs.AsyncTransport(limits=limits)) as client:
        task = asyncio.create_task(client.get(f"{plain}/slow?5"))
        await asyncio.sleep(0.1)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        # The only slot is free again at once.
        response = await client.get(f"{plain}/hello", timeout=httpx.Timeout(5, pool=1))
        return f"the next request got its slot, status {response.status_code}"


@contextlib.contextmanager
def _scripted(answer: bytes) -> Iterator[str]:
    """Runs a server for one request, which sends this and closes the connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"
        thread.join(5)
