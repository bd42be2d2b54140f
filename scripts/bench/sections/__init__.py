"""The sections of the benchmark, in the order in which they run. Each yields one or more results."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Callable

from bench.results import Result
from bench.sections import bodies, first_use, http2, memory, requests, scale, tls
from bench.setting import Setting

SECTIONS: dict[str, Callable[[Setting], Iterator[Result]]] = {
    "sync": requests.sync,
    "threads": requests.threads,
    "async": requests.tasks,
    "delayed": requests.delayed,
    "tls": tls.requests,
    "tls-cold": tls.cold,
    "http2": http2.requests,
    "bodies": bodies.plain,
    "tls-bodies": bodies.secure,
    "http2-bodies": bodies.http2,
    "construct": first_use.construct,
    "first-use": first_use.processes,
    "memory": memory.idle,
    "scale": scale.everything,
}
