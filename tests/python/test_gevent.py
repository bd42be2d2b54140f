"""Monkey-patched programs: while a greenlet waits for a response, the other greenlets of its thread run.

Each scenario is a program of its own (`programs`), since patching concerns the whole process.
"""

from __future__ import annotations

import textwrap
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

import h2_peer
from peers import always, echo, reply, silence
from programs import POOLS

if TYPE_CHECKING:
    from certificates import Certificates
    from h2_peer import ServeH2
    from peers import Connection, Script, Serve

# The programs choose the TLS engine themselves.
OVER = ("plain",)

LIBRARIES = ["gevent", "eventlet"]
# Runs before any other import. `spawn`, `sleep`, `join` and `Timeout` are those of the library.
PATCH = {
    "gevent": """
        from gevent import monkey
        monkey.patch_all()
        from gevent import Timeout, sleep, spawn
        def join(jobs):
            return [job.get(timeout=20) for job in jobs]
        """,
    # trio cannot be imported beside eventlet's sockets, and httpcore imports it where it is installed.
    "eventlet": """
        import logging, sys, warnings
        sys.modules["trio"] = None
        # It logs objects whose locks it cannot replace.
        logging.disable()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import eventlet
            eventlet.monkey_patch()
        logging.disable(logging.NOTSET)
        from eventlet import Timeout, sleep, spawn
        def join(jobs):
            with Timeout(20):
                return [job.wait() for job in jobs]
        """,
}
# `beside(jobs)` runs functions as greenlets and returns their results, the seconds that it took, and how often a
# greenlet that sleeps for 10 ms at a time ran meanwhile.
COMMON = """
import time

def beside(jobs):
    ticks = 0
    def tick():
        nonlocal ticks
        while True:
            sleep(0.01)
            ticks += 1
    ticking = spawn(tick)
    begin = time.monotonic()
    results = join([spawn(job) for job in jobs])
    took = time.monotonic() - begin
    ticking.kill()
    return results, took, ticks

def context(kind, ca):
    if kind == "network_backend":
        return {"network_backend": httpcore.SyncBackend()}
    return arguments_of(kind, ca)

IDLE = "Requests: 0 active, 0 queued"
"""


@pytest.fixture(params=LIBRARIES)
def patched(request: pytest.FixtureRequest, program: Any) -> Any:
    """Runs a patched program to its end and returns what it printed."""

    def run(source: str, *arguments: str) -> str:
        return program(
            POOLS + COMMON + textwrap.dedent(source), *arguments, before=textwrap.dedent(PATCH[request.param])
        ).output()

    return run


def together_after_a_pause(count: int) -> Script:
    """Returns a script that answers when this many connections have a request, one second later."""
    all_there = threading.Barrier(count)

    def script(connection: Connection) -> None:
        while True:
            connection.read_request()
            all_there.wait(15)
            time.sleep(1)
            connection.send(reply(b"slow"))

    return script


ENGINES = ["plain", "network_backend", "rustls", "ssl.SSLContext"]


@pytest.mark.parametrize("kind", ENGINES)
def test_greenlets_wait_at_the_same_time(serve: Serve, certificates: Certificates, patched: Any, kind: str) -> None:
    tls = certificates.server_context() if kind in ("rustls", "ssl.SSLContext") else None
    peer = serve(together_after_a_pause(20), tls=tls)
    source = """
    pool = httpcore_rs.ConnectionPool(max_connections=20, **context(*sys.argv[2:]))
    results, took, ticks = beside([lambda: pool.request("GET", url).content] * 20)
    assert results == [b"slow"] * 20
    assert ticks >= 5, ticks
    # The next ones run over connections that there are.
    results, took, ticks = beside([lambda: pool.request("GET", url).content] * 20)
    assert results == [b"slow"] * 20
    pool.close()
    print("end")
    """
    assert patched(source, peer.url, kind, str(certificates.ca)) == "end\n"
    assert len(peer.connections) == 20


