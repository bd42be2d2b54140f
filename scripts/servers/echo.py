"""A server whose responses show which request they belong to, over HTTP/1.1 and HTTP/2, plain and over TLS.

`/ID?length=N&delay=MS&chunks=N` is answered with N bytes that repeat the ID, and with headers that name the ID and
describe the body of the request. It runs in processes of its own, and may run on another Python than its clients.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

SCRIPTS = Path(__file__).parent.parent


@dataclass(frozen=True)
class EchoServer:
    """The base URLs of a running server, and the file with the authority of its certificate."""

    plain: str
    tls: str
    ca: str


def filled(identity: str, length: int) -> bytes:
    """Returns the body of the response to the request with this ID."""
    unit = f"{identity}|".encode()
    return (unit * (length // len(unit) + 1))[:length]


async def app(scope: Any, protocol: Any) -> None:
    """Answers one request, in granian's own interface."""
    body = await protocol()
    options = {name: int(values[0]) for name, values in parse_qs(scope.query_string).items()}
    identity = scope.path.rpartition("/")[2]
    content = filled(identity, options.get("length", 64))
    headers = [("x-id", identity), ("x-method", scope.method), ("x-received", f"{len(body)} {zlib.crc32(body)}")]
    if "delay" in options:
        await asyncio.sleep(options["delay"] / 1000)
    chunks = options.get("chunks")
    if chunks is None:
        protocol.response_bytes(200, [*headers, ("content-length", str(len(content)))], content)
        return
    stream = protocol.response_stream(200, headers)
    size = len(content) // chunks + 1
    for start in range(0, len(content), size):
        await stream.send_bytes(content[start : start + size])


@contextlib.contextmanager
def echo_server(python: str) -> Iterator[EchoServer]:
    """Runs the server during the block. `python` is an interpreter that has granian and trustme."""
    command = [python, "-m", "servers.echo"]
    with subprocess.Popen(command, cwd=SCRIPTS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the server has no pipes")
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"the server did not start: it needs granian and trustme in {python}")
        yield EchoServer(**json.loads(line))
        # The end of its input ends the server.
        process.stdin.close()


def _main() -> None:
    from servers.certificates import certificates
    from servers.granian import granian

    with certificates() as files:
        ways = {"http": "auto", "application": "servers.echo:app", "interface": "rsgi"}
        with granian(None, **ways) as plain, granian(files, **ways) as tls:
            print(json.dumps({"plain": plain, "tls": tls, "ca": files.ca}), flush=True)
            sys.stdin.read()


if __name__ == "__main__":
    _main()
