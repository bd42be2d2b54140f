"""`ssl.SSLContext`s for TLS by Python's `ssl`: with a `network_backend`, and for keys that rustls cannot read."""

from __future__ import annotations

import importlib
import os
import re
import ssl
import typing
from pathlib import Path

import certifi

from ._engine import TLSConfig

# The certificate bundles of Linux distributions, for an OpenSSL that was built with other paths.
BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/cert.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


def for_backend(ssl_context: ssl.SSLContext | TLSConfig | None, http2: bool, package: str) -> ssl.SSLContext:
    """Returns the context for the `ssl_context` of a pool. For `None` that is the default of `package`.

    An `ssl.SSLContext` of the caller is returned unchanged. A new context offers the protocols of the pool by ALPN.
    """
    if isinstance(ssl_context, ssl.SSLContext):
        return ssl_context
    if isinstance(ssl_context, TLSConfig):
        config = ssl_context
        context = make(
            config.verify, config.cert, config.trust_env, config.system_store, config.cadata, config.minimum_version
        )
    else:
        context = importlib.import_module(package).default_ssl_context()
    context.set_alpn_protocols(["http/1.1", "h2"] if http2 else ["http/1.1"])
    return context


def system_paths() -> tuple[str | None, str | None]:
    """Returns the bundle and the hashed folder with the authorities of the operating system.

    These are the paths that Python's OpenSSL was built with, where they exist. The environment is not consulted.
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


def make(
    verify: typing.Any,
    cert: typing.Any,
    trust_env: bool,
    system_store: bool,
    cadata: typing.Any,
    minimum_version: ssl.TLSVersion | None,
) -> ssl.SSLContext:
    """Returns the context that does the same as a `TLSConfig` with these arguments."""
    if verify is False:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        file, folder, is_system_store = _locations(None if verify is True else verify, trust_env, system_store, cadata)
        if is_system_store:
            # As in httpx2: without the flags that `create_default_context()` sets since Python 3.13.
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            if file or folder:
                context.load_verify_locations(file, folder)
        elif file or folder or cadata:
            context = ssl.create_default_context(cafile=file, capath=folder, cadata=_text_or_der(cadata))
        else:  # `create_default_context()` would load the authorities of OpenSSL.
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    needs_tls13 = minimum_version in (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.MAXIMUM_SUPPORTED)
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if needs_tls13 else ssl.TLSVersion.TLSv1_2
    if cert is not None:
        context.load_cert_chain(*(cert if isinstance(cert, tuple) else (cert,)))
    return context


def _text_or_der(cadata: typing.Any) -> str | bytes | None:
    """Returns `cadata` as `ssl` takes it: PEM as `str`, DER as `bytes`."""
    if cadata is None or isinstance(cadata, str):
        return cadata
    data = memoryview(cadata).tobytes()
    return data.decode() if data[1:2] < b"\x80" else data


def _locations(
    path: typing.Any, trust_env: bool, system_store: bool, cadata: typing.Any
) -> tuple[str | None, str | None, bool]:
    """Returns the file and the folders with authorities, and whether these are those of the operating system.

    As in httpx, a file named by the environment takes precedence over folders. Folders are a list, which OpenSSL
    splits.
    """
    if path is not None:
        return (None, path, False) if Path(path).is_dir() else (path, None, False)
    if cadata is not None:
        return None, None, False
    file, folder = (os.environ.get(name) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR")) if trust_env else (None, None)
    if file or folder:
        return (file, None, False) if file else (None, folder, False)
    return (*system_paths(), True) if system_store else (certifi.where(), None, False)


def decode_authority(certificate: bytes) -> dict[str, typing.Any]:
    """Returns an authority's certificate, in DER, as the dictionary that `ssl.SSLObject.getpeercert()` returns."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=certificate)
    (decoded,) = context.get_ca_certs()
    return decoded
