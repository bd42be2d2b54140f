"""Name resolution: concurrent callers for one host and port share one lookup (single flight).

The result of a lookup goes to all callers that wait for it, and is not cached. Threads share lookups in the process,
tasks in their event loop. A pool's own resolver (`_resolvers.py`) comes as the argument `lookup`; lookups are shared by
those that have the same one.
"""

from __future__ import annotations

import contextvars
import os
import socket
import sys
import threading
import time
import typing
import weakref

if typing.TYPE_CHECKING:
    import asyncio

    import trio

# What `socket.getaddrinfo` returns.
Addresses = list[tuple[typing.Any, typing.Any, int, str, tuple[typing.Any, ...]]]
_Lookups = typing.Callable[[str, int], "Addresses"]
_AsyncLookups = typing.Callable[[str, int], typing.Awaitable["Addresses"]]
_Key = tuple[_Lookups, str, int]
_AsyncKey = tuple[typing.Optional[_AsyncLookups], str, int]


def copy_of(error: BaseException) -> BaseException:
    """Returns a copy of an exception, without its traceback, for one caller to raise.

    A shared exception would collect the tracebacks of all callers, and would keep their frames alive.
    """
    try:
        copied = type(error)(*error.args)
    except Exception:  # noqa: BLE001  # Its constructor may take other arguments.
        return error.with_traceback(None)
    copied.__cause__ = error.__cause__
    return copied


# Threads.


class _Runner:
    """An object that lives as long as the call that runs a lookup."""

    __slots__ = ("__weakref__",)


class _Lookup:
    """A lookup that one thread runs, and that other threads may wait for."""

    __slots__ = ("done", "error", "found", "owner", "runner")

    def __init__(self, runner: _Runner) -> None:
        # An exception of a signal handler can end that call at any point, also before `done` is set.
        self.runner = weakref.ref(runner)
        # Looked up in `threading` here: gevent and eventlet may replace both after this module was imported.
        self.done = threading.Event()
        self.owner = threading.get_ident()
        # If both stay `None`, the thread was interrupted and the lookup is abandoned.
        self.found: Addresses | None = None
        self.error: BaseException | None = None

    def wait(self, deadline: float | None) -> bool:
        """Waits for the end of the lookup. Returns whether it ended before the deadline."""
        while self.runner() is not None:
            left = _CHECK_INTERVAL if deadline is None else max(0.0, deadline - time.monotonic())
            if self.done.wait(min(left, _CHECK_INTERVAL)):
                break
            if left < _CHECK_INTERVAL:
                return False
        return True


# Seconds after which a waiting thread checks again that the lookup still runs.
_CHECK_INTERVAL = 1.0

# Each change is one atomic operation. A lock would not do: a signal handler could find it held by its own thread.
_lookups: dict[_Key, _Lookup] = {}

if hasattr(os, "register_at_fork"):
    # The threads that run the parent's lookups do not exist in the child.
    os.register_at_fork(after_in_child=_lookups.clear)


def _getaddrinfo(host: str, port: int) -> Addresses:
    return socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)


