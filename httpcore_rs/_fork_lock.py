"""A lock that is free in a forked child."""

from __future__ import annotations

import os
import threading


class ForkLock:
    """Has a reentrant lock, which a signal handler may take in the thread that holds it. Lives as long as the process.

    It is used as `with fork_lock.lock:`, so that a block during which the process forks releases the lock that it took.
    """

    def __init__(self) -> None:
        self._renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        # A thread of the parent may have held the lock before. It does not exist in the child.
        self.lock = threading.RLock()
