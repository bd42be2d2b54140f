"""State that threads share, under schedules that a tool chooses: any thread may go on after any instruction.

interleave-test runs the threads of a model one at a time and switches between them where its search wants to. A model
is a function without arguments that begins in the same state each time. Locks are made anew in it: the tool sees only
those.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

import pytest

import httpcore_rs
from httpcore_rs import _connections, _install, _resolver

if TYPE_CHECKING:
    from libraries import Library

it = pytest.importorskip("interleave_test", reason="interleave-test exists for CPython 3.12 and newer")

PACKAGE = str(Path(httpcore_rs.__file__).parent)
FOUND = [(2, 1, 6, "", ("127.0.0.1", 80))]


def explore(model: Callable[[], None], *, preemptions: int = 2, most: int = 60, by: str = "opcode") -> None:
    """Tries schedules with few preemptions one after the other, and then random ones."""
    for strategy in ({"strategy": "dfs", "max_preemptions": preemptions}, {"strategy": "pct", "seed": 1}):
        it.explore(model, iterations=most, include=[PACKAGE, __file__], granularity=by, **strategy)


def results(tasks: list[Any]) -> list[Any]:
    for task in tasks:
        task.join()
    return [task.result() for task in tasks]


def test_the_tool_finds_a_lost_update() -> None:
    """Or the other tests of this file would show nothing."""

    def model() -> None:
        count = [0]

        def increment() -> None:
            count[0] += 1

        results([it.spawn(increment), it.spawn(increment)])
        assert count == [2]

    with pytest.raises(it.RaceFound):
        explore(model)


def test_threads_look_one_name_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_resolver, "_getaddrinfo", lambda *_: FOUND)

    def model() -> None:
        _resolver._lookups.clear()
        tasks = [it.spawn(_resolver.resolve, "a.test", 80, None) for _ in range(3)]
        assert results(tasks) == [FOUND] * 3
        assert _resolver._lookups == {}

    explore(model)


def test_a_lookup_is_interrupted_while_others_wait_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, int]] = []

    def getaddrinfo(host: str, port: int) -> Any:
        calls.append((host, port))
        if len(calls) == 1:
            raise KeyboardInterrupt
        return FOUND

    monkeypatch.setattr(_resolver, "_getaddrinfo", getaddrinfo)

    def look_up() -> Any:
        try:
            return _resolver.resolve("a.test", 80, None)
        except KeyboardInterrupt:
            return "interrupted"

    def model() -> None:
        calls.clear()
        _resolver._lookups.clear()
        tasks = [it.spawn(look_up) for _ in range(2)]
        assert results(tasks) in (["interrupted", FOUND], [FOUND, "interrupted"])
        assert _resolver._lookups == {}

    explore(model)


def test_threads_get_the_same_default_backend() -> None:
    def model() -> None:
        pool = httpcore_rs.ConnectionPool()
        first, second = results([it.spawn(lambda: pool._network_backend) for _ in range(2)])
        assert first is second is pool._network_backend

    explore(model)


def test_threads_get_the_same_class_of_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    def model() -> None:
        monkeypatch.setattr(_connections, "_package_classes", {})
        make = (_connections.class_for_package, httpcore_rs.ConnectionPool._package, _connections.HTTPConnection)
        first, second = results([it.spawn(*make) for _ in range(2)])
        assert first is second

    explore(model)


@pytest.mark.parametrize("second", ["install", "uninstall"])
def test_threads_that_install_at_a_time(library: Library, monkeypatch: pytest.MonkeyPatch, second: str) -> None:
    classes = [library.HTTPTransport, library.AsyncHTTPTransport]
    before = [dict(vars(cls)) for cls in classes]
    monkeypatch.setattr(_install, "_LIBRARIES", {library.__name__: _install._LIBRARIES[library.__name__]})
    monkeypatch.setattr(_install, "_is_installed", lambda _: True)

    def model() -> None:
        monkeypatch.setattr(_install._changes, "lock", threading.RLock())
        monkeypatch.setattr(_install._State, "changed", {})
        results([it.spawn(httpcore_rs.install), it.spawn(getattr(httpcore_rs, second))])
        httpcore_rs.uninstall()
        assert [dict(vars(cls)) for cls in classes] == before

    explore(model, preemptions=1, most=30, by="line")
