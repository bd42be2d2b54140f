"""`ssl.SSLContext`s for the streams of a `network_backend`, which do TLS by Python's `ssl`."""

from __future__ import annotations

import importlib
import os
import re
import ssl
from pathlib import Path

import certifi

from ._engine import TLSConfig

# Where bundles are, by distribution: for an OpenSSL that was built to look elsewhere.
BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/cert.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


def for_backend(ssl_context: ssl.SSLContext | TLSConfig | None, http2: bool, package: str) -> ssl.SSLContext:
    """The context for a pool's `ssl_context` argument, with the default of `package`.

    One that the caller made is his: it is used as it is. Those made here offer the protocols that the pool speaks.
    """
    if isinstance(ssl_context, ssl.SSLContext):
        return ssl_context
    if isinstance(ssl_context, TLSConfig):
        context = _from_config(ssl_context)
    else:
        context = importlib.import_module(package).default_ssl_context()
    context.set_alpn_protocols(["http/1.1", "h2"] if http2 else ["http/1.1"])
    return context


def system_paths() -> tuple[str | None, str | None]:
    """The bundle and the hashed folder with the operating system's authorities, whatever the environment says.

    Those that Python's OpenSSL was built with, if there is something at these paths.
    """
    built = ssl.get_default_verify_paths()
    file = built.openssl_cafile if Path(built.openssl_cafile).is_file() else None
    folder = built.openssl_capath if Path(built.openssl_capath).is_dir() else None
    if file is None and folder is not None and not any(_is_hash(name) for name in os.listdir(folder)):  # noqa: PTH208
        folder = None
    if file is None and folder is None:
        file = next((bundle for bundle in BUNDLES if Path(bundle).is_file()), None)
    return file, folder


def _is_hash(name: str) -> bool:
    return re.fullmatch(r"[0-9a-fA-F]{8}\.[0-9]+", name) is not None


def _from_config(config: TLSConfig) -> ssl.SSLContext:
    """The context that does what a `TLSConfig` does."""
    verify, cert = config.verify, config.cert
    if verify is False:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif verify is None or verify is True:
        file, folder = (
            (os.environ.get(name) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR")) if config.trust_env else ("", "")
        )
        if file or folder:
            context = ssl.create_default_context(cafile=file or None, capath=None if file else folder)
        elif config.system_store:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            file, folder = system_paths()
            if file or folder:
                context.load_verify_locations(file, folder)
        else:
            context = ssl.create_default_context(cafile=certifi.where())
    elif Path(verify).is_dir():
        context = ssl.create_default_context(capath=verify)
    else:
        context = ssl.create_default_context(cafile=verify)
    if cert is not None:
        chain, key = cert if isinstance(cert, tuple) else (cert, None)
        context.load_cert_chain(chain, key)
    return context
