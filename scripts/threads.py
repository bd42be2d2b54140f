"""Measures requests per second against threads, on several interpreters. Started by scripts/benchmark --threads."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from bench.checks import SMALL
from bench.environment import about
from bench.threads.show import draw, markdown, write
from bench.threads.turns import Curve, measured
from servers.certificates import certificates
from servers.delayed import delayed
from servers.nginx import Ports, nginx
from servers.process import free_ports

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / ".cache" / "threads.json"
DELAY = 0.008


def main() -> int:
    """Measures, or shows an earlier run."""
    options = _options()
    if options.saved:
        saved = json.loads(options.saved.read_text())
        described, curves = saved["about"], [Curve.loaded(curve) for curve in saved["curves"]]
    else:
        described, curves = _measured(options)
        RESULTS.write_text(json.dumps({"about": described, "curves": [curve.saved() for curve in curves]}))
    print("\n".join(f"{key}: {value}" for key, value in described.items()) + "\n")
    print(markdown(curves))
    if options.write:
        document, picture = ROOT / "docs" / "benchmarks.md", ROOT / "docs" / "benchmark-threads.svg"
        write(document, described, curves)
        draw(picture, described, curves)
        print(f"written: {document.relative_to(ROOT)}, {picture.relative_to(ROOT)}")
    return 0


def _measured(options: argparse.Namespace) -> tuple[dict[str, str], list[Curve]]:
    rounds, seconds = options.rounds, options.seconds
    interpreters = [sys.executable, *options.python]
    described = about("nginx", f"medians of {rounds} rounds of {seconds:g} s in which all take turns")
    del described["versions"]
    described["command"] = " ".join(["scripts/benchmark --threads", *sys.argv[1:]])
    described["Python"] = ", ".join(_version(python) for python in interpreters)
    if options.delayed:
        described["server"] = f"one that answers after {DELAY * 1000:g} ms"
        with delayed(DELAY) as url:
            return described, measured(interpreters, url, rounds, seconds)
    ports = Ports(*free_ports(4))
    with certificates() as tls, nginx({"1k": SMALL}, ports, tls):
        return described, measured(interpreters, f"http://127.0.0.1:{ports.plain}/1k", rounds, seconds)


def _version(python: str) -> str:
    done = subprocess.run([python, "-VV"], capture_output=True, text=True, check=True)
    return "CPython " + done.stdout.removeprefix("Python ").partition(" (")[0]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/benchmark --threads", description=__doc__)
    parser.add_argument(
        "--python",
        action="append",
        default=[],
        # The programs that are measured run in another folder. Links stay as they are: an environment is found by them.
        type=os.path.abspath,
        metavar="PATH",
        help="another interpreter with httpcore_rs, such as .cache/free-threaded/venv/bin/python",
    )
    parser.add_argument("--rounds", type=int, default=9, help="samples of each client and number of threads")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each sample")
    parser.add_argument("--delayed", action="store_true", help="against the server that answers after 8 ms")
    parser.add_argument("--write", action="store_true", help="write tables and picture into docs/")
    parser.add_argument("--saved", type=Path, metavar="FILE", help=f"show a saved run ({RESULTS.relative_to(ROOT)})")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
