"""The clients on the pools of this package: what of their arguments is for the client, and what for its transports.

httpx makes its transports from `verify`, `cert`, `http1`, `http2`, `limits` and `proxy`, and ignores these arguments
when it is given a `transport`. A transport never sees its client, and so could not say it. These clients make the
transports from them, and refuse them beside a `transport`.
"""

from __future__ import annotations

import inspect
import typing

from ._options import describe, descriptions_of
from ._wrong_pairs import check_transport

if typing.TYPE_CHECKING:
    Class = typing.TypeVar("Class", bound=type[typing.Any])

# For `help()`: what the arguments of httpx's clients are for. Those of the transports are described there.
DESCRIPTIONS = {
    "auth": """
        The credentials of all requests: `(user, password)`, or an object of a class for authentication.""",
    "params": """
        Query parameters that are added to the URL of each request.""",
    "headers": """
        Headers that are added to each request.""",
    "cookies": """
        Cookies that are sent with each request. The client adds those that servers set.""",
    "timeout": """
        Seconds for each phase of a request (`connect`, `read`, `write`, `pool`), as one number or as a `Timeout`.
        `None` sets no limit.""",
    "follow_redirects": """
        Whether redirects are followed.""",
    "max_redirects": """
        The largest number of redirects that are followed for a request.""",
    "event_hooks": """
        Functions that are called with each request and each response: lists under the keys `request` and
        `response`.""",
    "base_url": """
        The URL to which relative URLs of requests are appended.""",
    "default_encoding": """
        The encoding of a response that names none: its name, or a function that returns the name for the content.""",
    "mounts": """
        Transports for some URLs, by pattern: `{"https://example.org": transport}`. They come before the proxies of the
        environment.""",
    "transport": """
        The transport of all requests, in place of one that the client makes from the other arguments. It must be one of
        the same library and kind. Arguments that would have no effect beside it are refused.""",
}


def client(transport: typing.Any) -> typing.Callable[[Class], Class]:
    """Gives a client the transport that it makes, and the signature of its library's client and of that transport."""

    def decorate(cls: Class) -> Class:
        cls.__module__ = cls.__module__.partition("._")[0]
        cls._makes = transport
        base: typing.Any = cls.__mro__[1]
        signature = _signature(base.__init__, transport.__init__)
        init: typing.Any = vars(cls)["__init__"]
        init.__module__ = cls.__module__
        init.__signature__ = signature
        # A later version of the library may have further arguments.
        others = dict.fromkeys(signature.parameters, f"\n        See `{base.__module__}.{base.__name__}`.")
        descriptions = {**others, **DESCRIPTIONS, **descriptions_of(transport)}
        init.__doc__ = init.__doc__ and describe(init.__doc__, signature, descriptions)
        return cls

    return decorate


def client_arguments(cls: typing.Any, given: typing.Any) -> dict[str, typing.Any]:
    """Returns the arguments for the constructor of a library's client, with transports over pools of this package.

    `cls` is the client of this package, and `given` what it was given.
    """
    transport, library = cls._makes, cls._makes._library  # noqa: SLF001  # Both are of this package.
    name, is_async = f"{cls.__module__}.{cls.__name__}", issubclass(cls, library.AsyncClient)
    parameters = inspect.signature(transport.__init__).parameters
    arguments = dict(given)
    own = {key: arguments.pop(key) for key in given if key in parameters}
    if "trust_env" in own:
        # It decides about the client's credentials (`.netrc`) as well.
        arguments["trust_env"] = own["trust_env"]
    mounts: dict[str, typing.Any] = dict(arguments.pop("mounts", None) or {})
    for pattern, mounted in mounts.items():
        if mounted is not None:
            check_transport(name, mounted, library, is_async=is_async, where=f"mounts[{pattern!r}]")
    if arguments.get("app") is not None:
        raise TypeError(f"{name} does not take app=: pass transport={library.__name__}.WSGITransport(app=...)")
    proxies = _proxies(cls, own.pop("proxy", None), arguments)
    if arguments.get("transport") is not None:
        check_transport(name, arguments["transport"], library, is_async=is_async, where="transport=")
        _refuse_ignored(name, transport, parameters, own, proxies)
        return {**arguments, "mounts": mounts}
    arguments["transport"] = transport(**own)
    if proxies is not None:
        made = {key: None if proxy is None else transport(proxy=proxy, **own) for key, proxy in proxies.items()}
    else:
        made = transport.environment_mounts(**own) if own.get("trust_env", True) else {}
    return {**arguments, "mounts": {**made, **mounts}}


def _proxies(cls: typing.Any, proxy: typing.Any, arguments: dict[str, typing.Any]) -> dict[str, typing.Any] | None:
    """Returns the proxies of the arguments, by the URLs that they are for. httpx before 0.28 has `proxies`."""
    takes_proxies = "proxies" in inspect.signature(cls.__mro__[1].__init__).parameters
    proxies = arguments.pop("proxies", None) if takes_proxies else None
    if proxy is not None and proxies is not None:
        raise RuntimeError("Use either `proxy` or 'proxies', not both.")
    if isinstance(proxies, dict):
        return proxies
    found = proxies if proxy is None else proxy
    return None if found is None else {"all://": found}


def _refuse_ignored(
    name: str,
    transport: typing.Any,
    parameters: typing.Mapping[str, inspect.Parameter],
    own: dict[str, typing.Any],
    proxies: dict[str, typing.Any] | None,
) -> None:
    """Raises `TypeError` for arguments that would have no effect, because the transport was made without them."""
    ignored = [key for key, value in own.items() if key != "trust_env" and value is not parameters[key].default]
    if proxies is not None:
        ignored.append("proxy")
    if not ignored:
        return
    listed = ", ".join(f"{key}=" for key in ignored)
    written = ", ".join(f"{key}=..." for key in ignored)
    raise TypeError(
        f"{name} was given {listed} beside transport=, where {'it has' if len(ignored) == 1 else 'they have'} no "
        f"effect: pass transport={transport.__module__}.{transport.__name__}({written}), or leave transport= out"
    )


def _signature(client: typing.Any, transport: typing.Any) -> inspect.Signature:
    """Returns the parameters of both constructors, by keyword. Those of the transport take precedence."""
    ours = inspect.signature(transport).parameters
    found = {**inspect.signature(client).parameters, **ours}
    parameters = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in found.items()
        if name not in ("self", "app", "proxies")
    ]
    first = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return inspect.Signature([first, *parameters], return_annotation="None")
