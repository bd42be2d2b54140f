"""`ssl.SSLContext`s for the streams of a `network_backend`, which do TLS by Python's `ssl`."""

from __future__ import annotations

import os
import ssl
import typing
from pathlib import Path

import certifi
import httpcore

from ._engine import TLSConfig


def for_backend(ssl_context: ssl.SSLContext | TLSConfig | None, http2: bool) -> ssl.SSLContext:
    """The context for a pool's `ssl_context` argument.

    One that the caller made is his: it is used as it is. Those made here offer the protocols that the pool speaks.
    """
    if isinstance(ssl_context, ssl.SSLContext):
        return ssl_context
    if isinstance(ssl_context, TLSConfig):
        context = _from_config(ssl_context.verify, ssl_context.cert, ssl_context.trust_env)
    else:
        context = httpcore.default_ssl_context()
    context.set_alpn_protocols(["http/1.1", "h2"] if http2 else ["http/1.1"])
    return context


def _from_config(verify: typing.Any, cert: typing.Any, trust_env: bool) -> ssl.SSLContext:
    """The context that does what a `TLSConfig` with these arguments does."""
    if verify is False:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif verify is None or verify is True:
        file, folder = (os.environ.get(name) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR")) if trust_env else ("", "")
        if file or folder:
            context = ssl.create_default_context(cafile=file or None, capath=None if file else folder)
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