def resolve(host: str, port: int, timeout: float | None, lookup: _Lookups = _getaddrinfo) -> Addresses | None:
    """Returns the addresses of a host, or `None` if `timeout` seconds passed first.

    The first caller for a host and port runs `lookup`, which cannot be ended early: the timeout applies to the callers
    that wait for its result. Raises the exception of `lookup`. If the running caller is interrupted
    (Ctrl-C, a killed greenlet), one of the waiting callers runs the lookup again.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    key = (lookup, host, port)
    while True:
        runner = _Runner()
        mine = _Lookup(runner)
        running = _lookups.setdefault(key, mine)
        if running is mine:
            return _run(key, mine)
        if running.owner == mine.owner and running.runner() is not None:
            # A signal handler or a finalizer that runs within the lookup of its own thread must not wait for it.
            return lookup(host, port)
        if not running.wait(deadline):
            return None
        if running.error is not None:
            raise copy_of(running.error)
        if running.found is not None:
            return running.found
        _forget(key, running)


def _run(key: _Key, running: _Lookup) -> Addresses:
    lookup, host, port = key
    try:
        found = running.found = lookup(host, port)
    except Exception as exc:
        running.error = copy_of(exc)
        raise
    else:
        return found
    finally:
        _forget(key, running)
        running.done.set()


def _forget(key: _Key, running: _Lookup) -> None:
    # The table may hold another lookup by now, or none: in a forked child, or after another thread has done this.
    if _lookups.get(key) is running:
        _lookups.pop(key, None)


# Event loops.


class AsyncioResolver:
    """The lookups of one asyncio loop. Each runs in a task, which is cancelled when its last waiter leaves."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lookups: dict[_AsyncKey, tuple[asyncio.Task[Addresses], set[object]]] = {}

    async def resolve(
        self, host: str, port: int, timeout: float | None, lookup: _AsyncLookups | None = None
    ) -> Addresses | None:
        """Returns the addresses of a host, or `None` after `timeout` seconds. Raises the exception of the lookup."""
        key = (lookup, host, port)
        deadline = None if timeout is None else self._loop.time() + timeout
        while True:
            task = await self._wait(key, None if deadline is None else deadline - self._loop.time())
            if not task.done():
                return None
            # A program that cancels all tasks of the loop also cancels lookups: this caller then starts another one.
            if not task.cancelled():
                error = task.exception()
                if error is not None:
                    raise copy_of(error)
                return task.result()

    async def _wait(self, key: _AsyncKey, timeout: float | None) -> asyncio.Task[Addresses]:
        import asyncio

        lookup = self._lookups.get(key)
        # A callback removes lookups that have ended, but it may not have run yet.
        task, waiters = self._start(key) if lookup is None or lookup[0].done() else lookup
        waiter = object()
        waiters.add(waiter)
        try:
            await asyncio.wait([task], timeout=timeout)
        finally:
            waiters.discard(waiter)
            if not waiters and not task.done():
                self._forget(key, task)
                task.cancel()
        return task

    def _start(self, key: _AsyncKey) -> tuple[asyncio.Task[Addresses], set[object]]:
        task = self._loop.create_task(self._getaddrinfo(key))
        lookup = (task, set[object]())
        # An eager task may have ended already.
        if not task.done():
            self._lookups[key] = lookup
        task.add_done_callback(lambda task: self._end(key, task))
        return lookup

    async def _getaddrinfo(self, key: _AsyncKey) -> Addresses:
        lookup, host, port = key
        if lookup is not None:
            return await lookup(host, port)
        return await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)

    def _end(self, key: _AsyncKey, task: asyncio.Task[Addresses]) -> None:
        self._forget(key, task)
        if not task.cancelled():
            # Marks the exception as retrieved, so that asyncio does not report it if there are no waiters left.
            task.exception()

    def _forget(self, key: _AsyncKey, task: asyncio.Task[Addresses]) -> None:
        if self._lookups.get(key, (None,))[0] is task:
            del self._lookups[key]


class TrioResolver:
    """The lookups of one trio run. Each runs in a system task, which is cancelled when its last waiter leaves."""

    def __init__(self) -> None:
        self._lookups: dict[_AsyncKey, _TrioLookup] = {}

    async def resolve(
        self, host: str, port: int, timeout: float | None, lookup: _AsyncLookups | None = None
    ) -> Addresses | None:
        """Returns the addresses of a host, or `None` after `timeout` seconds. Raises the exception of the lookup."""
        trio = sys.modules["trio"]
        key = (lookup, host, port)
        running = self._lookups.get(key)
        if running is None:
            running = self._lookups[key] = _TrioLookup(trio)
            context = contextvars.copy_context()
            trio.lowlevel.spawn_system_task(self._run, key, running, name="httpcore_rs lookup", context=context)
        running.waiters += 1
        try:
            with trio.move_on_after(float("inf") if timeout is None else timeout):
                await running.done.wait()
        finally:
            running.waiters -= 1
            if running.waiters == 0:
                self._forget(key, running)
                running.scope.cancel()
        if running.error is not None:
            raise copy_of(running.error)
        return running.found

    async def _run(self, key: _AsyncKey, running: _TrioLookup) -> None:
        trio = sys.modules["trio"]
        lookup, host, port = key
        try:
            with running.scope:
                if lookup is not None:
                    running.found = await lookup(host, port)
                else:
                    running.found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except trio.Cancelled:
            raise
        except BaseException as exc:  # noqa: BLE001  # Raised in a system task it would end the trio run.
            running.error = copy_of(exc)
        finally:
            self._forget(key, running)
            running.done.set()

    def _forget(self, key: _AsyncKey, running: _TrioLookup) -> None:
        if self._lookups.get(key) is running:
            del self._lookups[key]


class _TrioLookup:
    """A lookup under trio, and the number of tasks that wait for it."""

    __slots__ = ("done", "error", "found", "scope", "waiters")

    def __init__(self, trio: typing.Any) -> None:
        self.done: trio.Event = trio.Event()
        self.scope: trio.CancelScope = trio.CancelScope()
        self.waiters = 0
        self.found: Addresses | None = None
        self.error: BaseException | None = None
