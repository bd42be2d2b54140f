"""`openssl s_server` in a subprocess, with a thread that plays its part."""

from __future__ import annotations

import re
import subprocess
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from certificates import Certificates


class OpenSSLServer:
    """A server of TLS. What it prints is read by `read()`, what is written to it goes to the client."""

    process: subprocess.Popen[bytes]
    thread: threading.Thread
    # 0 if the arguments say it.
    port: int

    def __init__(self, openssl: str, certificates: Certificates, *arguments: str) -> None:
        self._command = [openssl, "s_server", *arguments]
        self._command += ["-cert", str(certificates.chain), "-key", str(certificates.key)]

    def start(self, *arguments: str) -> None:
        """Returns when the server accepts connections; `play()` runs in a thread then."""
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            [*self._command, *arguments], stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, bufsize=0
        )
        # The port is told if the system has chosen it.
        accepting = self.read_until(rb"ACCEPT.*\n")
        self.port = int(accepting.split(b":")[-1]) if b":" in accepting else 0
        self.thread = threading.Thread(target=self.play, daemon=True)
        self.thread.start()

    def play(self) -> None:
        """Answers the client, in the thread."""
        raise NotImplementedError

    def read(self, length: int = 65_536) -> bytes:
        assert self.process.stdout is not None
        return self.process.stdout.read(length)

    def read_until(self, pattern: bytes) -> bytes:
        text = b""
        while not re.search(pattern, text):
            byte = self.read(1)
            assert byte, text
            text += byte
        return text

    def write(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)

    def stop(self) -> None:
        self.process.kill()
        self.thread.join()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()
        self.process.wait()
