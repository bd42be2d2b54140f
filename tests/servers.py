"""Real servers, each in a process of its own: hypercorn, and nginx where it is installed."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from certificates import Certificates


class AsgiServer:
    """Serves `asgi_app` over `http` and `https`, in HTTP/1.1 and HTTP/2.

    The sockets listen before the process starts: nobody has to wait.
    """

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
        listen 127.0.0.1:{port} ssl http2;
        root {home}/files;
    }}
}}
"""


def find_nginx() -> str | None:
    """The path of nginx, which Debian installs where only root looks."""
    return shutil.which("nginx", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]))


class NginxServer:
    """nginx with HTTP/2 over TLS, serving the files `small` and `big`."""

    SIZES = {"small": 1000, "big": 10_000_000}  # noqa: RUF012  (nobody changes it)

    def __init__(self, certificates: Certificates, home: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self.home = home
        self.url = f"https://127.0.0.1:{self.port}/"
        home.chmod(0o755)
        (home / "files").mkdir()
        for name, size in self.SIZES.items():
            (home / "files" / name).write_bytes(b"x" * size)
        # Started by root, nginx would hand its worker to a user who may not read the folder.
        user = f"user {getpass.getuser()};" if os.geteuid() == 0 else ""
        (home / "nginx.conf").write_text(
            NGINX.format(home=home, port=self.port, user=user, chain=certificates.chain, key=certificates.key)
        )

    def __enter__(self) -> NginxServer:
        command = [find_nginx(), "-p", str(self.home), "-c", str(self.home / "nginx.conf"), "-e", "error.log"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while not self._listens():
            assert self.process.poll() is None, (self.home / "error.log").read_text()
            assert time.monotonic() < deadline, "nginx does not listen"
            time.sleep(0.02)
        return self

    def _listens(self) -> bool:
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == 0

    def __exit__(self, *exc_info: object) -> None:
        self.process.terminate()
        self.process.wait(20)
