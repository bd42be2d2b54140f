"""The recipes that need more than a process: a server of FastAPI, and workers of Celery."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import urllib.request
from typing import TYPE_CHECKING

import pytest

from pages import ROOT, Place, blocks, check_warnings, imported, skip_if_impossible

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


# Tasks and results are files, so that the worker is a process of its own. The program has used its client before the
# worker forks.
BY_FILES = """
from pathlib import Path

folder = Path(__file__).parent
app.conf.update(
    broker_url="filesystem://",
    broker_transport_options={key: str(folder / "queue") for key in ("data_folder_in", "data_folder_out")},
    result_backend=folder.as_uri() + "/results",
    broker_connection_retry_on_startup=True,
)
client.get("https://www.example.com/")
"""
SENDER = """
import program

sent = [program.fetch.delay(f"https://www.example.com/items/{number}") for number in range(8)]
print([each.get(timeout=60) for each in sent])
"""


def recipe(package: str) -> str:
    """Returns the program of docs/recipes.md that imports a package."""
    (code,) = [block.code for block in blocks(ROOT / "docs" / "recipes.md") if package in imported(block.code)]
    skip_if_impossible({package, *imported(code)})
    return code


@contextlib.contextmanager
def running(
    folder: Path, environment: dict[str, str], *command: str, sock: socket.socket | None = None
) -> Iterator[None]:
    """Runs a program until the end of the block, when it has to end in an orderly way."""
    errors = folder / "errors.txt"
    with errors.open("w", encoding="utf-8") as file:
        descriptors = (sock.fileno(),) if sock else ()
        process = subprocess.Popen(
            [sys.executable, *command], cwd=folder, env=environment, stderr=file, stdout=file, pass_fds=descriptors
        )
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            finally:
                process.kill()
                process.wait()
    text = errors.read_text(encoding="utf-8")
    assert process.returncode in (0, -signal.SIGTERM), text
    assert "Traceback" not in text, text
    # uvicorn leaves the socket that it was given.
    own = f"laddr={sock.getsockname()}>" if sock else None
    lines = [each for each in text.splitlines() if "Enable tracemalloc" not in each]
    check_warnings("\n".join(each for each in lines if own is None or not each.endswith(own)))


@pytest.mark.skipif(sys.platform == "win32", reason="its server is given a descriptor")
def test_fastapi(place: Place, tmp_path: Path) -> None:
    environment = place.prepare(tmp_path, recipe("fastapi"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        command = ["-m", "uvicorn", "program:app", "--fd", str(listening.fileno()), "--workers", "2"]
        with running(tmp_path, environment, *command, sock=listening):
            url = f"http://127.0.0.1:{listening.getsockname()[1]}/users/"
            # Connects while the server starts, as the socket listens already.
            for number in range(8):
                with urllib.request.urlopen(f"{url}{number}", timeout=60) as response:
                    assert json.load(response) == {"number": number}


@pytest.mark.skipif(sys.platform == "win32", reason="Celery does not support Windows")
def test_celery(place: Place, tmp_path: Path) -> None:
    for name in ("queue", "results"):
        (tmp_path / name).mkdir()
    environment = place.prepare(tmp_path, recipe("celery") + BY_FILES)
    command = ["-m", "celery", "-A", "program", "worker", "--concurrency", "2", "-l", "warning", "--without-gossip"]
    with running(tmp_path, environment, *command, "--without-mingle"):
        (tmp_path / "sender.py").write_text(place.local(SENDER), encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "sender.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
    assert done.stdout == f"{[200] * 8}\n", done.stderr
