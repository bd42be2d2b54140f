"""Clients and transports of httpx2: `Client()`, or `httpx2.Client(transport=httpcore_rs.httpx2.SyncTransport())`."""

from __future__ import annotations

import sys
import typing

import httpx2

from . import httpcore2
from ._bases import Backend
from ._client_options import client, client_arguments
from ._engine import TLSConfig
from ._fast_path import AsyncPath, SyncPath
from ._install import cover_postponed
from ._options import constructor
from ._package import HTTPCORE2
from ._ssl_context import with_extra
from ._transports import AsyncHandlerMixin, RustPoolTransportMixin, SyncHandlerMixin

if typing.TYPE_CHECKING:
    import os
    import ssl

    from typing_extensions import Unpack

    from ._httpx2_types import AsyncClientOptions, ClientOptions
    from ._transports import CertTypes

__all__ = ["AsyncClient", "AsyncTransport", "Client", "SyncTransport"]


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
            return with_extra(httpx2.create_ssl_context(verify, typing.cast("typing.Any", cert), trust_env), trust_env)
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


@client(SyncTransport)
class Client(httpx2.Client):
    """`httpx2.Client` on the pools of this package, with everything that it is given passed on to them.

    Takes the arguments of `httpx2.Client` and those of `SyncTransport`, by name. The proxies of the environment are
    used as by `httpx2.Client`.
    """

    def __init__(self, **options: Unpack[ClientOptions]) -> None:
        """Makes a client; nothing is connected yet.

        Raises `TypeError` for an argument that has no effect beside `transport`, and for a transport of another kind
        or of another library.
        """
        super().__init__(**client_arguments(Client, options))


@client(AsyncTransport)
class AsyncClient(httpx2.AsyncClient):
    """`httpx2.AsyncClient` on the pools of this package, with everything that it is given passed on to them.

    Takes the arguments of `httpx2.AsyncClient` and those of `AsyncTransport`, by name. The proxies of the environment
    are used as by `httpx2.AsyncClient`.
    """

    def __init__(self, **options: Unpack[AsyncClientOptions]) -> None:
        """Makes a client; nothing is connected yet.

        Raises `TypeError` for an argument that has no effect beside `transport`, and for a transport of another kind
        or of another library.
        """
        super().__init__(**client_arguments(AsyncClient, options))


if sys.platform not in ("darwin", "win32"):
    # Finds out where the system has its authorities. Otherwise the first transport would, and it may be made while an
    # event loop is running.
    TLSConfig(system_store=True, trust_env=False)

cover_postponed("httpx2")
