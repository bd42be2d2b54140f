"""Runs the benchmark against a server that it starts, and prints the tables. Started by scripts/benchmark."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import platform
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import httpcore_rs
from bench.checks import LARGE, SMALL
from bench.measure import Effort, Result
from bench.picture import draw
from bench.report import print_result, print_targets
from bench.sections import IDLE, SECTIONS
from bench.setting import Setting
from bench.targets import targets
from servers.certificates import Certificates, certificates
from servers.granian import granian
from servers.nginx import find_nginx, nginx
from servers.process import free_ports
from servers.sink import sink

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "benchmark.svg"
IN_PICTURE = ("sync", "async-1", "async-20", "async-100", "sync-down", "async-down")


def main() -> int:
    """Measures the chosen sections."""
    options = _options()
    if ROOT / "httpcore_rs" in Path(httpcore_rs.__file__).resolve().parents:
        sys.exit("this is the source tree's development build: run scripts/benchmark, which measures a release wheel")
    _allow_many_sockets()
    effort = Effort(options.rounds or (5 if options.quick else 15), 0.08 if options.quick else 0.2)
    new_loop = asyncio.new_event_loop
    if options.uvloop:
        import uvloop

        new_loop = uvloop.new_event_loop
    results: dict[str, Result] = {}
    with certificates() as tls, _server(tls) as (name, ports, urls), sink(LARGE) as upload:
        caption = (
            f"{name} on this machine, {os.cpu_count()} cores, CPython {platform.python_version()}, "
            f"{'uvloop' if options.uvloop else 'asyncio'}, medians of {effort.rounds} interleaved rounds"
        )
        print(f"{caption}\nratio: time divided by that of httpcore_rs, the median over the rounds\n", flush=True)
        setting = Setting(ports, *urls, tls.ca, upload, effort, new_loop)
        for section in options.only:
            for result in SECTIONS[section](setting):
                results[result.key] = result
                print_result(result)
    met = print_targets(targets(results))
    if options.picture:
        PICTURE.parent.mkdir(exist_ok=True)
        draw([results[key] for key in IN_PICTURE if key in results], PICTURE, caption)
        print(f"drawn: {PICTURE.relative_to(ROOT)}")
    return 1 if options.strict and not met else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/benchmark", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter samples")
    parser.add_argument("--rounds", type=int, help="samples per candidate (default: 15, with --quick 5)")
    parser.add_argument(
        "--only",
        type=_sections,
        default=list(SECTIONS),
        metavar="SECTION,...",
        help=f"of {', '.join(SECTIONS)} (default: all)",
    )
    parser.add_argument("--uvloop", action="store_true", help="uvloop instead of asyncio's own loop")
    parser.add_argument("--picture", action="store_true", help=f"draw {PICTURE.relative_to(ROOT)}")
    parser.add_argument("--strict", action="store_true", help="fail if a target is not met")
    return parser.parse_args()


def _sections(text: str) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - set(SECTIONS):
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    return [name for name in SECTIONS if name in names]


@contextlib.contextmanager
def _server(tls: Certificates) -> Iterator[tuple[str, list[int], tuple[str, str]]]:
    """Yields the name, the ports for HTTP/1.1, and the URLs for HTTP/2, plain and over TLS."""
    if find_nginx():
        plain, secure, *ports = free_ports(2 + max(IDLE))
        with nginx({"1k": SMALL, "64m": LARGE}, ports, http2=(plain, secure, tls)):
            yield "nginx", ports, (f"http://127.0.0.1:{plain}", f"https://127.0.0.1:{secure}")
    else:
        with granian() as url, granian(http="2") as plain_url, granian(tls, http="2") as secure_url:
            yield "granian (nginx was not found)", [int(url.rpartition(":")[2])], (plain_url, secure_url)


def _allow_many_sockets() -> None:
    """Raises the limit of descriptors: clients with 200 idle connections each need more than the default."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 8192 if hard == resource.RLIM_INFINITY else min(8192, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


if __name__ == "__main__":
    sys.exit(main())
