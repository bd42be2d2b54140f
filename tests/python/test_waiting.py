"""Threads that wait: they cause no wake-ups and open no descriptors, and signals end their wait.

Each scenario is a small program of its own (`programs`): signal handlers run on the main thread only.
"""

from __future__ import annotations

import signal
import sys
import time
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest

import h2_peer
from peers import always, reply, silence
from programs import POOLS

if TYPE_CHECKING:
    from certificates import Certificates
    from h2_peer import ServeH2
    from peers import Connection, Serve

# The programs choose the TLS engine themselves.
OVER = ("plain",)

# `measured` runs a call and counts how often the thread went to sleep meanwhile: its voluntary context switches.
COMMON = (
    POOLS
    + """
import contextlib, resource, time
kind, ca = sys.argv[2:4]
pool = httpcore_rs.ConnectionPool(max_connections=1, **arguments_of(kind, ca))

def switches():
    return resource.getrusage(resource.RUSAGE_THREAD if hasattr(resource, "RUSAGE_THREAD") else 0).ru_nvcsw

def measured(call):
    before, begin = switches(), time.monotonic()
    result = call()
    return result, switches() - before, time.monotonic() - begin

def ask(target, **timeout):
    return pool.request("GET", url + target, extensions={"timeout": timeout})
"""
)
KINDS = ["plain", "rustls", "ssl.SSLContext", "HTTP/2"]


def slow(connection: Connection) -> None:
    while True:
        target = connection.read_request().target
        if target == b"/slow":
            time.sleep(2)
        if target == b"/never":
            silence(connection)
        connection.send(reply(b"ok"))


def slow_http2(session: Any) -> None:
    while True:
        stream = session.read_request()
        if stream.target == b"/slow":
            time.sleep(2)
        if stream.target == b"/never":
            session.stay()
        session.respond(stream, b"ok")


def start(kind: str, serve: Serve, serve_h2: ServeH2, certificates: Certificates) -> str:
    if kind == "HTTP/2":
        return serve_h2(slow_http2).url
    return serve(slow, tls=certificates.server_context() if kind in ("rustls", "ssl.SSLContext") else None).url


@pytest.mark.parametrize("kind", KINDS)
def test_the_main_thread_sleeps_until_its_response_comes(
    serve: Serve, serve_h2: ServeH2, certificates: Certificates, program: Any, kind: str
) -> None:
    source = """
    ask("first")
    response, count, took = measured(lambda: ask("slow"))
    assert response.content == b"ok" and took > 1.5
    assert count < 10, count
    print("end")
    """
    url = start(kind, serve, serve_h2, certificates)
    assert program(COMMON + dedent(source), url, kind, str(certificates.ca)).output() == "end\n"


def test_the_main_thread_sleeps_while_it_waits_for_a_slot(
    serve: Serve, certificates: Certificates, program: Any
) -> None:
    source = """
    descriptors = lambda: sorted(os.listdir("/proc/self/fd" if os.path.exists("/proc/self/fd") else "/dev/fd"))
    seen = []
    def hold():
        with pool.stream("GET", url) as response:
            held.set()
            while "1 queued" not in repr(pool):
                time.sleep(0.01)
            # What the wait of the main thread has open, from its begin to its end.
            for _ in range(20):
                time.sleep(0.1)
                seen.append(tuple(descriptors()))
            response.read()
    held = threading.Event()
    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    response, count, took = measured(lambda: ask("", pool=20.0))
    assert response.content == b"ok" and took > 1.5
    assert count < 10, count
    thread.join()
    # A wait opens its descriptors once, and not again at each signal poll.
    assert len(set(seen[1:])) == 1, seen
    print("end")
    """
    peer = serve(always(reply(b"ok")))
    assert program(COMMON + dedent(source), peer.url, "plain", str(certificates.ca)).output() == "end\n"


@pytest.mark.skipif(sys.platform != "linux", reason="pipes are told apart by their numbers in /proc")
def test_a_wait_for_a_slot_opens_no_pipe_at_each_signal_poll(
    serve: Serve, certificates: Certificates, program: Any
) -> None:
    source = """
    def hold():
        with pool.stream("GET", url) as response:
            held.set()
            while not done.is_set():
                for name in os.listdir("/proc/self/fd"):
                    with contextlib.suppress(OSError):
                        target = os.readlink("/proc/self/fd/" + name)
                        if target.startswith("pipe:"):
                            pipes.add(target)
                time.sleep(0.002)
            response.read()
    pipes, held, done = set(), threading.Event(), threading.Event()
    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    threading.Timer(1.5, done.set).start()
    ask("", pool=20.0)
    thread.join()
    # Standard output and error are pipes too.
    assert len(pipes) <= 2 + 2, pipes
    print("end")
    """
    peer = serve(always(reply(b"ok")))
    assert program(COMMON + dedent(source), peer.url, "plain", str(certificates.ca)).output() == "end\n"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sender", ["process", "thread"])
