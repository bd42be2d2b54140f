"""`python -m httpcore_rs` and `HTTPCORE_RS_INSTALL`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from libraries import Library

PROBE = """
import sys
print(sys.argv, sys.path[0], __name__, __file__, __spec__ and __spec__.name, __package__)
"""
POOL = "import {0} as library; print(type(library.Client()._transport._pool).__module__)"

# Python imports from its folder first: not from the sources, which may lack the extension of this interpreter.
HERE = Path(__file__).parent


def run(*arguments: str, cwd: Path = HERE, **variables: str) -> tuple[int, str, str]:
    environment = {**os.environ, **variables}
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=60, check=False, cwd=cwd, env=environment
    )
    return done.returncode, done.stdout, done.stderr


def test_programs_run_as_by_python(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(PROBE)
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("")
    (tmp_path / "package" / "__main__.py").write_text(PROBE)
    (tmp_path / "fails.py").write_text("def fail():\n    1 / 0\nfail()\n")
    (tmp_path / "wrong.py").write_text("def :\n")
    code = "import sys; print(sys.argv, repr(sys.path[0]), __name__)"
    for arguments in (
        ["script.py", "-x", "y"],
        ["-m", "package", "-x"],
        ["-m", "script", "y"],
        ["package", "y"],
        ["-c", code, "-m", "z"],
        ["-c", "raise SystemExit(7)"],
        ["fails.py"],
        ["wrong.py"],
        ["missing.py"],
        ["-m", "no_such_module"],
    ):
        assert run("-m", "httpcore_rs", *arguments, cwd=tmp_path) == run(*arguments, cwd=tmp_path), arguments


def test_programs_and_their_children_are_covered(library: Library) -> None:
    code = POOL.format(library.name)
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}], check=True)"
    for program in (code, child):
        assert run("-m", "httpcore_rs", "-c", program) == (0, f"{library.package_name.replace('x2', 'core2')}\n", "")


@pytest.mark.parametrize(("value", "is_covered"), [("1", True), ("httpcore", True), ("0", False), ("", False)])
def test_the_variable(library: Library, value: str, is_covered: bool) -> None:
    status, out, err = run("-c", POOL.format(library.name), HTTPCORE_RS_INSTALL=value)
    assert (status, err) == (0, "")
    assert out.startswith("httpcore_rs") == is_covered


def test_transports_that_are_imported_first(library: Library) -> None:
    code = f"import {library.package_name} as ours; ours.SyncTransport(); {POOL.format(library.name)}"
    assert run("-c", code, HTTPCORE_RS_INSTALL="1")[1].startswith("httpcore_rs")


def test_the_package_is_not_imported_without_need() -> None:
    code = "import sys; print('httpcore_rs' in sys.modules)"
    assert run("-c", code, HTTPCORE_RS_INSTALL="1") == (0, "False\n", "")


def test_the_start_of_the_interpreter_imports_almost_nothing() -> None:
    # `importlib.util`, for example, takes ten times as long as all that is needed.
    code = "import sys; print(*sys.modules)"
    without, covered = (set(run("-c", code, HTTPCORE_RS_INSTALL=value)[1].split()) for value in ("", "1"))
    assert not (covered - without) & {"importlib.util"}
    assert {name.partition(".")[0] for name in covered - without} <= {"__future__", "importlib", "warnings"}


def test_a_value_without_a_meaning() -> None:
    status, out, err = run("-c", "print(1)", HTTPCORE_RS_INSTALL="maybe")
    assert (status, out) == (0, "1\n")
    assert "write 1" in err
