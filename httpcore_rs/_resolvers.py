"""Resolvers of users (`resolver=`), and those that are ready: fixed addresses, a cache, and the system's.

A resolver is a function `(host, port) -> addresses`, for the pools of event loops an async one, or an object with the
methods `resolve()` and `aresolve()`. It is called for names only, and by one caller at a time for a host and port: the
others wait for its result (`_resolver.py`).
"""

from __future__ import annotations

import inspect
import socket
import sys
import time
import typing

from ._coroutines import close_coroutine, is_coroutine_function
from ._names import public
from ._resolver import Addresses, copy_of

if typing.TYPE_CHECKING:
    import ipaddress

    IPAddress = typing.Union[str, ipaddress.IPv4Address, ipaddress.IPv6Address]
    Resolve = typing.Callable[[str, int], typing.Iterable[IPAddress]]
    AsyncResolve = typing.Callable[[str, int], typing.Awaitable[typing.Iterable[IPAddress]]]

    class SyncResolver(typing.Protocol):
        """A resolver for the pools of threads."""

        def resolve(self, host: str, port: int) -> typing.Iterable[IPAddress]: ...

    class AsyncResolver(typing.Protocol):
        """A resolver for the pools of event loops."""

        async def aresolve(self, host: str, port: int) -> typing.Iterable[IPAddress]: ...

    Resolver = typing.Union[SyncResolver, AsyncResolver, Resolve, AsyncResolve]

# Tests replace it.
_now = time.monotonic

_ANYTHING = "a function of a host and a port, or an object with resolve() and aresolve()"


# What the engine calls.


class Lookup:
    """The lookups of a resolver. Two of one resolver are equal, so that all pools with it share them."""

    __slots__ = ("_call", "_resolver")

    def __init__(self, resolver: Resolver, *, is_async: bool) -> None:
        self._resolver = resolver
        self._call: typing.Any = _method(resolver, is_async=is_async)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Lookup) and other._resolver is self._resolver

    def __hash__(self) -> int:
        return id(self._resolver)

    def __call__(self, host: str, port: int) -> Addresses:
        """Returns the addresses in the form of `socket.getaddrinfo`."""
        found = self._call(host, port)
        if inspect.isawaitable(found):
            close_coroutine(found)
            raise TypeError(f"{_name(self._resolver)} must return addresses here, and has returned a coroutine")
        return _entries(self._resolver, host, port, found)


class AsyncLookup(Lookup):
    """The lookups of a resolver in event loops."""

    __slots__ = ()

    async def __call__(self, host: str, port: int) -> Addresses:  # type: ignore[override]  # Another kind of call.
        """Returns the addresses in the form of `socket.getaddrinfo`."""
        found = self._call(host, port)
        if not inspect.isawaitable(found):
            raise TypeError(
                f"{_name(self._resolver)} must be async here: an async pool cannot wait for {type(found).__name__}"
            )
        return _entries(self._resolver, host, port, await found)


def lookup(resolver: Resolver, *, is_async: bool) -> Lookup:
    """Returns what the engine calls for the resolver that a pool was given.

    Raises `TypeError` for an object that is no resolver, or none for this kind of pool.
    """
    return AsyncLookup(resolver, is_async=True) if is_async else Lookup(resolver, is_async=False)


def _method(resolver: typing.Any, *, is_async: bool) -> typing.Any:
    """Returns the function of a resolver for threads or for event loops."""
    if isinstance(resolver, type):
        raise TypeError(f"resolver must be {_ANYTHING}, not the class {resolver.__name__}: pass {resolver.__name__}()")
    methods = {name: getattr(resolver, name, None) for name in ("resolve", "aresolve")}
    found = methods["aresolve" if is_async else "resolve"]
    if found is not None:
        return found
    kind, needed = ("async", "aresolve(), or an async function") if is_async else ("sync", "resolve(), or a function")
    if methods["resolve"] or methods["aresolve"] or (not is_async and is_coroutine_function(resolver)):
        raise TypeError(
            f"resolver must be {_ANYTHING}: {_name(resolver)} has no way to be used by a {kind} pool: {needed}"
        )
    if (
        is_async
        and inspect.isfunction(resolver)
        and not is_coroutine_function(resolver)
        and resolver.__name__ != "<lambda>"
    ):
        raise TypeError(f"resolver must be {_ANYTHING}: {_name(resolver)} would block the event loop: make it async")
    if not callable(resolver):
        raise TypeError(f"resolver must be {_ANYTHING}, not {type(resolver).__name__}")
    return resolver


