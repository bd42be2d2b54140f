"""Stands for trustme where that cannot be installed: the certificates come from a process of another Python.

trustme needs cryptography, and that needs cffi, which does not support the free-threaded CPython 3.13.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

# The variable that names an interpreter with trustme.
VARIABLE = "CERTIFICATES_PYTHON"


class Blob:
    """PEM, as trustme returns it."""

    def __init__(self, pem: str) -> None:
        self._pem = pem.encode()

    def bytes(self) -> bytes:
        """Returns the PEM."""
        return self._pem

    def write_to_path(self, path: str | os.PathLike[str], append: bool = False) -> None:
        """Writes the PEM into a file."""
        with Path(path).open("ab" if append else "wb") as file:
            file.write(self._pem)

    @contextlib.contextmanager
    def tempfile(self) -> Iterator[str]:
        """Writes the PEM into a file that exists during the block."""
        with tempfile.NamedTemporaryFile(suffix=".pem") as file:
            file.write(self._pem)
            file.flush()
            yield file.name


class LeafCert:
    """A certificate and its key."""

    def __init__(self, key: str, chain: list[str]) -> None:
        self.private_key_pem = Blob(key)
        self.cert_chain_pems = [Blob(pem) for pem in chain]
        self.private_key_and_cert_chain_pem = Blob(key + "".join(chain))

    def configure_cert(self, context: ssl.SSLContext) -> None:
        """Has a context show the certificate."""
        with self.private_key_and_cert_chain_pem.tempfile() as path:
            context.load_cert_chain(path)


class CA:
    """A certificate authority."""

    def __init__(self) -> None:
        command = [os.environ[VARIABLE], str(Path(__file__).parent / "authority.py")]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        atexit.register(self._process.communicate)
        self.cert_pem = Blob(self._answer()["ca"])

    def issue_cert(self, *identities: str, **times: datetime) -> LeafCert:
        """Returns a certificate for these names."""
        asked = {"identities": identities, "times": {name: time.isoformat() for name, time in times.items()}}
        if self._process.stdin is None:
            raise RuntimeError("the authority has no input")
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        return LeafCert(**self._answer())

    def configure_trust(self, context: ssl.SSLContext) -> None:
        """Has a context trust the authority."""
        context.load_verify_locations(cadata=self.cert_pem.bytes().decode())

    def _answer(self) -> Any:
        if self._process.stdout is None:
            raise RuntimeError("the authority has no output")
        return json.loads(self._process.stdout.readline())
