"""The surroundings of a run: the servers, enough descriptors, and a description of machine and versions."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench.checks import LARGE, SMALL
from bench.setting import Servers
from servers.certificates import certificates
from servers.delayed import delayed
from servers.granian import granian
from servers.nginx import Ports, find_nginx, nginx
from servers.process import free_ports
from servers.sink import sink

DELAY = 0.008
_PACKAGES = (
    *("httpcore_rs", "httpcore", "httpcore2", "httpx", "httpx2", "aiohttp", "httpx-aiohttp", "pyreqwest", "pyqwest"),
    *("punkreq", "httpunk", "urllib3", "niquests", "urllib3-future", "uvloop"),
)


@contextlib.contextmanager
def servers() -> Iterator[Servers]:
    """Starts the servers, each in a process of its own."""
    with contextlib.ExitStack() as stack:
        tls = stack.enter_context(certificates())
        files = {"1k": SMALL, "64m": LARGE}
        if find_nginx():
            ports = Ports(*free_ports(4))
            stack.enter_context(nginx(files, ports, tls))
            plain, h2c = (f"http://127.0.0.1:{port}" for port in (ports.plain, ports.h2c))
            secure, h2 = (f"https://127.0.0.1:{port}" for port in (ports.secure, ports.h2))
            name = _nginx_version()
        else:
            plain, secure = (stack.enter_context(granian(certificate)) for certificate in (None, tls))
            h2c, h2 = (stack.enter_context(granian(certificate, http="2")) for certificate in (None, tls))
            name = "granian (nginx was not found)"
        yield Servers(
            name=name,
            plain=plain,
            secure=secure,
            h2c=h2c,
            h2=h2,
            delayed=stack.enter_context(delayed(DELAY)),
            sink=stack.enter_context(sink(LARGE)),
            secure_sink=stack.enter_context(sink(LARGE, tls)),
            ca=tls.ca,
        )


def _nginx_version() -> str:
    done = subprocess.run([find_nginx() or "nginx", "-v"], capture_output=True, text=True, check=True)
    return done.stderr.strip().rpartition(": ")[2].replace("/", " ")


def allow_many_sockets() -> None:
    """Raises the limit of descriptors to what the system allows: some clients have 10,000 idle connections."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 65536 if hard == resource.RLIM_INFINITY else min(65536, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def about(server: str, method: str) -> dict[str, str]:
    """Returns what was run where."""
    found = []
    for package in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found.append(f"{package} {version(package)}")
    return {
        "command": "scripts/benchmark " + " ".join(sys.argv[1:]),
        "machine": f"{_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}",
        "server": server,
        "Python": f"CPython {platform.python_version()}",
        "versions": ", ".join(found),
        "method": method,
    }


def _processor() -> str:
    with contextlib.suppress(OSError):
        if found := re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text()):
            return found[1]
    return platform.machine()
