"""The event loops that the engine runs on: asyncio (uvloop included) and trio.

Everything that differs between them is in this module. Each event loop has one `Host`, the engine's side of it. The
loop owns its host; this module holds weak references.
"""

from __future__ import annotations

import contextlib
import contextvars
import sys
import threading
import typing
import weakref

from ._engine import Host
from ._resolver import AsyncioResolver, TrioResolver

if sys.platform == "win32":
    from ._poller_thread import start_poller_thread

if typing.TYPE_CHECKING:
    import asyncio
    import types


class _Local(threading.local):
    """The hosts of the event loops of a thread, and a reference to the one that was used last."""

    # The module, once it has been imported.
    trio: types.ModuleType | None = None

    def __init__(self) -> None:
        self.last: typing.Callable[[], Host | None] = lambda: None
        self.all: weakref.WeakValueDictionary[int, Host] = weakref.WeakValueDictionary()


_local = _Local()

# Without the GIL, threads that read an object out of one dictionary, or write to it, wait for each other.
_has_gil: bool = getattr(sys, "_is_gil_enabled", lambda: True)()

# Refers to the host that was used last, by any thread: looking here first is faster than in the thread's own record.
# Unused without the GIL.
_last: typing.Callable[[], Host | None] = _local.last


def current_host() -> Host:
    """Returns the host of the running event loop, and makes it on the first call."""
    global _last  # noqa: PLW0603
    trio = sys.modules.get("trio") if _has_gil else _imported_trio()
    # trio may run in guest mode on an asyncio loop: trio knows if the running task is one of its own.
    token: object
    make: typing.Callable[[typing.Any], Host]
    if trio is not None and in_trio_task(trio):
        token, make = trio.lowlevel.current_trio_token(), _trio_host
    else:
        token, make = _running_loop(), _asyncio_host
    # A token belongs to one thread, and only one host has it.
    host = _last()
    if host is not None and host.token is token:
        return host
    host = _local.last()
    if host is None or host.token is not token:
        host = _local.all.get(id(token))
        if host is None or host.token is not token:
            host = make(token)
            _local.all[id(token)] = host
        _local.last = weakref.ref(host)
    if _has_gil:
        _last = _local.last
    return host


def _imported_trio() -> types.ModuleType | None:
    """Returns trio if it has been imported, from the record of the thread if it is there."""
    trio = _local.trio
    if trio is None:
        trio = sys.modules.get("trio")
        # The module is incomplete while another thread imports it.
        if hasattr(trio, "lowlevel"):
            _local.trio = trio
    return trio


def _import_asyncio() -> object:
    """Returns the running loop of asyncio. Programs without one do without asyncio, which takes long to import."""
    global _running_loop  # noqa: PLW0603
    from asyncio import get_running_loop

    _running_loop = get_running_loop
    return get_running_loop()


# After the first call, the function of asyncio itself.
_running_loop: typing.Callable[[], object] = _import_asyncio


def shield() -> contextlib.AbstractContextManager[object]:
    """Returns a context manager that keeps cancel scopes of trio or anyio around it from cancelling its block."""
    trio, anyio = sys.modules.get("trio"), sys.modules.get("anyio")
    scope: contextlib.AbstractContextManager[object] = contextlib.nullcontext()
    if trio is not None and in_trio_task(trio):
        scope = trio.CancelScope(shield=True)
    elif anyio is not None:
        scope = anyio.CancelScope(shield=True)
    return scope


async def sleep(seconds: float) -> None:
    """Pauses the running task, on whichever event loop it runs."""
    trio = sys.modules.get("trio")
    if trio is not None and in_trio_task(trio):
        await trio.sleep(seconds)
    else:
        import asyncio  # As above.

        await asyncio.sleep(seconds)


def in_trio_task(trio: types.ModuleType) -> bool:
    """Returns whether the running code belongs to a task of trio."""
    # The module is incomplete while another thread imports it.
    lowlevel = getattr(trio, "lowlevel", None)
    if lowlevel is None:
        return False
    # trio-asyncio runs an asyncio loop in a trio task; sniffio knows which of the two the running code belongs to.
    if "trio_asyncio" in sys.modules and sys.modules["sniffio"].current_async_library() != "trio":
        return False
    if hasattr(lowlevel, "in_trio_task"):
        return bool(lowlevel.in_trio_task())
    try:  # trio before 0.23
        lowlevel.current_task()
    except RuntimeError:
        return False
    return True


