"""Children of a process whose threads are busy: each uses the pool that it has inherited, and ends."""

from __future__ import annotations

import faulthandler
import gc
import os
import random
import signal
import time
import traceback
import warnings

import httpcore_rs
from stressing.exchange import TIMEOUT, Exchange
from stressing.record import Worker
from stressing.setting import Setting

# Seconds between two forks.
PAUSE = 0.2
# Seconds for a child to end.
LIMIT = 60.0
REQUESTS = 3


def fork_until_the_end(pool: httpcore_rs.ConnectionPool, setting: Setting, worker: Worker) -> None:
    """Forks now and then until the time is over. Each child must get the responses to its own requests."""
    while setting.is_running():
        time.sleep(PAUSE)
        gc.collect()
        with warnings.catch_warnings():
            # CPython warns that a child of a process with threads may wait for ever for a lock.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            _child(pool, setting)
        status = _waited(child)
        if status == 0:
            worker.note("forked")
        else:
            worker.fail(RuntimeError(f"a forked child ended with status {status}"))


def _child(pool: httpcore_rs.ConnectionPool, setting: Setting) -> None:
    status = 1
    try:
        faulthandler.dump_traceback_later(LIMIT / 2, exit=True)
        dice = random.Random(os.getpid())  # noqa: S311  # Chooses what is tried.
        for _ in range(REQUESTS):
            exchange = Exchange.draw(setting.base, dice)
            response = pool.request("POST", exchange.url, content=exchange.body, extensions=dict(TIMEOUT))
            exchange.check_head(response.status, response.headers, exchange.body)
            exchange.check_body(response.content)
        pool.close()
        gc.collect()
        status = 0
    except BaseException:  # noqa: BLE001  # Nothing may leave this function: the parent's frames lie below it.
        traceback.print_exc()
    finally:
        os._exit(status)


def _waited(child: int) -> int:
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]
