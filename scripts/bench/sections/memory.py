"""Memory: what an idle connection holds in the client's process, and the peak of a process that moves a large body."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec

from bench.holders import HOLDERS
from bench.measure import failing, progress, turns
from bench.programs import SCRIPTS
from bench.results import Result, Series
from bench.setting import Setting

_KINDS = {
    "same": "an idle plain connection, all to one origin",
    "plain": "an idle plain connection, each to another origin",
    "tls": "an idle TLS connection",
    "h2": "an idle HTTP/2 connection over TLS",
    "pool": "a client without connections",
    "peak": "the peak of a process that streams 64 MiB down",
}


def idle(setting: Setting) -> Iterator[Result]:
    """Connections, one to each of many origins; unused clients; and the peak during a download."""
    servers = setting.servers
    if not servers.many_origins:
        print("  left out: connections to many origins need nginx\n")
        return
    ports = {
        "same": servers.plain,
        "plain": servers.plain,
        "tls": servers.secure,
        "h2": servers.h2,
        "pool": servers.plain,
        "peak": servers.plain,
    }
    count, rounds = (300, 1) if setting.quick else (1000, 3)
    for kind, title in _KINDS.items():
        names = [name for name, holder in HOLDERS.items() if kind in holder.kinds and find_spec(holder.needs)]
        result = Result(f"memory-{kind}", title, {name: Series() for name in names}, names[0], "KiB", ("memory", "x"))
        port = ports[kind].rpartition(":")[2]
        for turn, name in turns(names, rounds):
            if name in result.series:
                progress(f"{title}: round {turn + 1}, {name}")
                with failing(result, name):
                    result.series[name].memory.append(_measured(name, kind, count, port, servers.ca))
        progress("")
        yield result


def _measured(name: str, kind: str, count: int, port: str, ca: str) -> float:
    command = [sys.executable, "-m", "bench.holders", name, kind, str(count), port, ca]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=SCRIPTS, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    return float(done.stdout)
