"""A real server: hypercorn in a process of its own."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from certificates import Certificates


class AsgiServer:
    """Serves `asgi_app` over `http` and `https`. The sockets listen before the process starts: nobody has to wait."""

    def __init__(self, certificates: Certificates) -> None:
        self.certificates = certificates
        self.plain = socket.create_server(("127.0.0.1", 0))
        self.secure = socket.create_server(("127.0.0.1", 0))
        self.http = f"http://127.0.0.1:{self.plain.getsockname()[1]}"
        self.https = f"https://127.0.0.1:{self.secure.getsockname()[1]}"

    def __enter__(self) -> AsgiServer:
        descriptors = (self.plain.fileno(), self.secure.fileno())
        command = [sys.executable, "-m", "hypercorn", "asgi_app:app", "--log-level", "error"]
        command += ["--insecure-bind", f"fd://{descriptors[0]}", "--bind", f"fd://{descriptors[1]}"]
        command += ["--certfile", str(self.certificates.chain), "--keyfile", str(self.certificates.key)]
        self.process = subprocess.Popen(command, cwd=Path(__file__).parent, pass_fds=descriptors)
        self.plain.close()
        self.secure.close()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.process.terminate()
        self.process.wait(20)
