"""HTTP/2 and the whole process: forks, Ctrl-C, its exit, its threads.

As in `tests/python/test_process.py`, each scenario is a program of its own, with Python's development mode and every
warning an error.
"""

from __future__ import annotations

import json
import os
import signal
import textwrap
import time
from typing import TYPE_CHECKING, Any

import pytest

import engines
from h2_peer import always, says
from programs import THREADS

if TYPE_CHECKING:
    from certificates import Certificates
    from h2_peer import ServeH2
    from h2_session import Session, Stream
    from programs import Program

POOLS = """
import ssl
CONFIG = (
    ssl.create_default_context(cafile=sys.argv[2])
    if sys.argv[3] == "ssl"
    else httpcore_rs.TLSConfig(verify=sys.argv[2], engine=sys.argv[3].replace("plain", "rustls"))
)
def sync_pool(**arguments):
    return httpcore_rs.ConnectionPool(CONFIG, http1=False, http2=True, **arguments)
def async_pool(**arguments):
    return httpcore_rs.AsyncConnectionPool(CONFIG, http1=False, http2=True, **arguments)
"""
SYNC = """
pool = sync_pool()
def ask(target, method="GET"):
    return pool.request(method, url + target).content.decode()
"""
ASYNC = """
pool = async_pool()
def ask(target, method="GET"):
    async def main():
        return (await pool.request(method, url + target)).content.decode()
    return asyncio.run(main())
"""
KINDS = {"sync": SYNC, "asyncio": ASYNC}


def numbered(session: Session, stream: Stream) -> None:
    session.respond(stream, b"%d %b" % (session.connection.number, stream.target))


def run(program: Any, certificates: Certificates, url: str, *parts: str) -> Program:
    return program("\n".join([POOLS, *map(textwrap.dedent, parts)]), url, str(certificates.ca), engines.current.name)


# Forks.


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_forked_child_never_shares_a_connection(
    serve_h2: ServeH2, program: Any, certificates: Certificates, kind: str, tls: bool
) -> None:
    peer = serve_h2(always(numbered), tls=tls)
    forking = """
    before = ask("before")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, json.dumps([ask("child-1", "POST"), ask("child-2", "POST")]).encode())
        del pool
        gc.collect()
        os._exit(0)
    during = ask("during")
    os.close(writing)
    with open(reading) as pipe:
        of_child = json.load(pipe)
    assert os.waitpid(child, 0)[1] == 0
    print(json.dumps([before, during, ask("after"), *of_child]))
    """
    answers = json.loads(run(program, certificates, peer.url, KINDS[kind], forking).output())
    assert answers == ["0 /before", "0 /during", "0 /after", "1 /child-1", "1 /child-2"]
    # The child did not send GOAWAY on the connection of its parent either.
    assert [stream.target for stream in peer.sessions[0].streams.values()] == [b"/before", b"/during", b"/after"]


def test_a_fork_within_a_response_leaves_it_to_the_parent(
    serve_h2: ServeH2, program: Any, certificates: Certificates
) -> None:
    peer = serve_h2(says(b"x" * 20_000_000))
    source = """
    pool = sync_pool()
    with pool.stream("GET", url) as response:
        chunks = iter(response.stream)
        length = len(next(chunks))
        child = os.fork()
        if child == 0:
            response.close()
            del chunks, response, pool
            gc.collect()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        print(length + sum(map(len, chunks)))
    """
    assert run(program, certificates, peer.url, source).output() == "20000000\n"


# Ctrl-C.


@pytest.mark.parametrize("phase", ["head", "body"])
def test_ctrl_c_ends_a_wait_and_the_connection_still_works(
    serve_h2: ServeH2, program: Any, certificates: Certificates, phase: str
) -> None:
    def respond(session: Session, stream: Stream) -> None:
        if stream.target == b"/":
            session.respond(stream, b"works")
        elif phase == "body":
            session.head(stream, 200)
            session.data(stream, b"begun")

    peer = serve_h2(always(respond))
    source = """
    pool = sync_pool(max_connections=1)
    try:
        pool.request("GET", url + "never")
    except KeyboardInterrupt:
        print(pool)
    print(pool.request("GET", url).content.decode())
    """
    running = run(program, certificates, peer.url, source)
    running.wait_for(lambda: peer.streams)
    time.sleep(0.1)
    running.process.send_signal(signal.SIGINT)
    pool = "<ConnectionPool [Requests: 0 active, 0 queued | Connections: 0 active, 1 idle]>"
    assert running.output() == f"{pool}\nworks\n"
    assert len(peer.connections) == 1
    assert peer.streams[0].reset == 8


