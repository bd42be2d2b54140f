"""The transports of httpx and of its fork httpx2 on the pools of this package: subclasses with another pool."""

from __future__ import annotations

import importlib
import inspect
import ssl
import typing

from ._bases import Backend, Generic
from ._drive import adrive
from ._engine import TLSConfig
from ._options import reject_unknown
from ._wrong_pairs import WrongKind, check_request

if typing.TYPE_CHECKING:
    import os

    from httpcore import SOCKET_OPTION
    from typing_extensions import Self, TypeVar, Unpack

    from ._metrics import PoolMetrics
    from ._options import PoolOptions
    from ._package import Package

    # The library's classes.
    LimitsType = TypeVar("LimitsType", default=typing.Any)
    ProxyType = TypeVar("ProxyType", default=typing.Any)
    RequestType = TypeVar("RequestType")
    ResponseType = TypeVar("ResponseType")

    CertTypes = typing.Union[str, "os.PathLike[str]", tuple[str, str], tuple[str, str, str]]
    VerifyTypes = typing.Union[bool, str, "os.PathLike[str]", TLSConfig, ssl.SSLContext]

    class TransportOptions(PoolOptions, typing.Generic[Backend, LimitsType], total=False):
        """The arguments of the transports, but `proxy`."""

        verify: VerifyTypes
        cert: CertTypes | None
        trust_env: bool
        http1: bool
        http2: bool
        limits: LimitsType
        uds: str | None
        local_address: str | None
        retries: int
        socket_options: typing.Iterable[SOCKET_OPTION] | None
        network_backend: Backend | None

else:
    # The parameters of generic classes have no effect when the program runs.
    LimitsType = ProxyType = RequestType = ResponseType = None


class DefaultLimits:
    """The default of `limits`: the values that httpx's own transports have. Seconds for `keepalive_expiry`."""

    max_connections: int | None = 100
    max_keepalive_connections: int | None = 20
    keepalive_expiry: float | None = 5.0

    def __repr__(self) -> str:
        return "Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=5.0)"


DEFAULT_LIMITS = DefaultLimits()