def _turn(host: Host) -> None:
    """Makes the engine do what is due on an event loop, and carries out the effects."""
    effect = host.turn()
    while effect is not None:
        try:
            reply = effect()
        except BaseException as exc:  # noqa: BLE001, PERF203  # From Python's `ssl`; the engine converts it.
            effect = host.throw(exc)
        else:
            effect = host.poll(reply)


# The delay of a timer that is not to expire: seconds, about thirty years.
_NEVER = 1e9


def _asyncio_host(loop: typing.Any) -> Host:
    import asyncio

    timer: asyncio.TimerHandle | None = None

    def arm(seconds: float) -> None:
        nonlocal timer
        if timer is not None:
            timer.cancel()
        timer = loop.call_later(seconds, expire)

    def expire() -> None:
        host = reference()
        if host is not None:
            host.expire()

    def checkpoint() -> typing.Awaitable[None]:
        return asyncio.sleep(0)

    # asyncio holds tasks by weak references only.
    tasks: set[asyncio.Task[object]] = set()

    def spawn(coroutine: typing.Coroutine[typing.Any, typing.Any, object]) -> typing.Callable[[], None]:
        task: asyncio.Task[object] = loop.create_task(coroutine)
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        reference = weakref.ref(task)

        def cancel() -> None:
            task = reference()
            if task is not None:
                task.cancel()

        return cancel

    resolve = AsyncioResolver(loop).resolve
    host = Host(loop, wait=loop.create_future, arm=arm, checkpoint=checkpoint, resolve=resolve, spawn=spawn)
    # The host holds these functions. They refer to it weakly, so that it is freed with its loop, without the garbage
    # collector.
    reference = weakref.ref(host)
    if sys.platform == "win32":
        # The loop owns its host by way of a timer, which it drops when it is closed.
        loop.call_later(_NEVER, _turn, host)
        start_poller_thread(host, _turn)
    else:
        loop.add_reader(host.fileno(), _turn, host)
    return host


async def _trio_turn(host: Host) -> None:
    """Waits for a turn of an event loop of trio, and takes it."""
    import trio

    if sys.platform == "win32":
        await trio.sleep_forever()  # A thread has trio call `_turn`.
    else:
        await trio.lowlevel.wait_readable(host.fileno())
        _turn(host)


def _trio_host(token: object) -> Host:
    import trio

    scope = trio.CancelScope()
    wanted = float("inf")

    # Tasks that wait to be resumed. A task that is cancelled is not among them any more: trio resumes it.
    parked: set[trio.lowlevel.Task] = set()

    # Tasks that were resumed before they began to wait. The garbage collector can drop a response in between, and that
    # resumes the next task.
    resumed: set[trio.lowlevel.Task] = set()

    async def wait() -> None:
        task = trio.lowlevel.current_task()
        if task in resumed:
            resumed.discard(task)
            return
        parked.add(task)

        def abort(_: object) -> trio.lowlevel.Abort:
            parked.discard(task)
            return trio.lowlevel.Abort.SUCCEEDED

        try:
            await trio.lowlevel.wait_task_rescheduled(abort)
        finally:
            resumed.discard(task)

    def resume(task: trio.lowlevel.Task) -> None:
        if task in parked:
            parked.discard(task)
            trio.lowlevel.reschedule(task)
        else:
            resumed.add(task)

    def arm(seconds: float) -> None:
        nonlocal wanted
        wanted = trio.current_time() + seconds
        scope.deadline = wanted

    def spawn(coroutine: typing.Coroutine[typing.Any, typing.Any, object]) -> typing.Callable[[], None]:
        upload_scope = trio.CancelScope()

        async def run() -> None:
            with upload_scope:
                await coroutine

        trio.lowlevel.spawn_system_task(run, name="httpcore_rs upload", context=contextvars.copy_context())
        return upload_scope.cancel

    async def watch() -> None:
        nonlocal scope, wanted
        while True:
            with trio.CancelScope(deadline=wanted) as scope:
                await _trio_turn(host)
            if trio.current_time() >= wanted:
                wanted = float("inf")
                host.expire()

    host = Host(
        token,
        wait=wait,
        arm=arm,
        checkpoint=trio.lowlevel.checkpoint,
        resolve=TrioResolver().resolve,
        spawn=spawn,
        current=trio.lowlevel.current_task,
        resume=resume,
    )
    trio.lowlevel.spawn_system_task(watch, name="httpcore_rs")
    if sys.platform == "win32":
        start_poller_thread(host, _turn)
    return host
