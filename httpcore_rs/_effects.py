"""The effects that operations of the engine return, for Python to carry out."""

from __future__ import annotations

import builtins
import functools
import inspect
import select
import sys
import typing

from ._coroutines import close_coroutine
from ._drive import adrive, drive
from ._engine import set_green
from ._hosts import shield
from ._ready_chunks import ready_chunks
from ._resolver import resolve
from ._sockets import socket_patches

if typing.TYPE_CHECKING:
    from httpcore import AsyncNetworkStream, NetworkStream

    from ._engine import Operation

__all__ = [
    "aauthenticate",
    "acall",
    "aclose_streams",
    "aconnect",
    "async_iterator",
    "authenticate",
    "awaited",
    "call",
    "check_addresses",
    "close_streams",
    "connect",
    "detect_monkey_patches",
    "is_readable",
    "iter",
    "list",
    "method",
    "next",
    "nothing",
    "pool_wait",
    "ready_chunks",
    "resolve",
    "socket_patches",
    "wait",
]

# For request bodies and their trailer fields. The engine looks up all effects in this module.
iter = builtins.iter  # noqa: A001
list = builtins.list  # noqa: A001
next = builtins.next  # noqa: A001


def nothing() -> None:
    """Does nothing. Python runs pending signal handlers before it calls this."""


async def awaited(call: typing.Callable[[], typing.Awaitable[typing.Any]]) -> typing.Any:
    """Awaits the result of `call`, in the frames of the task."""
    return await call()


def call(callback: typing.Callable[..., object], *args: object) -> object:
    """Calls a function of the user's and returns its result. Raises `TypeError` for one that is async."""
    result = callback(*args)
    if inspect.isawaitable(result):
        close_coroutine(result)
        name = getattr(callback, "__qualname__", type(callback).__qualname__)
        raise TypeError(f"{name} must be a plain function: a sync request cannot wait for its result")
    return result


async def acall(callback: typing.Callable[..., object], *args: object) -> object:
    """Calls a function of the user's, of either kind, and returns its result."""
    result = callback(*args)
    return await result if inspect.isawaitable(result) else result


def authenticate(callback: typing.Callable[..., object], *challenge: typing.Any) -> object:
    """Asks a callback for the headers that answer a proxy, and returns them as pairs."""
    from ._proxy_challenge import ProxyChallenge, pairs  # As below.

    return pairs(call(callback, ProxyChallenge(*challenge)))


async def aauthenticate(callback: typing.Callable[..., object], *challenge: typing.Any) -> object:
    """Asks a callback of either kind for the headers that answer a proxy, and returns them as pairs."""
    from ._proxy_challenge import ProxyChallenge, pairs  # As below.

    return pairs(await acall(callback, ProxyChallenge(*challenge)))


def check_addresses(*question: typing.Any) -> typing.Any:
    """Asks a connect policy about addresses."""
    from ._connect_policy import check_addresses  # As below.

    return check_addresses(*question)


def pool_wait(*report: typing.Any) -> None:
    """Reports that a request has waited for long."""
    from ._pool_wait import pool_wait  # Few programs need it: the package is imported without it.

    pool_wait(*report)


def method(target: object, name: str, *args: object, **kwargs: object) -> typing.Any:
    """Calls a method of a network backend or of one of its streams."""
    return getattr(target, name)(*args, **kwargs)


def async_iterator(body: typing.Any) -> typing.Any:
    """Returns the iterator of a request body. Raises `TypeError` if the body is no async iterable."""
    try:
        return body.__aiter__()
    except Exception as exc:
        name = type(body).__name__
        raise TypeError(f"the body of a request to an async pool must be an async iterable, not {name}") from exc


def connect(target: object, name: str, kwargs: dict[str, typing.Any]) -> tuple[NetworkStream, bool]:
    """Returns a new stream of a network backend, and whether ALPN has selected HTTP/2 on it."""
    stream = getattr(target, name)(**kwargs)
    return stream, _has_selected_http2(stream)


async def aconnect(target: object, name: str, kwargs: dict[str, typing.Any]) -> tuple[AsyncNetworkStream, bool]:
    """Returns a new stream of an async network backend, and whether ALPN has selected HTTP/2 on it."""
    stream = await getattr(target, name)(**kwargs)
    return stream, _has_selected_http2(stream)


def _has_selected_http2(stream: NetworkStream | AsyncNetworkStream) -> bool:
    ssl_object = stream.get_extra_info("ssl_object")
    return ssl_object is not None and ssl_object.selected_alpn_protocol() == "h2"


def is_readable(stream: NetworkStream | AsyncNetworkStream) -> bool:
    """Returns whether an idle stream has something to read: usually its end."""
    return bool(stream.get_extra_info("is_readable"))


def close_streams(resets: list[Operation], streams: list[NetworkStream]) -> None:
    """Sends all resets and closes all streams, those of a network backend. Then raises their first exception."""
    failure: BaseException | None = None
    steps: list[typing.Callable[[], object]] = [functools.partial(drive, reset) for reset in resets]
    steps += [stream.close for stream in streams]
    for step in steps:
        try:
            step()
        except BaseException as exc:  # noqa: BLE001, PERF203  # The others are closed as well.
            failure = failure or exc
    if failure is not None:
        raise failure


async def aclose_streams(resets: list[Operation], streams: list[AsyncNetworkStream]) -> None:
    """Does what `close_streams` does, also in a task that is cancelled."""
    failure: BaseException | None = None
    with shield():
        steps: list[typing.Callable[[], typing.Awaitable[object]]] = [
            functools.partial(adrive, reset) for reset in resets
        ]
        steps += [stream.aclose for stream in streams]
        for step in steps:
            try:
                await step()
            except Exception as exc:  # noqa: BLE001, PERF203  # The others are closed as well.
                failure = failure or exc
    if failure is not None:
        raise failure


def wait(readers: list[int], writers: list[int], timeout: float | None) -> None:
    """Waits for descriptors with the `select` of a greenlet library, which lets other greenlets run."""
    select.select(readers, writers, [], timeout)


def detect_monkey_patches() -> None:
    """Makes threads wait with `select` where gevent or eventlet has replaced it: there, threads are greenlets."""
    gevent, eventlet = sys.modules.get("gevent.monkey"), sys.modules.get("eventlet.patcher")
    if (gevent is not None and gevent.is_module_patched("select")) or (
        eventlet is not None and eventlet.is_monkey_patched("select")
    ):
        set_green()
