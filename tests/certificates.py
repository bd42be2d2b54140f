"""Certificates for the tests' servers and clients, made anew in each run."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import trustme

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Certificates:
    """A certificate authority with a server certificate for the loopback names and a client certificate.

    All files are PEM: `ca` (the authority), `chain` and `key` (the server's), `client_chain`, `client_key` and
    `client_both` (the client's, apart and in one file).
    """

    def __init__(self, directory: Path) -> None:
        self.authority = trustme.CA()
        self.server = self.authority.issue_cert("localhost", "127.0.0.1", "::1", "named.test")
        client = self.authority.issue_cert("client@example.org")
        self.ca = directory / "ca.pem"
        self.chain = directory / "server.pem"
        self.key = directory / "server.key"
        self.client_chain = directory / "client.pem"
        self.client_key = directory / "client.key"
        self.client_both = directory / "client-both.pem"
        self.authority.cert_pem.write_to_path(str(self.ca))
        self.chain.write_bytes(b"".join(blob.bytes() for blob in self.server.cert_chain_pems))
        self.server.private_key_pem.write_to_path(str(self.key))
        self.client_chain.write_bytes(b"".join(blob.bytes() for blob in client.cert_chain_pems))
        client.private_key_pem.write_to_path(str(self.client_key))
        client.private_key_and_cert_chain_pem.write_to_path(str(self.client_both))

    def server_context(
        self, leaf: trustme.LeafCert | None = None, *, alpn: Sequence[str] = ("http/1.1",)
    ) -> ssl.SSLContext:
        """What a TLS server of the tests listens with."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if alpn:
            context.set_alpn_protocols(alpn)
        (leaf or self.server).configure_cert(context)
        return context
