"""Plain httpx programs. Only the line that makes the client depends on httpcore_rs."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Union

import httpx

import httpcore_rs
from showcase.report import Line, Report, require

_PIECE = bytes(range(256)) * 256
_PIECES = 128
_DIGEST = hashlib.sha256(_PIECE * _PIECES).hexdigest()
_TASKS = 50

Verify = Union[bool, str]


def synchronous(report: Report, url: str, verify: Verify) -> None:
    """httpx.Client over the transport of httpcore_rs."""
    report.title(f"httpx.Client, {url}")
    with httpx.Client(transport=httpcore_rs.SyncTransport(verify=verify), base_url=url) as client:
        with report.showing("GET") as line:
            response = client.get("/hello")
            require(response.text == "hello\n", f"unexpected body {response.text!r}")
            line.says(f"{response.http_version} {response.status_code} {response.reason_phrase}, {response.text!r}")
        with report.showing("POST of JSON") as line:
            answer = client.post("/json", json={"name": "Ada", "born": 1815}).json()
            require(answer == {"method": "POST", "got": {"name": "Ada", "born": 1815}}, f"unexpected answer {answer}")
            line.says(f"{answer}")
        with report.showing("streaming down") as line:
            start = time.perf_counter()
            arrivals: list[float] = []
            with client.stream("GET", "/lines?10") as streamed:
                for text in streamed.iter_lines():
                    require(text == f"line {len(arrivals)}", f"unexpected line {text!r}")
                    arrivals.append(time.perf_counter() - start)
            line.says(_arrivals(arrivals))
        with report.showing("streaming up, from a generator") as line:
            line.says(_digest(client.post("/digest", content=_pieces())))
        with report.showing("connections") as line:
            statuses = {client.get("/hello").status_code for _ in range(200)}
            require(statuses == {200}, f"unexpected statuses {statuses}")
            line.says("200 more GETs, kept alive")


def asynchronous(report: Report, url: str, verify: Verify) -> None:
    """httpx.AsyncClient over the transport of httpcore_rs."""
    report.title(f"httpx.AsyncClient, {url}")
    asyncio.run(_asynchronous(report, url, verify))


async def _asynchronous(report: Report, url: str, verify: Verify) -> None:
    async with httpx.AsyncClient(transport=httpcore_rs.AsyncTransport(verify=verify), base_url=url) as client:
        with report.showing("GET") as line:
            response = await client.get("/hello")
            require(response.text == "hello\n", f"unexpected body {response.text!r}")
            line.says(f"{response.http_version} {response.status_code} {response.reason_phrase}, {response.text!r}")
        with report.showing("POST of JSON") as line:
            answer = (await client.post("/json", json={"name": "Ada", "born": 1815})).json()
            require(answer == {"method": "POST", "got": {"name": "Ada", "born": 1815}}, f"unexpected answer {answer}")
            line.says(f"{answer}")
        with report.showing("streaming down") as line:
            start = time.perf_counter()
            arrivals: list[float] = []
            async with client.stream("GET", "/lines?10") as streamed:
                async for text in streamed.aiter_lines():
                    require(text == f"line {len(arrivals)}", f"unexpected line {text!r}")
                    arrivals.append(time.perf_counter() - start)
            line.says(_arrivals(arrivals))
        with report.showing("streaming up, from an async generator") as line:
            line.says(_digest(await client.post("/digest", content=_async_pieces())))
        with report.showing(f"{_TASKS} tasks at once") as line:
            # By address: asyncio resolves names in threads of its own.
            by_address = httpx.URL(url).copy_with(host="127.0.0.1", path="/json")
            before = _threads()

            async def one(number: int) -> None:
                answer = (await client.post(by_address, json={"task": number})).json()
                require(answer["got"] == {"task": number}, f"task {number} got another task's answer: {answer}")

            await asyncio.gather(*map(one, range(_TASKS)))
            require(_threads() == before, "threads were started")
            line.says("each got its own response, no thread was started")


def by_proxy(report: Report, address: str, urls: Sequence[str], verify: Verify) -> None:
    """Both clients, each request through a proxy that asks for a password."""
    report.title(f"through the proxy http://{address}")
    transport = httpcore_rs.SyncTransport(verify=verify, proxy=f"http://demo:secret@{address}")
    with httpx.Client(transport=transport) as client:
        for url in urls:
            with report.showing(f"GET {url}/hello") as line:
                response = client.get(f"{url}/hello")
                require(response.text == "hello\n", f"unexpected body {response.text!r}")
                way = "a tunnel" if url.startswith("https") else "forwarded"
                line.says(f"{response.status_code} {response.reason_phrase}, {way}")
        with report.showing("streaming up, through a tunnel") as line:
            line.says(_digest(client.post(f"{urls[-1]}/digest", content=_pieces())))
    with report.showing("a wrong password") as line:
        asyncio.run(_refused(line, address, urls[-1]))


def installed(report: Report, url: str, verify: Verify) -> None:
    """A client that is made without a transport."""
    report.title("httpcore_rs.install(), and a client without a transport")
    httpcore_rs.install()
    try:
        with report.showing("httpx.Client()") as line, httpx.Client(verify=_context(verify), base_url=url) as client:
            require(client.get("/hello").text == "hello\n", "unexpected body")
            line.says(f"its pool is a {_module_of_pool(client)}")
    finally:
        httpcore_rs.uninstall()
    with report.showing("httpx.Client() after uninstall()") as line, httpx.Client() as client:
        require(not _module_of_pool(client).startswith("httpcore_rs"), "its pool is still one of httpcore_rs")
        line.says(f"its pool is a {_module_of_pool(client)}")


def _context(verify: Verify) -> ssl.SSLContext | bool:
    return ssl.create_default_context(cafile=verify) if isinstance(verify, str) else verify


def _module_of_pool(client: httpx.Client) -> str:
    pool = client._transport._pool  # type: ignore[attr-defined]  # noqa: SLF001  # To show its class.
    return f"{type(pool).__module__}.{type(pool).__qualname__}"


async def _refused(line: Line, address: str, url: str) -> None:
    transport = httpcore_rs.AsyncTransport(proxy=f"http://demo:wrong@{address}")
    async with httpx.AsyncClient(transport=transport) as client:
        try:
            response = await client.get(url)
        except httpx.ProxyError as exc:
            line.says(f"httpx.ProxyError: {exc}")
        else:
            require(False, f"the proxy accepted the password: {response}")


def _threads() -> int:
    """Returns the number of threads of this process; on Linux also those that Python does not know."""
    tasks = Path("/proc/self/task")
    return len(list(tasks.iterdir())) if tasks.is_dir() else threading.active_count()


def _pieces() -> Iterator[bytes]:
    for _ in range(_PIECES):
        yield _PIECE


async def _async_pieces() -> AsyncIterator[bytes]:
    for _ in range(_PIECES):
        yield _PIECE


def _digest(response: httpx.Response) -> str:
    answer = response.json()
    require(answer == {"length": len(_PIECE) * _PIECES, "sha256": _DIGEST}, f"the server got something else: {answer}")
    return f"{answer['length'] / 2**20:.0f} MiB, the server's SHA-256 agrees"


def _arrivals(seconds: list[float]) -> str:
    require(len(seconds) == 10, f"{len(seconds)} lines instead of 10")
    return f"10 lines, the first after {seconds[0] * 1000:.0f} ms, the last after {seconds[-1] * 1000:.0f} ms"