@pytest.mark.parametrize("kind", ["plain", "network_backend"])
def test_a_server_in_the_same_process_answers(patched: Any, kind: str) -> None:
    source = """
    import socket
    def answer(connection):
        with connection:
            while connection.recv(65536):
                connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nhi")
    def serve():
        while True:
            spawn(answer, listener.accept()[0])
    listener = socket.create_server(("127.0.0.1", 0))
    serving = spawn(serve)
    pool = httpcore_rs.ConnectionPool(max_connections=3, **context(sys.argv[2], ""))
    ask = lambda: pool.request(
        "GET", f"http://127.0.0.1:{listener.getsockname()[1]}/", extensions={"timeout": {"read": 5.0, "pool": 10.0}}
    )
    results, took, ticks = beside([ask] * 10)
    print({response.content for response in results})
    pool.close()
    serving.kill()
    listener.close()
    sleep(0.05)
    """
    assert patched(source, "unused", kind) == "{b'hi'}\n"


def test_a_greenlet_that_waits_for_a_slot_gets_it(serve: Serve, patched: Any) -> None:
    peer = serve(always(reply(b"ok")))
    source = """
    pool = httpcore_rs.ConnectionPool(max_connections=1)
    order = []
    def hold():
        with pool.stream("GET", url) as response:
            order.append("held")
            sleep(1)
            response.read()
        order.append("released")
    def wait():
        sleep(0.05)
        assert pool.request("GET", url, extensions={"timeout": {"pool": 10.0}}).content == b"ok"
        order.append("served")
    results, took, ticks = beside([hold, wait, wait])
    assert sorted(order[:2]) == ["held", "released"], order
    assert order.count("served") == 2
    assert ticks >= 3, ticks
    assert IDLE in repr(pool), pool
    pool.close()
    print("end")
    """
    assert patched(source, peer.url) == "end\n"


def test_a_greenlet_waits_for_a_slot_without_free_descriptors(serve: Serve, patched: Any) -> None:
    peer = serve(always(reply(b"ok")))
    source = """
    import resource
    pool = httpcore_rs.ConnectionPool(max_connections=1)
    def hold():
        with pool.stream("GET", url) as response:
            sleep(0.05)
            descriptors = []
            _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (100, most))
            try:
                while True:
                    descriptors.append(os.open(os.devnull, os.O_RDONLY))
            except OSError:
                pass
            sleep(0.3)
            for descriptor in descriptors:
                os.close(descriptor)
            response.read()
    def wait():
        sleep(0.2)
        assert pool.request("GET", url).content == b"ok"
    beside([hold, wait])
    pool.close()
    print("end")
    """
    assert patched(source, peer.url) == "end\n"


@pytest.mark.parametrize("kind", ENGINES)
def test_a_timeout_of_the_library_cancels_a_request(
    serve: Serve, certificates: Certificates, patched: Any, kind: str
) -> None:
    def script(connection: Connection) -> None:
        while connection.read_request().target != b"/never":
            connection.send(reply(b"ok"))
        silence(connection)

    tls = certificates.server_context() if kind in ("rustls", "ssl.SSLContext") else None
    peer = serve(script, tls=tls)
    source = """
    pool = httpcore_rs.ConnectionPool(max_connections=1, **context(*sys.argv[2:]))
    def cancelled():
        try:
            with Timeout(0.2):
                pool.request("GET", url + "never", extensions={"timeout": {"read": 10.0}})
        except Timeout:
            return "cancelled"
    results, took, ticks = beside([cancelled])
    assert results == ["cancelled"], results
    assert took < 5.0, took
    assert IDLE in repr(pool), pool
    # Also while waiting for a slot.
    def hold():
        with pool.stream("GET", url) as response:
            sleep(0.4)
            response.read()
    def wait():
        sleep(0.05)
        return cancelled()
    results, took, ticks = beside([hold, wait])
    assert results == [None, "cancelled"], results
    assert pool.request("GET", url, extensions={"timeout": {"pool": 5.0}}).content == b"ok"
    pool.close()
    print("end")
    """
    assert patched(source, peer.url, kind, str(certificates.ca)) == "end\n"
    assert peer.connections[0].closed.wait(5)


