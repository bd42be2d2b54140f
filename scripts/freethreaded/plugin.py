"""A pytest plugin that leaves out the tests whose packages are not installed, and says how many it left out and why.

It is loaded before `conftest.py` (`-p freethreaded.plugin`) and puts stand-ins in the place of the missing packages, so
that the modules of the tests can be imported. A test that would use a stand-in is left out.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import sys
import types
from collections import Counter
from typing import Any

import pytest

from freethreaded import certificates

# The packages that are imported by modules of the tests.
PACKAGES = ("uvloop", "cryptography", "trustme", "gevent", "hypercorn", "pytest_httpbin", "trio_asyncio", "granian")
# The build for 3.13 has PyO3 0.28, which does not keep daemon threads from being unwound through Rust at exit.
NEWER_PYO3 = "PyO3 0.30"
MISSING = frozenset([*(name for name in PACKAGES if importlib.util.find_spec(name) is None), NEWER_PYO3])

# By package: parts of the paths and names of the tests that need it.
NEEDED = {
    # Certificates of all kinds. The usual ones come from another Python.
    "cryptography": (
        *("tls/test_certificates", "tls/test_trust", "tls/test_messages", "tls/test_config"),
        "httpx/test_httpx2",
    ),
    "gevent": ("test_gevent",),
    NEWER_PYO3: ("python/test_exit.py::test_busy_threads",),
    "hypercorn": ("/test_servers",),
    "pytest_httpbin": ("client/test_servers",),
    "trio_asyncio": ("trio_asyncio",),
    "uvloop": (
        # The third pair of loops of two tests.
        "kinds2]",
        *("uvloop", "http2/test_loops.py::test_a_pool_serves_one_loop_after_the_other"),
        # Their programs import uvloop for all loops.
        *("test_a_response_closed_from_another_loop", "python/test_memory.py::test_a_large_body"),
    ),
}

_left_out: Counter[str] = Counter()


class _StandIn(types.ModuleType):
    """A module whose every attribute exists."""

    __path__: list[str] = []  # noqa: RUF012  # So that its submodules are looked for.

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Missing(f"{self.__name__}.{name}")


class _Missing:
    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return _Missing(f"{self._name}.{name}")

    def __call__(self, *_: object, **__: object) -> Any:
        # Modules make default arguments at import.
        return self


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Makes stand-ins of missing packages and of their modules."""

    def find_spec(self, name: str, path: object, target: object = None) -> Any:
        del path, target
        if name.partition(".")[0] not in MISSING:
            return None
        return importlib.util.spec_from_loader(name, self, is_package=True)

    def create_module(self, spec: Any) -> types.ModuleType:
        return _StandIn(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        del module


# Now, since `conftest.py` is imported next.
if "trustme" in MISSING:
    sys.modules["trustme"] = certificates
sys.meta_path.append(_Finder())


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out the tests that need a missing package."""
    kept = []
    left_out = []
    for item in items:
        package = _missing_package(item)
        if package is None:
            kept.append(item)
        else:
            left_out.append(item)
            _left_out[package] += 1
    items[:] = kept
    config.hook.pytest_deselected(items=left_out)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Says what was left out."""
    for package, count in sorted(_left_out.items()):
        terminalreporter.write_line(f"left out: {count} tests that need {package}, which is not installed")


def pytest_report_header() -> str:
    """Says whether the GIL is on."""
    return f"the GIL is {'on' if getattr(sys, '_is_gil_enabled', lambda: True)() else 'off'}"


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fails if a module has switched the GIL on."""
    if getattr(sys, "_is_gil_enabled", lambda: True)():
        session.exitstatus = pytest.ExitCode.INTERNAL_ERROR


def _missing_package(item: pytest.Item) -> str | None:
    return next((name for name in sorted(MISSING) if any(part in item.nodeid for part in NEEDED.get(name, ()))), None)