class RustPoolTransportMixin(Generic[Backend, LimitsType, ProxyType]):
    """Everything of the transports, for all four of them, but the class of the library that they derive from."""

    # httpx or httpx2, and the package that it is built on.
    _library: typing.Any
    _package: Package
    # The classes of pools: without a proxy, with an HTTP proxy, with a SOCKS proxy.
    _pools: typing.ClassVar[tuple[typing.Callable[..., object], ...]]

    _descriptions: typing.ClassVar = {
        "verify": """
        How the certificates of origins are verified: `True` by the authorities that the library trusts, `False` not at
        all, a path by the authorities in a file or folder, or a `TLSConfig`. With an `ssl.SSLContext`, Python's `ssl`
        does TLS, which is slower.""",
        "cert": """
        The client certificate: the path of a PEM file, or `(certificate, key)` or `(certificate, key, password)`.""",
        "trust_env": """
        Whether the environment variables `SSL_CERT_FILE` and `SSL_CERT_DIR` name the authorities.""",
        "limits": """
        An `httpx.Limits`: the numbers of connections, and the seconds for which an idle one is kept.""",
        "proxy": """
        The proxy for all requests, as a URL or an `httpx.Proxy`: `http`, `https`, `socks5` or `socks5h`.""",
    }

    # The inherited constructor is not called: it only builds an `ssl.SSLContext` and the library's pool.
    def __init__(
        self,
        verify: bool | str | os.PathLike[str] | TLSConfig | ssl.SSLContext = True,
        cert: str | os.PathLike[str] | tuple[str, str] | tuple[str, str, str] | None = None,
        trust_env: bool = True,
        http1: bool = True,
        http2: bool = False,
        limits: LimitsType | DefaultLimits = DEFAULT_LIMITS,
        proxy: ProxyType | str | None = None,
        uds: str | None = None,
        local_address: str | None = None,
        retries: int = 0,
        socket_options: typing.Iterable[SOCKET_OPTION] | None = None,
        *,
        network_backend: Backend | None = None,
        **options: Unpack[PoolOptions],
    ) -> None:
        """Makes a transport; nothing is connected yet. The positional arguments are those of httpx's own transport.

        Raises `TypeError` for an option of a wrong type, `ValueError` for one of a wrong value or for a proxy of
        another scheme, and `ssl.SSLError` or `OSError` for certificates that cannot be read.
        """
        if options:
            reject_unknown(self, options)
        arguments: dict[str, typing.Any] = {
            "http1": http1,
            "http2": http2,
            "retries": retries,
            "local_address": local_address,
            "network_backend": network_backend,
            "socket_options": socket_options,
            **options,
        }
        self._pool = self.make_pool(verify, cert, trust_env, limits, proxy, uds, arguments)

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__qualname__} over {self._pool!r}>"

    @classmethod
    def make_pool(
        cls,
        verify: VerifyTypes,
        cert: CertTypes | None,
        trust_env: bool,
        limits: typing.Any,
        proxy: typing.Any,
        uds: str | None,
        arguments: dict[str, typing.Any],
    ) -> typing.Any:
        """Returns the pool for the arguments of a transport. `arguments` are those that a pool takes as well."""
        # As in the library: with the first transport, httpcore is imported.
        importlib.import_module(cls._package.name)
        arguments["ssl_context"] = cls._ssl_context(verify, cert, trust_env)
        arguments["max_connections"] = limits.max_connections
        arguments["max_keepalive_connections"] = limits.max_keepalive_connections
        arguments["keepalive_expiry"] = limits.keepalive_expiry
        pool, http_proxy, socks_proxy = cls._pools
        if proxy is None:
            return pool(uds=uds, **arguments)
        if not isinstance(proxy, cls._library.Proxy):
            proxy = cls._library.Proxy(url=proxy)
        url = proxy.url
        arguments["proxy_url"] = cls._package.module.URL(
            scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
        )
        arguments["proxy_auth"] = proxy.raw_auth
        if url.scheme in ("http", "https"):
            context = getattr(proxy, "ssl_context", None)  # httpx before 0.26 had none.
            return http_proxy(proxy_headers=proxy.headers.raw, proxy_ssl_context=context, **arguments)
        if url.scheme in ("socks5", "socks5h"):
            return socks_proxy(**arguments)
        raise ValueError(
            f"Proxy protocol must be either 'http', 'https', 'socks5', or 'socks5h', but got {url.scheme!r}."
        )

    def metrics(self) -> PoolMetrics:
        """Returns the metrics of the transport's pool, as `pool.metrics()` does."""
        metrics: PoolMetrics = self._pool.metrics()
        return metrics

    @classmethod
    def environment_mounts(cls, **arguments: Unpack[TransportOptions[Backend, LimitsType]]) -> dict[str, Self | None]:
        """Returns transports for the proxies that the environment names, for the `mounts` of a client.

        A client that is given a `transport` ignores `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`; with these
        mounts it does not. `arguments` are those of the constructor but `proxy`. The value of a host without a proxy is
        `None`.

        Raises `TypeError` for other arguments, whether or not the environment names a proxy.
        """
        name = f"{cls.__qualname__}.environment_mounts()"
        if "proxy" in arguments:
            raise TypeError(f"{name} takes the proxies of the environment, not proxy=: pass that to the transport")
        try:
            inspect.signature(cls).bind(**arguments)
        except TypeError as exc:
            raise TypeError(f"{name} {exc}") from None
        proxies = importlib.import_module(f"{cls._library.__name__}._utils").get_environment_proxies()
        return {pattern: None if url is None else cls(proxy=url, **arguments) for pattern, url in proxies.items()}

    @classmethod
    def _ssl_context(cls, verify: VerifyTypes, cert: CertTypes | None, trust_env: bool) -> TLSConfig | ssl.SSLContext:
        """Returns the `ssl_context` of a pool for the arguments of a transport."""
        if isinstance(verify, TLSConfig):
            if cert is not None:
                raise TypeError("cert must be given to the TLSConfig that is given as verify")
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


class SyncHandlerMixin(Generic[RequestType, ResponseType]):
    """`handle_request()` of the transports for threads."""

    _library: typing.Any
    _pool: typing.Any
    _fast_path: typing.Any
    if not typing.TYPE_CHECKING:
        # What an async client looks up first.
        __aenter__ = handle_async_request = aclose = WrongKind()

    def handle_request(self, request: RequestType) -> ResponseType:
        """Sends a request and returns its response when the head has arrived.

        Raises the library's exceptions. An exception of the body of `request` passes through unchanged.
        """
        # A patch or another base class may have put something else in the place of the library's method.
        following: typing.Any = super(SyncHandlerMixin, type(self))
        if following.handle_request is self._fast_path.own_handler:
            response: ResponseType | None = self._fast_path.handle(self._pool, request)
            if response is not None:
                return response
        check_request(self, request, self._library)
        slow: typing.Any = super()
        slow_response: ResponseType = slow.handle_request(request)
        return slow_response


class AsyncHandlerMixin(Generic[RequestType, ResponseType]):
    """`handle_async_request()` of the transports for event loops."""

    _library: typing.Any
    _pool: typing.Any
    _fast_path: typing.Any
    if not typing.TYPE_CHECKING:
        # What a sync client looks up first.
        __enter__ = handle_request = close = WrongKind()

    async def handle_async_request(self, request: RequestType) -> ResponseType:
        """Sends a request and returns its response when the head has arrived.

        Raises the library's exceptions. An exception of the body of `request` passes through unchanged.
        """
        following: typing.Any = super(AsyncHandlerMixin, type(self))
        if following.handle_async_request is self._fast_path.own_handler:
            operation = self._fast_path.start(self._pool, request)
            if operation is not None:
                try:
                    response: ResponseType = await adrive(operation)
                    return response
                except Exception:
                    with self._fast_path.map_exceptions():
                        raise
        check_request(self, request, self._library)
        slow: typing.Any = super()
        slow_response: ResponseType = await slow.handle_async_request(request)
        return slow_response
