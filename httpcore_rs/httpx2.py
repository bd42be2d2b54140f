"""httpx2 over our pools: `httpx2.Client(transport=httpcore_rs.httpx2.SyncTransport())`."""

from __future__ import annotations

import sys
import typing

import httpx2

from . import httpcore2
from ._engine import TLSConfig
from ._package import HTTPCORE2
from ._transports import OnOurPools

if typing.TYPE_CHECKING:
    import os
    import ssl

    from ._transports import CertTypes

__all__ = ["AsyncTransport", "SyncTransport"]


class _OnOurPools(OnOurPools):
    _library = httpx2
    _package = HTTPCORE2

    @classmethod
    def _tls_config(
        cls, verify: bool | str | os.PathLike[str], cert: CertTypes | None, trust_env: bool
    ) -> TLSConfig | ssl.SSLContext:
        if verify is not True:
            return TLSConfig(verify=verify, cert=cert, trust_env=trust_env)
        # httpx2 believes whom the operating system believes.
        if sys.platform in ("darwin", "win32"):
            return httpx2.create_ssl_context(verify, cert, trust_env)
        return TLSConfig(verify=verify, cert=cert, trust_env=trust_env, system_store=True)


class SyncTransport(_OnOurPools, httpx2.HTTPTransport):
    """`httpx2.HTTPTransport` on a `ConnectionPool` of ours: `httpx2.Client(transport=SyncTransport())`.

    Takes httpx2's arguments; `verify` may also be a `TLSConfig`. With an `ssl.SSLContext` Python's `ssl` does TLS.
    """

    _pools = (httpcore2.ConnectionPool, httpcore2.HTTPProxy, httpcore2.SOCKSProxy)


class AsyncTransport(_OnOurPools, httpx2.AsyncHTTPTransport):
    """`httpx2.AsyncHTTPTransport` on an `AsyncConnectionPool` of ours.

    Takes httpx2's arguments; `verify` may also be a `TLSConfig`. With an `ssl.SSLContext` Python's `ssl` does TLS.
    """

    _pools = (httpcore2.AsyncConnectionPool, httpcore2.AsyncHTTPProxy, httpcore2.AsyncSOCKSProxy)
