"""httpx and its fork httpx2: one test for both, by way of the fixture `library`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import httpcore_rs

if TYPE_CHECKING:
    from flavours import Flavour

LIBRARIES = {"httpx": "httpcore", "httpx2": "httpcore2"}


class Library:
    """One of the two libraries, by its own names, with the transports and pools that httpcore_rs has for it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.module = importlib.import_module(name)
        # The package below it: the transports turn its exceptions into the library's.
        self.core = importlib.import_module(LIBRARIES[name])
        package: Any = httpcore_rs if name == "httpx" else httpcore_rs.httpx2
        self.package_name = package.__name__
        self.SyncTransport, self.AsyncTransport = package.SyncTransport, package.AsyncTransport
        self.pools: Any = httpcore_rs if name == "httpx" else httpcore_rs.httpcore2

    def __getattr__(self, name: str) -> Any:
        return getattr(self.module, name)

    def transport(self, flavour: Flavour, **arguments: Any) -> Any:
        return (self.AsyncTransport if flavour.is_async else self.SyncTransport)(**arguments)

    def client(self, flavour: Flavour, using: Any = None, **arguments: Any) -> Client:
        """Returns a client over a transport of httpcore_rs, or over another one."""
        return Client(flavour, self, transport=using or self.transport(flavour), **arguments)


class Client:
    """The client of the flavour, as an async context manager."""

    def __init__(self, flavour: Flavour, library: Library, **arguments: Any) -> None:
        self.flavour = flavour
        kind = library.AsyncClient if flavour.is_async else library.Client
        self.raw: Any = kind(**arguments)

    async def __aenter__(self) -> Client:
        await self.flavour.call(self.raw, "__enter__")
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.flavour.call(self.raw, "__exit__", *exc_info)

    async def send(self, method: str, url: str, **arguments: Any) -> Any:
        return await self.flavour.call(self.raw, "request", method, url, **arguments)
