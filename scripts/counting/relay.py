"""A relay between a client under callgrind and a server, which makes the client's work the same in each run.

A client's instructions depend on when responses arrive: those that arrive together are read in one turn of the event
loop. The relay holds bytes back. It forwards requests when the client has nothing more to send, and responses when all
of them have arrived, so that the client finds them all at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from servers.process import free_ports, running

# Seconds in which a client is asleep, and in which a server on this machine has answered 20 requests.
_ASLEEP = 0.003
_ANSWERED = 0.01
# Turns of the event loop after which its tasks have sent what they can.
_TURNS = 12
_READ = 1 << 20
# The client's socket and the server's.
_Pair = tuple[socket.socket, socket.socket]


class Relay:
    """A listening socket, and for each connection to it one to the server."""

    def __init__(self, server: tuple[str, int], port: int = 0) -> None:
        self._server = server
        self._pairs: list[_Pair] = []
        self.listener = socket.create_server(("127.0.0.1", port), backlog=1024)
        self.listener.setblocking(False)
        self.port: int = self.listener.getsockname()[1]

    def sockets(self) -> list[socket.socket]:
        """Returns all sockets that bytes may arrive on."""
        return [self.listener, *(sock for pair in self._pairs for sock in pair)]

    def accept(self) -> None:
        """Accepts the connections that clients have made."""
        with contextlib.suppress(BlockingIOError):
            while True:
                accepted, _ = self.listener.accept()
                pair = accepted, socket.create_connection(self._server)
                for sock in pair:
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._pairs.append(pair)

    def forward(self) -> list[_Pair]:
        """Forwards what clients have sent, and returns the connections that had something."""
        return [pair for pair in self._pairs if self._copied(*pair)]

    def answer(self, waiting: list[_Pair]) -> None:
        """Forwards what the server has sent. Connections in `waiting` have sent something, and wait for a response."""
        for _, server in waiting:
            # Some frames of HTTP/2 have no response.
            select.select([server], [], [], 10 * _ANSWERED)
        for client, server in waiting or self._pairs:
            self._copied(server, client)

    def close(self) -> None:
        """Closes all sockets."""
        for sock in self.sockets():
            sock.close()

    def _copied(self, source: socket.socket, target: socket.socket) -> bool:
        try:
            data = source.recv(_READ, socket.MSG_DONTWAIT)
            target.sendall(data)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._pairs = [pair for pair in self._pairs if source not in pair]
            source.close()
            target.close()
        return bool(data)


async def relay_until(relay: Relay, done: asyncio.Future[list[None]]) -> None:
    """Relays in the event loop of the client, in lock-step with it, until the client is done."""
    while not done.done():
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        relay.accept()
        waiting = relay.forward()
        # The loop stands still meanwhile: the client cannot see some responses before the others.
        time.sleep(_ANSWERED)  # noqa: ASYNC251
        relay.answer(waiting)


@contextlib.contextmanager
def relaying(server: tuple[str, int]) -> Iterator[int]:
    """Relays in a process of its own, for clients that block; the value is the port."""
    [port] = free_ports(1)
    command = [sys.executable, "-m", "counting.relay", server[0], str(server[1]), str(port)]
    with running(command, port=port, cwd=str(Path(__file__).parent.parent)):
        yield port


def _main(host: str, server_port: str, port: str) -> None:
    relay = Relay((host, int(server_port)), int(port))
    while True:
        select.select(relay.sockets(), [], [])
        # The client is asleep when its response arrives.
        time.sleep(_ASLEEP)
        relay.accept()
        relay.answer(relay.forward())


if __name__ == "__main__":
    _main(*sys.argv[1:])
