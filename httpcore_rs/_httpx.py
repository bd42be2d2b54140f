"""httpx over our pools."""

from __future__ import annotations

import httpx

from ._async import AsyncConnectionPool
from ._package import HTTPCORE
from ._proxies import AsyncHTTPProxy, AsyncSOCKSProxy, HTTPProxy, SOCKSProxy
from ._sync import ConnectionPool
from ._transports import OnOurPools


class _OnOurPools(OnOurPools):
    _library = httpx
    _package = HTTPCORE


class SyncTransport(_OnOurPools, httpx.HTTPTransport):
    """`httpx.HTTPTransport` on a `ConnectionPool` of ours: `httpx.Client(transport=SyncTransport())`.

    Takes httpx's arguments; `verify` may also be a `TLSConfig`. With an `ssl.SSLContext` Python's `ssl` does TLS.
    Making one takes far less than a millisecond: no `ssl.SSLContext` is built.
    """

    _pools = (ConnectionPool, HTTPProxy, SOCKSProxy)


class AsyncTransport(_OnOurPools, httpx.AsyncHTTPTransport):
    """`httpx.AsyncHTTPTransport` on an `AsyncConnectionPool` of ours: `httpx.AsyncClient(transport=AsyncTransport())`.

    Takes httpx's arguments; `verify` may also be a `TLSConfig`. With an `ssl.SSLContext` Python's `ssl` does TLS.
    Making one takes far less than a millisecond: no `ssl.SSLContext` is built.
    """

    _pools = (AsyncConnectionPool, AsyncHTTPProxy, AsyncSOCKSProxy)