def _name(resolver: object) -> str:
    return f"the resolver {getattr(resolver, '__qualname__', type(resolver).__qualname__)}"


def _entries(resolver: object, host: str, port: int, found: typing.Any) -> Addresses:
    """Returns addresses in the form in which `socket.getaddrinfo` lists them."""
    if isinstance(found, (str, bytes)) or not hasattr(found, "__iter__"):
        raise TypeError(f"{_name(resolver)} must return a list of IP addresses, not {type(found).__name__}")
    addresses = [_entry(resolver, address, port) for address in found]
    if not addresses:
        raise socket.gaierror(socket.EAI_NONAME, f"{_name(resolver)} has no address for {host}")
    return addresses


def _entry(
    resolver: object, address: object, port: int
) -> tuple[typing.Any, typing.Any, int, str, tuple[typing.Any, ...]]:
    import ipaddress

    try:
        if not isinstance(address, (str, ipaddress.IPv4Address, ipaddress.IPv6Address)):
            raise TypeError  # noqa: TRY301  # An integer would be an address for `ipaddress`.
        text, _, zone = str(ipaddress.ip_address(address)).partition("%")
    except (TypeError, ValueError):
        raise TypeError(f"{_name(resolver)} must return IP addresses, not {address!r}") from None
    scope = 0 if not zone else int(zone) if zone.isdigit() else socket.if_nametoindex(zone)
    return (0, 0, 0, "", (text, port, 0, scope))


# Those that are ready.


@public
class SystemResolver:
    """The resolver of the operating system, which pools without `resolver=` use. For resolvers that ask it in turn."""

    def resolve(self, host: str, port: int) -> list[str]:
        """Returns the addresses of a host. Raises `OSError` for a name that does not exist."""
        return _texts(socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM))

    async def aresolve(self, host: str, port: int) -> list[str]:
        """Returns the addresses of a host, under asyncio or trio. Raises `OSError` for a name that does not exist."""
        from ._hosts import in_trio_task

        trio = sys.modules.get("trio")
        if trio is not None and in_trio_task(trio):
            return _texts(await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        import asyncio

        loop = asyncio.get_running_loop()
        return _texts(await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM))

    def __repr__(self) -> str:
        return "SystemResolver()"


def _texts(entries: typing.Iterable[typing.Any]) -> list[str]:
    """Returns the addresses that `socket.getaddrinfo` has found, each once."""
    found: dict[str, None] = {}
    for entry in entries:
        host, *rest = entry[4]
        if isinstance(host, str):
            scope = rest[2] if len(rest) > 2 and "%" not in host else 0
            found[f"{host}%{scope}" if scope else host] = None
    return list(found)


@public
class StaticHosts:
    """A resolver with fixed addresses for some hosts, as in a file `hosts`. TLS and `Host` keep the host's name.

    Raises `TypeError` for a value that is no list of IP addresses.

    Parameters:
        hosts: Mapping[str, Iterable[str | ipaddress.IPv4Address | ipaddress.IPv6Address]]
            The addresses of each host. Upper and lower case are the same.
        resolver: Resolver | None = None
            The resolver for all other hosts. `None` asks the operating system.

    """

    def __init__(
        self, hosts: typing.Mapping[str, typing.Iterable[IPAddress]], resolver: Resolver | None = None
    ) -> None:
        """Makes a resolver."""
        self._hosts: dict[str, list[str]] = {}
        for host, addresses in hosts.items():
            entries = _entries(self, host, 0, addresses)
            self._hosts[_normal(host)] = _texts(entries)
        self._resolver: Resolver = SystemResolver() if resolver is None else resolver
        _check_inner(self._resolver)

    def resolve(self, host: str, port: int) -> typing.Iterable[IPAddress]:
        """Returns the addresses of a host."""
        fixed = self._hosts.get(_normal(host))
        found: typing.Iterable[IPAddress] = fixed or _method(self._resolver, is_async=False)(host, port)
        return found

    async def aresolve(self, host: str, port: int) -> typing.Iterable[IPAddress]:
        """Returns the addresses of a host, in an event loop."""
        fixed = self._hosts.get(_normal(host))
        found: typing.Iterable[IPAddress] = fixed or await _method(self._resolver, is_async=True)(host, port)
        return found

    def __repr__(self) -> str:
        return f"StaticHosts({self._hosts}, {self._resolver!r})"


def _normal(host: str) -> str:
    return host.lower().rstrip(".")


