"""Fetches the suites with pip, unpacks them, and makes the copies that are tested.

Suites of two kinds: those of httpcore and httpx themselves (`scripts/conformance`), and those of packages that use them
(`scripts/downstream`).
"""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from .rewrite import use_ours


@dataclasses.dataclass(frozen=True)
class Suite:
    """A project whose tests are run. A dependency group pins the same version: `conformance`, or `suites`."""

    name: str
    version: str
    # Of the source distribution, whose code is executed.
    sha256: str
    # A port of 127.0.0.1 that is fixed in its tests.
    port: int | None = None
    # The fork of the project that the tests are run on instead. It publishes no tests of its own, and passes these.
    fork: str | None = None
    # The oldest CPython that the tested package supports.
    python: tuple[int, int] = (3, 9)
    # The way in which httpcore_rs gets under httpx: `transports`, `pools`, `module` or `install` (see the plugin).
    way: str = "transports"
    # The files and folders of the source distribution that its tests need; those that hold the tests; those of them
    # that are left out.
    needs: tuple[str, ...] = ("tests", "pyproject.toml")
    tests: tuple[str, ...] = ("tests",)
    without: tuple[str, ...] = ()
    # Changes of its files, made for the runs with httpcore_rs and without it: (file, text, the text in its place).
    changes: tuple[tuple[str, str, str], ...] = ()
    # Further arguments of pytest, and the seconds that a test may take.
    options: tuple[str, ...] = ()
    seconds: int = 10

    @property
    def unpacked(self) -> str:
        """The name of the folder in the source distribution, and of its file without the ending."""
        return f"{self.name.replace('-', '_')}-{self.version}"

    @property
    def archive(self) -> str:
        return f"{self.unpacked}.tar.gz"

    @property
    def tested(self) -> str:
        """The package that the tests import, and the way of httpcore_rs under it unless that is the usual one."""
        return self.fork or (self.name if self.way in ("transports", "install") else f"{self.name}-by-{self.way}")


_HTTPCORE = Suite("httpcore", "1.0.9", "6e34463af53fd2ab5d807f399a9b45ea31c3dfa2276f15a2c3f00afff6e176e8")
_HTTPX = Suite("httpx", "0.28.1", "75e98c5f16b0f35b567856f597f06ff2270a374470a5c2392242528e3e3e42fc", port=8000)

SUITES = (
    _HTTPCORE,
    dataclasses.replace(_HTTPCORE, fork="httpcore2", python=(3, 11)),
    _HTTPX,
    dataclasses.replace(_HTTPX, way="pools"),
    dataclasses.replace(_HTTPX, way="module"),
)


def unpacked(suite: Suite, cache: Path) -> Path:
    """Returns the folder with the suite's source distribution. The first call fetches it."""
    archive = cache / "sdists" / suite.archive
    if not archive.exists():
        archive.parent.mkdir(parents=True, exist_ok=True)
        # Only this package from source: its build requirements may be wheels.
        options = ["--quiet", "--no-deps", "--no-binary", suite.name, "--dest", str(archive.parent)]
        command = [sys.executable, "-m", "pip", "download", *options, f"{suite.name}=={suite.version}"]
        subprocess.run(command, check=True)
    if hashlib.sha256(archive.read_bytes()).hexdigest() != suite.sha256:
        archive.unlink()
        sys.exit(f"{suite.archive} is not the file that was expected (SHA-256); it was deleted")
    folder = cache / "sources" / suite.unpacked
    if not folder.exists():
        shutil.unpack_archive(archive, folder.parent)
    return folder


def copied(suite: Suite, cache: Path, *, ours: bool) -> Path:
    """Returns a fresh copy of the tests and of their configuration, for httpcore_rs or unchanged.

    The package itself is not in it, so that the one in the environment is imported.
    """
    source = unpacked(suite, cache)
    copy = cache / ("ours" if ours else "control") / suite.tested
    shutil.rmtree(copy, ignore_errors=True)
    for name in suite.needs:
        path = source / name
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            shutil.copytree(path, copy / name)
        else:
            shutil.copy(path, copy / name)
    for name, text, replacement in suite.changes:
        _change(copy / name, text, replacement)
    if suite.way == "install":
        return copy
    for file in copy.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        if suite.fork is not None:
            text = text.replace(suite.name, suite.fork)
        if ours:
            text = use_ours(text)
        file.write_text(text, encoding="utf-8")
    return copy


def _change(file: Path, text: str, replacement: str) -> None:
    content = file.read_text(encoding="utf-8")
    if text not in content:
        sys.exit(f"{file} does not have the text that is to be changed: {text!r}")
    file.write_text(content.replace(text, replacement), encoding="utf-8")
