"""Counts the instructions of a child process between two points, with callgrind.

Start-up and imports run without instrumentation, which is ten times faster. Two runs of different length are
subtracted, so that the cost of starting and ending the work cancels out.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

SCRIPTS = Path(__file__).resolve().parent.parent
FEW, MANY, REPEATS = 20, 120, 3
# Now and then callgrind confirms that it counts and does not.
ATTEMPTS = 3


def instructions_per_request(arguments: Sequence[str], output: Path, *, keep: bool) -> float:
    """Returns the median of several counts."""
    for _ in range(ATTEMPTS):
        counted = _median(arguments, output, keep=keep)
        if counted > 0:
            return counted
    raise RuntimeError(f"callgrind has counted nothing, {ATTEMPTS} times: {' '.join(arguments)}")


def _median(arguments: Sequence[str], output: Path, *, keep: bool) -> float:
    command = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={output}"]
    command += [sys.executable, "-m", "counting.child", *arguments]
    # A fixed order of sets, so that runs can be compared.
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    pipe = subprocess.PIPE
    # Not in the folder of the source tree: the installed package is measured.
    child = subprocess.Popen(command, cwd=SCRIPTS, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    with child:
        _expect(child, "ready")
        _control(child, "--instr=on")
        counts = []
        for _ in range(REPEATS):
            few, many = (_count(child, requests, output) for requests in (FEW, MANY))
            counts.append((many - few) / (MANY - FEW))
        _control(child, "--instr=off")
        child.communicate()
    for file in output.parent.glob(f"{output.name}*"):
        if not keep:
            file.unlink()
    return median(counts)


def _count(child: subprocess.Popen[str], requests: int, output: Path) -> int:
    """Returns the instructions of that many requests: callgrind writes a file with them, and starts anew."""
    assert child.stdin is not None
    child.stdin.write(f"{requests}\n")
    child.stdin.flush()
    _expect(child, "done")
    _control(child, "--dump")
    newest = max(output.parent.glob(f"{output.name}.*"), key=lambda path: int(path.suffix[1:]))
    found = re.search(r"^(?:summary|totals): (\d+)", newest.read_text(), re.MULTILINE)
    if found is None:
        raise RuntimeError(f"{newest} has no count")
    return int(found[1])


def _control(child: subprocess.Popen[str], command: str) -> None:
    # It comes with valgrind.
    done = subprocess.run(
        ["/usr/bin/env", "callgrind_control", command, str(child.pid)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"callgrind_control {command} failed:\n{done.stdout}{done.stderr}")


def _expect(child: subprocess.Popen[str], word: str) -> None:
    assert child.stdout is not None
    if child.stdout.readline().strip() != word:
        child.kill()
        raise RuntimeError(f"the client failed:\n{child.communicate()[1]}")
