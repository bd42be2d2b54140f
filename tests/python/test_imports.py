"""Modules that the package imports beyond those of httpcore: time and memory of each program."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from httpcore_rs import _names
from peers import always, reply

if TYPE_CHECKING:
    from pathlib import Path

    from peers import Serve

REQUEST = """
import json, sys
import httpcore
before = set(sys.modules)
import httpcore_rs
with httpcore_rs.ConnectionPool() as pool:
    assert pool.request("GET", sys.argv[1]).status == 200
print(json.dumps(sorted(set(sys.modules) - before)))
"""

# Large ones that a program with threads only does without. httpcore imports some of them itself in some versions.
LARGE = {"asyncio", "anyio", "trio", "httpx", "httpx2", "httpcore2", "concurrent", "dataclasses", "email", "subprocess"}


def test_a_request_from_a_thread_imports_no_large_module(serve: Serve, tmp_path: Path) -> None:
    url = serve(always(reply(b"hi"))).url
    command = [sys.executable, "-c", REQUEST, url]
    # With -c Python also imports from its folder: the sources may lack the extension of this interpreter.
    done = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, check=True, timeout=60)
    imported = json.loads(done.stdout)
    assert "httpcore_rs" in imported
    assert not LARGE & {name.partition(".")[0] for name in imported}
    assert not {f"httpcore_rs.{module}" for module in _names.LATE.values()} & {*imported}
