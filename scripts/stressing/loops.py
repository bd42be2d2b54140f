"""Workers that are event loops, one for each thread: they share one `AsyncConnectionPool`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable
from typing import Any, Callable

import httpcore
import httpx

import httpcore_rs
from stressing.calls import Calls
from stressing.exchange import LIMIT, TIMEOUT
from stressing.record import Worker
from stressing.setting import Setting

TASKS = 6


class LoopWorker(Calls[httpcore_rs.AsyncConnectionPool]):
    """The calls of the tasks of one loop, drawn at random until the time is over."""

    def __init__(self, pool: httpcore_rs.AsyncConnectionPool, setting: Setting, worker: Worker, seed: int) -> None:
        super().__init__(pool, setting, worker, seed)
        # Each fourth loop is trio's, where trio is installed.
        self._is_trio = worker.number % 4 == 3 and _has_trio()

    def run(self) -> None:
        """Runs a loop whose tasks make calls until the time is over."""
        transport = httpcore_rs.AsyncTransport()
        transport._pool = self._pool  # noqa: SLF001  # The documented way to use a pool under httpx.
        self._client = httpx.AsyncClient(transport=transport, timeout=LIMIT)
        if self._is_trio:
            import trio

            trio.run(self._main_of_trio)
        else:
            asyncio.run(self._main_of_asyncio())

    async def _main_of_asyncio(self) -> None:
        await asyncio.gather(*(self._work() for _ in range(TASKS)))

    async def _main_of_trio(self) -> None:
        import trio

        async with trio.open_nursery() as nursery:
            for _ in range(TASKS):
                nursery.start_soon(self._work)

    async def _work(self) -> None:
        calls: dict[Callable[[], Awaitable[None]], float] = {
            self._get: 30,
            self._get_by_httpx: 10,
            self._post: 10,
            self._upload: 10,
            self._read_in_chunks: 10,
            self._close_early: 4,
            self._drop: 4,
            self._time_out: 3,
            self._cancel: 15,
            self._look: 6,
            self._collect: 0.5,
            self._close_pool: 0.3,
        }
        chosen, weights = [*calls], [*calls.values()]
        while self._setting.is_running():
            await self._dice.choices(chosen, weights)[0]()

    async def _get(self) -> None:
        exchange = self._draw()
        with self._attempt("GET"):
            response = await self._pool.request("GET", exchange.url, extensions=dict(TIMEOUT))
            exchange.check_head(response.status, response.headers)
            exchange.check_body(response.content)

    async def _get_by_httpx(self) -> None:
        exchange = self._draw()
        with self._attempt("GET by httpx"):
            response = await self._client.get(exchange.url)
            exchange.check_head(response.status_code, [*response.headers.raw])
            exchange.check_body(response.content)

    async def _post(self) -> None:
        exchange = self._draw()
        with self._attempt("POST"):
            url, body = exchange.url, exchange.body
            response = await self._pool.request("POST", url, content=body, extensions=dict(TIMEOUT))
            exchange.check_head(response.status, response.headers, body)
            exchange.check_body(response.content)

    async def _upload(self) -> None:
        """Sends a body from an iterator that writes over each chunk as soon as the next one is asked for."""
        exchange = self._draw()
        with self._attempt("upload"):
            body = _Chunks(exchange.pieces(), self._pause)
            response = await self._pool.request("POST", exchange.url, content=body, extensions=dict(TIMEOUT))
            exchange.check_head(response.status, response.headers, exchange.body)
            exchange.check_body(response.content)

    async def _pause(self) -> None:
        if self._is_trio:
            import trio

            await trio.lowlevel.checkpoint()
        else:
            await asyncio.sleep(0)

    async def _read_in_chunks(self) -> None:
        exchange = self._draw()
        with self._attempt("stream"):
            async with self._pool.stream("GET", exchange.url, extensions=dict(TIMEOUT)) as response:
                exchange.check_head(response.status, response.headers)
                exchange.check_body(b"".join([chunk async for chunk in response.aiter_stream()]))

    async def _close_early(self) -> None:
        exchange = self._draw()
        with self._attempt("closed early"):
            async with self._pool.stream("GET", exchange.url, extensions=dict(TIMEOUT)) as response:
                exchange.check_head(response.status, response.headers)

    async def _drop(self) -> None:
        """Leaves a response unread and unclosed, in a cycle that only the garbage collector frees."""
        exchange = self._draw()
        with self._attempt("dropped"):
            request = exchange.request()
            response = await self._pool.handle_async_request(request)
            exchange.check_head(response.status, response.headers)
            if self._dice.random() < 0.5:
                response.extensions["cycle"] = response

    async def _time_out(self) -> None:
        exchange = self._draw(delay=200)
        timeout = {"timeout": {**TIMEOUT["timeout"], "read": self._dice.uniform(0.001, 0.05)}}
        with self._attempt("answered in time", httpcore.ReadTimeout):
            response = await self._pool.request("GET", exchange.url, extensions=timeout)
            exchange.check_head(response.status, response.headers)
            exchange.check_body(response.content)

    async def _cancel(self) -> None:
        """Cancels a request at a random point of time."""
        exchange = self._draw()
        with self._attempt("faster than its cancellation", _Cancelled):
            call = self._pool.request("POST", exchange.url, content=exchange.body, extensions=dict(TIMEOUT))
            response = await self._within(self._dice.uniform(0, 0.01), call)
            exchange.check_head(response.status, response.headers, exchange.body)
            exchange.check_body(response.content)

    async def _within(self, seconds: float, call: Awaitable[Any]) -> Any:
        if self._is_trio:
            import trio

            with trio.move_on_after(seconds):
                return await call
        else:
            with contextlib.suppress(asyncio.TimeoutError):
                return await asyncio.wait_for(call, seconds)
        raise _Cancelled

    async def _look(self) -> None:
        self._check_texts()

    async def _collect(self) -> None:
        self._collect_garbage()

    async def _close_pool(self) -> None:
        with self._attempt("pool closed"), self._setting.closing():
            await self._pool.aclose()


class _Cancelled(Exception):
    """The call was cancelled, as wanted."""


class _Chunks:
    """An asynchronous iterator over a body. It writes over each chunk when it is asked for the next one."""

    def __init__(self, pieces: list[bytes], pause: Callable[[], Awaitable[None]]) -> None:
        self._pieces = iter(pieces)
        self._pause = pause
        self._before = bytearray()

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        self._before[:] = bytes(len(self._before))
        await self._pause()
        for piece in self._pieces:
            self._before = bytearray(piece)
            return self._before
        raise StopAsyncIteration


def _has_trio() -> bool:
    try:
        import trio  # noqa: F401
    except ModuleNotFoundError:
        return False
    return True
