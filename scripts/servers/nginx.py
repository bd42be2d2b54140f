"""nginx without privileges, with its configuration in a temporary folder.

It serves the same files on all of its ports: HTTP/1.1 and HTTP/2, plain and over TLS. On a plain port it answers at
every address of 127.0.0.0/8, so that one nginx is many origins.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import resource
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from servers.certificates import Certificates
from servers.process import running

_CONFIG = """
{user}
daemon off;
worker_processes 1;
worker_rlimit_nofile {files};
pid nginx.pid;
error_log error.log warn;
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    tcp_nodelay on;
    keepalive_timeout 3600s;
    keepalive_requests 1000000000;
    default_type application/octet-stream;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    root {home}/files;
    allow 127.0.0.0/8;
    deny all;
    server {{
        listen {ports.plain} backlog=4096;
    }}
    {tls}
}}
"""

_TLS = """
    ssl_certificate {tls.certificate};
    ssl_certificate_key {tls.key};
    # Large bodies in few calls, so that the client is measured and not the server.
    output_buffers 2 512k;
    server {{
        listen {ports.secure} ssl backlog=4096;
    }}
    server {{
        listen 127.0.0.1:{ports.h2c} http2;
        listen {ports.h2} ssl http2 backlog=4096;
        http2_chunk_size 16k;
        # With it nginx stalls for 40 ms over plain HTTP/2, between Nagle and delayed acknowledgements.
        sendfile off;
    }}
"""


@dataclass(frozen=True)
class Ports:
    """The ports on which nginx listens: HTTP/1.1 plain and over TLS, HTTP/2 plain and over TLS."""

    plain: int
    secure: int = 0
    h2c: int = 0
    h2: int = 0


def find_nginx() -> str | None:
    """Returns the path of nginx, which Debian installs in a folder of root's path."""
    return shutil.which("nginx", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]))


@contextlib.contextmanager
def nginx(files: dict[str, int], ports: Ports, tls: Certificates | None = None) -> Iterator[None]:
    """Serves files of the given sizes, on the plain port only if there are no certificates."""
    binary = find_nginx()
    if binary is None:
        raise RuntimeError("nginx was not found")
    with tempfile.TemporaryDirectory(prefix="nginx-") as folder:
        home = Path(folder)
        home.chmod(0o755)
        (home / "files").mkdir()
        for name, size in files.items():
            (home / "files" / name).write_bytes(b"x" * size)
        descriptors = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 65536)
        config = _CONFIG.format(
            # Started by root, nginx would run its worker as a user without access to the folder.
            user=f"user {getpass.getuser()};" if hasattr(os, "geteuid") and os.geteuid() == 0 else "",
            home=home,
            ports=ports,
            files=descriptors,
            connections=descriptors - 100,
            tls="" if tls is None else _TLS.format(ports=ports, tls=tls),
        )
        (home / "nginx.conf").write_text(config)
        command = [binary, "-p", folder, "-c", str(home / "nginx.conf"), "-e", "error.log"]
        with running(command, port=ports.plain, cwd=folder):
            yield
