"""Interpreters that are not supported: other implementations, and subinterpreters."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from httpcore_rs import _implementation

if TYPE_CHECKING:
    from pathlib import Path

SUBINTERPRETER = """
import sys
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
if sys.argv[1] == "second":
    import httpcore_rs
CODE = '''
try:
    from httpcore_rs import _engine
except ImportError as exc:
    print(exc, flush=True)
'''
# Where an interpreter of its own lock is the default, the other kind is asked for.
kind = ("legacy",) if sys.version_info >= (3, 13) else ()
options = {} if kind else {"isolated": False}
run = getattr(interpreters, "exec" if kind else "run_string")
created = interpreters.create(*kind, **options)
assert run(created, CODE) is None
# Since 3.14 Python warns about those that are left at its exit.
interpreters.destroy(created)
"""


def test_other_implementations_are_refused() -> None:
    with pytest.raises(ImportError, match="httpcore_rs supports CPython only, and this is pypy"):
        _implementation.check("pypy")
    _implementation.check("cpython")


@pytest.mark.parametrize("order", ["first", "second"])
def test_subinterpreters_are_refused(order: str, tmp_path: Path) -> None:
    """Also as the first importer, after which the engine would belong to the wrong interpreter."""
    command = [sys.executable, "-c", SUBINTERPRETER, order]
    # Away from the sources, which may lack the extension of this interpreter.
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "subinterpreters" in done.stdout
