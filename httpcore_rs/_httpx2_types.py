"""The arguments of the clients of httpx2, for type checkers: those of `httpx2.Client` and of the transports."""

from __future__ import annotations

import typing

if typing.TYPE_CHECKING:
    import os
    import ssl

    import httpx2
    from httpcore2 import SOCKET_OPTION, AsyncNetworkBackend, NetworkBackend
    from httpx2._types import AuthTypes, CookieTypes, HeaderTypes, ProxyTypes, QueryParamTypes, TimeoutTypes

    from ._engine import TLSConfig
    from ._transports import CertTypes

    EventHooks = typing.Mapping[str, list[typing.Callable[..., typing.Any]]]

from ._options import PoolOptions


class CommonOptions(PoolOptions, total=False):
    """The arguments that both clients take."""

    auth: AuthTypes | None
    params: QueryParamTypes | None
    headers: HeaderTypes | None
    cookies: CookieTypes | None
    timeout: TimeoutTypes
    follow_redirects: bool
    max_redirects: int
    event_hooks: EventHooks | None
    base_url: httpx2.URL | str
    default_encoding: str | typing.Callable[[bytes], str | None]
    verify: bool | str | os.PathLike[str] | TLSConfig | ssl.SSLContext
    cert: CertTypes | None
    trust_env: bool
    http1: bool
    http2: bool
    limits: httpx2.Limits
    proxy: ProxyTypes | None
    uds: str | None
    local_address: str | None
    retries: int
    socket_options: typing.Iterable[SOCKET_OPTION] | None


class ClientOptions(CommonOptions, total=False):
    """The arguments of `Client`."""

    transport: httpx2.BaseTransport | None
    mounts: typing.Mapping[str, httpx2.BaseTransport | None] | None
    network_backend: NetworkBackend | None


class AsyncClientOptions(CommonOptions, total=False):
    """The arguments of `AsyncClient`."""

    transport: httpx2.AsyncBaseTransport | None
    mounts: typing.Mapping[str, httpx2.AsyncBaseTransport | None] | None
    network_backend: AsyncNetworkBackend | None
