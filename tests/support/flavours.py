"""One test, four flavours: the sync pool, and the async pool under asyncio, uvloop and trio.

On Windows there are three: the sync pool, and the async pool on the two event loops of asyncio.

A shared test is written once, as a coroutine function that takes the fixture `flavour`. It speaks to a pool through the
adapters of this file. In the sync flavour none of their awaits ever suspends, so that `drive` can run the coroutine to
its end by hand, in plain threads and without an event loop.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Callable, TypeVar

import httpcore
import pytest
from httpcore._backends.auto import AutoBackend

import httpcore_rs

if sys.platform == "win32":
    # uvloop does not exist there, and trio is not tested.
    trio = uvloop = None
else:
    import trio
    import uvloop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Coroutine, Iterator
    from types import TracebackType

T = TypeVar("T")

LIMIT = 90.0  # seconds for one test: uvloop swallows the exception by which pytest-timeout ends a test that hangs


def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine that never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    coroutine.close()
    raise RuntimeError("a coroutine of the sync flavour was suspended")


class Task:
    """A call that runs beside the test."""

    def __init__(self, flavour: Flavour, job: Callable[[], Awaitable[Any]]) -> None:
        self.flavour = flavour
        self.job = job
        self.value: Any = None
        self.error: BaseException | None = None
        self.cancelled = False
        self.done = False
        self.cancel: Callable[[], object] = lambda: None  # the async flavours put their own here

    async def run(self) -> None:
        try:
            self.value = await self.job()
        except (Exception, pytest.fail.Exception) as exc:  # noqa: BLE001  (kept for `wait`)
            self.error = exc
        except BaseException:
            self.cancelled = True
            raise
        finally:
            self.done = True

    async def finished(self) -> None:
        await self.flavour.until(lambda: self.done)

    async def wait(self) -> Any:
        """Returns the call's result, or raises its exception."""
        await self.finished()
        if self.error is not None:
            raise self.error
        assert not self.cancelled
        return self.value


