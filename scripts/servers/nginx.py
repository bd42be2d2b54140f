"""nginx without privileges, with its configuration in a temporary folder.

It serves the same files on all of its ports, so that one nginx is many origins. Two more ports can speak HTTP/2, plain
and over TLS.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from servers.certificates import Certificates
from servers.process import running

_CONFIG = """
{user}
daemon off;
worker_processes 1;
worker_rlimit_nofile 8192;
pid nginx.pid;
error_log error.log warn;
events {{ worker_connections 4096; }}
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
    server {{
        {listen}
        root {home}/files;
    }}
    {http2}
}}
"""

_HTTP2 = """
    server {{
        listen 127.0.0.1:{plain} http2;
        listen 127.0.0.1:{secure} ssl http2;
        ssl_certificate {tls.certificate};
        ssl_certificate_key {tls.key};
        # Large bodies in few calls, so that the client is measured and not the server.
        http2_chunk_size 16k;
        output_buffers 2 512k;
        # With it nginx stalls for 40 ms over plain HTTP/2, between Nagle and delayed acknowledgements.
        sendfile off;
        root {home}/files;
    }}
"""


def find_nginx() -> str | None:
    """Returns the path of nginx, which Debian installs in a folder of root's path."""
    return shutil.which("nginx", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]))


@contextlib.contextmanager
def nginx(
    files: dict[str, int], ports: Sequence[int], *, http2: tuple[int, int, Certificates] | None = None
) -> Iterator[None]:
    """Serves files of the given sizes on the given ports of 127.0.0.1, and on those of `http2`, plain and over TLS."""
    binary = find_nginx()
    if binary is None:
        raise RuntimeError("nginx was not found")
    with tempfile.TemporaryDirectory(prefix="nginx-") as folder:
        home = Path(folder)
        home.chmod(0o755)
        (home / "files").mkdir()
        for name, size in files.items():
            (home / "files" / name).write_bytes(b"x" * size)
        listen = "\n        ".join(f"listen 127.0.0.1:{port};" for port in ports)
        # Started by root, nginx would run its worker as a user without access to the folder.
        user = f"user {getpass.getuser()};" if hasattr(os, "geteuid") and os.geteuid() == 0 else ""
        more = "" if http2 is None else _HTTP2.format(home=home, plain=http2[0], secure=http2[1], tls=http2[2])
        config = _CONFIG.format(home=home, listen=listen, user=user, http2=more)
        (home / "nginx.conf").write_text(config)
        command = [binary, "-p", folder, "-c", str(home / "nginx.conf"), "-e", "error.log"]
        with running(command, port=ports[0], cwd=folder):
            yield
