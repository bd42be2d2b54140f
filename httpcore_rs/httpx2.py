"""The transports of httpx2: `httpx2.Client(transport=httpcore_rs.httpx2.SyncTransport())`."""

from __future__ import annotations

import sys
import typing

import httpx2

from . import httpcore2
from ._bases import Backend
from ._engine import TLSConfig
from ._fast_path import AsyncPath, SyncPath
from ._options import constructor
from ._package import HTTPCORE2
from ._transports import AsyncHandlerMixin, RustPoolTransportMixin, SyncHandlerMixin

if typing.TYPE_CHECKING:
    import os
    import ssl

    from ._transports import CertTypes

__all__ = ["AsyncTransport", "SyncTransport"]


class _HTTPX2Mixin(RustPoolTransportMixin[Backend, httpx2.Limits, typing.Union[httpx2.Proxy, httpx2.URL]]):
    _annotations: typing.ClassVar = {
        "LimitsType | DefaultLimits": "httpx2.Limits",
        "ProxyType | str | None": "httpx2.Proxy | httpx2.URL | str | None",
    }
    _library = httpx2
    _package = HTTPCORE2

    @classmethod
    def _tls_config(
        cls, verify: bool | str | os.PathLike[str], cert: CertTypes | None, trust_env: bool
    ) -> TLSConfig | ssl.SSLContext:
        if verify is not True:
            return TLSConfig(verify=verify, cert=cert, trust_env=trust_env)
        # httpx2 trusts the authorities of the operating system.
        if sys.platform in ("darwin", "win32"):
            return httpx2.create_ssl_context(verify, typing.cast("typing.Any", cert), trust_env)
        return TLSConfig(verify=verify, cert=cert, trust_env=trust_env, system_store=True)


@constructor
class SyncTransport(
    _HTTPX2Mixin[httpcore2.NetworkBackend], SyncHandlerMixin[httpx2.Request, httpx2.Response], httpx2.HTTPTransport
):
    """`httpx2.HTTPTransport` on a `ConnectionPool` of this package: `httpx2.Client(transport=SyncTransport())`.

    Making one takes far less than a millisecond: unlike httpx2's own transport it builds no `ssl.SSLContext`.
    """

    _fast_path = SyncPath(httpx2, HTTPCORE2)
    _pools = (httpcore2.ConnectionPool, httpcore2.HTTPProxy, httpcore2.SOCKSProxy)


@constructor
class AsyncTransport(
    _HTTPX2Mixin[httpcore2.AsyncNetworkBackend],
    AsyncHandlerMixin[httpx2.Request, httpx2.Response],
    httpx2.AsyncHTTPTransport,
):
    """`httpx2.AsyncHTTPTransport` on an `AsyncConnectionPool` of this package.

    Used as `httpx2.AsyncClient(transport=AsyncTransport())`. Making one takes far less than a millisecond: unlike
    httpx2's own transport it builds no `ssl.SSLContext`.
    """

    _fast_path = AsyncPath(httpx2, HTTPCORE2)
    _pools = (httpcore2.AsyncConnectionPool, httpcore2.AsyncHTTPProxy, httpcore2.AsyncSOCKSProxy)
