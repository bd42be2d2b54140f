"""The options of pools, proxies, connections and transports: their types, defaults and descriptions.

httpcore's options are parameters of the constructors, in httpcore's order. The options that httpcore does not have are
listed here: each constructor takes them by keyword, as `**options: Unpack[PoolOptions]`, and `constructor()` shows
them in its signature and in its docstring. A new option is a key of `PoolOptions`, `DEFAULTS` and `DESCRIPTIONS`, and a
field in `src/python/options.rs`, which reads it.
"""

from __future__ import annotations

import inspect
import types
import typing

if typing.TYPE_CHECKING:
    import ssl

    from httpcore import SOCKET_OPTION, Proxy

    from ._connect_policy import ConnectPolicy
    from ._engine import TLSConfig
    from ._pool_wait import PoolWait
    from ._proxy_challenge import ProxyAuthenticate
    from ._resolvers import Resolver
    from ._retry import RetryPolicy

    Class = typing.TypeVar("Class", bound=type[typing.Any])


class PoolOptions(typing.TypedDict, total=False):
    """The options that httpcore does not have. Each class with a constructor takes them, by keyword."""

    max_connections_per_origin: int | None
    max_keepalive_connections_per_origin: int | None
    connect_policy: ConnectPolicy | None
    interface: str | None
    proxy_authenticate: ProxyAuthenticate | None
    resolver: Resolver | None
    expect_continue_timeout: float
    http2_ping_interval: float | None
    http2_ping_timeout: float
    pool_wait_warning: float | None
    on_pool_wait: typing.Callable[[PoolWait], object] | None
    tcp_keepalive: float | None
    tcp_user_timeout: float | None
    replay: typing.Literal["idempotent", "unsent", "never"]
    retry: RetryPolicy | None
    default_timeout: float | typing.Mapping[str, float | None] | None
    total_timeout: float | None
    user_agent: str | bytes | None


if typing.TYPE_CHECKING:

    class EngineOptions(PoolOptions):
        """All options, as the engine takes them. A constructor passes those that its class does not have as well."""

        ssl_context: ssl.SSLContext | TLSConfig | None
        proxy: Proxy | None
        max_connections: int | None
        max_keepalive_connections: int | None
        keepalive_expiry: float | None
        http1: bool
        http2: bool
        retries: int
        local_address: str | None
        uds: str | None
        network_backend: object
        python_sockets: object
        socket_options: typing.Iterable[SOCKET_OPTION] | None


DEFAULTS: PoolOptions = {
    "max_connections_per_origin": None,
    "max_keepalive_connections_per_origin": None,
    "connect_policy": None,
    "interface": None,
    "proxy_authenticate": None,
    "resolver": None,
    "expect_continue_timeout": 1.0,
    "http2_ping_interval": None,
    "http2_ping_timeout": 20.0,
    "pool_wait_warning": 30.0,
    "on_pool_wait": None,
    "tcp_keepalive": 60.0,
    "tcp_user_timeout": None,
    "replay": "idempotent",
    "retry": None,
    "default_timeout": None,
    "total_timeout": None,
    "user_agent": None,
}

