"""The whole process: forks, signals, its exit, its threads and its descriptors.

Each scenario is a small program of its own (`programs`), which gets the peer's URL as its argument.
"""

from __future__ import annotations

import json
import os
import signal
import textwrap
import time
from typing import TYPE_CHECKING, Any

import pytest

from peers import always, echo, reply, silence
from programs import THREADS

if TYPE_CHECKING:
    from pathlib import Path

    from certificates import Certificates
    from peers import Connection, Serve


def numbered(connection: Connection) -> None:
    """Answers with the numbers of the connection and of the request."""
    while True:
        request = connection.read_request()
        connection.send(reply(b"%d %b" % (connection.number, request.target)))


# Forks.

FORKS = {
    "sync": """
        pool = httpcore_rs.ConnectionPool()
        def ask(target, method="GET"):
            return pool.request(method, url + target).content.decode()
        """,
    "asyncio": """
        pool = httpcore_rs.AsyncConnectionPool()
        def ask(target, method="GET"):
            async def main():
                return (await pool.request(method, url + target)).content.decode()
            return asyncio.run(main())
        """,
}
FORKING = """
before = ask("before")
reading, writing = os.pipe()
child = os.fork()
if child == 0:
    os.write(writing, json.dumps([ask("child-1", "POST"), ask("child-2", "POST")]).encode())
    os._exit(0)
during = ask("during")
os.close(writing)
with open(reading) as pipe:
    of_child = json.load(pipe)
assert os.waitpid(child, 0)[1] == 0
print(json.dumps([before, during, ask("after"), *of_child]))
"""


@pytest.mark.parametrize("kind", FORKS)
def test_a_forked_child_never_shares_a_connection(serve: Serve, program: Any, kind: str) -> None:
    peer = serve(numbered)
    answers = json.loads(program(textwrap.dedent(FORKS[kind]) + FORKING, peer.url).output())
    assert answers == ["0 /before", "0 /during", "0 /after", "1 /child-1", "1 /child-2"]


def test_a_child_sends_no_close_notify_for_its_parent(serve: Serve, program: Any, certificates: Certificates) -> None:
    peer = serve(numbered, tls=certificates.server_context())
    pool = FORKS["sync"].replace("ConnectionPool()", "ConnectionPool(httpcore_rs.TLSConfig(verify=sys.argv[2]))")
    answers = json.loads(program(textwrap.dedent(pool) + FORKING, peer.url, str(certificates.ca)).output())
    assert answers == ["0 /before", "0 /during", "0 /after", "1 /child-1", "1 /child-2"]


@pytest.mark.parametrize("kind", FORKS)
def test_a_pool_made_before_a_fork_works_in_the_child(serve: Serve, program: Any, kind: str) -> None:
    peer = serve(numbered)
    forking = """
    child = os.fork()
    if child == 0:
        print(ask("child"), flush=True)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    """
    assert program(textwrap.dedent(FORKS[kind]) + textwrap.dedent(forking), peer.url).output() == "0 /child\n"


def test_a_fork_within_a_response_leaves_it_to_the_parent(serve: Serve, program: Any) -> None:
    peer = serve(always(reply(b"x" * 5_000_000)))
    source = """
    pool = httpcore_rs.ConnectionPool()
    with pool.stream("GET", url) as response:
        chunks = iter(response.stream)
        length = len(next(chunks))
        child = os.fork()
        if child == 0:
            del chunks, response, pool
            gc.collect()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        print(length + sum(map(len, chunks)))
    """
    assert program(source, peer.url).output() == "5000000\n"


# Ctrl-C.


@pytest.mark.parametrize("phase", ["head", "body", "tls"])
def test_ctrl_c_ends_a_wait_and_the_pool_still_works(serve: Serve, program: Any, phase: str) -> None:
    def stalling(connection: Connection) -> None:
        if phase == "body":
            connection.read_request()
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")
        silence(connection)

    stalled, peer = serve(stalling), serve(always(reply(b"works")))
    source = """
    pool = httpcore_rs.ConnectionPool(max_connections=1)
    try:
        pool.request("GET", sys.argv[2])
    except KeyboardInterrupt:
        print(pool)
    print(pool.request("GET", url).content.decode())
    """
    address = stalled.url.replace("http:", "https:") if phase == "tls" else stalled.url
    running = program(source, peer.url, address)
    running.wait_for(lambda: stalled.connections)
    time.sleep(0.1)
    running.process.send_signal(signal.SIGINT)
    pool = "<ConnectionPool [Requests: 0 active, 0 queued | Connections: 0 active, 0 idle]>"
    assert running.output() == f"{pool}\nworks\n"


