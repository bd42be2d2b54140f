"""A server that only reads: it discards a request's body as fast as the socket delivers it, and responds with 204.

A real server's cost for a large body would hide the client's: nginx takes several times as long. The sink reads
bodies with a content-length, and chunked ones whose data does not contain the end of a chunked body.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from servers.certificates import Certificates
from servers.process import free_ports, running

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_END = b"\r\n0\r\n\r\n"


@contextlib.contextmanager
def sink(at_least: int, tls: Certificates | None = None) -> Iterator[str]:
    """Runs the sink in a separate process; the value is its URL. Bodies shorter than `at_least` get a 400."""
    [port] = free_ports(1)
    command = [sys.executable, "-m", "servers.sink", str(port), str(at_least)]
    if tls is not None:
        command += [tls.certificate, tls.key]
    with running(command, port=port, cwd=str(Path(__file__).parent.parent)):
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}/upload"


def _serve(accepted: socket.socket, at_least: int, context: ssl.SSLContext | None) -> None:
    buffer = bytearray(1024 * 1024)
    accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with contextlib.suppress(OSError):
        with context.wrap_socket(accepted, server_side=True) if context else accepted as connection:
            while (length := _read_request(connection, buffer)) is not None:
                status = b"204 No Content" if length >= at_least else b"400 Bad Request\r\nContent-Length: 0"
                connection.sendall(b"HTTP/1.1 " + status + b"\r\n\r\n")


def _read_request(connection: socket.socket, buffer: bytearray) -> int | None:
    """Returns the bytes of the body, framing included; None when the client has closed the connection."""
    head = b""
    while b"\r\n\r\n" not in head:
        piece = connection.recv(65536)
        if not piece:
            return None
        head += piece
    head, _, body = head.partition(b"\r\n\r\n")
    found = _LENGTH.search(head)
    length = int(found[1]) if found else None
    got, tail = len(body), body[-len(_END) :]
    while got < length if length is not None else tail != _END:
        size = connection.recv_into(buffer)
        if not size:
            return None
        got += size
        tail = (tail + buffer[max(0, size - len(_END)) : size])[-len(_END) :]
    return got


def _main(port: int, at_least: int, *certificate: str) -> None:
    context = None
    if certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*certificate)
    with socket.create_server(("127.0.0.1", port)) as server:
        while True:
            connection, _ = server.accept()
            threading.Thread(target=_serve, args=(connection, at_least, context), daemon=True).start()


if __name__ == "__main__":
    _main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