# For `help()`. The name, the type and the default of a parameter are put in front of its description.
DESCRIPTIONS = {
    "ssl_context": """
        How the certificates of origins are verified. `None` verifies against certifi's authorities (httpcore2's pools
        against those of the operating system). With an `ssl.SSLContext`, Python's `ssl` does TLS on the engine's own
        sockets, which is slower; with `http2=True` its ALPN list is set before each handshake.""",
    "proxy": """
        The proxy for all requests: `http`, `https`, `socks5` or `socks5h`. See `HTTPProxy` and `SOCKSProxy`.""",
    "max_connections": """
        The largest number of connections at a time, at least 1. Further requests wait, first come, first served,
        within their `pool` timeout. `None` sets no limit.""",
    "max_keepalive_connections": """
        The largest number of idle connections that are kept. `None` sets no limit.""",
    "keepalive_expiry": """
        Seconds for which an idle connection is kept. `None` sets no limit.""",
    "http1": """
        Whether HTTP/1.1 is used.""",
    "http2": """
        Whether HTTP/2 is used: where ALPN selects it in the TLS handshake, or, with `http1=False`, on every connection.
        Requests to one origin then share a connection, as many at a time as the server allows.""",
    "retries": """
        How often a failed attempt to connect (`ConnectError`, `ConnectTimeout`) is repeated, after 0, 0.5, 1, 2, 4 ...
        seconds.""",
    "local_address": """
        The IP address to connect from. It also selects the address family.""",
    "uds": """
        The path of a Unix domain socket to connect to, for all hosts. Without effect if there is a proxy, as in
        httpcore.""",
    "network_backend": """
        An object with the methods of this class, which makes the connections instead of the engine. Its streams carry
        the bytes, their timeouts apply, and their `start_tls()` does TLS.""",
    "socket_options": """
        Arguments of `setsockopt`, applied to every socket.""",
    "max_connections_per_origin": """
        The largest number of connections to one origin at a time, at least 1. `None`, or more than `max_connections`,
        sets no limit of its own.""",
    "max_keepalive_connections_per_origin": """
        The largest number of idle connections to one origin that are kept. `None`, or more than
        `max_keepalive_connections`, sets no limit of its own.""",
    "connect_policy": """
        Says which addresses may be connected to: `PublicAddressesOnly()`, or a function that is given a
        `ConnectAddress` and returns a bool or raises an exception. It is asked about each address, of proxies too,
        before it is connected to. Refused addresses are left out; if none remains, `ConnectError` is raised. What a
        proxy connects to is checked only if the URL contains an address. Not together with `uds`.""",
    "interface": """
        The name of the network interface that connections leave by: `eth0`. Linux (`SO_BINDTODEVICE`) and macOS.""",
    "proxy_authenticate": """
        Answers an HTTP proxy that wants authentication (407) before it opens a tunnel: a function that is given a
        `ProxyChallenge` and returns headers for the next CONNECT on the same connection, or `None` to give up; in an
        async pool also an async one. It is asked up to 5 times for one tunnel.""",
    "resolver": """
        Looks up names in the place of the operating system: a function `(host, port)` that returns IP addresses, in an
        async pool an async one, or an object with the methods `resolve` and `aresolve`, such as `StaticHosts` and
        `CachingResolver`. It raises `OSError` for a name that does not exist.""",
    "expect_continue_timeout": """
        Seconds that the body of a request with the header `Expect: 100-continue` waits for `100 Continue`. If the final
        response comes first, the body is not sent. 0 sends it at once. Streams of a `network_backend` do not wait.""",
    "http2_ping_interval": """
        Seconds without a received byte after which a PING is sent on an HTTP/2 connection. `None` sends none. On a
        stream that the engine did not connect, a PING waits while a read does.""",
    "http2_ping_timeout": """
        Seconds to wait for the answer to a PING. After that the connection counts as dead: its requests fail with
        `ReadError`.""",
    "pool_wait_warning": """
        Seconds that a request waits in the pool until a `WARNING` of the logger `httpcore_rs.pool` says what it waits
        for: at most one record in that time, and one for each request. `None` writes none. A request with a shorter
        `pool` timeout ends with a `PoolTimeout` before, which says the same.""",
    "on_pool_wait": """
        A function that is called with each such warning as a `PoolWait`. It is a plain function, also for async pools,
        and must not block. Its exceptions are logged.""",
    "tcp_keepalive": """
        Seconds of silence after which the system probes the peer of a TCP connection, at least 1. This keeps the
        entries of NATs and load balancers alive, and a connection whose peer is gone ends after another such time.
        `None` sends no probes. `socket_options` take precedence; sockets of a `network_backend` are left alone.""",
    "tcp_user_timeout": """
        Seconds for which data that was sent may go unacknowledged before the connection ends, at least 1. `None`
        leaves it to the system (15 minutes on Linux). A peer that accepts no data for that long loses its connection
        as well.""",
    "replay": """
        Which requests are sent once more when their connection fails under them: `"idempotent"` those that the server
        did not process, and those with an idempotent method that it may have processed; `"unsent"` only the former;
        `"never"` none. A body must be `bytes`: one that comes from an iterator is never sent twice.""",
    "retry": """
        Which requests are repeated after which responses and errors; see `RetryPolicy`. `None` repeats none, but for
        `retries` and `replay`. Single connections take only `None`.""",
    "default_timeout": """
        The timeouts of requests without the extension `timeout`, in seconds: one number for `connect`, `read`, `write`
        and `pool`, or a mapping with some of these names. `None` sets no limit. httpx gives each request its own
        timeouts, so that this is for direct users of the pools.""",
    "total_timeout": """
        Seconds for a request as a whole, from the call to the last byte of the response: the wait for a connection, all
        attempts to connect, the request and its response. It holds for requests whose extension `timeout` has no
        `total`. `None` sets no limit.""",
    "user_agent": """
        The `User-Agent` of requests that have none. httpx gives each request its own, so that this is for direct users
        of the pools.""",
}


