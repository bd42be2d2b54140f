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


class _OnOurPools:
    """What the two transports have in common."""

    # Without a proxy, and for either kind of proxy.
    _pools: typing.ClassVar[tuple[typing.Callable[..., object], ...]]

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
        arguments: dict[str, typing.Any] = {
            "ssl_context": _ssl_context(verify, cert, trust_env),
            "max_connections": limits.max_connections,
            "max_keepalive_connections": limits.max_keepalive_connections,
            "keepalive_expiry": limits.keepalive_expiry,
            "http1": http1,
            "http2": http2,
            "local_address": local_address,
            "retries": retries,
            "socket_options": socket_options,
        }
        direct, by_http, by_socks = self._pools
        self._pool: typing.Any
        if proxy is None:
            self._pool = direct(uds=uds, **arguments)
            return
        if not isinstance(proxy, httpx.Proxy):
            proxy = httpx.Proxy(url=proxy)
        url = proxy.url
        arguments["proxy_url"] = URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        arguments["proxy_auth"] = proxy.raw_auth
        if url.scheme in ("http", "https"):
            context = getattr(proxy, "ssl_context", None)  # httpx before 0.26 had none.
            self._pool = by_http(proxy_headers=proxy.headers.raw, proxy_ssl_context=context, **arguments)
        elif url.scheme in ("socks5", "socks5h"):
            self._pool = by_socks(**arguments)
        else:
            raise ValueError(
                f"Proxy protocol must be either 'http', 'https', 'socks5', or 'socks5h', but got {url.scheme!r}."
            )

    @classmethod
    def environment_mounts(cls, **arguments: typing.Any) -> dict[str, Self | None]:
        """What goes by the proxies of the environment, for the `mounts` of a client whose `transport` is ours.

        Given a transport, httpx does not heed `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` itself.
        `arguments` are those of the transports.
        """
        proxies = get_environment_proxies()
        return {pattern: None if url is None else cls(proxy=url, **arguments) for pattern, url in proxies.items()}


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


def _ssl_context(verify: VerifyTypes, cert: CertTypes | None, trust_env: bool) -> TLSConfig | ssl.SSLContext:
    """The argument of a pool for those of a transport."""
    if isinstance(verify, TLSConfig):
        if cert is not None:
            raise TypeError("cert belongs into the TLSConfig that was given as verify")
        return verify
    if isinstance(verify, ssl.SSLContext):
        if cert is not None:
            # As httpx does it.
            verify.load_cert_chain(*(cert if isinstance(cert, tuple) else (cert,)))
        return verify
    return TLSConfig(verify=verify, cert=cert, trust_env=trust_env)
