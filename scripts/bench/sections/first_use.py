"""First use: making a client, importing a library, a process with one request, and its first TLS handshake."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, Callable

from bench.clients.candidates import ASYNC, OPENSSL, SYNC, makers
from bench.clients.interface import AsyncClient, Options
from bench.measure import failing, measure, progress, turns
from bench.programs import FIRST_TLS, PROGRAMS, Spent, first_tls, get_once, installed, run_program
from bench.results import Result, Series
from bench.setting import Setting
from bench.work import repeat

_BARE = ("bare socket", "httpx, no I/O", "httpx + bare socket", "httpcore_rs, parsed URL", OPENSSL)
# Tokio's threads do not survive a fork.
_NO_FORK = ("pyreqwest",)


def construct(setting: Setting) -> Iterator[Result]:
    """Making a client for plain HTTP and closing it unused."""
    loop = setting.new_loop()

    async def session(make: Callable[[], AsyncClient]) -> None:
        await make().close()

    work = {
        name: repeat(partial(_made_and_closed, make)) for name, make in makers(SYNC, Options(), without=_BARE).items()
    }
    if "aiohttp" in (found := makers(ASYNC, Options())):
        work["aiohttp"] = repeat(lambda: loop.run_until_complete(session(found["aiohttp"])))
    yield measure("construct", "making a client", work, setting.effort, base="httpcore_rs")
    loop.close()


def _made_and_closed(make: Callable[[], Any]) -> None:
    make().close()


def processes(setting: Setting) -> Iterator[Result]:
    """Processes that import a library, that send one request, and that send the first over TLS."""
    programs = installed(PROGRAMS)
    shows = ("wall", "cpu", "memory", "x")
    yield _in_processes(
        Result("import", "a process that imports the library", {}, "Python alone", "ms", shows),
        {name: partial(run_program, program.imports) for name, program in programs.items()},
        setting,
    )
    url = f"{setting.servers.plain}/1k"
    yield _in_processes(
        Result(
            "cold-start", "a process that imports, makes a client and sends one GET", {}, "bare socket", "ms", shows
        ),
        {name: partial(get_once, program, url) for name, program in programs.items()},
        setting,
    )
    yield from _first_tls(setting)


def _in_processes(result: Result, runs: dict[str, Callable[[], Spent]], setting: Setting) -> Result:
    result.series.update({name: Series() for name in runs})
    for turn, name in turns(list(runs), setting.few.rounds):
        if name in result.series:
            progress(f"{result.title}: round {turn + 1}, {name}")
            with failing(result, name):
                spent, series = runs[name](), result.series[name]
                series.wall.append(spent.wall)
                series.cpu.append(spent.cpu)
                series.memory.append(spent.peak)
    progress("")
    return result


def _first_tls(setting: Setting) -> Iterator[Result]:
    url, ca = f"{setting.servers.secure}/1k", setting.servers.ca
    programs = installed(FIRST_TLS)
    shows = ("cpu", "x")
    title = "the first request over TLS"
    process = Result("first-tls", f"{title} of a process", {}, "httpcore", "ms", shows)
    child = Result("first-tls-forked", f"{title} of a forked child", {}, "httpcore", "ms", shows)
    process.series.update({name: Series() for name in programs})
    child.series.update({name: Series() for name in programs if name not in _NO_FORK})
    for turn, name in turns(list(programs), setting.few.rounds):
        progress(f"{title}: round {turn + 1}, {name}")
        before, after = first_tls(programs[name], url, ca, fork=name not in _NO_FORK)
        process.series[name].cpu.append(before)
        if name in child.series:
            child.series[name].cpu.append(after)
    progress("")
    yield process
    yield child
