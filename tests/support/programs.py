"""Small programs that a test runs in a process of their own: for forks, signals, exits and threads.

They run in Python's development mode, every warning is an error, and their input comes as command line arguments.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PRELUDE = """
import asyncio, gc, json, logging, os, signal, sys, threading
import httpcore_rs
# Development mode reports callbacks that take longer than 0.1 s. On a busy machine any of them may.
logging.getLogger("asyncio").addFilter(lambda record: not str(record.msg).startswith("Executing "))
# Ignored in what a shell runs in the background, and inherited from there.
signal.signal(signal.SIGINT, signal.default_int_handler)
url = sys.argv[1]
"""


class Program:
    """A running program."""

    def __init__(self, path: Path, source: str, *arguments: str, before: str = "") -> None:
        # `before` runs before the first import.
        path.write_text(textwrap.dedent(before) + PRELUDE + textwrap.dedent(source))
        command = [sys.executable, "-X", "dev", "-W", "error", str(path), *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def wait_for(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline, "this did not become true in time"
            time.sleep(0.005)

    def output(self, seconds: float = 90) -> str:
        """Returns the program's output. The program must end with status 0 and print nothing to standard error."""
        out, err = self.process.communicate(timeout=seconds)
        assert (self.process.returncode, err) == (0, ""), out + err
        return out


# For `before`: makes the modules that are named as arguments look as if they were not installed.
HIDE = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in sys.argv[2:]:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden())
"""

# Defines `arguments_of`: the arguments of a pool with this kind of TLS or HTTP.
POOLS = """
import httpcore, ssl
def arguments_of(kind, ca):
    if kind == "rustls":
        return {"ssl_context": httpcore_rs.TLSConfig(verify=ca)}
    if kind == "ssl.SSLContext":
        return {"ssl_context": ssl.create_default_context(cafile=ca)}
    if kind == "HTTP/2":
        return {"http1": False, "http2": True}
    return {}
"""

# Defines `check`, which asserts that the main thread is the only one, in Python and in the system.
THREADS = """
def check():
    assert threading.enumerate() == [threading.main_thread()], threading.enumerate()
    if os.path.exists("/proc/self/task"):
        assert len(os.listdir("/proc/self/task")) == 1, os.listdir("/proc/self/task")
"""
