"""Real servers, each in a process of its own: hypercorn, proxies, and nginx where it is installed."""

from __future__ import annotations

import contextlib
import getpass
import http.client
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from certificates import Certificates


class AsgiServer:
    """Serves an application over `http` and `https`, in HTTP/1.1 and HTTP/2.

    The sockets listen before the process starts, so that the kernel chooses the ports. The first response is awaited:
    the start may take longer than the default timeouts of clients.
    """

    def __init__(self, certificates: Certificates, app: str = "asgi_app:app", *arguments: str) -> None:
        self.certificates = certificates
        self.command = [sys.executable, "-m", "hypercorn", app, "--log-level", "error", *arguments]
        self.plain = socket.create_server(("127.0.0.1", 0))
        self.secure = socket.create_server(("127.0.0.1", 0))
        self.http = f"http://127.0.0.1:{self.plain.getsockname()[1]}"
        self.https = f"https://127.0.0.1:{self.secure.getsockname()[1]}"

    def __enter__(self) -> AsgiServer:
        descriptors = (self.plain.fileno(), self.secure.fileno())
        command = [*self.command, "--insecure-bind", f"fd://{descriptors[0]}", "--bind", f"fd://{descriptors[1]}"]
        command += ["--certfile", str(self.certificates.chain), "--keyfile", str(self.certificates.key)]
        self.process = subprocess.Popen(command, cwd=Path(__file__).parent, pass_fds=descriptors)
        connection = http.client.HTTPConnection(*self.plain.getsockname(), timeout=60)
        connection.request("GET", "/bytes/1")
        connection.getresponse().read()
        connection.close()
        self.plain.close()
        self.secure.close()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.process.terminate()
        self.process.wait(20)


NGINX = """
{user}
daemon off;
worker_processes 1;
pid nginx.pid;
error_log error.log warn;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    client_max_body_size 64k;
    # A connection is told to go away after that many requests.
    keepalive_requests 50;
    http2_max_concurrent_streams 10;
    ssl_certificate {chain};
    ssl_certificate_key {key};
    server {{
        listen 127.0.0.1:{port} {protocols};
        root {home}/files;
        {directives}
    }}
}}
"""


def find_nginx() -> str | None:
    """Returns the path of nginx, which Debian installs in a folder that is only on root's PATH."""
    return shutil.which("nginx", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]))


class NginxServer:
    """nginx over TLS, serving the files `small` and `big`; `directives` are added to the server's configuration."""

    SIZES = {"small": 1000, "big": 10_000_000}  # noqa: RUF012  (a constant)

    def __init__(
        self, certificates: Certificates, home: Path, protocols: str = "ssl http2", directives: str = ""
    ) -> None:
        self.port = free_port()
        self.home = home
        self.url = f"https://127.0.0.1:{self.port}/"
        home.chmod(0o755)
        (home / "files").mkdir()
        for name, size in self.SIZES.items():
            (home / "files" / name).write_bytes(b"x" * size)
        # Started by root, nginx would run its worker as a user who may not read the folder.
        user = f"user {getpass.getuser()};" if os.geteuid() == 0 else ""
        (home / "nginx.conf").write_text(
            NGINX.format(
                home=home,
                port=self.port,
                protocols=protocols,
                directives=directives,
                user=user,
                chain=certificates.chain,
                key=certificates.key,
            )
        )

    def __enter__(self) -> NginxServer:
        command = [find_nginx(), "-p", str(self.home), "-c", str(self.home / "nginx.conf"), "-e", "error.log"]
        self.process = started(command, self.port)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.process.terminate()
        self.process.wait(20)


# pproxy uses uvloop where it is installed, and expects a current event loop without making one.
PPROXY = """
import asyncio, sys
sys.modules["uvloop"] = None
asyncio.set_event_loop(asyncio.new_event_loop())
from pproxy.server import main
main()
"""


class ProxyServer:
    """proxy.py or pproxy. It requires the credentials `user:password`."""

    def __init__(self, scheme: str, command: list[str], port: int) -> None:
        self.url = f"{scheme}://localhost:{port}"
        self.command = [sys.executable, *command]
        self.port = port

    @classmethod
    def of(cls, kind: str, credentials: str, certificates: Certificates, folder: Path) -> ProxyServer:
        """Returns the proxy of a kind: `proxy.py`, `proxy.py over TLS`, `pproxy`, or `pproxy, SOCKS5`."""
        port = free_port()
        if kind.startswith("pproxy"):
            address = f"127.0.0.1:{port}/#{credentials}"
            scheme = "socks5" if kind.endswith("SOCKS5") else "http"
            return cls(scheme, ["-c", PPROXY, "--auth", "0", "-l", f"{scheme}://{address}"], port)
        command = ["-m", "proxy", "--hostname", "127.0.0.1", "--port", str(port), "--basic-auth", credentials]
        command += ["--num-workers", "1", "--num-acceptors", "1", "--data-dir", str(folder / str(port))]
        if kind == "proxy.py":
            return cls("http", command, port)
        return cls(
            "https", [*command, "--cert-file", str(certificates.chain), "--key-file", str(certificates.key)], port
        )

    def __enter__(self) -> ProxyServer:
        self.process = started(self.command, self.port)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.process.terminate()
        self.process.wait(20)


def free_port() -> int:
    """Returns a port that was free at the time of the call.

    It is below the range from which the kernel takes the ports of connections: another test could get one of those
    before the server listens.
    """
    dice = random.SystemRandom()
    while True:
        port = dice.randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def started(command: Sequence[str | None], port: int) -> subprocess.Popen[bytes]:
    """Starts a process and returns it once it listens."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while True:
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return process
        assert process.poll() is None, f"{command} ended by itself"
        assert time.monotonic() < deadline, f"{command} does not listen"
        time.sleep(0.02)
