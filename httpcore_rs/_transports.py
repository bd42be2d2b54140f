"""httpx over our pools: httpx's own transports, with only the pool exchanged."""

from __future__ import annotations

import ssl
import typing

import httpx
from httpcore import URL
from httpx._utils import get_environment_proxies

from ._async import AsyncConnectionPool
from ._engine import TLSConfig
from ._proxies import AsyncHTTPProxy, AsyncSOCKSProxy, HTTPProxy, SOCKSProxy
from ._sync import ConnectionPool

if typing.TYPE_CHECKING:
    import os

    from httpcore import SOCKET_OPTION
    from typing_extensions import Self

    CertTypes = typing.Union[str, "os.PathLike[str]", tuple[str, str]]
    ProxyTypes = typing.Union[httpx.Proxy, httpx.URL, str]
    VerifyTypes = typing.Union[bool, str, "os.PathLike[str]", TLSConfig, ssl.SSLContext]

DEFAULT_LIMITS = httpx.Limits(max_connections=100, max_keepalive_connections=20)

# Without a proxy, and for either kind of proxy.
_POOLS = (ConnectionPool, HTTPProxy, SOCKSProxy)
_ASYNC_POOLS = (AsyncConnectionPool, AsyncHTTPProxy, AsyncSOCKSProxy)
_Pool = typing.TypeVar("_Pool")


def _pool(
    pools: tuple[typing.Callable[..., _Pool], typing.Callable[..., _Pool], typing.Callable[..., _Pool]],
    verify: VerifyTypes,
    cert: CertTypes | None,
    trust_env: bool,
    http1: bool,
    http2: bool,
    limits: httpx.Limits,
    proxy: ProxyTypes | None,
    uds: str | None,
    local_address: str | None,
    retries: int,
    socket_options: typing.Iterable[SOCKET_OPTION] | None,
) -> _Pool:
    """The one of `pools` that a transport's arguments ask for."""
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
    arguments: dict[str, typing.Any] = {
        "ssl_context": config,
        "max_connections": limits.max_connections,
        "max_keepalive_connections": limits.max_keepalive_connections,
        "keepalive_expiry": limits.keepalive_expiry,
        "http1": http1,
        "http2": http2,
        "local_address": local_address,
        "retries": retries,
        "socket_options": socket_options,
    }
    direct, by_http, by_socks = pools
    if proxy is None:
        return direct(uds=uds, **arguments)
    if not isinstance(proxy, httpx.Proxy):
        proxy = httpx.Proxy(url=proxy)
    url = proxy.url
    arguments["proxy_url"] = URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
    arguments["proxy_auth"] = proxy.raw_auth
    if url.scheme in ("http", "https"):
        context = getattr(proxy, "ssl_context", None)  # httpx before 0.26 had none.
        return by_http(proxy_headers=proxy.headers.raw, proxy_ssl_context=context, **arguments)
    if url.scheme in ("socks5", "socks5h"):
        return by_socks(**arguments)
    raise ValueError(f"Proxy protocol must be either 'http', 'https', 'socks5', or 'socks5h', but got {url.scheme!r}.")


_Transport = typing.TypeVar("_Transport")


def _environment_mounts(
    make: typing.Callable[..., _Transport], arguments: dict[str, typing.Any]
) -> dict[str, _Transport | None]:
    """A transport for each pattern of URLs that goes by a proxy, `None` for what does not, as httpx has it."""
    proxies = get_environment_proxies()
    return {pattern: None if url is None else make(proxy=url, **arguments) for pattern, url in proxies.items()}


class SyncTransport(httpx.HTTPTransport):
    """`httpx.HTTPTransport` on a `ConnectionPool` of ours: `httpx.Client(transport=SyncTransport())`.

    Takes httpx's arguments; `verify` may also be a `TLSConfig`. With an `ssl.SSLContext` Python's `ssl` does TLS.
    Making one takes far less than a millisecond: no `ssl.SSLContext` is built.
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
        proxy: ProxyTypes | None = None,
        uds: str | None = None,
        local_address: str | None = None,
        retries: int = 0,
        socket_options: typing.Iterable[SOCKET_OPTION] | None = None,
    ) -> None:
        self._pool = _pool(  # type: ignore[assignment]  # The same interface.
            _POOLS,
            verify,
            cert,
            trust_env,
            http1,
            http2,
            limits,
            proxy,
            uds,
            local_address,
            retries,
            socket_options,
        )

    @classmethod
    def environment_mounts(cls, **arguments: typing.Any) -> dict[str, Self | None]:
        """What goes by the proxies of the environment, for `httpx.Client(transport=..., mounts=...)`.

        Given a transport, httpx does not heed `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` itself.
        `arguments` are those of the transports.
        """
        return _environment_mounts(cls, arguments)


class AsyncTransport(httpx.AsyncHTTPTransport):
    """`httpx.AsyncHTTPTransport` on an `AsyncConnectionPool` of ours: `httpx.AsyncClient(transport=AsyncTransport())`.

    Takes httpx's arguments; `verify` may also be a `TLSConfig`. With an `ssl.SSLContext` Python's `ssl` does TLS.
    Making one takes far less than a millisecond: no `ssl.SSLContext` is built.
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
        proxy: ProxyTypes | None = None,
        uds: str | None = None,
        local_address: str | None = None,
        retries: int = 0,
        socket_options: typing.Iterable[SOCKET_OPTION] | None = None,
    ) -> None:
        self._pool = _pool(  # type: ignore[assignment]  # The same interface.
            _ASYNC_POOLS,
            verify,
            cert,
            trust_env,
            http1,
            http2,
            limits,
            proxy,
            uds,
            local_address,
            retries,
            socket_options,
        )

    @classmethod
    def environment_mounts(cls, **arguments: typing.Any) -> dict[str, Self | None]:
        """What goes by the proxies of the environment, for `httpx.AsyncClient(transport=..., mounts=...)`.

        Given a transport, httpx does not heed `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` itself.
        `arguments` are those of the transports.
        """
        return _environment_mounts(cls, arguments)
