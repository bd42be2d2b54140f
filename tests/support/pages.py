"""The programs of the documentation and of `examples/`, and the servers that they are run against.

Each block of Python in a page is a program by itself and is run as one. A comment in front of a block says otherwise:

    <!-- not run: REASON -->    it is shown only
    <!-- continues -->          it is run behind the block before it

Programs name hosts below `example.com`. Before a program runs, these are replaced by servers of this machine, and its
folder has `ca.pem`, `client.pem` and `client.key`. A program that defines tests is run by pytest.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from certificates import Certificates

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"

BLOCK = re.compile(r"(?ms)^(?:<!-- (?P<comment>[^\n]*) -->\n+)?```(?:python|py)\b[^\n]*\n(?P<code>.*?)^```$")

# Packages that do not exist for every version of CPython that the tests run on, and the versions that they exist for.
VERSIONS = {
    "celery": ((3, 9), (3, 14)),
    "fastapi": ((3, 10), (3, 14)),
    "httpcore2": ((3, 10), (4, 0)),
    "httpx2": ((3, 10), (4, 0)),
    "httpx_ws": ((3, 9), (4, 0)),
    "opentelemetry": ((3, 10), (3, 14)),
    "pytest_httpx": ((3, 10), (4, 0)),
    "respx": ((3, 9), (4, 0)),
    "vcr": ((3, 10), (4, 0)),
}
# Packages of SDKs, which scripts/downstream installs and whose pages it runs.
DOWNSTREAM = {"anthropic", "google", "huggingface_hub", "langchain_openai", "litellm", "mcp", "mistralai", "openai"}


class Block(NamedTuple):
    """A program of a page."""

    page: str
    line: int
    code: str
    # Empty if the program is run.
    reason: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(path: Path) -> Iterator[Block]:
    """Yields the programs of a page."""
    text = path.read_text(encoding="utf-8")
    before = ""
    for match in BLOCK.finditer(text):
        comment, code = match["comment"] or "", match["code"]
        if comment == "continues":
            code = before + code
        before = code
        reason = comment[len("not run: ") :] if comment.startswith("not run: ") else ""
        yield Block(path.relative_to(ROOT).as_posix(), text.count("\n", 0, match.start("code")), code, reason)


def imported(code: str) -> Iterator[str]:
    """Yields the names of the packages that a program imports, or whose fixtures it takes."""
    if "httpx_mock" in code:
        yield "pytest_httpx"
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]
            if node.module == "httpcore_rs":
                yield from (alias.name for alias in node.names if alias.name in ("httpx2", "httpcore2"))
            elif node.module in ("httpcore_rs.httpx2", "httpcore_rs.httpcore2"):
                yield node.module.partition(".")[2]


def skip_if_impossible(packages: Iterable[str]) -> None:
    """Skips a program whose packages do not exist for this version of CPython. Others have to be installed."""
    for name in sorted({*packages}):
        if name in DOWNSTREAM:
            pytest.skip(f"{name} is installed and used by scripts/downstream")
        first, last = VERSIONS.get(name, ((3, 9), (4, 0)))
        if not first <= sys.version_info[:2] <= last:
            pytest.skip(f"{name} does not exist for this version of CPython")
        assert find_spec(name) is not None, f"{name} is not installed: it belongs to the dependency group 'test'"


class Place:
    """The surroundings of a program: servers by the names that the programs use, and files in their folder."""

    def __init__(self, hosts: dict[str, str], certificates: Certificates) -> None:
        self.hosts = hosts
        self.certificates = certificates

    def local(self, text: str) -> str:
        """Replaces the addresses in a text."""
        for name, address in self.hosts.items():
            text = re.sub(rf"{re.escape(name)}(?![\w.:-])", address, text)
        return text

    def remote(self, text: str) -> str:
        """Puts the names back in the place of addresses."""
        for name, address in self.hosts.items():
            text = text.replace(address, name)
        return text

    def prepare(self, folder: Path, code: str, name: str = "program.py") -> dict[str, str]:
        """Writes a program and its files. Returns its environment."""
        (folder / name).write_text(self.local(code), encoding="utf-8")
        files = self.certificates
        for source, copy in (
            (files.ca, "ca.pem"),
            (files.client_chain, "client.pem"),
            (files.client_key, "client.key"),
        ):
            shutil.copy(source, folder / copy)
        return {**os.environ, "SSL_CERT_FILE": str(files.ca), "PYTHONIOENCODING": "utf-8", "PYTHONDEVMODE": "1"}

    def run(self, folder: Path, code: str, *arguments: str) -> str:
        """Runs a program in a process of its own, in development mode, and returns what it printed."""
        return self.run_with_errors(folder, code, *arguments)[0]

    def run_with_errors(self, folder: Path, code: str, *arguments: str) -> tuple[str, str]:
        """Runs a program, and returns what it wrote to its standard output and to its standard error."""
        tests = re.search(r"^(async )?def test_", code, re.MULTILINE)
        name = "test_program.py" if tests else "program.py"
        environment = self.prepare(folder, code, name)
        command = [sys.executable, *(["-m", "pytest", "-q", "-p", "no:cacheprovider"] if tests else [])]
        done = subprocess.run(
            [*command, str(folder / name), *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        check_warnings(done.stderr)
        return done.stdout, done.stderr


def check_warnings(errors: str) -> None:
    """Fails if a program has left something open."""
    assert "ResourceWarning" not in errors, errors
    assert "never retrieved" not in errors, errors
