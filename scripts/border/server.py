"""A server that answers by the path it is asked for, in threads."""

from __future__ import annotations

import contextlib
import re
import socket
import threading

from typing_extensions import Self

LARGE = b"x" * 300_000


class Server:
    """Serves HTTP/1.1 on a port of its own until it is closed."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            connection.settimeout(3)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection, connection.makefile("rb") as stream:
            while self._exchange(connection, stream):
                pass

    def _exchange(self, connection: socket.socket, stream: object) -> bool:
        """Answers one request; `False` when there is none, or none may follow."""
        readline, read = stream.readline, stream.read  # type: ignore[attr-defined]
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = readline(65536)
            if not line:
                return False
            head += line
        path = head.split(b" ", 2)[1].rsplit(b"/", 1)[-1]
        if path == b"early":
            connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
            return False
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        body = read(min(int(length[1]), 10**7)) if length else b""
        if re.search(rb"(?i)\r\ntransfer-encoding: *chunked", head):
            body = b""
            while size := int(readline().split(b";")[0] or b"0", 16):
                body += read(size)
                readline()
            while readline().strip():
                pass
        answers = {
            b"close": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end",
            b"junk": b"\xff\x00junk\r\n\r\n",
            b"chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n",
            b"large": b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(LARGE), LARGE),
            b"101": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nmore",
        }
        answer = answers.get(path, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        if head.startswith(b"HEAD "):
            answer = answer[: answer.index(b"\r\n\r\n") + 4]
        connection.sendall(answer)
        return path not in (b"close", b"junk", b"101") and not head.startswith(b"CONNECT ")
