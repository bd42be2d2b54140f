"""proxy.py, an HTTP proxy that forwards and tunnels, with a user and a password."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterator

from servers.process import free_ports, running


@contextlib.contextmanager
def http_proxy(credentials: str) -> Iterator[str]:
    """Runs the proxy during the block; the value is its address, `host:port`."""
    [port] = free_ports(1)
    command = [sys.executable, "-m", "proxy", "--hostname", "127.0.0.1", "--port", str(port), "--log-level", "ERROR"]
    command += ["--num-workers", "1", "--num-acceptors", "1", "--basic-auth", credentials]
    with tempfile.TemporaryDirectory() as folder:
        command += ["--data-dir", folder]
        with running(command, port=port, cwd=folder):
            yield f"127.0.0.1:{port}"
