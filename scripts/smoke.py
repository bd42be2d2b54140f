"""Sends requests through each library that is installed beside httpcore_rs, against a server of the standard library.

Needs nothing but the packages under test, so that it runs in a bare environment:

    python scripts/smoke.py                                all libraries that are installed
    python scripts/smoke.py httpx==0.27.2 httpcore==1.0.5  fails unless these are installed, in these versions
    python scripts/smoke.py httpx2 --without httpx         fails unless httpx2 is installed and httpx is not

Each library is used sync and under asyncio: httpcore and httpcore2 by the pools of httpcore_rs, httpx and httpx2 by a
transport, by a pool put into the library's own transport, and by `install()`. With trustme installed the same runs over
TLS.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.server
import importlib
import importlib.metadata
import importlib.util
import platform
import ssl
import sys
import threading
from typing import TYPE_CHECKING, Any, Callable

import httpcore_rs

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

POOLS = {"httpcore": "httpcore_rs", "httpcore2": "httpcore_rs.httpcore2"}
TRANSPORTS = {"httpx": ("httpcore_rs", "httpcore"), "httpx2": ("httpcore_rs.httpx2", "httpcore2")}
# More than one segment, and more than a TLS record.
BODY = bytes(range(256)) * 1024


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers GET with `BODY`, and POST with the body of the request."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answers with `BODY`."""
        self._answer(BODY)

    def do_POST(self) -> None:
        """Answers with what was sent, which has a declared length or is chunked."""
        if "Content-Length" in self.headers:
            self._answer(self.rfile.read(int(self.headers["Content-Length"])))
            return
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        self._answer(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the name is the base class's)
        """Writes no line for each request."""

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(http.server.ThreadingHTTPServer):
    """A server whose connections do TLS in their own threads."""

    daemon_threads = True
    context: ssl.SSLContext | None = None

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Serves a connection."""
        if self.context is None:
            super().finish_request(request, client_address)
        else:
            with self.context.wrap_socket(request, server_side=True) as secured:
                super().finish_request(secured, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignores connections that end."""


@contextlib.contextmanager
def serve(context: ssl.SSLContext | None = None) -> Iterator[str]:
    """Yields the URL of a server."""
    with Server(("127.0.0.1", 0), Handler) as server:
        server.context = context
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"{'https' if context else 'http'}://127.0.0.1:{server.server_port}/"
        server.shutdown()


def chunks() -> Iterator[bytes]:
    """Yields a body in parts."""
    yield from (BODY[:1000], BODY[1000:])


async def async_chunks() -> Any:
    """Yields a body in parts."""
    for chunk in chunks():
        yield chunk


def with_pool(pool: Any, url: str) -> None:
    """Uses a sync pool."""
    with pool:
        assert pool.request("GET", url).content == BODY
        assert pool.request("POST", url, content=chunks()).content == BODY
        with pool.stream("GET", url) as response:
            assert b"".join(response.iter_stream()) == BODY


async def with_async_pool(pool: Any, url: str) -> None:
    """Uses an async pool."""
    async with pool:
        responses = await asyncio.gather(*(pool.request("GET", url) for _ in range(5)))
        assert all(response.content == BODY for response in responses)
        assert (await pool.request("POST", url, content=async_chunks())).content == BODY
        async with pool.stream("GET", url) as response:
            assert b"".join([part async for part in response.aiter_stream()]) == BODY


def with_client(client: Any, url: str) -> None:
    """Uses a sync client."""
    with client:
        assert client.get(url).content == BODY
        assert client.post(url, content=chunks()).content == BODY
        with client.stream("GET", url) as response:
            assert b"".join(response.iter_bytes()) == BODY


async def with_async_client(client: Any, url: str) -> None:
    """Uses an async client."""
    async with client:
        responses = await asyncio.gather(*(client.get(url) for _ in range(5)))
        assert all(response.content == BODY for response in responses)
        assert (await client.post(url, content=async_chunks())).content == BODY
        async with client.stream("GET", url) as response:
            assert b"".join([part async for part in response.aiter_bytes()]) == BODY


Step = tuple[str, Callable[[], Any]]


def steps(library: str, url: str, authorities: str | None) -> Iterator[Step]:
    """Yields the names of what is tried with a library, and the functions that do it."""
    run: Callable[[Coroutine[Any, Any, None]], None] = asyncio.run
    config = httpcore_rs.TLSConfig(authorities) if authorities else None
    if library in POOLS:
        pools = importlib.import_module(POOLS[library])
        yield "pool", lambda: with_pool(pools.ConnectionPool(ssl_context=config), url)
        yield "async pool", lambda: run(with_async_pool(pools.AsyncConnectionPool(ssl_context=config), url))
        return
    ours, core = TRANSPORTS[library]
    module, transports = importlib.import_module(library), importlib.import_module(ours)
    pools = importlib.import_module(POOLS[core])

    verify: Any = ssl.create_default_context(cafile=authorities) if authorities else False

    def injected(name: str, pool: Any) -> Any:
        transport = getattr(module, name)(verify=verify)
        transport._pool = pool  # noqa: SLF001  (that is how a pool is put into a transport)
        return transport

    trust = {"verify": config} if config else {}
    yield "transport", lambda: with_client(module.Client(transport=transports.SyncTransport(**trust)), url)
    yield (
        "async transport",
        lambda: run(with_async_client(module.AsyncClient(transport=transports.AsyncTransport(**trust)), url)),
    )
    pool, async_pool = pools.ConnectionPool(ssl_context=config), pools.AsyncConnectionPool(ssl_context=config)
    yield "pool in a transport", lambda: with_client(module.Client(transport=injected("HTTPTransport", pool)), url)
    yield (
        "async pool in a transport",
        lambda: run(with_async_client(module.AsyncClient(transport=injected("AsyncHTTPTransport", async_pool)), url)),
    )

    def installed(use: Callable[[], None]) -> None:
        httpcore_rs.install()
        try:
            use()
        finally:
            httpcore_rs.uninstall()

    yield "install()", lambda: installed(lambda: with_client(module.Client(verify=verify), url))
    yield (
        "async install()",
        lambda: installed(lambda: run(with_async_client(module.AsyncClient(verify=verify), url))),
    )


def check_installed(expected: list[str], absent: list[str]) -> None:
    """Ends the program unless the packages are those that it was called with."""
    for requirement in expected:
        name, _, version = requirement.partition("==")
        found = importlib.metadata.version(name)
        if version and found != version:
            sys.exit(f"{name} is {found}, not {version}")
    for name in absent:
        if importlib.util.find_spec(name):
            sys.exit(f"{name} is installed, which must not be here")


@contextlib.contextmanager
def servers() -> Iterator[dict[str, tuple[str, str | None]]]:
    """Yields the URLs of the servers, and the files with the authorities of their certificates."""
    with contextlib.ExitStack() as stack:
        urls: dict[str, tuple[str, str | None]] = {"http": (stack.enter_context(serve()), None)}
        if importlib.util.find_spec("trustme"):
            trustme = importlib.import_module("trustme")
            authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            authority.issue_cert("127.0.0.1").configure_cert(context)
            file = stack.enter_context(authority.cert_pem.tempfile())
            urls["https"] = stack.enter_context(serve(context)), file
        yield urls


def main() -> None:
    """Runs all steps."""
    parser = argparse.ArgumentParser(description="Sends requests through each library that is installed.")
    parser.add_argument("expected", nargs="*", metavar="NAME[==VERSION]")
    parser.add_argument("--without", nargs="*", default=[], metavar="NAME")
    arguments = parser.parse_args()
    check_installed(arguments.expected, arguments.without)
    libraries = [name for name in (*POOLS, *TRANSPORTS) if importlib.util.find_spec(name)]
    count = 0
    with servers() as urls:
        for library in libraries:
            for scheme, (url, authorities) in urls.items():
                for name, step in steps(library, url, authorities):
                    try:
                        step()
                    except BaseException:
                        print(f"failed: {library}, {name}, {scheme}", file=sys.stderr)
                        raise
                    count += 1
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in libraries)
    print(
        f"{platform.python_implementation()} {platform.python_version()}, {sys.platform}: {versions}: {count} uses work"
    )


if __name__ == "__main__":
    main()
