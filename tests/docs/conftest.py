"""The servers of the programs in the documentation and the examples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pages import Place
from servers import AsgiServer, ProxyServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from certificates import Certificates


@pytest.fixture(scope="session")
def place(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Starts a server over HTTP and HTTPS, one that asks for client certificates, and proxies."""
    folder = tmp_path_factory.mktemp("proxies")
    http_proxy = ProxyServer.of("proxy.py", "user:password", certificates, folder)
    socks_proxy = ProxyServer.of("pproxy, SOCKS5", "user:password", certificates, folder)
    mutual = AsgiServer(
        certificates, "pages_app:app", "--ca-certs", str(certificates.ca), "--verify-mode", "CERT_REQUIRED"
    )
    with AsgiServer(certificates, "pages_app:app") as server, mutual, http_proxy, socks_proxy:
        plain, secure = (url.replace("127.0.0.1", "localhost") for url in (server.http, server.https))
        hosts = {"https://mtls.example.com": mutual.https.replace("127.0.0.1", "localhost")}
        for name in ("www.example.com", "api.example.com"):
            hosts.update({f"http://{name}": plain, f"https://{name}": secure})
            hosts.update({f"ws://{name}": plain.replace("http", "ws"), f"wss://{name}": secure.replace("http", "ws")})
        hosts["https://127.0.0.1"] = server.https
        for scheme, proxy in (("http", http_proxy), ("socks5", socks_proxy), ("socks5h", socks_proxy)):
            address = proxy.url.partition("://")[2]
            hosts[f"{scheme}://user:password@proxy.example.com:{'3128' if scheme == 'http' else '1080'}"] = (
                f"{scheme}://user:password@{address}"
            )
        yield Place(hosts, certificates)
