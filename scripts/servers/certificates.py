"""Certificates for the servers, new ones for each run."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)


@dataclass(frozen=True)
class Certificates:
    """Files of a certificate for localhost and 127.0.0.1, and of the authority that signed it."""

    ca: str
    certificate: str
    key: str


@contextlib.contextmanager
def certificates() -> Iterator[Certificates]:
    """Makes an authority and a certificate that exist during the block."""
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    with tempfile.TemporaryDirectory(prefix="certificates-") as folder:
        ca, certificate, key = (Path(folder, name) for name in ("ca.pem", "certificate.pem", "key.pem"))
        authority.cert_pem.write_to_path(str(ca))
        certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        # granian reads keys in PKCS#8 only.
        private = load_pem_private_key(issued.private_key_pem.bytes(), password=None)
        key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        yield Certificates(str(ca), str(certificate), str(key))
