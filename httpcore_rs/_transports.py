"""The transports of httpx and its fork httpx2 over our pools: their own classes, with only the pool exchanged."""

from __future__ import annotations

import functools
import importlib
import ssl
import types
import typing

from ._engine import TLSConfig

if typing.TYPE_CHECKING:
    import os

    import httpx
    from httpcore import SOCKET_OPTION
    from typing_extensions import Self

    from ._package import Package

    CertTypes = typing.Union[str, "os.PathLike[str]", tuple[str, str], tuple[str, str, str]]
    ProxyTypes = typing.Union[httpx.Proxy, httpx.URL, str]
    VerifyTypes = typing.Union[bool, str, "os.PathLike[str]", TLSConfig, ssl.SSLContext]


class DefaultLimits:
    """The limits that httpx has if it is not told otherwise."""

    max_connections: int | None = 100
    max_keepalive_connections: int | None = 20
    keepalive_expiry: float | None = 5.0


DEFAULT_LIMITS = DefaultLimits()


class OnOurPools:
    """What the transports have in common."""

    # httpx or httpx2, and the package that it is built on.
    _library: typing.Any
    _package: Package
    # Without a proxy, and for either kind of proxy.
    _pools: typing.ClassVar[tuple[typing.Callable[..., object], ...]]

    def __init_subclass__(cls, **arguments: typing.Any) -> None:
        super().__init_subclass__(**arguments)
        if "_pools" in vars(cls):
            # Messages about arguments name the class that was called.
            init = types.FunctionType(OnOurPools.__init__.__code__, globals(), "__init__")
            functools.update_wrapper(init, OnOurPools.__init__)
            init.__defaults__ = OnOurPools.__init__.__defaults__
            init.__qualname__ = f"{cls.__qualname__}.__init__"
            del init.__wrapped__  # type: ignore[attr-defined]
            cls.__init__ = init  # type: ignore[method-assign]

    # Their own __init__ is not called: all it does is to build an `ssl.SSLContext` and the pool.
    def __init__(
        self,
        verify: VerifyTypes = True,
        cert: CertTypes | None = None,
        trust_env: bool = True,
        http1: bool = True,
        http2: bool = False,
        limits: httpx.Limits | DefaultLimits = DEFAULT_LIMITS,
        proxy: ProxyTypes | None = None,
        uds: str | None = None,
        local_address: str | None = None,
        retries: int = 0,
        socket_options: typing.Iterable[SOCKET_OPTION] | None = None,
    ) -> None:
        """Makes a transport; nothing is connected yet. The arguments are those of `httpx.HTTPTransport`.

        Parameters:
            verify: May also be a `TLSConfig`. With an `ssl.SSLContext` Python's `ssl` does TLS.
        """
        self._pool = self.make_pool(
            verify=verify,
            cert=cert,
            trust_env=trust_env,
            http1=http1,
            http2=http2,
            limits=limits,
            proxy=proxy,
            uds=uds,
            local_address=local_address,
            retries=retries,
            socket_options=socket_options,
        )

    @classmethod
    def make_pool(
        cls,
        *,
        verify: VerifyTypes,
        cert: CertTypes | None,
        trust_env: bool,
        limits: httpx.Limits | DefaultLimits,
        proxy: ProxyTypes | None,
        uds: str | None,
        **arguments: typing.Any,
    ) -> typing.Any:
        """The pool for the arguments of a transport."""
        arguments["ssl_context"] = cls._ssl_context(verify, cert, trust_env)
        arguments["max_connections"] = limits.max_connections
        arguments["max_keepalive_connections"] = limits.max_keepalive_connections
        arguments["keepalive_expiry"] = limits.keepalive_expiry
        direct, by_http, by_socks = cls._pools
        if proxy is None:
            return direct(uds=uds, **arguments)
        if not isinstance(proxy, cls._library.Proxy):
            proxy = cls._library.Proxy(url=proxy)
        proxy = typing.cast("httpx.Proxy", proxy)
        url = proxy.url
        arguments["proxy_url"] = cls._package.module.URL(
            scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
        )
        arguments["proxy_auth"] = proxy.raw_auth
        if url.scheme in ("http", "https"):
            context = getattr(proxy, "ssl_context", None)  # httpx before 0.26 had none.
            return by_http(proxy_headers=proxy.headers.raw, proxy_ssl_context=context, **arguments)
        if url.scheme in ("socks5", "socks5h"):
            return by_socks(**arguments)
        raise ValueError(
            f"Proxy protocol must be either 'http', 'https', 'socks5', or 'socks5h', but got {url.scheme!r}."
        )

    @classmethod
    def environment_mounts(cls, **arguments: typing.Any) -> dict[str, Self | None]:
        """What goes by the proxies of the environment, for the `mounts` of a client whose `transport` is ours.

        Given a transport, httpx does not heed `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` itself.
        `arguments` are those of the transports.
        """
        proxies = importlib.import_module(f"{cls._library.__name__}._utils").get_environment_proxies()
        return {pattern: None if url is None else cls(proxy=url, **arguments) for pattern, url in proxies.items()}

    @classmethod
    def _ssl_context(cls, verify: VerifyTypes, cert: CertTypes | None, trust_env: bool) -> TLSConfig | ssl.SSLContext:
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
        return cls._tls_config(verify, cert, trust_env)

    @classmethod
    def _tls_config(
        cls, verify: bool | str | os.PathLike[str], cert: CertTypes | None, trust_env: bool
    ) -> TLSConfig | ssl.SSLContext:
        return TLSConfig(verify=verify, cert=cert, trust_env=trust_env)
