"""Single requests without a pool: `request()` and `stream()`."""

from __future__ import annotations

import contextlib
import inspect
import typing

if typing.TYPE_CHECKING:
    from httpcore import Response
    from typing_extensions import Concatenate, ParamSpec

    from ._sync import ConnectionPool

    Arguments = ParamSpec("Arguments")
    Stream = contextlib.AbstractContextManager[Response]


def make_request(
    pool_class: type[ConnectionPool],
    method: typing.Callable[Concatenate[ConnectionPool, Arguments], Response],
    module: str,
) -> typing.Callable[Arguments, Response]:
    """Returns the function `request()` of a module. It takes the arguments of a pool's method."""

    def request(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Response:
        """Sends a request over a connection of its own and returns its response, whose body has been read to the end.

        Takes the arguments of `ConnectionPool.request()`. Raises httpcore's exceptions.
        """
        with pool_class() as pool:
            return method(pool, *args, **kwargs)

    _describe(request, method, module)
    return request


def make_stream(
    pool_class: type[ConnectionPool],
    method: typing.Callable[Concatenate[ConnectionPool, Arguments], Stream],
    module: str,
) -> typing.Callable[Arguments, Stream]:
    """Returns the function `stream()` of a module. It takes the arguments of a pool's method."""

    @contextlib.contextmanager
    def stream(*args: Arguments.args, **kwargs: Arguments.kwargs) -> typing.Iterator[Response]:
        """Sends a request over a connection of its own; its response can be read within the `with` block.

        Takes the arguments of `ConnectionPool.stream()`. Raises httpcore's exceptions.
        """
        with pool_class() as pool, method(pool, *args, **kwargs) as response:
            yield response

    _describe(stream, method, module)
    return stream


def _describe(function: typing.Any, method: typing.Callable[..., object], module: str) -> None:
    """Gives a function the signature of a method without `self`, and the module that users import it from."""
    signature = inspect.signature(method)
    _, *parameters = signature.parameters.values()
    function.__signature__ = signature.replace(parameters=parameters)
    function.__module__ = module
    function.__qualname__ = function.__name__
