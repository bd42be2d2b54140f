"""Pools and event loops: one after another, several at a time, one inside the other, and exceptions that end them."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

import httpcore_rs
from flavours import LIMIT, trio
from h2_peer import OK
from peers import always, reply, silence
from programs import POOLS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from certificates import Certificates
    from flavours import Flavour
    from h2_peer import ServeH2
    from peers import Connection, Serve

# The programs choose the TLS engine themselves.
OVER = ("plain",)

# One loop after another.

# A loop that has ended cannot close the asyncio transports of a `network_backend`: asyncio warns about them.
AGAIN = """
import warnings
library, kind, ca = sys.argv[2:]
if kind == "network_backend":
    warnings.simplefilter("ignore", ResourceWarning)
    arguments = {"network_backend": httpcore._backends.auto.AutoBackend()}
else:
    arguments = arguments_of(kind, ca)
pool = httpcore_rs.AsyncConnectionPool(max_connections=1, **arguments)
async def main():
    timeout = {"timeout": {"pool": 5.0, "connect": 5.0, "read": 5.0}}
    return [(await pool.request("GET", url, extensions=timeout)).content for _ in range(2)]
def run():
    if library == "trio":
        import trio
        return trio.run(main)
    if library == "uvloop":
        import uvloop
        return uvloop.run(main())
    return asyncio.run(main())
for _ in range(3):
    assert run() == [b"ok"] * 2
print(pool)
"""


@pytest.mark.parametrize("library", ["asyncio", "uvloop", "trio"])
@pytest.mark.parametrize("kind", ["plain", "rustls", "ssl.SSLContext", "network_backend"])
def test_a_pool_works_in_one_run_after_another(
    serve: Serve, certificates: Certificates, program: Any, kind: str, library: str
) -> None:
    tls = certificates.server_context() if kind in ("rustls", "ssl.SSLContext") else None
    peer = serve(always(reply(b"ok")), tls=tls)
    printed = program(POOLS + AGAIN, peer.url, library, kind, str(certificates.ca)).output()
    assert printed == "<AsyncConnectionPool [Requests: 0 active, 0 queued | Connections: 0 active, 1 idle]>\n"
    assert len(peer.requests) == 6


LOOPS = ["SelectorEventLoop", *(["ProactorEventLoop"] if sys.platform == "win32" else [])]


@pytest.mark.parametrize("kind", LOOPS)
def test_no_thread_outlives_its_event_loop(serve: Serve, kind: str) -> None:
    """On Windows each event loop has one thread of the engine, elsewhere none."""
    url = serve(always(reply(b"ok"))).url
    pool = httpcore_rs.AsyncConnectionPool()
    before = {*threading.enumerate()}
    loop = getattr(asyncio, kind)()
    try:
        for _ in range(2):
            assert loop.run_until_complete(pool.request("GET", url)).content == b"ok"
        started = [thread for thread in threading.enumerate() if thread.name == "httpcore_rs" and thread not in before]
    finally:
        loop.close()
    assert len(started) == (1 if sys.platform == "win32" else 0)
    for thread in started:
        thread.join(LIMIT)
        assert not thread.is_alive()


# Exceptions of a body that are no `Exception`.


class Interruption(BaseException):
    """Neither an `Exception` nor an exception that Python handles specially."""


def failing(error: BaseException, pause: Any) -> AsyncIterator[bytes]:
    class Body:
        parts = 0

        def __aiter__(self) -> Body:
            return self

        async def __anext__(self) -> bytes:
            self.parts += 1
            if self.parts == 3:
                raise error
            await pause(0.01)
            return b"part"

    return Body()


ENDS = [SystemExit(3), KeyboardInterrupt(), Interruption("text")]


@pytest.mark.parametrize("error", ENDS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/2"])
def test_under_trio_the_exception_of_a_body_reaches_the_caller(
    serve: Serve, serve_h2: ServeH2, error: BaseException, version: str
) -> None:
    http2 = version == "HTTP/2"
    peer = serve_h2(OK) if http2 else serve(always(reply(b"ok")))
    after = []

    async def main() -> None:
        async with httpcore_rs.AsyncConnectionPool(http1=not http2, http2=http2, max_connections=1) as pool:
            with pytest.raises(type(error)) as caught:
                await pool.request("POST", peer.url, content=failing(error, trio.sleep))
            assert caught.value is error
            # The run continues, and the pool still works.
            after.append((await pool.request("GET", peer.url)).content)
            assert "Requests: 0 active, 0 queued" in repr(pool)

    trio.run(main)
    assert after == [b"ok"]


@pytest.mark.parametrize("error", ENDS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/2"])
def test_under_trio_the_exception_of_a_body_ends_the_run_unchanged(
    serve: Serve, serve_h2: ServeH2, error: BaseException, version: str
) -> None:
    http2 = version == "HTTP/2"
    peer = serve_h2(OK) if http2 else serve(always(reply(b"ok")))

    async def main() -> None:
        async with httpcore_rs.AsyncConnectionPool(http1=not http2, http2=http2) as pool:
            await pool.request("POST", peer.url, content=failing(error, trio.sleep))

    with pytest.raises(type(error)) as caught:
        trio.run(main)
    assert caught.value is error


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/2"])
async def test_the_exception_of_a_body_reaches_the_caller(
    async_flavour: Flavour, serve: Serve, serve_h2: ServeH2, version: str
) -> None:
    """asyncio ends the loop for `SystemExit` and `KeyboardInterrupt`, and for no other exception."""
    http2 = version == "HTTP/2"
    peer = serve_h2(OK) if http2 else serve(always(reply(b"ok")))
    error = Interruption("text")
    async with async_flavour.pool(http1=not http2, http2=http2, max_connections=1) as pool:
        with pytest.raises(Interruption) as caught:
            await pool.request("POST", peer.url, content=failing(error, async_flavour.sleep))
        assert caught.value is error
        assert (await pool.request("GET", peer.url)).content == b"ok"


@pytest.mark.parametrize("error", ENDS, ids=lambda error: type(error).__name__)
def test_in_a_thread_the_exception_of_a_body_reaches_the_caller(serve_h2: ServeH2, error: BaseException) -> None:
    def body() -> Any:
        yield b"part"
        raise error

    peer = serve_h2(OK)
    with httpcore_rs.ConnectionPool(http1=False, http2=True, max_connections=1) as pool:
        with pytest.raises(type(error)) as caught:
            pool.request("POST", peer.url, content=body())
        assert caught.value is error
        assert pool.request("GET", peer.url).content == b"ok"


# One library inside the other.

TRIO_ASYNCIO = """
import trio
kind, ca = sys.argv[2:]
arguments = arguments_of(kind, ca)