def complete(owner: typing.Any, options: PoolOptions) -> PoolOptions:
    """Returns the options that the constructor of `owner` was given, with the defaults of the others.

    Raises `TypeError` for an option that does not exist.
    """
    if not options:
        return DEFAULTS
    reject_unknown(owner, options)
    completed: PoolOptions = {**DEFAULTS, **options}
    resolver = completed["resolver"]
    if resolver is not None:
        from ._resolvers import lookup  # Few programs need it.

        of_pool = lookup(resolver, is_async=owner._is_async)  # noqa: SLF001  # Of this package.
        completed["resolver"] = typing.cast("Resolver", of_pool)
    return completed


def reject_unknown(owner: object, options: PoolOptions) -> None:
    """Raises `TypeError` for an option of the constructor of `owner` that does not exist, as Python words it."""
    for name in options:
        if name not in DEFAULTS:
            raise TypeError(f"{type(owner).__qualname__}.__init__() got an unexpected keyword argument {name!r}")


def constructor(cls: Class) -> Class:
    """Gives a class an `__init__` of its own: a copy of the inherited one that names and describes all its parameters.

    Python's messages about arguments then name the class that was called. The descriptions are those of this module,
    and those in the attribute `_descriptions` of the class.
    """
    # The module that users import the class from.
    cls.__module__ = cls.__module__.partition("._")[0]
    inherited = cls.__init__
    init = types.FunctionType(
        inherited.__code__, inherited.__globals__, "__init__", inherited.__defaults__, inherited.__closure__
    )
    init.__kwdefaults__ = inherited.__kwdefaults__
    init.__annotations__ = inherited.__annotations__
    init.__module__ = cls.__module__
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    signature = _signature(inherited, cls)
    init.__signature__ = signature  # type: ignore[attr-defined]
    init.__doc__ = inherited.__doc__ and describe(inherited.__doc__, signature, descriptions_of(cls))
    cls.__init__ = init
    return cls


def _signature(init: typing.Any, cls: type[typing.Any]) -> inspect.Signature:
    """Returns the signature of a constructor with the options that it takes as `**options`, one by one."""
    prefix = "Async" if cls.__name__.startswith("Async") else ""
    # Type parameters of the base classes, and the types that they stand for.
    specific = {
        "Backend | None": f"{prefix}NetworkBackend | None",
        "Stream": f"{prefix}NetworkStream",
        **getattr(cls, "_annotations", {}),
    }
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(init).parameters.values():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            parameters += [
                inspect.Parameter(
                    name,
                    inspect.Parameter.KEYWORD_ONLY,
                    default=default,
                    annotation=PoolOptions.__annotations__[name].__forward_arg__,
                )
                for name, default in DEFAULTS.items()
            ]
        else:
            annotation = specific.get(parameter.annotation)
            parameters.append(parameter.replace(annotation=annotation) if annotation else parameter)
    return inspect.Signature(parameters, return_annotation="None")


def descriptions_of(cls: type) -> dict[str, str]:
    """Returns the descriptions of the parameters of a class."""
    return {**DESCRIPTIONS, **getattr(cls, "_descriptions", {})}


def describe(summary: str, signature: inspect.Signature, descriptions: typing.Mapping[str, str]) -> str:
    """Returns the docstring of a constructor: its own text, then type, default and description of each parameter."""
    lines = [inspect.cleandoc(summary), "", "Parameters:"]
    for name, parameter in signature.parameters.items():
        if name != "self":
            default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
            annotation = parameter.annotation
            if not isinstance(annotation, str):
                annotation = inspect.formatannotation(annotation)
            lines.append(f"    {name}: {annotation}{default}{descriptions[name]}")
    return "\n".join(lines)