def test_ctrl_c_in_the_thread_that_reads_for_all(serve_h2: ServeH2, program: Any, certificates: Certificates) -> None:
    def respond(session: Session, stream: Stream) -> None:
        if stream.target == b"/patient":
            session.when(
                lambda: any(each.target == b"/never" and each.reset is not None for each in peer.streams),
                lambda: session.respond(stream, b"patient"),
            )

    peer = serve_h2(always(respond))
    source = """
    pool = sync_pool(max_connections=1)
    def patient():
        print(pool.request("GET", url + "patient").content.decode(), flush=True)
    def later():
        import time
        while "1 active" not in repr(pool):
            time.sleep(0.01)
        time.sleep(0.3)
        patient()
    thread = threading.Thread(target=later)
    thread.start()
    try:
        pool.request("GET", url + "never")
    except KeyboardInterrupt:
        pass
    thread.join()
    print("end")
    """
    running = run(program, certificates, peer.url, source)
    running.wait_for(lambda: len(peer.streams) == 2)
    time.sleep(0.1)
    running.process.send_signal(signal.SIGINT)
    assert running.output() == "patient\nend\n"


def test_a_handler_may_send_requests_over_the_same_connection(
    serve_h2: ServeH2, program: Any, certificates: Certificates
) -> None:
    def respond(session: Session, stream: Stream) -> None:
        if stream.target == b"/slow":
            time.sleep(0.1)  # until the client sleeps
            os.kill(running.process.pid, signal.SIGUSR1)
            session.when(lambda: len(peer.streams) == 2, lambda: session.respond(stream, b"slow"))
        else:
            session.respond(stream, b"quick")

    peer = serve_h2(always(respond))
    source = """
    pool = sync_pool(max_connections=1)
    def handler(number, frame):
        print("handler", pool.request("GET", url).content.decode())
    signal.signal(signal.SIGUSR1, handler)
    print("request", pool.request("GET", url + "slow", extensions={"timeout": {"read": 5.0}}).content.decode())
    """
    running = run(program, certificates, peer.url, source)
    assert running.output() == "handler quick\nrequest slow\n"


# The end of the process.

LEFT_OPEN = {
    "an idle connection": "pool = sync_pool(); pool.request('GET', url)",
    "an open response": """
        pool = sync_pool()
        response = pool.handle_request(httpcore_rs.Request("GET", url + "big", headers={"Host": "x"}))
        """,
    "an open iteration": """
        pool = sync_pool()
        response = pool.handle_request(httpcore_rs.Request("GET", url + "big", headers={"Host": "x"}))
        chunks = iter(response.stream)
        next(chunks)
        """,
    "a cycle": """
        pool = sync_pool()
        response = pool.handle_request(httpcore_rs.Request("GET", url + "big", headers={"Host": "x"}))
        response.extensions["itself"] = response
        pool.itself = pool
        """,
    "threads that wait": """
        import time
        pool = sync_pool()
        for _ in range(3):
            threading.Thread(target=pool.request, args=("GET", url + "never"), daemon=True).start()
        time.sleep(0.2)
        """,
    "an idle connection of asyncio": "pool = async_pool(); asyncio.run(pool.request('GET', url))",
    "an open response of asyncio": """
        pool = async_pool()
        request = httpcore_rs.Request("GET", url + "big", headers={"Host": "x"})
        response = asyncio.run(pool.handle_async_request(request))
        """,
    "tasks of asyncio that wait": """
        pool = async_pool()
        async def main():
            tasks = [asyncio.create_task(pool.request("GET", url + "never")) for _ in range(4)]
            await asyncio.sleep(0.2)
        asyncio.run(main())
        """,
    "a loop that was not closed": """
        pool = async_pool()
        loop = asyncio.new_event_loop()
        loop.run_until_complete(pool.request("GET", url))
        loop.close()
        """,
    "an open response of trio": """
        import trio
        pool = async_pool()
        request = httpcore_rs.Request("GET", url + "big", headers={"Host": "x"})
        response = trio.run(pool.handle_async_request, request)
        """,
    "an idle connection of uvloop": """
        import uvloop
        pool = async_pool()
        uvloop.run(pool.request("GET", url))
        """,
}


@pytest.mark.parametrize("left", LEFT_OPEN)
def test_a_process_ends_in_silence_with_anything_left_open(
    serve_h2: ServeH2, program: Any, certificates: Certificates, left: str
) -> None:
    def respond(session: Session, stream: Stream) -> None:
        if stream.target != b"/never":
            session.respond(stream, b"x" * (20_000_000 if stream.target == b"/big" else 10))

    peer = serve_h2(always(respond))
    assert run(program, certificates, peer.url, LEFT_OPEN[left], "print('end')").output() == "end\n"


# Threads.


@pytest.mark.parametrize("kind", ["sync", "asyncio", "trio"])
def test_no_thread_is_started(serve_h2: ServeH2, program: Any, certificates: Certificates, kind: str) -> None:
    peer = serve_h2(says(b"ok"), tls=True)
    source = """
    if kind == "sync":
        pool = sync_pool(http2_ping_interval=0.05)
        for _ in range(3):
            assert pool.request("POST", url, content=b"x" * 300_000).status == 200
            check()
    else:
        async def main():
            async with async_pool(http2_ping_interval=0.05) as pool:
                for _ in range(3):
                    assert (await pool.request("POST", url, content=b"x" * 300_000)).status == 200
                    check()
        if kind == "asyncio":
            asyncio.run(main())
        else:
            import trio
            trio.run(main)
    check()
    """
    assert run(program, certificates, peer.url, THREADS, f"kind = {kind!r}", source).output() == ""
