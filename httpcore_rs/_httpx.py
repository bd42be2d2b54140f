"""The transports of httpx."""

from __future__ import annotations

import typing

import httpx

from ._async import AsyncConnectionPool
from ._bases import AsyncNetworkBackend, Backend, NetworkBackend
from ._fast_path import AsyncPath, SyncPath
from ._options import constructor
from ._package import HTTPCORE
from ._proxies import AsyncHTTPProxy, AsyncSOCKSProxy, HTTPProxy, SOCKSProxy
from ._sync import ConnectionPool
from ._transports import AsyncHandlerMixin, RustPoolTransportMixin, SyncHandlerMixin


class _HTTPXMixin(RustPoolTransportMixin[Backend, httpx.Limits, typing.Union[httpx.Proxy, httpx.URL]]):
    _annotations: typing.ClassVar = {
        "LimitsType | DefaultLimits": "httpx.Limits",
        "ProxyType | str | None": "httpx.Proxy | httpx.URL | str | None",
    }
    _library = httpx
    _package = HTTPCORE


@constructor
class SyncTransport(_HTTPXMixin[NetworkBackend], SyncHandlerMixin[httpx.Request, httpx.Response], httpx.HTTPTransport):
    """`httpx.HTTPTransport` on a `ConnectionPool` of this package: `httpx.Client(transport=SyncTransport())`.

    Making one takes far less than a millisecond: unlike httpx's own transport it builds no `ssl.SSLContext`.
    """

    _fast_path = SyncPath(httpx, HTTPCORE)
    _pools = (ConnectionPool, HTTPProxy, SOCKSProxy)


@constructor
class AsyncTransport(
    _HTTPXMixin[AsyncNetworkBackend], AsyncHandlerMixin[httpx.Request, httpx.Response], httpx.AsyncHTTPTransport
):
    """`httpx.AsyncHTTPTransport` on an `AsyncConnectionPool` of this package.

    Used as `httpx.AsyncClient(transport=AsyncTransport())`. Making one takes far less than a millisecond: unlike
    httpx's own transport it builds no `ssl.SSLContext`.
    """

    _fast_path = AsyncPath(httpx, HTTPCORE)
    _pools = (AsyncConnectionPool, AsyncHTTPProxy, AsyncSOCKSProxy)