def test_a_killed_greenlet_releases_its_slot(serve: Serve, patched: Any) -> None:
    def script(connection: Connection) -> None:
        while connection.read_request().target != b"/never":
            connection.send(reply(b"ok"))
        silence(connection)

    peer = serve(script)
    source = """
    pool = httpcore_rs.ConnectionPool(max_connections=1)
    asking = spawn(pool.request, "GET", url + "never", extensions={"timeout": {"read": 5.0}})
    sleep(0.2)
    asking.kill()
    assert pool.request("GET", url, extensions={"timeout": {"pool": 2.0}}).content == b"ok"
    pool.close()
    print("end")
    """
    assert patched(source, peer.url) == "end\n"


def together(count: int) -> h2_peer.Script:
    """Returns a script that answers when this many requests are open at the same time."""

    def script(session: Any) -> None:
        while True:
            streams = [session.read_request() for _ in range(count)]
            for stream in streams:
                session.respond(stream, stream.target)

    return script


@pytest.mark.parametrize("kind", ["plain", "rustls", "ssl.SSLContext"])
def test_greenlets_share_an_http2_connection(
    serve_h2: ServeH2, certificates: Certificates, patched: Any, kind: str
) -> None:
    peer = serve_h2(together(5), tls=kind != "plain")
    source = """
    pool = httpcore_rs.ConnectionPool(http1=False, http2=True, max_connections=1, **context(*sys.argv[2:]))
    def ask(number):
        timeout = {"timeout": {"read": 10.0, "pool": 10.0}}
        return pool.request("POST", f"{url}{number}", content=b"x" * 100_000, extensions=timeout).content.decode()
    for _ in range(3):
        results, took, ticks = beside([lambda number=number: ask(number) for number in range(5)])
        assert results == ["/0", "/1", "/2", "/3", "/4"], results
    pool.close()
    print("end")
    """
    assert patched(source, peer.url, kind, str(certificates.ca)) == "end\n"
    assert len(peer.connections) == 1


def test_the_leader_of_an_http2_connection_may_be_cancelled(serve_h2: ServeH2, patched: Any) -> None:
    go = threading.Event()

    def script(session: Any) -> None:
        while True:
            stream = session.read_request()
            if stream.target == b"/go":
                go.set()
                session.respond(stream, b"going")
            elif stream.target != b"/never":
                session.when(go.is_set, lambda stream=stream: session.respond(stream, b"ok"))

    peer = serve_h2(script)
    source = """
    pool = httpcore_rs.ConnectionPool(http1=False, http2=True, max_connections=1)
    def cancelled():
        try:
            with Timeout(0.2):
                pool.request("GET", url + "never")
        except Timeout:
            return "cancelled"
    def wait():
        sleep(0.1)
        return pool.request("GET", url + "later", extensions={"timeout": {"read": 10.0}}).content
    def go():
        sleep(0.4)
        return pool.request("GET", url + "go", extensions={"timeout": {"read": 10.0}}).content
    results, took, ticks = beside([cancelled, wait, go])
    assert results == ["cancelled", b"ok", b"going"], results
    pool.close()
    print("end")
    """
    assert patched(source, peer.url) == "end\n"


