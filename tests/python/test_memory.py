"""A large body: how much memory it takes beside itself, and that it delays neither threads nor loops.

Each scenario is a small program of its own (`programs`), whose peak of memory the system reports.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from programs import POOLS

if TYPE_CHECKING:
    from certificates import Certificates
    from peers import Connection, Serve

MIB = 256  # the size of the body
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is read from /proc"),
]

# `Pauses` watches a thread or a task that should run every millisecond: how often it ran, and its longest pause. Clocks
# that other processes do not advance measure it, and the smallest of their values counts.
COMMON = """
import time
kind, ca, size = sys.argv[2], sys.argv[3], int(sys.argv[4])
arguments = arguments_of(kind, ca)

def status(name):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))

class Pauses:
    running = True

    def __init__(self, *clocks):
        self.clocks = clocks

    def begin(self):
        self.longest, self.count = 0.0, 0
        self.last = [clock() for clock in self.clocks]

    def note(self):
        now = [clock() for clock in self.clocks]
        pause = min(new - old for new, old in zip(now, self.last))
        self.longest, self.last = max(self.longest, pause), now
        self.count += 1

    def in_thread(self):
        self.begin()
        while self.running:
            time.sleep(0.001)
            self.note()

    async def in_loop(self):
        self.begin()
        while self.running:
            await sleep(0.001)
            self.note()

# The time, less what this thread has waited for a processor.
def time_without_queue():
    with open("/proc/thread-self/schedstat") as file:
        return time.monotonic() - int(file.read().split()[1]) / 1e9

def check(body, baseline, pauses):
    assert len(body) == size
    assert body[:1000] == body[-1000:] == b"x" * 1000
    beyond = (status("VmHWM") - baseline) / size
    print(f"{beyond:.2f} {pauses.longest / time_of_copy():.2f} {pauses.count}")

# What this machine needs at the moment to make a body of this size from its pieces.
def time_of_copy():
    pieces = [bytes(1 << 20)] * (size >> 20)
    begun = time.thread_time()
    b"".join(pieces)
    return time.thread_time() - begun

def begin():
    gc.collect()
    return status("VmRSS")
"""
SYNC = """
pool = httpcore_rs.ConnectionPool(**arguments)
pool.request("GET", url + "short")
# The thread pauses while another one computes and holds the interpreter.
clocks = [time.process_time]
if os.path.exists("/proc/thread-self/schedstat"):
    clocks.append(time_without_queue)
pauses = Pauses(*clocks)
thread = threading.Thread(target=pauses.in_thread)
pauses.begin()
baseline = begin()
thread.start()
while not pauses.count:
    time.sleep(0.01)
response = pool.request("GET", url)
pauses.running = False
thread.join()
check(response.content, baseline, pauses)
"""
ASYNC = """
async def main():
    async with httpcore_rs.AsyncConnectionPool(**arguments) as pool:
        await pool.request("GET", url + "short")
        await sleep(0.1)
        baseline = begin()
        pauses.begin()
        response = await pool.request("GET", url)
        # Up to here: the other task has not run since.
        pauses.note()
        pauses.running = False
        check(response.content, baseline, pauses)

pauses = Pauses(time.thread_time)
if sys.argv[5] == "trio":
    import trio
    sleep = trio.sleep
    async def both():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pauses.in_loop)
            nursery.start_soon(main)
    trio.run(both)
else:
    import uvloop
    sleep = asyncio.sleep
    async def both():
        await asyncio.gather(pauses.in_loop(), main())
    (uvloop if sys.argv[5] == "uvloop" else asyncio).run(both())
"""


def large(connection: Connection) -> None:
    """Answers with a large body, in pieces, without holding all of it in memory."""
    while True:
        size = 10 if connection.read_request().target == b"/short" else MIB << 20
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        piece = b"x" * min(size, 1 << 20)
        for _ in range(size // len(piece)):
            connection.send(piece)


def measured(program: Any, source: str, *arguments: str) -> tuple[float, float, int]:
    """Returns the memory beyond the baseline, the longest pause, and how often the watch ran.

    The memory is in sizes of the body, the pause in the time that making the body of its pieces takes.
    """
    beyond, pause, count = program(POOLS + COMMON + source, *arguments).output().split()
    return float(beyond), float(pause), int(count)


@pytest.mark.parametrize("kind", ["plain", "rustls", "ssl.SSLContext"])
@pytest.mark.parametrize("library", ["sync", "asyncio", "uvloop", "trio"])
def test_a_large_body(serve: Serve, certificates: Certificates, program: Any, library: str, kind: str) -> None:
    tls = certificates.server_context() if kind in ("rustls", "ssl.SSLContext") else None
    peer = serve(large, tls=tls)
    source = SYNC if library == "sync" else ASYNC
    pauses = []
    # A fifth of a copy is usual. Processors that are shared with other programs now and then take longer.
    while len(pauses) < 3 and not any(pause < 1 for pause in pauses):
        beyond, pause, count = measured(program, source, peer.url, kind, str(certificates.ca), str(MIB << 20), library)
        assert beyond <= 1.15, f"{beyond:.2f} times the body at the peak"
        assert count > 10, f"the watch ran {count} times"
        pauses.append(pause)
    assert min(pauses) < 1, f"pauses as long as {pauses} copies of the body"
