"""Scripted proxies: scripts for peers, by which a test sees and decides what a proxy receives and sends.

Origins are on this machine.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

from peers import Connection, Request

if TYPE_CHECKING:
    from peers import Script

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"

# The parts of a SOCKS5 proxy's side of the handshake.
NO_AUTHENTICATION = b"\x05\x00"
CREDENTIALS = b"\x05\x02"
ACCEPTED = b"\x01\x00"
CONNECTED = b"\x05\x00\x00\x01\x7f\x00\x00\x01\x04\x38"


def relay(connection: Connection, port: int) -> None:
    """Passes bytes on in both directions, until one side closes."""
    with socket.create_connection(("127.0.0.1", port)) as origin:

        def back() -> None:
            with contextlib.suppress(OSError):
                while data := origin.recv(65536):
                    connection.send(data)
            with contextlib.suppress(OSError):
                connection.socket.shutdown(socket.SHUT_RDWR)

        returning = threading.Thread(target=back, daemon=True)
        returning.start()
        with contextlib.suppress(OSError):
            while data := connection.socket.recv(65536):
                origin.sendall(data)
        with contextlib.suppress(OSError):
            origin.shutdown(socket.SHUT_RDWR)
        returning.join(5)


def read_connect(connection: Connection) -> int:
    """Reads a CONNECT request and returns the port that it names."""
    request = Request(connection.read_head(), b"")
    connection.peer.requests.append(request)
    assert request.method == b"CONNECT"
    return int(request.target.rpartition(b":")[2])


def tunnels(connection: Connection) -> None:
    """Acts as an HTTP proxy that opens a tunnel to any port."""
    port = read_connect(connection)
    connection.send(ESTABLISHED)
    relay(connection, port)


def read_socks5(connection: Connection) -> tuple[bytes, int]:
    """Reads a SOCKS5 request and returns its address, which begins with its type (`b"\\x03" + name`), and its port."""
    assert connection.read_exactly(3) == b"\x05\x01\x00"
    kind = connection.read_exactly(1)
    length = {b"\x01": 4, b"\x04": 16}.get(kind)
    if length is None:
        assert kind == b"\x03"
        (length,) = connection.read_exactly(1)
    host = kind + connection.read_exactly(length)
    return host, int.from_bytes(connection.read_exactly(2), "big")


def socks5(*, credentials: tuple[bytes, bytes] | None = None, pieces: bool = False, reply: bytes = CONNECTED) -> Script:
    """Returns the script of a SOCKS5 proxy that connects to any port."""

    def script(connection: Connection) -> None:
        def send(data: bytes) -> None:
            if pieces:
                connection.send_pieces([bytes([byte]) for byte in data])
            else:
                connection.send(data)

        if credentials is None:
            assert connection.read_exactly(3) == b"\x05\x01\x00"
            send(NO_AUTHENTICATION)
        else:
            assert connection.read_exactly(3) == b"\x05\x01\x02"
            send(CREDENTIALS)
            assert connection.read_exactly(1) == b"\x01"
            given = [connection.read_exactly(connection.read_exactly(1)[0]) for _ in range(2)]
            send(ACCEPTED if given == list(credentials) else b"\x01\x01")
        _, port = read_socks5(connection)
        send(reply)
        relay(connection, port)

    return script
