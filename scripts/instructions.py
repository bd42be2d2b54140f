"""Counts the client's instructions per request under callgrind. Started by scripts/instructions.

Two runs that differ only in their number of requests are subtracted, so that start-up and imports cancel out. The
server runs outside of callgrind.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Callable

import httpcore

import httpcore_rs
from bench.checks import SMALL, Answer, expect
from bench.sync_clients import candidates
from servers.nginx import nginx
from servers.process import free_ports

ROOT = Path(__file__).resolve().parent.parent
CLIENTS = ("httpcore_rs", "httpx + httpcore_rs", "httpx, no I/O")


class Traced:
    """A pool of httpcore_rs whose requests are traced or logged, or could be."""

    def __init__(self, *, level: int | None = None, trace: bool = False) -> None:
        if level is not None:
            for name in ("httpcore", "httpcore.connection", "httpcore.http11"):
                logging.getLogger(name).setLevel(level)
            logging.getLogger("httpcore").addHandler(logging.NullHandler())
        self._pool = httpcore_rs.ConnectionPool()
        self._extensions = {"trace": lambda *_: None} if trace else None

    def target(self, url: str) -> httpcore.URL:
        """Returns the parsed URL."""
        return httpcore.URL(url)

    def get(self, target: httpcore.URL) -> Answer:
        """Sends one request."""
        response = self._pool.request("GET", target, extensions=self._extensions)
        return response.status, len(response.content)

    def close(self) -> None:
        """Closes the pool."""
        self._pool.close()


TRACED: dict[str, Callable[[], Traced]] = {
    "no trace, no logs": Traced,
    "loggers at WARNING": lambda: Traced(level=logging.WARNING),
    "loggers at DEBUG": lambda: Traced(level=logging.DEBUG),
    "a trace callback": lambda: Traced(trace=True),
}


def main() -> None:
    """Measures, or is the client process that is measured."""
    parser = argparse.ArgumentParser(prog="scripts/instructions", description=__doc__)
    parser.add_argument("--few", type=int, default=100, help="requests of the first run (default: 100)")
    parser.add_argument("--many", type=int, default=600, help="requests of the second run (default: 600)")
    parser.add_argument("--client", action="append", help=f"a candidate of the benchmark (default: {CLIENTS})")
    parser.add_argument("--traced", action="store_true", help="the pool with loggers, with logs, with a trace callback")
    parser.add_argument("--keep", action="store_true", help="keep callgrind's files in .cache/callgrind")
    parser.add_argument("--requests", nargs=2, metavar=("URL", "COUNT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.requests:
        url, count = options.requests
        _send(options.client[0], url, int(count))
        return
    ports = free_ports(1)
    with nginx({"1k": SMALL}, ports):
        url = f"http://127.0.0.1:{ports[0]}/1k"
        for name in options.client or (TRACED if options.traced else CLIENTS):
            few, many = (_count(name, url, number, options.keep) for number in (options.few, options.many))
            per_request = (many - few) / (options.many - options.few)
            print(f"{name}: {per_request:,.0f} instructions per GET of 1 KiB", flush=True)


def _count(name: str, url: str, requests: int, keep: bool) -> int:
    """Returns the instructions of a whole client process that sends that many requests."""
    output = ROOT / ".cache" / "callgrind" / f"{re.sub('[^a-z_]+', '-', name)}.{requests}.out"
    output.parent.mkdir(parents=True, exist_ok=True)
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={output}", sys.executable, __file__]
    command += ["--client", name, "--requests", url, str(requests)]
    # A fixed order of sets and dictionaries, so that runs can be compared.
    done = subprocess.run(
        command, env={**os.environ, "PYTHONHASHSEED": "0"}, capture_output=True, text=True, check=False
    )
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or found is None:
        sys.exit(f"valgrind failed:\n{done.stderr}")
    if not keep:
        output.unlink()
    return int(found[1])


def _send(name: str, url: str, requests: int) -> None:
    client = TRACED[name]() if name in TRACED else candidates()[name]()
    target = client.target(url)
    for _ in range(requests):
        expect(client.get(target), 200, SMALL)
    client.close()


if __name__ == "__main__":
    main()
