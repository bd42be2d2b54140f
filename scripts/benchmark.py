"""Runs the benchmark against servers that it starts, and prints tables. Started by scripts/benchmark."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
import time
from pathlib import Path
from typing import Callable

import httpcore_rs
from bench.acceptance import rows
from bench.clients.candidates import missing
from bench.document import write
from bench.environment import about, allow_many_sockets, servers
from bench.measure import Effort
from bench.picture import draw
from bench.report import print_acceptance, print_result
from bench.results import Result, Run
from bench.sections import SECTIONS
from bench.setting import Setting

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / ".cache" / "benchmark.json"


def main() -> int:
    """Measures the chosen sections, or shows those of an earlier run."""
    options = _options()
    if options.saved:
        run = Run.load(options.saved)
    else:
        run = _measured(options)
        run.save(RESULTS)
    found = [*rows(run.results)]
    print_acceptance(found)
    if options.write:
        for path in [*draw(run, ROOT / "docs"), *write(run, ROOT)]:
            print(f"written: {path.relative_to(ROOT)}")
    return 1 if options.strict and not all(row.met for row in found) else 0


def _measured(options: argparse.Namespace) -> Run:
    if not options.in_place and ROOT / "httpcore_rs" in Path(httpcore_rs.__file__).resolve().parents:
        sys.exit("this is the source tree's development build: run scripts/benchmark, which measures a release wheel")
    allow_many_sockets()
    # For this process, which has read them. Programs whose memory is measured have the defaults.
    for name in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"):
        os.environ.pop(name, None)
    # A warning about each connection of httpunk.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    effort = Effort(options.rounds or (7 if options.quick else 25), 0.04 if options.quick else 0.1)
    method = f"{'uvloop' if options.uvloop else 'asyncio'}, medians of {effort.rounds} rounds in which all take turns"
    results: dict[str, Result] = {}
    for name in missing():
        print(f"left out, since it is not installed for this Python: {name}")
    with servers() as started:
        described = about(started.name, method)
        print("\n".join(f"{key}: {value}" for key, value in described.items()) + "\n", flush=True)
        setting = Setting(started, effort, options.quick, _new_loop(options.uvloop))
        for section in options.only:
            start = time.monotonic()
            for result in SECTIONS[section](setting):
                results[result.key] = result
                if not options.acceptance:
                    print_result(result)
            print(f"section {section}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    return Run(results, described)


def _new_loop(with_uvloop: bool) -> Callable[[], asyncio.AbstractEventLoop]:
    if not with_uvloop:
        return asyncio.new_event_loop
    import uvloop

    new_loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return new_loop


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/benchmark", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter samples")
    parser.add_argument("--rounds", type=int, help="samples per candidate (default: 25, with --quick 7)")
    parser.add_argument(
        "--only",
        type=_sections,
        default=list(SECTIONS),
        metavar="SECTION,...",
        help=f"of {', '.join(SECTIONS)} (default: all)",
    )
    parser.add_argument("--uvloop", action="store_true", help="uvloop instead of asyncio's own loop")
    parser.add_argument("--acceptance", action="store_true", help="print only the table of figures with their bounds")
    parser.add_argument("--strict", action="store_true", help="fail if a bound is not met")
    parser.add_argument("--write", action="store_true", help="write tables and pictures into docs/ and README.md")
    parser.add_argument("--saved", type=Path, metavar="FILE", help=f"show a saved run ({RESULTS.relative_to(ROOT)})")
    parser.add_argument("--in-place", action="store_true", help="measure the extension that is in the source tree")
    return parser.parse_args()


def _sections(text: str) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - set(SECTIONS):
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    return [name for name in SECTIONS if name in names]


if __name__ == "__main__":
    sys.exit(main())
