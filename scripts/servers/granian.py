"""granian with an application of this folder, speaking HTTP/1.1 or HTTP/2, plain or over TLS."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from servers.certificates import Certificates
from servers.process import free_ports, running


@contextlib.contextmanager
def granian(
    tls: Certificates | None = None, *, http: str = "1", application: str = "servers.app:app", interface: str = "asgi"
) -> Iterator[str]:
    """Runs granian during the block; the value is its base URL. `http` is the version of HTTP, or `auto` for both."""
    [port] = free_ports(1)
    command = [sys.executable, "-m", "granian", "--interface", interface, "--http", http, "--no-ws", "--no-log"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--loop", "asyncio"]
    if tls is not None:
        command += ["--ssl-certificate", tls.certificate, "--ssl-keyfile", tls.key]
    with running([*command, application], port=port, cwd=str(Path(__file__).parent.parent)):
        yield f"{'https' if tls else 'http'}://localhost:{port}"
