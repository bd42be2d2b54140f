"""Sends requests from many threads and event loops over one pool, for a given time. Started by scripts/stress.

Each request has an ID, which its response has to show. Meanwhile requests time out and are cancelled, responses are
dropped or closed by other threads, the pool is closed, garbage is collected, and the process forks.
"""

from __future__ import annotations

import argparse
import faulthandler
import gc
import platform
import random
import sys
import threading
import time
from collections import Counter
from typing import Callable

import httpcore_rs
from servers.echo import EchoServer, echo_server
from stressing.forks import PAUSE, fork_until_the_end
from stressing.loops import LoopWorker
from stressing.record import Worker, watched
from stressing.setting import KINDS, Setting
from stressing.threads import ThreadWorker

# What the threads are: threads of a sync pool, event loops of an async pool, both at a time, or threads beside forks.
SCENARIOS = ("threads", "loops", "both", "forks")
SHOWN = 3


def main() -> int:
    """Runs the scenarios in turn, each with all kinds of connections. Returns 1 if anything went wrong."""
    faulthandler.enable()
    options = _options()
    print(f"{platform.python_implementation()} {sys.version}", f"the GIL is {'on' if _has_gil() else 'off'}", sep="; ")
    if options.without_gil and _has_gil():
        print("the GIL is on, and should not be")
        return 1
    runs = [(scenario, kind) for scenario in options.scenario or SCENARIOS for kind in options.kind or KINDS]
    seconds = options.seconds / len(runs)
    total: Counter[str] = Counter()
    with echo_server(options.server_python) as server:
        for scenario, kind in runs:
            counts = _run(scenario, kind, server, seconds, options)
            total += counts
            print(f"{scenario:8} {kind:18} {_described(counts)}", flush=True)
    print(f"{'total':27} {_described(total)}")
    return 1 if total["failures"] else 0


def _run(scenario: str, kind: str, server: EchoServer, seconds: float, options: argparse.Namespace) -> Counter[str]:
    setting = Setting.of(kind, server, time.monotonic() + seconds)
    workers = [Worker(number) for number in range(options.threads + 1)]
    dice = random.Random(options.seed)  # noqa: S311  # Chooses what is tried.
    pool, async_pool = httpcore_rs.ConnectionPool(**setting.arguments), None
    if scenario in ("loops", "both"):
        async_pool = httpcore_rs.AsyncConnectionPool(**setting.arguments)
    threads = []
    for worker in workers[1:]:
        is_loop = scenario == "loops" or (scenario == "both" and worker.number % 2 == 0)
        seed = dice.randrange(1 << 32)
        calls: ThreadWorker | LoopWorker
        if is_loop and async_pool is not None:
            calls = LoopWorker(async_pool, setting, worker, seed)
        else:
            calls = ThreadWorker(pool, setting, worker, seed)
        threads.append(threading.Thread(target=_guarded(calls.run, worker), name=f"worker {worker.number}"))
    with watched(workers):
        for thread in threads:
            thread.start()
        if scenario == "forks":
            fork_until_the_end(pool, setting, workers[0])
        while any(thread.is_alive() for thread in threads):
            # Responses that were dropped in cycles keep their connections until then, also while all threads wait.
            gc.collect()
            workers[0].last = time.monotonic()
            time.sleep(PAUSE)
    _check_end(pool, workers[0])
    for failure in [failure for worker in workers for failure in worker.failures][:SHOWN]:
        print(f"--- {scenario}, {kind}\n{failure}", flush=True)
    return sum((worker.counts for worker in workers), Counter())


def _guarded(run: Callable[[], None], worker: Worker) -> Callable[[], None]:
    def guarded() -> None:
        try:
            run()
        except BaseException as exc:  # noqa: BLE001  # Reported at the end.
            worker.fail(exc)

    return guarded


def _check_end(pool: httpcore_rs.ConnectionPool, worker: Worker) -> None:
    """Checks that nothing is left over: no request, no connection, no thread."""
    gc.collect()
    pool.close()
    if "0 active, 0 queued | Connections: 0 active, 0 idle" not in repr(pool):
        worker.fail(RuntimeError(f"something is left over: {pool!r}"))
    # trio keeps the threads that have resolved names for a while.
    others = [thread for thread in threading.enumerate() if not thread.name.startswith(("MainThread", "Trio thread"))]
    if others:
        worker.fail(RuntimeError(f"threads are left over: {others}"))


def _described(counts: Counter[str]) -> str:
    rest = ", ".join(f"{count} {what}" for what, count in counts.most_common() if what != "failures")
    return f"{counts['failures']} failures; {sum(counts.values())} calls: {rest}"


def _has_gil() -> bool:
    is_enabled: Callable[[], bool] = getattr(sys, "_is_gil_enabled", lambda: True)
    return is_enabled()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/stress", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="the time of all runs together (default: 60)")
    parser.add_argument("--threads", type=int, default=16, help="workers at a time (default: 16)")
    parser.add_argument("--scenario", action="append", choices=SCENARIOS, help="one of them (default: all)")
    parser.add_argument("--kind", action="append", choices=list(KINDS), help="of the connections (default: all)")
    parser.add_argument("--seed", type=int, default=None, help="of the random numbers that choose the calls")
    parser.add_argument("--server-python", default=sys.executable, help="runs the server; has granian and trustme")
    parser.add_argument("--without-gil", action="store_true", help="fail if the GIL is on")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
