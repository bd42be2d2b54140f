"""Small programs, each run in a process of its own: what a user of each library would write.

They get the URL and the file of authorities as arguments. `{url}` and `{ca}` stand for them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass
from importlib.util import find_spec

SCRIPTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120 (short)


@dataclass(frozen=True)
class Program:
    """One library: how it is imported, and how it sends one GET."""

    imports: str
    get: str
    needs: str = "json"


_POOL = """
with {module}.ConnectionPool() as pool:
    assert len(pool.request("GET", url).content) == 1024
"""
_HTTPX = """
with {module}.Client({transport}) as client:
    assert len(client.get(url).content) == 1024
"""
_AIOHTTP = """
async def main():
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        assert len(await response.read()) == 1024
asyncio.run(main())
"""
_PYREQWEST = """
with SyncClientBuilder().build() as client:
    assert len(client.get(url).build().send().bytes()) == 1024
"""
_SOCKET = """
host, port = url.split("/")[2].split(":")
with socket.create_connection((host, int(port))) as sock:
    sock.sendall(b"GET /1k HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n")
    while sock.recv(65536): pass
"""


def _pool(module: str) -> Program:
    return Program(f"import {module}", _POOL.format(module=module), module)


def _httpx(module: str, more: str = "", transport: str = "") -> Program:
    return Program(f"import {module}{more}", _HTTPX.format(module=module, transport=transport), module)


PROGRAMS = {
    "Python alone": Program("pass", "pass"),
    "bare socket": Program("import socket", _SOCKET),
    "httpcore_rs": _pool("httpcore_rs"),
    "httpcore": _pool("httpcore"),
    "httpcore2": _pool("httpcore2"),
    "pyreqwest": Program("from pyreqwest.client import SyncClientBuilder", _PYREQWEST, "pyreqwest"),
    "pyqwest": Program("import pyqwest", "assert len(pyqwest.SyncClient().get(url).content) == 1024", "pyqwest"),
    "urllib3": Program(
        "import urllib3", "assert len(urllib3.PoolManager().request('GET', url).data) == 1024", "urllib3"
    ),
    "niquests": Program(
        "import niquests", "with niquests.Session() as s: assert len(s.get(url).content) == 1024", "niquests"
    ),
    "aiohttp": Program("import asyncio, aiohttp", _AIOHTTP, "aiohttp"),
    "httpx + httpcore_rs": _httpx("httpx", ", httpcore_rs", "transport=httpcore_rs.SyncTransport()"),
    "httpx": _httpx("httpx"),
    "httpx2": _httpx("httpx2"),
}

# The CPU time of the first request over TLS, and of the first in a forked child. Each line makes a new client.
FIRST_TLS = {
    "httpcore_rs": Program(
        "import httpcore_rs",
        "httpcore_rs.ConnectionPool(ssl_context=httpcore_rs.TLSConfig(verify=ca)).request('GET', url)",
    ),
    "httpcore": Program(
        "import httpcore, ssl",
        "httpcore.ConnectionPool(ssl_context=ssl.create_default_context(cafile=ca)).request('GET', url)",
    ),
    "urllib3": Program("import urllib3", "urllib3.PoolManager(ca_certs=ca).request('GET', url)", "urllib3"),
    "pyreqwest": Program(
        "from pyreqwest.client import SyncClientBuilder",
        "SyncClientBuilder().add_root_certificate_pem(open(ca, 'rb').read()).build().get(url).build().send()",
        "pyreqwest",
    ),
}
_FIRST_TLS = """
import json, os, sys, time
url, ca = sys.argv[1:]
{imports}
def first():
    start = time.process_time()
    client = {get}
    return time.process_time() - start
before = first()
if {fork}:
    read, write = os.pipe()
    if not os.fork():
        os.write(write, json.dumps(first()).encode())
        os._exit(0)
    after = json.loads(os.read(read, 100))
    os.wait()
else:
    after = 0
print(json.dumps([before, after]))
"""


@dataclass(frozen=True)
class Spent:
    """The time and memory that a process has used, in seconds and bytes."""

    wall: float
    cpu: float
    peak: float


def installed(programs: dict[str, Program]) -> dict[str, Program]:
    """Returns the programs whose library is installed."""
    return {name: program for name, program in programs.items() if find_spec(program.needs)}


# The kernel's ru_maxrss also counts the process that has started this one.
PEAK = """
print(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0])
"""


def run_program(code: str, *arguments: str) -> Spent:
    """Runs code in a new interpreter to its end."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", code + PEAK, *arguments], cwd=SCRIPTS, stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout:
        peak = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.WEXITSTATUS(status)
    if process.returncode:
        raise RuntimeError(f"exit status {process.returncode}: {code}")
    return Spent(wall, usage.ru_utime + usage.ru_stime, int(peak) * 1024.0)


def get_once(program: Program, url: str) -> Spent:
    """Runs a process that sends one request."""
    return run_program(f"import sys\nurl = sys.argv[1]\n{program.imports}\n{program.get}", url)


def first_tls(program: Program, url: str, ca: str, *, fork: bool) -> tuple[float, float]:
    """Returns the CPU seconds of the first request over TLS of a process, and of one in a child of that process."""
    code = textwrap.dedent(_FIRST_TLS).format(imports=program.imports, get=program.get, fork=fork)
    done = subprocess.run(
        [sys.executable, "-c", code, url, ca], check=True, capture_output=True, text=True, timeout=60, cwd=SCRIPTS
    )
    before, after = json.loads(done.stdout)
    return before, after