def test_ctrl_c_ends_the_wait_for_a_slot(serve: Serve, program: Any) -> None:
    peer = serve(always(reply(b"works")))
    source = """
    pool = httpcore_rs.ConnectionPool(max_connections=1)
    with pool.stream("GET", url):
        try:
            print("waiting", flush=True)
            pool.request("GET", url)
        except KeyboardInterrupt:
            print(pool)
    print(pool.request("GET", url).content.decode())
    """
    running = program(source, peer.url)
    assert running.process.stdout.readline() == "waiting\n"
    time.sleep(0.1)
    running.process.send_signal(signal.SIGINT)
    pool = "<ConnectionPool [Requests: 1 active, 0 queued | Connections: 1 active, 0 idle]>"
    assert running.output() == f"{pool}\nworks\n"


def test_a_signal_that_another_thread_received(serve: Serve, program: Any) -> None:
    """Its handler runs on the main thread, whose sleep the signal does not end."""
    source = """
    try:
        threading.Timer(0.3, lambda: signal.pthread_kill(threading.get_ident(), signal.SIGINT)).start()
        httpcore_rs.ConnectionPool().request("GET", url)
    except KeyboardInterrupt:
        print("interrupted")
    """
    running = program(source, serve(silence).url)
    assert running.output() == "interrupted\n"


def test_other_signals_do_not_interrupt_a_request(serve: Serve, program: Any, tmp_path: Path) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        for number in range(1, 6):
            connection.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
            os.kill(running.process.pid, signal.SIGUSR1)
            # Signals that come before the handler has run would be handled as one.
            running.wait_for(lambda number=number: marks.stat().st_size == number)
        connection.send(reply(b"complete"))

    marks = tmp_path / "marks"
    marks.touch()
    peer = serve(script)
    source = """
    import signal
    handled = []
    def handler(number, frame):
        handled.append(number)
        with open(sys.argv[2], "a") as marks:
            marks.write("x")
    signal.signal(signal.SIGUSR1, handler)
    print(httpcore_rs.ConnectionPool().request("GET", url).content.decode(), len(handled) > 1)
    """
    running = program(source, peer.url, str(marks))
    assert running.output() == "complete True\n"


def test_a_handler_may_send_requests_itself(serve: Serve, program: Any) -> None:
    def script(connection: Connection) -> None:
        while True:
            if connection.read_request().target == b"/slow":
                os.kill(running.process.pid, signal.SIGUSR1)
                time.sleep(0.3)
            connection.send(reply(b"answered"))

    peer = serve(script)
    source = """
    pool = httpcore_rs.ConnectionPool()
    def handler(number, frame):
        print("handler", pool.request("GET", url).content.decode())
    signal.signal(signal.SIGUSR1, handler)
    print("request", pool.request("GET", url + "slow", extensions={"timeout": {"read": 5.0}}).content.decode())
    """
    running = program(source, peer.url)
    assert running.output() == "handler answered\nrequest answered\n"


def test_a_child_that_closes_a_response_leaves_its_bytes_to_the_parent(serve: Serve, program: Any) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"x" * 100_000)
        time.sleep(0.2)
        connection.send(b"x" * 100_000)

    peer = serve(script)
    source = """
    pool = httpcore_rs.ConnectionPool()
    response = pool.handle_request(httpcore_rs.Request("GET", url, headers={"Host": "x"}))
    first = next(iter(response.stream))
    child = os.fork()
    if child == 0:
        try:
            next(iter(response.stream))
        except httpcore_rs.ReadError:
            response.close()
            os._exit(0)
        os._exit(1)
    _, status = os.waitpid(child, 0)
    print(status, len(first) + sum(map(len, response.stream)))
    """
    assert program(source, peer.url).output() == "0 200000\n"


# The end of the process.

LEFT_OPEN = {
    "an idle connection": "pool = httpcore_rs.ConnectionPool(); pool.request('GET', url)",
    "an open response": """
        pool = httpcore_rs.ConnectionPool()
        response = pool.handle_request(httpcore_rs.Request("GET", url + "big", headers={"Host": "x"}))
        """,
    "an open iteration": """
        pool = httpcore_rs.ConnectionPool()
        response = pool.handle_request(httpcore_rs.Request("GET", url + "big", headers={"Host": "x"}))
        chunks = iter(response.stream)
        next(chunks)
        """,
    "a cycle": """
        pool = httpcore_rs.ConnectionPool()
        response = pool.handle_request(httpcore_rs.Request("GET", url + "big", headers={"Host": "x"}))
        response.extensions["itself"] = response
        pool.itself = pool
        """,
    "a thread that waits": """
        pool = httpcore_rs.ConnectionPool()
        threading.Thread(target=pool.request, args=("GET", url + "never"), daemon=True).start()
        import time; time.sleep(0.2)
        """,
    "an idle connection of asyncio": """
        pool = httpcore_rs.AsyncConnectionPool()
        asyncio.run(pool.request("GET", url))
        """,
    "an open response of asyncio": """
        pool = httpcore_rs.AsyncConnectionPool()
        request = httpcore_rs.Request("GET", url + "big", headers={"Host": "x"})
        response = asyncio.run(pool.handle_async_request(request))
        """,
    "tasks of asyncio that wait": """
        pool = httpcore_rs.AsyncConnectionPool(max_connections=2)
        async def main():
            tasks = [asyncio.create_task(pool.request("GET", url + "never")) for _ in range(4)]
            await asyncio.sleep(0.2)
        asyncio.run(main())
        """,
    "a loop that was not closed": """
        pool = httpcore_rs.AsyncConnectionPool()
        loop = asyncio.new_event_loop()
        loop.run_until_complete(pool.request("GET", url))
        loop.close()
        """,
    "an open response of trio": """
        import trio
        pool = httpcore_rs.AsyncConnectionPool()
        request = httpcore_rs.Request("GET", url + "big", headers={"Host": "x"})
        response = trio.run(pool.handle_async_request, request)
        """,
    "an idle connection of uvloop": """
        import uvloop
        pool = httpcore_rs.AsyncConnectionPool()
        uvloop.run(pool.request("GET", url))
        """,
}


