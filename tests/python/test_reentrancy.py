"""Requests within requests: from signal handlers, finalizers and bodies, on the same pool.

Each scenario is a small program of its own (`programs`): signal handlers run on the main thread only.
"""

from __future__ import annotations

import os
import time
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest

import h2_peer
from peers import always, reply

if TYPE_CHECKING:
    from certificates import Certificates
    from h2_peer import ServeH2
    from peers import Connection, Serve

# The programs choose the TLS engine themselves.
OVER = ("plain",)


def test_a_signal_while_a_session_of_python_begins(serve: Serve, certificates: Certificates, program: Any) -> None:
    source = """
    import ssl

    class Context(ssl.SSLContext):
        is_signalled = False

        def wrap_bio(self, *args, **kwargs):
            if not self.is_signalled:
                self.is_signalled = True
                signal.raise_signal(signal.SIGUSR1)
            return super().wrap_bio(*args, **kwargs)

    def handle(number, frame):
        inner.append(pool.request("GET", url).content)

    inner = []
    signal.signal(signal.SIGUSR1, handle)
    context = Context(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(sys.argv[2])
    pool = httpcore_rs.ConnectionPool(ssl_context=context)
    print(pool.request("GET", url).content, inner)
    pool.close()
    """
    peer = serve(always(reply(b"ok")), tls=certificates.server_context())
    assert program(dedent(source), peer.url, str(certificates.ca)).output() == "b'ok' [b'ok']\n"


def test_a_signal_in_a_step_of_a_shared_session(serve_h2: ServeH2, certificates: Certificates, program: Any) -> None:
    source = """
    import httpcore, ssl

    def handle(number, frame):
        # Not on the connection whose step this interrupts: it would wait for itself.
        try:
            pool.request("GET", url)
        except httpcore.LocalProtocolError as exc:
            inner.append("in the middle of using it" in str(exc))

    class Object(ssl.SSLObject):
        def write(self, data):
            global is_armed
            if is_armed:
                is_armed = False
                signal.raise_signal(signal.SIGUSR1)
            return super().write(data)

    is_armed = False
    inner = []
    signal.signal(signal.SIGUSR1, handle)
    context = ssl.create_default_context(cafile=sys.argv[2])
    context.sslobject_class = Object
    pool = httpcore_rs.ConnectionPool(ssl_context=context, http2=True, http1=False)
    print(pool.request("GET", url).content, inner)
    is_armed = True
    print(pool.request("GET", url).content, inner)
    print(pool.request("GET", url).content, pool)
    pool.close()
    """
    peer = serve_h2(h2_peer.says(b"ok"), tls=certificates.server_context(alpn=["h2"]))
    assert program(dedent(source), peer.url, str(certificates.ca)).output() == (
        "b'ok' []\nb'ok' [True]\n"
        "b'ok' <ConnectionPool [Requests: 0 active, 0 queued | Connections: 0 active, 1 idle]>\n"
    )
    assert len(peer.connections) == 1


@pytest.mark.parametrize("http2", [False, True])
def test_signals_at_any_point_of_a_session(
    serve: Serve, serve_h2: ServeH2, certificates: Certificates, program: Any, http2: bool
) -> None:
    source = """
    import httpcore, ssl

    def handle(number, frame):
        # Handlers run in the methods of `_ssl` as well, which the engine calls by itself.
        try:
            inner.append(pool.request("GET", url).content)
        except httpcore.LocalProtocolError as exc:
            assert "in the middle of using it" in str(exc)

    inner = []
    context = ssl.create_default_context(cafile=sys.argv[2])
    pool = httpcore_rs.ConnectionPool(ssl_context=context, http2=sys.argv[3] == "True", http1=sys.argv[3] != "True")
    signal.signal(signal.SIGALRM, handle)
    contents = {pool.request("GET", url).content}
    while len(inner) < 100:
        signal.setitimer(signal.ITIMER_REAL, 0.0005)
        contents.add(pool.request("GET", url).content)
    signal.setitimer(signal.ITIMER_REAL, 0)
    print({*contents, *inner})
    pool.close()
    """
    peer = (
        serve_h2(h2_peer.says(b"ok"), tls=True)
        if http2
        else serve(always(reply(b"ok")), tls=certificates.server_context())
    )
    assert program(dedent(source), peer.url, str(certificates.ca), str(http2)).output() == "{b'ok'}\n"


# Requests a response that takes two seconds; a signal arrives before that.
WHILE_IT_WAITS = """
import time
pool = httpcore_rs.ConnectionPool()
main = threading.get_ident()

def signalled_request(pause):
    threading.Timer(pause, lambda: signal.pthread_kill(main, signal.SIGUSR1)).start()
    return pool.request("GET", url).content

def wakeup_descriptor():
    return signal.set_wakeup_fd(-1)
"""


def late(connection: Connection) -> None:
    while True:
        connection.read_request()
        time.sleep(2)
        connection.send(reply(b"ok"))


@pytest.mark.parametrize("pause", [0.01, 0.4])
def test_an_exception_of_a_handler_leaves_no_wakeup_descriptor(serve: Serve, program: Any, pause: float) -> None:
    source = """
    def handle(number, frame):
        raise ZeroDivisionError

    signal.signal(signal.SIGUSR1, handle)
    try:
        signalled_request(float(sys.argv[2]))
    except ZeroDivisionError:
        print(wakeup_descriptor())
    """
    assert program(WHILE_IT_WAITS + dedent(source), serve(late).url, str(pause)).output() == "-1\n"


def test_a_wakeup_descriptor_that_a_handler_sets_stays(serve: Serve, program: Any) -> None:
    source = """
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    signal.signal(signal.SIGUSR1, lambda number, frame: signal.set_wakeup_fd(write_end))
    print(signalled_request(0.4), wakeup_descriptor() == write_end)
    """
    assert program(WHILE_IT_WAITS + dedent(source), serve(late).url).output() == "b'ok' True\n"


def test_a_signal_while_the_wakeup_descriptor_of_the_program_is_read(serve: Serve, program: Any) -> None:
    source = """
    import _signal
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    os.set_blocking(read_end, False)
    signal.signal(signal.SIGUSR1, lambda number, frame: None)
    signal.set_wakeup_fd(write_end)
    set_wakeup_fd = _signal.set_wakeup_fd

    def at_the_wrong_moment(descriptor, **arguments):
        before = set_wakeup_fd(descriptor, **arguments)
        if before == write_end:
            signal.raise_signal(signal.SIGUSR1)
        return before

    _signal.set_wakeup_fd = at_the_wrong_moment
    print(pool.request("GET", url).content)
    print(set(os.read(read_end, 100)) == {signal.SIGUSR1})
    """
    assert program(WHILE_IT_WAITS + dedent(source), serve(late).url).output() == "b'ok'\nTrue\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_child_that_a_handler_forks_has_no_wakeup_descriptor(serve: Serve, program: Any) -> None:
    source = """
    import warnings
    # The timer's thread may not have ended yet.
    warnings.simplefilter("ignore", DeprecationWarning)

    def handle(number, frame):
        child = os.fork()
        if child == 0:
            print(wakeup_descriptor(), flush=True)
            os._exit(0)
        os.waitpid(child, 0)

    signal.signal(signal.SIGUSR1, handle)
    print(signalled_request(0.4))
    """
    assert program(WHILE_IT_WAITS + dedent(source), serve(late).url).output() == "-1\nb'ok'\n"
