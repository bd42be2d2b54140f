"""Fixtures that all tests share, and the hook that runs a test in its flavour."""

from __future__ import annotations

import contextlib
import gc
import inspect
import os
import shutil
import sys
from typing import TYPE_CHECKING

import pytest

import engines
import windows
from certificates import Certificates
from engines import ENGINES
from flavours import FLAVOURS, Asyncio, Flavour
from h2_peer import H2Peer
from libraries import LIBRARIES, Library
from peers import Peer
from programs import Program
from servers import AsgiServer

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    import h2_peer
    from h2_peer import ServeH2
    from peers import Script, Serve


@pytest.fixture(params=FLAVOURS)
def flavour(request: pytest.FixtureRequest) -> Flavour:
    """Returns each of the four ways to use a pool: the test runs once in each."""
    return FLAVOURS[request.param]()


@pytest.fixture(params=[name for name, kind in FLAVOURS.items() if kind.is_async])
def async_flavour(request: pytest.FixtureRequest) -> Flavour:
    """Returns each of the three flavours in which a call can be cancelled."""
    return FLAVOURS[request.param]()


@pytest.fixture(params=[name for name, kind in FLAVOURS.items() if issubclass(kind, Asyncio)])
def asyncio_flavour(request: pytest.FixtureRequest) -> Flavour:
    return FLAVOURS[request.param]()


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """Returns the name of the TLS engine, which `engines.current` is for as long as the test lasts."""
    engines.current.name = request.param
    yield request.param
    engines.current.name = "rustls"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs tests with each engine. HTTP/2 is tested over plain TCP as well, unless a test names certificates."""
    if "engine" not in metafunc.fixturenames:
        return
    is_secure = "serve_h2" not in metafunc.fixturenames or _names_certificates(metafunc.function)
    over = ENGINES if is_secure else ("plain", *ENGINES)
    if "serve_h2" in metafunc.fixturenames:
        over = getattr(metafunc.module, "OVER", over)
    metafunc.parametrize("engine", over, indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests HTTP/2 over rustls in one sync and one async flavour: the others differ only below TLS."""
    kept, left_out = [], []
    for item in items:
        reason = windows.reason_to_skip(item) if sys.platform == "win32" else None
        if reason is not None:
            item.add_marker(pytest.mark.skip(reason=reason))
        (left_out if _is_left_out(item) else kept).append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept


def pytest_collection_finish() -> None:
    """Exempts the collected tests and the imported modules from garbage collection.

    Many tests collect garbage, and each collection would otherwise visit the objects of ten thousand tests.
    """
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Returns the number of processes for `-n auto`: two per processor, since most tests wait half of their time.

    Each process collects all tests by itself, so that more than 16 would not be faster.
    """
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(2 * processors, 16)


def _names_certificates(test: Callable[..., object]) -> bool:
    return "certificates" in inspect.signature(test).parameters


def _is_left_out(item: pytest.Item) -> bool:
    spec = getattr(item, "callspec", None)
    if not isinstance(item, pytest.Function) or spec is None or spec.params.get("engine") != "rustls":
        return False
    if "serve_h2" not in item.fixturenames or _names_certificates(item.function):
        return False
    return any(
        spec.params.get(name) in ("uvloop", "selector", "trio")
        for name in ("flavour", "async_flavour", "asyncio_flavour")
    )


@pytest.fixture(scope="session")
def openssl() -> str:
    """Returns the path of OpenSSL's program."""
    path = shutil.which("openssl")
    assert path is not None, "the package openssl is not installed"
    return path


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> Library:
    """Returns httpx, and then httpx2, of which tox also installs one without the other."""
    pytest.importorskip(
        request.param, reason=f"{request.param} is not installed; httpx2 exists for CPython 3.10 and newer"
    )
    return Library(request.param)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Runs a coroutine test in its flavour, to its end."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in inspect.signature(pyfuncitem.obj).parameters}
    (flavour,) = (value for value in arguments.values() if isinstance(value, Flavour))
    flavour.run(pyfuncitem.obj(**arguments))
    return True


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Removes the variables that the machine may set for all programs: they must not decide a test."""
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts scripted peers. A script that fails fails the test."""
    started: list[Peer] = []

    def start(script: Script, *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None) -> Peer:
        started.append(Peer(script, host=host, port=port, tls=tls))
        return started[-1]

    yield start
    end(started)


@pytest.fixture
def serve_h2(certificates: Certificates, engine: str) -> Iterator[ServeH2]:
    """Starts scripted HTTP/2 peers. A script that fails, and a client that breaks the protocol, fail the test.

    Unless the test sets `tls`, they speak TLS if the test has an engine for it.
    """
    started: list[H2Peer] = []

    def start(
        script: h2_peer.Script,
        *,
        tls: bool | ssl.SSLContext | None = None,
        settings: dict[int, int | None] | None = None,
    ) -> H2Peer:
        if tls is None:
            tls = engine != "plain"
        context = certificates.server_context(alpn=["h2"]) if tls is True else tls or None
        started.append(H2Peer(script, settings=settings, tls=context))
        return started[-1]

    yield start
    end(started)


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """Starts programs, given their source and their arguments."""
    with contextlib.ExitStack() as stack:

        def start(source: str, *arguments: str, before: str = "") -> Program:
            started = Program(tmp_path / "program.py", source, *arguments, before=before)
            stack.enter_context(started.process)
            stack.callback(started.process.kill)
            return started

        yield start


def end(started: Iterable[Peer]) -> None:
    """Closes peers, and raises the first exception of their scripts."""
    for peer in started:
        peer.close()
    for peer in started:
        for error in peer.errors:
            raise error


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Returns a certificate authority that is trusted nowhere by default, and the certificates that it signed."""
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def asgi(certificates: Certificates) -> Iterator[AsgiServer]:
    """Starts hypercorn in a process of its own, over HTTP and HTTPS."""
    with AsgiServer(certificates) as server:
        yield server
