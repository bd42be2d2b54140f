"""`ssl.SSLContext`s for TLS by Python's `ssl`: with a `network_backend`, and after `start_tls()`."""

from __future__ import annotations

import importlib
import os
import re
import ssl
import sys
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

# What holds a certificate, a key or a list in memory.
BUFFERS = (bytes, bytearray, memoryview)


def for_backend(ssl_context: ssl.SSLContext | TLSConfig | None, http2: bool, package: str) -> ssl.SSLContext:
    """Returns the context for the `ssl_context` of a pool. For `None` that is the default of `package`.

    An `ssl.SSLContext` of the caller is returned unchanged. A new context offers the protocols of the pool by ALPN.
    """
    if isinstance(ssl_context, ssl.SSLContext):
        return ssl_context
    if isinstance(ssl_context, TLSConfig):
        context = make(ssl_context)
    else:
        context = importlib.import_module(package).default_ssl_context()
        with_extra(context)
    own = ssl_context.alpn if isinstance(ssl_context, TLSConfig) else None
    context.set_alpn_protocols(list(own) if own is not None else ["http/1.1", "h2"] if http2 else ["http/1.1"])
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


def make(config: TLSConfig) -> ssl.SSLContext:
    """Returns the context that does the same as a configuration.

    Raises `ValueError` for an option that Python's `ssl` does not have.
    """
    _refuse(config)
    if config.verify is False:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        file, folder, is_system_store = _locations(config)
        if is_system_store:
            # As in httpx2: without the flags that `create_default_context()` sets since Python 3.13.
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            _trust_system(context, file, folder)
        elif file or folder or config.cadata:
            context = ssl.create_default_context(cafile=file, capath=folder, cadata=_text_or_der(config.cadata))
        else:  # `create_default_context()` would load the authorities of OpenSSL.
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = config.verify_hostname
        _add_authorities(context, config)
        _add_revocation_lists(context, config)
    needs_tls13 = config.minimum_version in (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.MAXIMUM_SUPPORTED)
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if needs_tls13 else ssl.TLSVersion.TLSv1_2
    if config.maximum_version is not None:
        context.maximum_version = config.maximum_version
    keylog: typing.Any = config.keylog
    if keylog is not None:
        # `None` ends the log that `create_default_context()` has begun for `SSLKEYLOGFILE`.
        context.keylog_filename = os.fspath(keylog) if keylog else typing.cast("str", None)
    cert: typing.Any = config.cert
    if cert is not None:
        context.load_cert_chain(*(cert if isinstance(cert, tuple) else (cert,)))
    return context


def _refuse(config: TLSConfig) -> None:
    """Raises `ValueError` for options that only the engine's own TLS has."""
    cert: typing.Any = config.cert
    parts = cert if isinstance(cert, tuple) else (cert,)
    lists = config.crls if isinstance(config.crls, (list, tuple)) else [config.crls]
    refused = {
        "pins": config.pins is not None,
        "ciphers": config.ciphers is not None,
        "groups": config.groups is not None,
        "require_close_notify": config.require_close_notify,
        "early_data": config.early_data,
        "cert as bytes": any(isinstance(part, BUFFERS) for part in parts[:2]),
        "cert as a function": callable(cert),
        "crls as bytes": any(isinstance(item, BUFFERS) for item in lists),
    }
    names = ", ".join(name for name, is_used in refused.items() if is_used)
    if names:
        raise ValueError(
            f"TLSConfig({names}): Python's ssl does TLS here (for a network_backend, or start_tls), and does not have "
            "this; pass an ssl.SSLContext"
        )


def _trust_system(context: ssl.SSLContext, file: str | None, folder: str | None) -> None:
    if file or folder:
        context.load_verify_locations(file, folder)
    elif sys.platform == "win32":
        context.load_default_certs()


def _add_authorities(context: ssl.SSLContext, config: TLSConfig) -> None:
    """Adds the authorities that are trusted in addition to others."""
    extra: typing.Any = config.extra_ca
    sources = list(extra) if isinstance(extra, (list, tuple)) else [] if extra is None else [extra]
    if config.trust_env and config.verify in (None, True) and config.cadata is None:
        sources += extra_of_environment()
    for source in sources:
        if source == "certifi":
            context.load_verify_locations(certifi.where())
        elif source == "system":
            _trust_system(context, *system_paths())
        elif isinstance(source, (str, os.PathLike)):
            _add_path(context, source)
        else:
            context.load_verify_locations(cadata=_text_or_der(source))


def with_extra(context: ssl.SSLContext, trust_env: bool = True) -> ssl.SSLContext:
    """Returns the context, which from now on trusts the authorities that the environment adds as well."""
    for path in extra_of_environment() if trust_env else ():
        _add_path(context, path)
    return context


def _add_path(context: ssl.SSLContext, path: str | os.PathLike[str]) -> None:
    """Adds the authorities in a file or a folder."""
    is_folder = Path(path).is_dir()
    context.load_verify_locations(None if is_folder else path, path if is_folder else None)


def extra_of_environment() -> list[str]:
    """Returns the files and folders whose authorities the environment adds."""
    return [path for path in os.environ.get("HTTPCORE_RS_EXTRA_CA", "").split(os.pathsep) if path]


def _add_revocation_lists(context: ssl.SSLContext, config: TLSConfig) -> None:
    lists: typing.Any = config.crls
    if lists is None:
        return
    for path in lists if isinstance(lists, (list, tuple)) else [lists]:
        context.load_verify_locations(path)
    context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF


def _text_or_der(cadata: typing.Any) -> str | bytes | None:
    """Returns `cadata` as `ssl` takes it: PEM as `str`, DER as `bytes`."""
    if cadata is None or isinstance(cadata, str):
        return cadata
    data = memoryview(cadata).tobytes()
    return data.decode() if data[1:2] < b"\x80" else data


def _locations(config: TLSConfig) -> tuple[str | None, str | None, bool]:
    """Returns the file and the folders with authorities, and whether these are those of the operating system.

    As in httpx, a file named by the environment takes precedence over folders. Folders are a list, which OpenSSL
    splits.
    """
    path: typing.Any = None if config.verify is True else config.verify
    if path is not None:
        return (None, path, False) if Path(path).is_dir() else (path, None, False)
    if config.cadata is not None:
        return None, None, False
    names = ("SSL_CERT_FILE", "SSL_CERT_DIR")
    file, folder = (os.environ.get(name) for name in names) if config.trust_env else (None, None)
    if file or folder:
        return (file, None, False) if file else (None, folder, False)
    return (*system_paths(), True) if config.system_store else (certifi.where(), None, False)


def decode_authority(certificate: bytes) -> dict[str, typing.Any]:
    """Returns an authority's certificate, in DER, as the dictionary that `ssl.SSLObject.getpeercert()` returns."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=certificate)
    (decoded,) = context.get_ca_certs()
    return decoded
