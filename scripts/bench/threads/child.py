"""One client on one interpreter. It waits for commands on its input, and measures when its turn comes.

Usage: python -m bench.threads.child CANDIDATE URL. A command is a line `THREADS SECONDS`, its answer a line of JSON:
the requests, the seconds and the CPU time of the process.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import threading
import time
from collections.abc import Coroutine
from typing import Any, Callable

from bench.checks import SMALL, expect
from bench.clients.interface import Options
from bench.clients.pools import AsyncPool, Pool
from bench.clients.sync_peers import Pyreqwest, Urllib3

SYNC: dict[str, Callable[[Options], Any]] = {
    "httpcore_rs": lambda options: Pool("httpcore_rs", options),
    "httpcore": lambda options: Pool("httpcore", options),
    "urllib3": Urllib3,
    "pyreqwest": Pyreqwest,
}
# One event loop for each thread, over one pool.
LOOPS: dict[str, Callable[[Options], Any]] = {
    "httpcore_rs, a loop per thread": lambda options: AsyncPool("httpcore_rs", options),
}
# Tasks of each loop.
TASKS = 10


class Sample:
    """A number of threads that send requests until a point of time."""

    def __init__(self, client: Any, url: str, is_loop: bool, threads: int, seconds: float) -> None:
        self._client = client
        self._url = url
        self._seconds = seconds
        self._requests = [0] * threads
        self._failures: list[BaseException] = []
        self._start = threading.Barrier(threads + 1)
        run = self._run_loop if is_loop else self._run_thread
        self._threads = [threading.Thread(target=self._guarded, args=(run, number)) for number in range(threads)]

    def take(self) -> dict[str, float]:
        """Runs the threads. Returns the number of requests, and the seconds and CPU seconds that they took."""
        for thread in self._threads:
            thread.start()
        self._start.wait()
        cpu, wall = time.process_time(), time.perf_counter()
        for thread in self._threads:
            thread.join()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        if self._failures:
            raise self._failures[0]
        return {"requests": sum(self._requests), "wall": wall, "cpu": cpu}

    def _guarded(self, run: Callable[[int], None], number: int) -> None:
        try:
            run(number)
        except BaseException as exc:  # noqa: BLE001  # Raised again by `take()`.
            self._failures.append(exc)
            self._start.abort()

    def _run_thread(self, number: int) -> None:
        target = self._client.target(self._url)
        self._start.wait()
        end = time.perf_counter() + self._seconds
        count = 0
        while time.perf_counter() < end:
            expect(self._client.get(target), 200, SMALL)
            count += 1
        self._requests[number] = count

    def _run_loop(self, number: int) -> None:
        asyncio.run(self._main(number))

    async def _main(self, number: int) -> None:
        target = self._client.target(self._url)
        self._start.wait()
        end = time.perf_counter() + self._seconds
        jobs: list[Coroutine[Any, Any, int]] = [self._task(target, end) for _ in range(TASKS)]
        self._requests[number] = sum(await asyncio.gather(*jobs))

    async def _task(self, target: Any, end: float) -> int:
        count = 0
        while time.perf_counter() < end:
            expect(await self._client.get(target), 200, SMALL)
            count += 1
        return count


def main() -> None:
    """Measures what the commands ask for, until the input ends."""
    name, url = sys.argv[1:]
    is_loop = name in LOOPS
    try:
        client = (LOOPS if is_loop else SYNC)[name](Options())
    except ModuleNotFoundError as exc:
        print(json.dumps({"missing": exc.name}), flush=True)
        return
    has_gil: Callable[[], bool] = getattr(sys, "_is_gil_enabled", lambda: True)
    print(json.dumps({"gil": has_gil()}), flush=True)
    for line in sys.stdin:
        threads, seconds = line.split()
        gc.collect()
        try:
            answer: dict[str, object] = {**Sample(client, url, is_loop, int(threads), float(seconds)).take()}
        except Exception as exc:  # noqa: BLE001  # A client that fails without the GIL does not end the comparison.
            answer = {"failure": f"{type(exc).__name__}: {exc}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
