"""The interpreter's exit while daemon threads are in the middle of requests: the status is 0.

CPython before 3.14 unwinds a daemon thread that asks for the interpreter after its end. A frame of the engine that lies
below Python code at that moment turns the unwinding into an abort of the process.

`EXIT_RUNS` is the number of processes for each kind: 8 by default, 50 for a thorough run.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

from peers import always, reply

if TYPE_CHECKING:
    from pathlib import Path

    from certificates import Certificates
    from peers import Serve

RUNS = int(os.environ.get("EXIT_RUNS", "8"))
pytestmark = [pytest.mark.slow, pytest.mark.timeout(60 + 10 * RUNS)]

PRELUDE = """
import asyncio, ssl, sys, threading, time
import httpcore, httpcore_rs
url, ca, library = sys.argv[1:]
threads = 8
# How many requests each thread has sent.
counts = [0] * threads
"""

# The arguments of the pool of a kind, and of its requests. The programs with loops use the same with `await`.
SYNC = {
    "plain": ("", ""),
    "rustls": ("ssl_context=httpcore_rs.TLSConfig(verify=ca)", ""),
    "ssl.SSLContext": ("ssl_context=ssl.create_default_context(cafile=ca)", ""),
    "network_backend": ("network_backend=httpcore.SyncBackend()", ""),
    "body": ("", "content=body()"),
    "trace": ("", "extensions={'trace': trace}"),
}
IN_LOOPS = {**SYNC, "network_backend": ("network_backend=httpcore._backends.auto.AutoBackend()", "")}
THREADS = """
def body():
    for _ in range(3):
        time.sleep(0.002)
        yield b"part"

def trace(name, info):
    time.sleep(0.0005)

pool = httpcore_rs.ConnectionPool(POOL, max_connections=threads)

def work(number):
    while True:
        pool.request("POST", url, REQUEST)
        counts[number] += 1
"""
LOOPS = """
async def body():
    for _ in range(3):
        await sleep(0.002)
        yield b"part"

async def trace(name, info):
    await sleep(0.0005)

if library == "trio":
    import trio
    sleep = trio.sleep
else:
    sleep = asyncio.sleep

async def ask(number, pool):
    while True:
        await pool.request("POST", url, REQUEST)
        counts[number] += 1

async def main(number):
    pool = httpcore_rs.AsyncConnectionPool(POOL, max_connections=4)
    if library == "trio":
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(ask, number, pool)
    else:
        await asyncio.gather(*(ask(number, pool) for _ in range(4)))

def work(number):
    if library == "trio":
        trio.run(main, number)
    else:
        asyncio.run(main(number))
"""
EXIT = """
for number in range(threads):
    threading.Thread(target=work, args=(number,), daemon=True).start()
deadline = time.monotonic() + 20
while min(counts) < 2:
    assert time.monotonic() < deadline, counts
    time.sleep(0.01)
time.sleep(0.05)
print("end", flush=True)
"""


def exits(path: Path, source: str, kind: tuple[str, str], url: str, certificates: Certificates, library: str) -> None:
    """Runs the program `RUNS` times, and asserts that each run ends with status 0 and no error."""
    pool, request = kind
    path.write_text(PRELUDE + source.replace("POOL, ", f"{pool}, " if pool else "").replace("REQUEST", request) + EXIT)
    command = [sys.executable, str(path), url, str(certificates.ca), library]
    bad = []
    for _ in range(RUNS):
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if (ended.returncode, ended.stdout) != (0, "end\n") or "panic" in ended.stderr:
            bad.append(f"status {ended.returncode}: {textwrap.shorten(ended.stderr, 300)}")
    assert not bad, f"{len(bad)} of {RUNS}: {bad}"


@pytest.mark.parametrize("kind", SYNC)
def test_busy_threads(serve: Serve, certificates: Certificates, tmp_path: Path, kind: str) -> None:
    tls = certificates.server_context() if kind in ("rustls", "ssl.SSLContext") else None
    peer = serve(always(reply(b"x" * 1000)), tls=tls)
    exits(tmp_path / "program.py", THREADS, SYNC[kind], peer.url, certificates, "sync")


@pytest.mark.parametrize("library", ["asyncio", "trio"])
@pytest.mark.parametrize("kind", IN_LOOPS)
def test_busy_loops(serve: Serve, certificates: Certificates, tmp_path: Path, kind: str, library: str) -> None:
    tls = certificates.server_context() if kind in ("rustls", "ssl.SSLContext") else None
    peer = serve(always(reply(b"x" * 1000)), tls=tls)
    exits(tmp_path / "program.py", LOOPS, IN_LOOPS[kind], peer.url, certificates, library)