async def body():
    yield b"part"
    await asyncio.sleep(0.01)
    yield b"part"

async def of_asyncio():
    async with httpcore_rs.AsyncConnectionPool(**arguments) as pool:
        timeout = {"timeout": {"pool": 5.0, "connect": 5.0, "read": 5.0}}
        ask = lambda: pool.request("POST", url, content=body(), extensions=timeout)
        responses = await asyncio.gather(*(ask() for _ in range(3)))
        async with pool.stream("GET", url) as response:
            await asyncio.sleep(0)
            assert b"".join([chunk async for chunk in response.stream]) == b"ok"
        return [response.content for response in responses]

async def main():
    # trio's own, in the same run, before, within and after.
    async with httpcore_rs.AsyncConnectionPool(**arguments) as pool:
        assert (await pool.request("GET", url)).content == b"ok"
        async with trio_asyncio.open_loop():
            assert await trio_asyncio.aio_as_trio(of_asyncio)() == [b"ok"] * 3
            assert (await pool.request("GET", url)).content == b"ok"
        assert (await pool.request("GET", url)).content == b"ok"

trio.run(main)
print("end")
"""
# trio-asyncio uses functions that CPython 3.12 deprecates.
IMPORT_TRIO_ASYNCIO = """
import warnings
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import trio_asyncio
"""


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="trio-asyncio uses what CPython 3.14 has removed from asyncio")
@pytest.mark.parametrize("kind", ["plain", "rustls", "ssl.SSLContext", "HTTP/2"])
def test_code_of_asyncio_inside_a_trio_run(
    serve: Serve, serve_h2: ServeH2, certificates: Certificates, program: Any, kind: str
) -> None:
    tls = certificates.server_context() if kind in ("rustls", "ssl.SSLContext") else None
    peer = serve_h2(OK) if kind == "HTTP/2" else serve(always(reply(b"ok")), tls=tls)
    running = program(POOLS + TRIO_ASYNCIO, peer.url, kind, str(certificates.ca), before=IMPORT_TRIO_ASYNCIO)
    assert running.output() == "end\n"


# Several at a time.

CROSSWISE = """
import httpcore, ssl, time, traceback, uvloop
library, ca, body = sys.argv[2:]

class Loop:
    def __init__(self):
        self.loop = (uvloop if library == "uvloop" else asyncio).new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()

    def start(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def stop(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

context = ssl.create_default_context(cafile=ca) if ca else None
pool = httpcore_rs.AsyncConnectionPool(context, max_connections=1)

def request(target):
    return httpcore.Request("GET", url + target, headers={"Host": "x"}, extensions={"timeout": {"pool": 20.0}})

async def open_response():
    return await pool.handle_async_request(request("whole" if body == "read" else "half"))

async def finish(response):
    content = await response.aread()
    await response.aclose()
    return content

async def close(response):
    # The end of the body gives the connection back, else closing does.
    if body == "read":
        await response.aread()
    await response.aclose()

first, second = Loop(), Loop()
try:
    for _ in range(10):
        response = first.start(open_response()).result(10)
        waiting = first.start(pool.handle_async_request(request("whole")))
        while "1 queued" not in repr(pool):
            time.sleep(0.002)
        time.sleep(0.05)
        second.start(close(response)).result(10)
        assert first.start(finish(waiting.result(5))).result(10) == b"whole"
    first.start(pool.aclose()).result(10)
except BaseException:
    traceback.print_exc()
    # After a failure the loops may never stop.
    os._exit(1)
first.stop()
second.stop()
print("end")
"""


@pytest.mark.parametrize("body", ["read", "unread"])
@pytest.mark.parametrize("kind", ["plain", "ssl.SSLContext"])
@pytest.mark.parametrize("library", ["asyncio", "uvloop"])
def test_a_response_closed_from_another_loop_serves_the_waiter_of_its_own(
    serve: Serve, certificates: Certificates, program: Any, library: str, kind: str, body: str
) -> None:
    def script(connection: Connection) -> None:
        while connection.read_request().target == b"/whole":
            connection.send(reply(b"whole"))
        # No traffic from then on, so that nothing else wakes the loop.
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        silence(connection)

    tls = certificates.server_context() if kind == "ssl.SSLContext" else None
    peer = serve(script, tls=tls)
    assert program(CROSSWISE, peer.url, library, str(certificates.ca) if tls else "", body).output() == "end\n"
