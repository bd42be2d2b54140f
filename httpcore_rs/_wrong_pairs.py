"""Clients and transports that do not belong together, and errors that name what to write.

httpx does not look at a transport that it is given: without these, the first request of a wrong pair ends in an empty
`AssertionError` or in `AttributeError: ... '__aenter__'`.
"""

from __future__ import annotations

import typing

# The module of this project with the transports for a library.
_MODULES = {"httpx": "httpcore_rs", "httpx2": "httpcore_rs.httpx2"}


class WrongTransportError(TypeError, AttributeError):
    """A transport for threads in an async client, or the reverse.

    It is an `AttributeError` as well, so that `hasattr()` returns what it returns without this module.
    """


class WrongKind:
    """Stands for a method that transports of the other kind have: looking it up raises `WrongTransportError`."""

    def __get__(self, transport: object, owner: type) -> typing.NoReturn:
        library, name = _public(owner)
        is_async = name.startswith("Async")
        module = _MODULES[library]
        right = "SyncTransport" if is_async else "AsyncTransport"
        client, other = ("AsyncClient", "Client") if is_async else ("Client", "AsyncClient")
        raise WrongTransportError(
            f"{module}.{name} is a transport for {library}.{client}, not for {library}.{other}: pass "
            f"{module}.{right}(...) there, and {right}.environment_mounts() as its mounts"
        )


def check_request(transport: object, request: typing.Any, library: typing.Any) -> None:
    """Raises `TypeError` unless a request is one of the library of the transport, with a body for its kind."""
    is_async = isinstance(transport, library.AsyncBaseTransport)
    stream = library.AsyncByteStream if is_async else library.SyncByteStream
    if isinstance(request.stream, stream):
        return
    found = type(request).__module__.partition(".")[0]
    module = type(transport).__module__.partition("._")[0]
    name = f"{module}.{type(transport).__qualname__}"
    expected = library.__name__
    if found == expected:
        return  # The library has an assertion about the body.
    text = f"{name} is a transport for {expected}, and was given a request of {found}"
    if found in _MODULES:
        right = "AsyncTransport" if is_async else "SyncTransport"
        client = "AsyncClient" if is_async else "Client"
        text += f": pass {_MODULES[found]}.{right}(...) to {found}.{client}"
    raise TypeError(text)


def check_transport(client: str, transport: object, library: typing.Any, *, is_async: bool, where: str) -> None:
    """Raises `TypeError` unless a transport fits a client of the library."""
    if isinstance(transport, library.AsyncBaseTransport if is_async else library.BaseTransport):
        return
    module = _MODULES[library.__name__]
    right = f"{module}.{'AsyncTransport' if is_async else 'SyncTransport'}"
    given = type(transport)
    raise TypeError(
        f"{client} takes {'async' if is_async else 'sync'} transports of {library.__name__}, and {where} has "
        f"{given.__module__.partition('._')[0]}.{given.__qualname__}: pass {right}(...)"
    )


def _public(owner: type) -> tuple[str, str]:
    """Returns the library and the name of the transport of this package that a class is or derives from."""
    for cls in owner.__mro__:
        for library, module in _MODULES.items():
            if cls.__module__ == module:
                return library, cls.__name__
    return "httpx", owner.__name__
