"""State of the package that threads share: each change of it must be whole, with the GIL and without."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

import httpcore_rs

if TYPE_CHECKING:
    from collections.abc import Callable

    from libraries import Library
    from programs import Program


def test_threads_get_the_same_default_backend() -> None:
    barrier = threading.Barrier(2)

    class Pool(httpcore_rs.ConnectionPool):
        def _make_default_backend(self) -> Any:
            # Where the threads are not kept apart, both are in here at a time.
            with contextlib.suppress(threading.BrokenBarrierError):
                barrier.wait(1)
            return super()._make_default_backend()

    pool = Pool()
    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(lambda _: pool._network_backend, range(2))
    assert first is second
    assert pool._network_backend is first
    # The engine connects by itself where the default backend is assigned unchanged.
    pool._network_backend = second
    assert pool._engine.network_backend is None


def test_install_in_two_threads_is_undone(library: Library, program: Callable[..., Program]) -> None:
    source = """
        import contextlib, importlib
        from concurrent.futures import ThreadPoolExecutor
        from httpcore_rs import _install

        library = importlib.import_module(sys.argv[1])
        classes = (library.HTTPTransport, library.AsyncHTTPTransport)
        methods = [dict(vars(cls)) for cls in classes]
        barrier, make = threading.Barrier(2), _install._constructor

        def constructor(*args):
            # Where the threads are not kept apart, both are in here at a time.
            with contextlib.suppress(threading.BrokenBarrierError):
                barrier.wait(1)
            return make(*args)

        _install._constructor = constructor
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(lambda _: httpcore_rs.install(), range(2)))
        assert [dict(vars(cls)) for cls in classes] != methods
        httpcore_rs.uninstall()
        assert [dict(vars(cls)) for cls in classes] == methods
    """
    assert program(source, library.__name__).output() == ""


LOCKS = {"_ssl_session": "_alpn", "_install": "_changes"}


@pytest.mark.parametrize("module", LOCKS)
def test_a_fork_while_another_thread_holds_a_lock(module: str, program: Callable[..., Program]) -> None:
    source = """
        import faulthandler, importlib, ssl
        from httpcore_rs import _ssl_session
        import httpx

        module = importlib.import_module(f"httpcore_rs.{sys.argv[1]}")
        held, over = threading.Event(), threading.Event()

        def hold():
            with getattr(module, sys.argv[2]).lock:
                held.set()
                over.wait()

        thread = threading.Thread(target=hold)
        thread.start()
        held.wait()
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
        if child == 0:
            faulthandler.dump_traceback_later(20, exit=True)
            _ssl_session.Session(ssl.create_default_context(), "localhost", ["http/1.1"])
            httpcore_rs.install()
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        over.set()
        thread.join()
        sys.exit(status)
    """
    assert program(source, module, LOCKS[module]).output() == ""
