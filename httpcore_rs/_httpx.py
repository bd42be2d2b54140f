"""The clients and transports of httpx."""

from __future__ import annotations

import typing

import httpx

from ._async import AsyncConnectionPool
from ._bases import AsyncNetworkBackend, Backend, NetworkBackend
from ._client_options import client, client_arguments
from ._fast_path import AsyncPath, SyncPath
from ._install import cover_postponed
from ._options import constructor
from ._package import HTTPCORE
from ._proxies import AsyncHTTPProxy, AsyncSOCKSProxy, HTTPProxy, SOCKSProxy
from ._sync import ConnectionPool
from ._transports import AsyncHandlerMixin, RustPoolTransportMixin, SyncHandlerMixin

if typing.TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._httpx_types import AsyncClientOptions, ClientOptions


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


@client(SyncTransport)
class Client(httpx.Client):
    """`httpx.Client` on the pools of this package, with everything that it is given passed on to them.

    Takes the arguments of `httpx.Client` and those of `SyncTransport`, by name. The proxies of the environment are used
    as by `httpx.Client`.
    """

    def __init__(self, **options: Unpack[ClientOptions]) -> None:
        """Makes a client; nothing is connected yet.

        Raises `TypeError` for an argument that has no effect beside `transport`, and for a transport of another kind
        or of another library.
        """
        super().__init__(**client_arguments(Client, options))


@client(AsyncTransport)
class AsyncClient(httpx.AsyncClient):
    """`httpx.AsyncClient` on the pools of this package, with everything that it is given passed on to them.

    Takes the arguments of `httpx.AsyncClient` and those of `AsyncTransport`, by name. The proxies of the environment
    are used as by `httpx.AsyncClient`.
    """

    def __init__(self, **options: Unpack[AsyncClientOptions]) -> None:
        """Makes a client; nothing is connected yet.

        Raises `TypeError` for an argument that has no effect beside `transport`, and for a transport of another kind
        or of another library.
        """
        super().__init__(**client_arguments(AsyncClient, options))


cover_postponed("httpx")
