"""Connection pools whose every request goes through a proxy."""

from __future__ import annotations

import base64
import typing

from ._async import AsyncConnectionPool
from ._bases import (
    AsyncConnectionInterface,
    AsyncNetworkBackend,
    Backend,
    ConnectionInterface,
    Interface,
    NetworkBackend,
)
from ._options import constructor
from ._pool import PoolBase
from ._sync import ConnectionPool

if typing.TYPE_CHECKING:
    import ssl

    from httpcore import SOCKET_OPTION, URL, Proxy
    from httpcore._models import HeaderTypes
    from typing_extensions import Unpack

    from ._engine import TLSConfig
    from ._options import PoolOptions
    from ._package import Package


def _proxy(
    package: Package,
    url: URL | bytes | str,
    auth: tuple[bytes | str, bytes | str] | None,
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
    proxy: Proxy = package.proxy(
        url=proxy_url,
        auth=auth,
        headers=models.enforce_headers(headers, name="proxy_headers"),
        ssl_context=ssl_context,
    )
    return proxy


def _headers_for_proxy(package: Package, proxy: Proxy, given: HeaderTypes) -> list[tuple[bytes, bytes]]:
    """Returns the headers for the proxy, as in the attribute of httpcore's class that programs read."""
    headers: list[tuple[bytes, bytes]] = list(package.models.enforce_headers(given, name="proxy_headers"))
    if proxy.auth is not None:
        headers.insert(0, (b"Proxy-Authorization", b"Basic " + base64.b64encode(b":".join(proxy.auth))))
    return headers


class HTTPProxyMixin(PoolBase[Backend, Interface]):
    """The constructor of pools whose requests go through an HTTP proxy."""

    _httpcore_name = "HTTPProxy"
    _descriptions: typing.ClassVar = {
        "proxy_url": """
        The address of the proxy: `http://host:port`, or `https://host:port` for TLS to the proxy.""",
        "proxy_auth": """
        A user name and a password for the proxy, sent as `Proxy-Authorization: Basic ...`.""",
        "proxy_headers": """
        Headers for the proxy. On a forwarded request, a header of the request takes precedence over one of the same
        name; through a tunnel, only the CONNECT request has them.""",
        "proxy_ssl_context": """
        How the certificate of an `https` proxy is verified.""",
    }

    def __init__(
        self,
        proxy_url: URL | bytes | str,
        proxy_auth: tuple[bytes | str, bytes | str] | None = None,
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
        network_backend: Backend | None = None,
        socket_options: typing.Iterable[SOCKET_OPTION] | None = None,
        **options: Unpack[PoolOptions],
    ) -> None:
        """Makes a pool; nothing is connected yet.

        Raises `TypeError` for an option of a wrong type, `ValueError` for one of a wrong value, `RuntimeError` for
        a `proxy_ssl_context` with an `http` proxy, `UnsupportedProtocol` for a proxy of another scheme, and
        `LocalProtocolError` for headers or credentials that cannot be sent.
        """
        proxy = _proxy(self._package, proxy_url, proxy_auth, proxy_headers, proxy_ssl_context)
        self._proxy_url = proxy.url
        self._proxy_headers = _headers_for_proxy(self._package, proxy, proxy_headers)
        super().__init__(
            ssl_context,
            proxy,
            max_connections,
            max_keepalive_connections,
            keepalive_expiry,
            http1,
            http2,
            retries,
            local_address,
            uds,
            network_backend,
            socket_options,
            **options,
        )


class SOCKSProxyMixin(PoolBase[Backend, Interface]):
    """The constructor of pools whose requests go through a SOCKS5 proxy."""

    _httpcore_name = "SOCKSProxy"
    _descriptions: typing.ClassVar = {
        "proxy_url": """
        The address of the proxy: `socks5://host:port` or `socks5h://host:port`. Both are the same: the proxy resolves
        host names.""",
        "proxy_auth": """
        A user name and a password for the proxy, of up to 255 bytes each (RFC 1929).""",
    }

    def __init__(
        self,
        proxy_url: URL | bytes | str,
        proxy_auth: tuple[bytes | str, bytes | str] | None = None,
        ssl_context: ssl.SSLContext | TLSConfig | None = None,
        max_connections: int | None = 10,
        max_keepalive_connections: int | None = None,
        keepalive_expiry: float | None = None,
        http1: bool = True,
        http2: bool = False,
        retries: int = 0,
        network_backend: Backend | None = None,
        *,
        local_address: str | None = None,
        socket_options: typing.Iterable[SOCKET_OPTION] | None = None,
        **options: Unpack[PoolOptions],
    ) -> None:
        """Makes a pool; nothing is connected yet.

        Raises `TypeError` for an option of a wrong type, `ValueError` for one of a wrong value, `UnsupportedProtocol`
        for a proxy of another scheme, and `LocalProtocolError` for credentials that cannot be sent.
        """
        proxy = _proxy(self._package, proxy_url, proxy_auth)
        self._proxy_url = proxy.url
        super().__init__(
            ssl_context,
            proxy,
            max_connections,
            max_keepalive_connections,
            keepalive_expiry,
            http1,
            http2,
            retries,
            local_address,
            None,
            network_backend,
            socket_options,
            **options,
        )


@constructor
class HTTPProxy(HTTPProxyMixin[NetworkBackend, ConnectionInterface], ConnectionPool):
    """A `ConnectionPool` whose requests go through an HTTP proxy.

    Requests to `http` origins are forwarded by the proxy, over connections that serve one origin each. For other
    origins the proxy is asked for a tunnel (CONNECT), and TLS to the origin runs through it.
    """


@constructor
class AsyncHTTPProxy(HTTPProxyMixin[AsyncNetworkBackend, AsyncConnectionInterface], AsyncConnectionPool):
    """An `AsyncConnectionPool` whose requests go through an HTTP proxy.

    Requests to `http` origins are forwarded by the proxy, over connections that serve one origin each. For other
    origins the proxy is asked for a tunnel (CONNECT), and TLS to the origin runs through it.
    """


@constructor
class SOCKSProxy(SOCKSProxyMixin[NetworkBackend, ConnectionInterface], ConnectionPool):
    """A `ConnectionPool` whose requests go through a SOCKS5 proxy (RFC 1928), which connects to the origins."""


@constructor
class AsyncSOCKSProxy(SOCKSProxyMixin[AsyncNetworkBackend, AsyncConnectionInterface], AsyncConnectionPool):
    """An `AsyncConnectionPool` whose requests go through a SOCKS5 proxy (RFC 1928), which connects to the origins."""