@pytest.mark.parametrize("kind", ENGINES)
def test_bodies_are_streamed_both_ways(serve: Serve, certificates: Certificates, patched: Any, kind: str) -> None:
    def script(connection: Connection) -> None:
        while True:
            request = connection.read_request()
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(request.body))
            for start in range(0, len(request.body), 100_000):
                connection.send(request.body[start : start + 100_000])
                time.sleep(0.02)

    tls = certificates.server_context() if kind in ("rustls", "ssl.SSLContext") else None
    peer = serve(script, tls=tls)
    source = """
    pool = httpcore_rs.ConnectionPool(**context(*sys.argv[2:]))
    def body(mark):
        for _ in range(5):
            sleep(0.1)
            yield mark * 100_000
    def ask(mark):
        with pool.stream("POST", url, content=body(mark)) as response:
            return b"".join(response.iter_stream()) == mark * 500_000
    results, took, ticks = beside([lambda: ask(b"a"), lambda: ask(b"b"), lambda: ask(b"c")])
    assert results == [True] * 3
    assert ticks >= 8, ticks
    pool.close()
    print("end")
    """
    assert patched(source, peer.url, kind, str(certificates.ca)) == "end\n"


def test_pool_and_read_timeouts(serve: Serve, patched: Any) -> None:
    peer = serve(silence)
    source = """
    pool = httpcore_rs.ConnectionPool(max_connections=1)
    def read():
        try:
            pool.request("GET", url, extensions={"timeout": {"read": 2.0}})
        except httpcore.ReadTimeout:
            return "ReadTimeout"
    def wait():
        sleep(0.1)
        try:
            pool.request("GET", url, extensions={"timeout": {"pool": 0.2}})
        except httpcore.PoolTimeout:
            return "PoolTimeout"
    results, took, ticks = beside([read, wait])
    assert results == ["ReadTimeout", "PoolTimeout"], results
    assert took < 5.0, took
    assert ticks >= 8, ticks
    assert IDLE in repr(pool), pool
    pool.close()
    print("end")
    """
    assert patched(source, peer.url) == "end\n"


def test_names_are_resolved_without_stopping_other_greenlets(serve: Serve, patched: Any) -> None:
    peer = serve(echo)
    source = """
    import socket
    genuine, lookups = socket.getaddrinfo, []
    def getaddrinfo(host, *args, **kwargs):
        lookups.append(host)
        sleep(1)
        return genuine("127.0.0.1", *args, **kwargs)
    socket.getaddrinfo = getaddrinfo
    pool = httpcore_rs.ConnectionPool(max_connections=10)
    address = url.replace("127.0.0.1", "named.test")
    results, took, ticks = beside([lambda: pool.request("GET", address).status] * 10)
    assert results == [200] * 10
    assert lookups == ["named.test"], lookups
    assert ticks >= 3, ticks
    pool.close()
    print("end")
    """
    assert patched(source, peer.url) == "end\n"


def test_greenlets_share_a_lookup_of_the_resolver(patched: Any) -> None:
    source = """
    import socket
    from httpcore_rs._resolver import resolve
    lookups = []
    def getaddrinfo(host, *args, **kwargs):
        lookups.append(host)
        sleep(1)
        return [host]
    socket.getaddrinfo = getaddrinfo
    results, took, ticks = beside([lambda: resolve("named.test", 80, 5.0)] * 20)
    assert results == [["named.test"]] * 20, results
    assert lookups == ["named.test"], lookups
    assert ticks >= 3, ticks
    # A killed greenlet leaves the lookup to one of those that wait.
    lookups.clear()
    first = spawn(resolve, "named.test", 80, None)
    sleep(0.05)
    def kill():
        sleep(0.05)
        first.kill()
    results, took, ticks = beside([lambda: resolve("named.test", 80, 5.0)] * 3 + [kill])
    assert results == [["named.test"]] * 3 + [None], results
    assert lookups == ["named.test"] * 2, lookups
    # A waiter's time may be up first.
    first = spawn(resolve, "named.test", 80, None)
    sleep(0.05)
    assert resolve("named.test", 80, 0.05) is None
    join([first])
    print("end")
    """
    assert patched(source, "unused") == "end\n"
