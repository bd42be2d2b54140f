"""A server that takes its time: it answers each request after a delay with 1 KiB, and spends little on it.

Its clients wait as for a server that computes or asks a database. It reads only GETs that arrive in one piece.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from servers.process import free_ports, running

_RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 1024\r\n\r\n" + b"x" * 1024


@contextlib.contextmanager
def delayed(seconds: float) -> Iterator[str]:
    """Runs the server in a separate process; the value is its URL."""
    [port] = free_ports(1)
    command = [sys.executable, "-m", "servers.delayed", str(port), str(seconds)]
    with running(command, port=port, cwd=str(Path(__file__).parent.parent)):
        yield f"http://127.0.0.1:{port}"


class _Connection(asyncio.Protocol):
    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        for _ in range(data.count(b"\r\n\r\n")):
            self._loop.call_later(self._seconds, self._transport.write, _RESPONSE)


async def _main(port: int, seconds: float) -> None:
    server = await asyncio.get_running_loop().create_server(
        lambda: _Connection(seconds), "127.0.0.1", port, backlog=1024
    )
    await server.serve_forever()


if __name__ == "__main__":
    with contextlib.suppress(ImportError):
        import uvloop

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.run(_main(int(sys.argv[1]), float(sys.argv[2])))