@pytest.mark.parametrize("left", LEFT_OPEN)
def test_a_process_ends_in_silence_with_anything_left_open(serve: Serve, program: Any, left: str) -> None:
    def script(connection: Connection) -> None:
        while True:
            target = connection.read_request().target
            if target == b"/never":
                silence(connection)
            connection.send(reply(b"x" * (5_000_000 if target == b"/big" else 10)))

    peer = serve(script)
    assert program(textwrap.dedent(LEFT_OPEN[left]) + "\nprint('end')", peer.url).output() == "end\n"


# Threads and descriptors.


@pytest.mark.parametrize("kind", ["sync", "asyncio", "trio"])
def test_no_thread_is_started(serve: Serve, program: Any, certificates: Certificates, kind: str) -> None:
    plain, secure = serve(echo), serve(echo, tls=certificates.server_context())
    source = """
    config = httpcore_rs.TLSConfig(verify=sys.argv[3])
    kind = sys.argv[4]
    if kind == "sync":
        pool = httpcore_rs.ConnectionPool(config)
        for target in (url, sys.argv[2]) * 3:
            assert pool.request("POST", target, content=b"x" * 1_000_000).status == 200
            check()
    else:
        async def main():
            async with httpcore_rs.AsyncConnectionPool(config) as pool:
                for target in (url, sys.argv[2]) * 3:
                    assert (await pool.request("POST", target, content=b"x" * 1_000_000)).status == 200
                    check()
        if kind == "asyncio":
            asyncio.run(main())
        else:
            import trio
            trio.run(main)
    check()
    """
    source = THREADS + textwrap.dedent(source)
    assert program(source, plain.url, secure.url, str(certificates.ca), kind).output() == ""


@pytest.mark.parametrize("kind", ["sync", "asyncio"])
def test_a_lack_of_descriptors_is_named_and_temporary(serve: Serve, program: Any, kind: str) -> None:
    peer = serve(always(reply(b"ok")))
    source = """
    import contextlib, resource
    kind = sys.argv[2]
    folder = "/proc/self/fd" if os.path.exists("/proc/self/fd") else "/dev/fd"

    def check(error):
        assert "too many open files" in str(error).lower(), str(error)

    def exhaust():
        # What is open now, and two more.
        limit = max(map(int, os.listdir(folder))) + 3
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))

    if kind == "sync":
        pool = httpcore_rs.ConnectionPool(max_connections=50)
        pool.request("GET", url)
        exhaust()
        with contextlib.ExitStack() as stack:
            try:
                for _ in range(20):
                    stack.enter_context(pool.stream("GET", url))
                raise SystemExit("no error")
            except httpcore_rs.ConnectError as error:
                check(error)
        print(pool.request("GET", url).content.decode())
    else:
        async def main():
            pool = httpcore_rs.AsyncConnectionPool(max_connections=50)
            await pool.request("GET", url)
            exhaust()
            async with contextlib.AsyncExitStack() as stack:
                try:
                    for _ in range(20):
                        await stack.enter_async_context(pool.stream("GET", url))
                    raise SystemExit("no error")
                except httpcore_rs.ConnectError as error:
                    check(error)
            print((await pool.request("GET", url)).content.decode())
            await pool.aclose()
        asyncio.run(main())
    """
    assert program(source, peer.url, kind).output() == "ok\n"


def test_a_response_knows_its_request_across_processes(serve: Serve, program: Any) -> None:
    # Four children of one parent, at the same time, each with the pool that it inherited.
    peer = serve(echo)
    source = """
    pool = httpcore_rs.ConnectionPool()
    pool.request("GET", url)
    children = []
    for child in range(4):
        children.append(os.fork())
        if children[-1] == 0:
            for number in range(50):
                target = f"{child}-{number}"
                assert json.loads(pool.request("GET", url + target).content)["target"] == "/" + target
            os._exit(0)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    """
    assert program(source, peer.url).output() == ""
    assert len(peer.requests) == 201
    assert len(peer.connections) == 5
