"""A pytest plugin, loaded into every run: puts httpcore_rs under httpx, and records the outcome of each test.

The record is a file of JSON lines, so that it is complete up to the test at which a process hung or crashed:

    {"event": "collected" | "started", "test": id}
    {"event": "ended", "test": id, "error": null or a line}
    {"event": "skipped", "test": id}                            instead of "ended"
    {"event": "broken", "error": a line}                        a file that could not be imported
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import sys
import typing
from pathlib import Path
from unittest import mock

import pytest

# `network` is httpx's own marker for tests that connect to the internet.
LEFT_OUT = ("network", "xfail")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the options of this plugin."""
    parser.addoption("--record", required=True, help="the file to add the record to")
    parser.addoption("--ours", choices=WAYS, help="test httpcore_rs, which gets under httpx in this way")


def pytest_configure(config: pytest.Config) -> None:
    """Puts httpcore_rs in place before the tests are imported."""
    config.pluginmanager.register(_Recorder(Path(config.getoption("--record"))))
    way = config.getoption("--ours")
    if way is not None:
        if way != "install":
            _fill_gaps()
        WAYS[way]()


def _use_rust_transports() -> None:
    """Puts the transports of httpcore_rs in the place of httpx's."""
    import httpcore_rs

    for name in ("httpx", "httpx._client", "httpx._transports", "httpx._transports.default"):
        module = importlib.import_module(name)
        vars(module)["HTTPTransport"] = httpcore_rs.SyncTransport
        vars(module)["AsyncHTTPTransport"] = httpcore_rs.AsyncTransport


def _inject_pools() -> None:
    """Puts pools of httpcore_rs into the transports of httpx when these are made."""
    import httpcore
    import httpx

    import httpcore_rs

    for cls in (httpx.HTTPTransport, httpx.AsyncHTTPTransport):
        _inject(cls, httpcore, httpcore_rs)


def _inject(cls: typing.Any, httpcore: typing.Any, httpcore_rs: typing.Any) -> None:
    genuine = cls.__init__
    names = [name for name in vars(httpcore) if name.endswith(("ConnectionPool", "HTTPProxy", "SOCKSProxy"))]

    @functools.wraps(genuine)
    def init(*args: typing.Any, **kwargs: typing.Any) -> None:
        with contextlib.ExitStack() as stack:
            for name in names:
                stack.enter_context(mock.patch.object(httpcore, name, getattr(httpcore_rs, name)))
            genuine(*args, **kwargs)

    cls.__init__ = init


def _replace_module() -> None:
    """Puts httpcore_rs in the place of the module httpcore, which httpx imports."""
    import httpcore_rs

    sys.modules["httpcore"] = httpcore_rs


def _install() -> None:
    """Calls `install()`, as a program does."""
    import httpcore_rs

    httpcore_rs.install()


WAYS: dict[str, typing.Callable[[], None]] = {
    "transports": _use_rust_transports,
    "pools": _inject_pools,
    "module": _replace_module,
    "install": _install,
}


def _fill_gaps() -> None:
    """Adds placeholders for missing names of httpcore: a test fails where it uses one, and its file can be imported."""
    import httpcore

    import httpcore_rs

    for name in httpcore.__all__:
        if not name.startswith("_") and not hasattr(httpcore_rs, name):
            setattr(httpcore_rs, name, _placeholder(name))


def _placeholder(name: str) -> type:
    def init(*_: object, **__: object) -> typing.NoReturn:
        # Not an `Exception`: a test that expects an exception must not pass because of it.
        pytest.fail(f"httpcore_rs has no {name}", pytrace=False)

    return type(name, (), {"__init__": init})


class _Recorder:
    def __init__(self, record: Path) -> None:
        self._record = record
        self._errors: dict[str, str] = {}
        self._skipped = False

    def _write(self, event: str, **values: str | None) -> None:
        with self._record.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"event": event, **values}) + "\n")

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Leaves out tests that do not concern httpcore_rs, and those that an earlier process has started."""
        begun = {entry.get("test") for entry in read(self._record) if entry["event"] == "started"}
        chosen: list[pytest.Item] = []
        left_out: list[pytest.Item] = []
        for item in items:
            says_nothing = any(item.get_closest_marker(name) for name in LEFT_OUT)
            (left_out if says_nothing or item.nodeid in begun else chosen).append(item)
        config.hook.pytest_deselected(items=left_out)
        items[:] = chosen
        for item in chosen:
            self._write("collected", test=item.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            lines = str(report.longrepr).strip().splitlines()
            self._write("broken", error=lines[-1] if lines else "not imported")

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._skipped = False
        self._write("started", test=nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._skipped |= report.skipped
        if report.failed:
            self._errors.setdefault(report.nodeid, f"{report.when}: {_first_line(report)}")

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        error = self._errors.get(nodeid)
        if self._skipped and error is None:
            self._write("skipped", test=nodeid)
        else:
            self._write("ended", test=nodeid, error=error)


def _first_line(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    text = str(crash.message if crash else report.longrepr).strip()
    return text.splitlines()[0] if text else report.outcome


def read(record: Path) -> list[dict[str, str]]:
    """Returns the entries so far, without a line that was incomplete when the process was killed."""
    lines = record.read_text(encoding="utf-8").splitlines(keepends=True) if record.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]
