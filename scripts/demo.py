"""Runs plain httpx programs over httpcore_rs against a real server on this machine. Started by scripts/demo."""

from __future__ import annotations

import platform
import sys
import time
from importlib.metadata import version

from servers.certificates import certificates
from servers.granian import granian
from servers.proxy import http_proxy
from showcase.comparison import compare
from showcase.faults import faults
from showcase.picture import draw
from showcase.programs import asynchronous, by_proxy, installed, synchronous
from showcase.report import Report


def main() -> int:
    """Runs all parts, and returns 1 if one of them failed."""
    started = time.perf_counter()
    versions = ", ".join(f"{name} {version(name)}" for name in ("httpcore_rs", "httpx", "granian"))
    print(f"{versions}, CPython {platform.python_version()}")
    report = Report()
    with certificates() as files, granian() as plain, granian(files) as tls:
        synchronous(report, plain, verify=True)
        synchronous(report, tls, verify=files.ca)
        asynchronous(report, plain, verify=True)
        asynchronous(report, tls, verify=files.ca)
        with http_proxy("demo:secret") as address:
            by_proxy(report, address, (plain, tls), verify=files.ca)
        installed(report, tls, verify=files.ca)
        faults(report, plain, tls)
        report.title("httpx over its own transport, and over httpcore_rs (both include the server's time)")
        pairs = list(compare(plain, tls, files.ca))
        report.title("the same as a picture: time per request, shorter is better")
        draw(pairs)
    seconds = time.perf_counter() - started
    if report.wrong:
        print(f"\n{len(report.wrong)} of {report.shown} failed: {'; '.join(report.wrong)}")
        return 1
    print(f"\nAll {report.shown} passed, in {seconds:.0f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