def test_a_handler_runs_while_its_thread_waits(
    serve: Serve, serve_h2: ServeH2, certificates: Certificates, program: Any, kind: str, sender: str
) -> None:
    source = """
    handled = []
    signal.signal(signal.SIGUSR1, lambda number, frame: handled.append(time.monotonic()))
    count = 5 if sys.argv[4] == "process" else 1
    def send():
        for _ in range(count):
            time.sleep(0.25)
            sent.append(time.monotonic())
            if sys.argv[4] == "process":
                os.kill(os.getpid(), signal.SIGUSR1)
            else:
                # Received by this thread: the main thread's sleep goes on, and its handler is due all the same.
                signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
            # Signals that come before the handler has run would be handled as one.
            while len(handled) < len(sent):
                time.sleep(0.01)
    sent = []
    ask("first")
    thread = threading.Thread(target=send)
    thread.start()
    assert ask("slow", read=20.0).content == b"ok"
    thread.join()
    assert len(handled) == count, handled
    delays = [at - due for at, due in zip(handled, sent)]
    # A signal to the thread itself ends its sleep; it polls for signals to other threads.
    assert max(delays) < 1.2, delays
    if count == 5:
        # Most come at once: on a busy machine, one may be late.
        assert sorted(delays)[2] < 0.2, delays
    print("end")
    """
    url = start(kind, serve, serve_h2, certificates)
    assert program(COMMON + dedent(source), url, kind, str(certificates.ca), sender).output() == "end\n"


@pytest.mark.parametrize("kind", KINDS)
def test_ctrl_c_ends_a_wait_at_once(
    serve: Serve, serve_h2: ServeH2, certificates: Certificates, program: Any, kind: str
) -> None:
    source = """
    ask("first")
    begin = time.monotonic()
    try:
        print("waiting", flush=True)
        ask("never", read=20.0)
    except KeyboardInterrupt:
        assert time.monotonic() - begin < 15
        print("interrupted", repr(pool).partition("|")[0])
    """
    url = start(kind, serve, serve_h2, certificates)
    running = program(COMMON + dedent(source), url, kind, str(certificates.ca))
    assert running.process.stdout.readline() == "waiting\n"
    time.sleep(0.3)
    running.process.send_signal(signal.SIGINT)
    assert running.output() == "interrupted <ConnectionPool [Requests: 0 active, 0 queued \n"


def test_ctrl_c_ends_the_wait_of_a_thread_that_shares_a_connection(
    serve_h2: ServeH2, certificates: Certificates, program: Any
) -> None:
    """Another thread reads the connection meanwhile."""
    peer = serve_h2(h2_peer.only_root)
    source = """
    ask("")
    other = threading.Thread(target=ask, args=("never",), daemon=True)
    other.start()
    time.sleep(0.2)
    try:
        print("waiting", flush=True)
        ask("neither")
    except KeyboardInterrupt:
        print(ask("").content.decode())
    """
    running = program(COMMON + dedent(source), peer.url, "HTTP/2", str(certificates.ca))
    assert running.process.stdout.readline() == "waiting\n"
    time.sleep(0.3)
    running.process.send_signal(signal.SIGINT)
    assert running.output() == "ok\n"


@pytest.mark.parametrize("kind", ["plain", "rustls", "ssl.SSLContext"])
def test_ctrl_c_ends_the_wait_for_a_connection(
    serve: Serve, certificates: Certificates, program: Any, kind: str
) -> None:
    """The connection waits for the handshake, or for the head."""
    peer = serve(silence)
    source = """
    print("waiting", flush=True)
    try:
        ask("", connect=20.0, read=20.0)
    except KeyboardInterrupt:
        print(pool)
    """
    url = peer.url if kind == "plain" else peer.url.replace("http:", "https:")
    running = program(COMMON + dedent(source), url, kind, str(certificates.ca))
    running.wait_for(lambda: peer.connections)
    time.sleep(0.2)
    running.process.send_signal(signal.SIGINT)
    pool = "<ConnectionPool [Requests: 0 active, 0 queued | Connections: 0 active, 0 idle]>"
    assert running.output() == f"waiting\n{pool}\n"