class Flavour:
    """The interface that the four share. A test asks it for pools, tasks and pauses."""

    name: str
    is_async = True

    def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        raise NotImplementedError

    def start(self, job: Callable[[], Awaitable[Any]]) -> Task:
        raise NotImplementedError

    async def sleep(self, seconds: float) -> None:
        raise NotImplementedError

    async def call(self, target: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        """Calls the method that httpcore's sync classes name so, in an async flavour by its async name."""
        return await getattr(target, ASYNC_NAMES.get(name, name))(*args, **kwargs)

    def living(self) -> int:
        """Returns the number of tasks of the event loop."""
        raise NotImplementedError

    def body(self, chunks: AsyncIterator[bytes]) -> Any:
        """Returns a request body: in sync, a generator that yields what the async one yields."""
        return chunks

    async def until(self, condition: Callable[[], object], seconds: float = 30.0) -> None:
        """Waits until the condition is true."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "this did not become true in time"
            await self.sleep(0.002)

    async def gather(self, *jobs: Callable[[], Awaitable[Any]]) -> list[Any]:
        """Runs calls at the same time and returns their results in the order of the calls."""
        tasks = [self.start(job) for job in jobs]
        for task in tasks:
            await task.finished()
        return [await task.wait() for task in tasks]

    def pool(self, **arguments: Any) -> Pool:
        factory = httpcore_rs.AsyncConnectionPool if self.is_async else httpcore_rs.ConnectionPool
        return Pool(self, factory(**arguments))

    def backend(self) -> Any:
        """Returns httpcore's own `network_backend`."""
        return AutoBackend() if self.is_async else httpcore.SyncBackend()

    def prefixed(self, name: str) -> str:
        """Returns the name that a class of httpcore has in this flavour."""
        return f"Async{name}" if self.is_async else name

    @staticmethod
    def parts(*chunks: bytes) -> Parts:
        """Returns a request body of unknown length, in these pieces."""
        return Parts(chunks)


class Parts:
    """An iterator and async iterator that can be used once; no generator, which trio would require to be closed."""

    def __init__(self, chunks: tuple[bytes, ...]) -> None:
        self.chunks = iter(chunks)

    def __iter__(self) -> Iterator[bytes]:
        return self.chunks

    def __aiter__(self) -> Parts:
        return self

    async def __anext__(self) -> bytes:
        for chunk in self.chunks:
            return chunk
        raise StopAsyncIteration


ASYNC_NAMES = {
    "handle_request": "handle_async_request",
    "close": "aclose",
    "read": "aread",
    "__enter__": "__aenter__",
    "__exit__": "__aexit__",
}


class Sync(Flavour):
    """Calls block, tasks are threads."""

    name = "sync"
    is_async = False

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []

    def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        try:
            drive(coroutine)
        finally:
            for thread in self.threads:
                thread.join(5)

    def start(self, job: Callable[[], Awaitable[Any]]) -> Task:
        task = Task(self, job)
        thread = threading.Thread(target=lambda: drive(task.run()), name="flavour", daemon=True)
        thread.start()
        self.threads.append(thread)
        return task

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251  (there is no loop to block)

    async def call(self, target: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        return getattr(target, name)(*args, **kwargs)

    def body(self, chunks: AsyncIterator[bytes]) -> Iterator[bytes]:
        async def advance() -> bytes | None:
            async for chunk in chunks:
                return chunk
            return None

        while (chunk := drive(advance())) is not None:
            yield chunk


class Asyncio(Flavour):
    """Tasks are asyncio's."""

    name = "asyncio"

    def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run(self._main(coroutine))

    @staticmethod
    async def _main(coroutine: Coroutine[Any, Any, None]) -> None:
        await asyncio.wait_for(coroutine, LIMIT)

    def start(self, job: Callable[[], Awaitable[Any]]) -> Task:
        task = Task(self, job)
        running = asyncio.get_running_loop().create_task(task.run())
        task.cancel = running.cancel
        # A task that is cancelled before its first step never enters `run`.
        running.add_done_callback(lambda ended: vars(task).update(done=True, cancelled=ended.cancelled()))
        return task

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def living(self) -> int:
        return len(asyncio.all_tasks())


class Uvloop(Asyncio):
    """asyncio's interface on libuv."""

    name = "uvloop"

    def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        uvloop.run(self._main(coroutine))


class Selector(Asyncio):
    """asyncio on its loop that waits by `select()`. On Windows the default is the Proactor loop."""

    name = "selector"

    def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            runner.run(self._main(coroutine))


class Trio(Flavour):
    """Tasks live in one nursery around the test, each in a cancel scope of its own."""

    name = "trio"
    nursery: Any

    def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        failures: list[BaseException] = []

        async def main() -> None:
            async with trio.open_nursery() as self.nursery:
                try:
                    with trio.fail_after(LIMIT):
                        await coroutine
                except (Exception, pytest.fail.Exception) as exc:  # noqa: BLE001  (raised below)
                    failures.append(exc)
                self.nursery.cancel_scope.cancel()

        trio.run(main)
        if failures:
            raise failures[0]

    def start(self, job: Callable[[], Awaitable[Any]]) -> Task:
        task = Task(self, job)
        scope = trio.CancelScope()
        task.cancel = scope.cancel

        async def main() -> None:
            with scope:
                await task.run()

        self.nursery.start_soon(main)
        return task

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)

    def living(self) -> int:
        return trio.lowlevel.current_statistics().tasks_living


KINDS: tuple[type[Flavour], ...] = (
    (Sync, Asyncio, Selector) if sys.platform == "win32" else (Sync, Asyncio, Uvloop, Trio)
)
FLAVOURS = {kind.name: kind for kind in KINDS}


class Pool:
    """A pool as shared tests use it; `raw` is the pool itself."""

    def __init__(self, flavour: Flavour, raw: Any) -> None:
        self.flavour = flavour
        self.raw = raw

    async def request(self, method: str | bytes, url: Any, **arguments: Any) -> Response:
        return Response(self.flavour, await self.flavour.call(self.raw, "request", method, url, **arguments))

    def stream(self, method: str | bytes, url: Any, **arguments: Any) -> Stream:
        return Stream(self.flavour, self.raw.stream(method, url, **arguments))

    async def handle(self, request: httpcore.Request) -> Response:
        """Sends a request as it is: httpcore adds no header to it."""
        return Response(self.flavour, await self.flavour.call(self.raw, "handle_request", request))

    async def close(self) -> None:
        await self.flavour.call(self.raw, "close")

    @property
    def connections(self) -> list[Any]:
        return self.raw.connections

    def __repr__(self) -> str:
        return repr(self.raw)

    async def __aenter__(self) -> Pool:
        await self.flavour.call(self.raw, "__enter__")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.flavour.call(self.raw, "__exit__", kind, exc, traceback)


class Stream:
    """The context manager that `stream()` returns."""

    def __init__(self, flavour: Flavour, raw: Any) -> None:
        self.flavour = flavour
        self.raw = raw

    async def __aenter__(self) -> Response:
        return Response(self.flavour, await self.flavour.call(self.raw, "__enter__"))

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.flavour.call(self.raw, "__exit__", kind, exc, traceback)


class Response:
    """A response; `async for` gives the chunks of its body."""

    def __init__(self, flavour: Flavour, raw: httpcore.Response) -> None:
        self.flavour = flavour
        self.raw = raw
        self.status: int = raw.status
        self.headers: list[tuple[bytes, bytes]] = raw.headers
        self.extensions: Any = raw.extensions

    @property
    def content(self) -> bytes:
        return self.raw.content

    async def read(self) -> bytes:
        return await self.flavour.call(self.raw, "read")

    async def close(self) -> None:
        await self.flavour.call(self.raw, "close")

    def __aiter__(self) -> Chunks:
        return Chunks(self.flavour, self.raw.stream)


class Chunks:
    """An iterator over a body in either flavour."""

    def __init__(self, flavour: Flavour, stream: Any) -> None:
        self.raw = stream.__aiter__() if flavour.is_async else iter(stream)

    def __aiter__(self) -> Chunks:
        return self

    async def __anext__(self) -> bytes:
        if hasattr(self.raw, "__anext__"):
            return await self.raw.__anext__()
        for chunk in self.raw:
            return chunk
        raise StopAsyncIteration
