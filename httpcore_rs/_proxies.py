"""Connection pools whose every request goes through a proxy."""

from __future__ import annotations

import typing

from ._async import AsyncConnectionPool
from ._sync import ConnectionPool

if typing.TYPE_CHECKING:
    import ssl

    from httpcore import SOCKET_OPTION, URL, AsyncNetworkBackend, NetworkBackend, Proxy
    from httpcore._models import HeaderTypes

    from ._engine import TLSConfig
    from ._package import Package

    Auth = tuple[typing.Union[bytes, str], typing.Union[bytes, str]]


def _proxy(
    package: Package,
    url: URL | bytes | str,
    auth: Auth | None,
    headers: HeaderTypes = None,
    ssl_context: ssl.SSLContext | TLSConfig | None = None,
) -> Proxy:
    models = package.models
    proxy_url = models.enforce_url(url, name="proxy_url")
    if proxy_url.scheme == b"http" and ssl_context is not None:
        raise RuntimeError("The `proxy_ssl_context` argument is not allowed for the http scheme")
    if auth is not None:
        username, password = auth
        auth = models.enforce_bytes(username, name="proxy_auth"), models.enforce_bytes(password, name="proxy_auth")
    proxy: Proxy = models.Proxy(
        url=proxy_url,
        auth=auth,
        headers=models.enforce_headers(headers, name="proxy_headers"),
        ssl_context=ssl_context,
    )
    return proxy


class ByHTTP:
    """What pools by way of an HTTP proxy have in common."""

    _package: Package

    def __init__(
        self,
        proxy_url: URL | bytes | str,
        proxy_auth: Auth | None = None,
        proxy_headers: HeaderTypes = None,
        ssl_context: ssl.SSLContext | TLSConfig | None = None,
        proxy_ssl_context: ssl.SSLContext | TLSConfig | None = None,
        max_connections: int | None = 10,
        max_keepalive_connections: int | None = None,
        keepalive_expiry: float | None = None,
        http1: bool = True,
        http2: bool = False,
        retries: int = 0,
        local_address: str | None = None,
        uds: str | None = None,
        network_backend: NetworkBackend | AsyncNetworkBackend | None = None,
        socket_options: typing.Iterable[SOCKET_OPTION] | None = None,
    ) -> None:
        """Makes a pool; nothing is connected yet.

        Parameters:
            proxy_url: Where the proxy listens: `http://host:port`, or `https://host:port` for one that is spoken to
                over TLS.
            proxy_auth: A user name and a password for the proxy, sent as `Proxy-Authorization: Basic ...`.
            proxy_headers: Headers for the proxy. Those of a request have precedence where the proxy passes it on;
                through a tunnel nothing of the proxy's is sent.
            ssl_context: How origins are verified.
            proxy_ssl_context: How an `https` proxy is verified. `RuntimeError` for an `http` one.
        """
        proxy = _proxy(self._package, proxy_url, proxy_auth, proxy_headers, proxy_ssl_context)
        self._proxy_url = proxy.url
        super().__init__(  # type: ignore[call-arg]  # The pool's.
            ssl_context=ssl_context,
            proxy=proxy,
            max_connections=max_connections,
            max_keepalive_connections=max_keepalive_connections,
            keepalive_expiry=keepalive_expiry,
            http1=http1,
            http2=http2,
            retries=retries,
            local_address=local_address,
            uds=uds,
            network_backend=network_backend,
            socket_options=socket_options,
        )


class BySOCKS:
    """What pools by way of a SOCKS5 proxy have in common."""

    _package: Package

    def __init__(
        self,
        proxy_url: URL | bytes | str,
        proxy_auth: Auth | None = None,
        ssl_context: ssl.SSLContext | TLSConfig | None = None,
        max_connections: int | None = 10,
        max_keepalive_connections: int | None = None,
        keepalive_expiry: float | None = None,
        http1: bool = True,
        http2: bool = False,
        retries: int = 0,
        network_backend: NetworkBackend | AsyncNetworkBackend | None = None,
        *,
        local_address: str | None = None,
        socket_options: typing.Iterable[SOCKET_OPTION] | None = None,
    ) -> None:
        """Makes a pool; nothing is connected yet.

        Parameters:
            proxy_url: Where the proxy listens: `socks5://host:port`, or `socks5h://`, which is the same: names are
                resolved by the proxy.
            proxy_auth: A user name and a password for the proxy, of up to 255 bytes each (RFC 1929).
            ssl_context: How origins are verified.
        """
        proxy = _proxy(self._package, proxy_url, proxy_auth)
        self._proxy_url = proxy.url
        super().__init__(  # type: ignore[call-arg]  # The pool's.
            ssl_context=ssl_context,
            proxy=proxy,
            max_connections=max_connections,
            max_keepalive_connections=max_keepalive_connections,
            keepalive_expiry=keepalive_expiry,
            http1=http1,
            http2=http2,
            retries=retries,
            local_address=local_address,
            network_backend=network_backend,
            socket_options=socket_options,
        )


class HTTPProxy(ByHTTP, ConnectionPool):
    """A `ConnectionPool` whose requests go through an HTTP proxy.

    Those to `http` origins are passed on by the proxy, over connections that serve one origin each. For all others the
    proxy is asked for a tunnel (CONNECT), and the origin's TLS is spoken through it.
    """


class AsyncHTTPProxy(ByHTTP, AsyncConnectionPool):
    """An `AsyncConnectionPool` whose requests go through an HTTP proxy, as those of `HTTPProxy`."""


class SOCKSProxy(BySOCKS, ConnectionPool):
    """A `ConnectionPool` whose requests go through a SOCKS5 proxy (RFC 1928), which connects to the origins."""


class AsyncSOCKSProxy(BySOCKS, AsyncConnectionPool):
    """An `AsyncConnectionPool` whose requests go through a SOCKS5 proxy, as those of `SOCKSProxy`."""
