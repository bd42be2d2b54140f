"""httpx over our pools: httpx's own transports, with only the pool exchanged."""

from __future__ import annotations

import ssl
import typing

import httpx

from ._async import AsyncConnectionPool
from ._engine import TLSConfig
from ._sync import ConnectionPool

if typing.TYPE_CHECKING:
    import os

    from httpcore import SOCKET_OPTION

    CertTypes = typing.Union[str, "os.PathLike[str]", tuple[str, str]]
    VerifyTypes = typing.Union[bool, str, "os.PathLike[str]", TLSConfig, ssl.SSLContext]

DEFAULT_LIMITS = httpx.Limits(max_connections=100, max_keepalive_connections=20)


def _pool_arguments(
    verify: VerifyTypes,
    cert: CertTypes | None,
    trust_env: bool,
    http1: bool,
    http2: bool,
    limits: httpx.Limits,
    proxy: object,
    uds: str | None,
    local_address: str | None,
    retries: int,
    socket_options: typing.Iterable[SOCKET_OPTION] | None,
) -> dict[str, typing.Any]:
    """The arguments of a pool for those of a transport."""
    if proxy is not None:
        raise NotImplementedError("proxy is not implemented yet")
    config: TLSConfig | ssl.SSLContext
    if isinstance(verify, TLSConfig):
        if cert is not None:
            raise TypeError("cert belongs into the TLSConfig that was given as verify")
        config = verify
    elif isinstance(verify, ssl.SSLContext):
        config = verify
        if cert is not None:
            # As httpx does it.
            config.load_cert_chain(*(cert if isinstance(cert, tuple) else (cert,)))
    else:
        config = TLSConfig(verify=verify, cert=cert, trust_env=trust_env)
    return {
        "ssl_context": config,
        "max_connections": limits.max_connections,
        "max_keepalive_connections": limits.max_keepalive_connections,
        "keepalive_expiry": limits.keepalive_expiry,
        "http1": http1,
        "http2": http2,
        "uds": uds,
        "local_address": local_address,
        "retries": retries,
        "socket_options": socket_options,
    }


class SyncTransport(httpx.HTTPTransport):
    """`httpx.HTTPTransport` on a `ConnectionPool` of ours: `httpx.Client(transport=SyncTransport())`.

    Takes httpx's arguments; `verify` may also be a `TLSConfig`. With an `ssl.SSLContext` Python's `ssl` does TLS.
    `proxy` raises `NotImplementedError` for now. Making one takes far less than a millisecond: no
    `ssl.SSLContext` is built.
    """

    # httpx's own __init__ is not called: all it does is to build an `ssl.SSLContext` and the pool.
    def __init__(
        self,
        verify: VerifyTypes = True,
        cert: CertTypes | None = None,
        trust_env: bool = True,
        http1: bool = True,
        http2: bool = False,
        limits: httpx.Limits = DEFAULT_LIMITS,
        proxy: object = None,
        uds: str | None = None,
        local_address: str | None = None,
        retries: int = 0,
        socket_options: typing.Iterable[SOCKET_OPTION] | None = None,
    ) -> None:
        self._pool = ConnectionPool(  # type: ignore[assignment]  # The same interface.
            **_pool_arguments(
                verify, cert, trust_env, http1, http2, limits, proxy, uds, local_address, retries, socket_options
            )
        )


class AsyncTransport(httpx.AsyncHTTPTransport):
    """`httpx.AsyncHTTPTransport` on an `AsyncConnectionPool` of ours: `httpx.AsyncClient(transport=AsyncTransport())`.

    Takes httpx's arguments; `verify` may also be a `TLSConfig`. With an `ssl.SSLContext` Python's `ssl` does TLS.
    `proxy` raises `NotImplementedError` for now. Making one takes far less than a millisecond: no
    `ssl.SSLContext` is built.
    """

    # httpx's own __init__ is not called: all it does is to build an `ssl.SSLContext` and the pool.
    def __init__(
        self,
        verify: VerifyTypes = True,
        cert: CertTypes | None = None,
        trust_env: bool = True,
        http1: bool = True,
        http2: bool = False,
        limits: httpx.Limits = DEFAULT_LIMITS,
        proxy: object = None,
        uds: str | None = None,
        local_address: str | None = None,
        retries: int = 0,
        socket_options: typing.Iterable[SOCKET_OPTION] | None = None,
    ) -> None:
        self._pool = AsyncConnectionPool(  # type: ignore[assignment]  # The same interface.
            **_pool_arguments(
                verify, cert, trust_env, http1, http2, limits, proxy, uds, local_address, retries, socket_options
            )
        )