def _check_inner(resolver: object) -> None:
    """Raises `TypeError` for an object that no pool can use as its resolver."""
    if isinstance(resolver, type) or not (
        callable(resolver) or hasattr(resolver, "resolve") or hasattr(resolver, "aresolve")
    ):
        raise TypeError(f"resolver must be {_ANYTHING}, not {resolver!r}")


class _Entry(typing.NamedTuple):
    expires: float
    addresses: list[IPAddress]
    error: Exception | None


@public
class CachingResolver:
    """A resolver that keeps the results of another one for a time. Threads and event loops may share it.

    Errors (`OSError`) are kept as well, so that a name that does not exist is not asked for with each request.

    Raises `TypeError` and `ValueError` for numbers that are none, or are negative.

    Parameters:
        resolver: Resolver | None = None
            The resolver that is asked. `None` asks the operating system.
        ttl: float = 60.0
            Seconds for which addresses are kept. The system's resolver does not tell how long they are valid.
        negative_ttl: float = 5.0
            Seconds for which an error is kept. 0 keeps none.
        maxsize: int = 1000
            The largest number of results, at least 1. The oldest one makes room for another.

    """

    def __init__(
        self,
        resolver: Resolver | None = None,
        *,
        ttl: float = 60.0,
        negative_ttl: float = 5.0,
        maxsize: int = 1000,
    ) -> None:
        """Makes a resolver; nothing is looked up yet."""
        for name, seconds in (("ttl", ttl), ("negative_ttl", negative_ttl)):
            if type(seconds) not in (int, float):
                raise TypeError(f"{name} must be a number of seconds, not {type(seconds).__name__}")
            if not seconds >= 0:
                raise ValueError(f"{name} must be a number of seconds from 0 on, not {seconds}")
        if not isinstance(maxsize, int):
            raise TypeError(f"maxsize must be an integer, not {type(maxsize).__name__}")
        if maxsize < 1:
            raise ValueError(f"maxsize must be at least 1, not {maxsize}")
        self._resolver: Resolver = SystemResolver() if resolver is None else resolver
        _check_inner(self._resolver)
        self._ttl, self._negative_ttl, self._maxsize = ttl, negative_ttl, maxsize
        # Each change is one atomic operation: a signal handler could find a lock held by its own thread.
        self._kept: dict[tuple[str, int], _Entry] = {}

    def resolve(self, host: str, port: int) -> list[IPAddress]:
        """Returns the addresses of a host."""
        key = (_normal(host), port)
        kept = self._get(key)
        if kept is not None:
            return kept
        call = _method(self._resolver, is_async=False)
        try:
            found = list(call(host, port))
        except (OSError, UnicodeError) as exc:
            self._keep_error(key, exc)
            raise
        return self._keep(key, found)

    async def aresolve(self, host: str, port: int) -> list[IPAddress]:
        """Returns the addresses of a host, in an event loop."""
        key = (_normal(host), port)
        kept = self._get(key)
        if kept is not None:
            return kept
        call = _method(self._resolver, is_async=True)
        try:
            found = list(await call(host, port))
        except (OSError, UnicodeError) as exc:
            self._keep_error(key, exc)
            raise
        return self._keep(key, found)

    def clear(self) -> None:
        """Forgets all results."""
        self._kept.clear()

    def __repr__(self) -> str:
        return (
            f"CachingResolver({self._resolver!r}, ttl={self._ttl}, negative_ttl={self._negative_ttl}, "
            f"maxsize={self._maxsize})"
        )

    def _get(self, key: tuple[str, int]) -> list[IPAddress] | None:
        entry = self._kept.get(key)
        if entry is None or _now() >= entry.expires:
            return None
        if entry.error is not None:
            raise copy_of(entry.error)
        return list(entry.addresses)

    def _keep(self, key: tuple[str, int], found: list[IPAddress]) -> list[IPAddress]:
        if found:
            self._add(key, _Entry(_now() + self._ttl, found, None))
        return list(found)

    def _keep_error(self, key: tuple[str, int], error: Exception) -> None:
        if self._negative_ttl:
            kept = copy_of(error)
            assert isinstance(kept, Exception)  # For type checkers: it has the same class.
            self._add(key, _Entry(_now() + self._negative_ttl, [], kept))

    def _add(self, key: tuple[str, int], entry: _Entry) -> None:
        # Behind all others: the first one is always the oldest.
        self._kept.pop(key, None)
        self._kept[key] = entry
        while len(self._kept) > self._maxsize:
            try:
                oldest = next(iter(self._kept))
            except (RuntimeError, StopIteration):  # Another thread has changed the dictionary.
                continue
            self._kept.pop(oldest, None)
