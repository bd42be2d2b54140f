"""Builds or serves the site. Started by scripts/docs."""

from __future__ import annotations

import subprocess
import sys
import time

from pages import checks, stage

ZENSICAL = [sys.executable, "-m", "zensical"]


def build() -> int:
    """Builds the site, and returns 1 if there was a warning, a dead link or a dead anchor."""
    stage.stage()
    command = [*ZENSICAL, "build", "--clean", "--strict", "--config-file", str(stage.CONFIG)]
    done = subprocess.run(
        command, cwd=stage.PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        print(done.stdout)
        return 1
    found = list(checks.findings(stage.SITE))
    for finding in found:
        print(finding)
    if not found:
        print(f"{stage.SITE.relative_to(stage.ROOT)}: {len(list(stage.SITE.rglob('*.html')))} pages")
    return 1 if found else 0


def serve() -> int:
    """Serves the site until it is interrupted. Pages that change are copied every second."""
    stage.stage()
    server = subprocess.Popen([*ZENSICAL, "serve", "--config-file", str(stage.CONFIG)], cwd=stage.PROJECT)
    try:
        while server.poll() is None:
            time.sleep(1)
            stage.stage()
    except KeyboardInterrupt:
        server.terminate()
    return server.wait()


if __name__ == "__main__":
    sys.exit(serve() if "--serve" in sys.argv[1:] else build())
