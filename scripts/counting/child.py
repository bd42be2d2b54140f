"""The process that runs under callgrind. It prepares a scenario, and sends requests when it is told to.

Its output: `ready` when it waits for the number of requests on its input, `done` after them.
"""

from __future__ import annotations

import gc
import sys

from counting.scenarios import ALL, prepared


def main(name: str, relay: str, host: str, port: str, ca: str) -> None:
    """Prepares the scenario, and follows the instructions on standard input."""
    for send in prepared(ALL[name], int(relay), (host, int(port)), ca):
        # Old objects do not count when garbage is collected.
        gc.collect()
        gc.freeze()
        print("ready", flush=True)
        for line in sys.stdin:
            send(int(line))
            print("done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
