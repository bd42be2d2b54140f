"""Counts the resources that a pool could leak: descriptors of this process."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

FOLDER = Path("/proc/self/fd") if Path("/proc/self/fd").exists() else Path("/dev/fd")


def descriptors() -> int:
    """Returns the number of open descriptors, of the pool under test and of the test's own peers."""
    return len(os.listdir(FOLDER))  # noqa: PTH208  (one call, since iterating opens a descriptor of its own)


def sockets_to(address: Any) -> Iterator[socket.socket]:
    """Yields this process's sockets that are connected to an address, as duplicates that the caller closes."""
    seen = set()
    for name in os.listdir(FOLDER):  # noqa: PTH208
        try:
            # A duplicate may have got a number that the listing had for something else.
            identity = os.fstat(int(name)).st_ino
            if identity in seen:
                continue
            seen.add(identity)
            descriptor = os.dup(int(name))
        except OSError:
            continue  # closed by now
        try:
            duplicate = socket.socket(fileno=descriptor)
        except OSError:
            os.close(descriptor)  # not a socket
            continue
        try:
            connected = duplicate.getpeername()
        except OSError:
            connected = None
        if connected == address:
            yield duplicate
        else:
            duplicate.close()
