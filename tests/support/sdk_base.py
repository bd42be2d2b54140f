"""An SDK over httpx or httpx2, behind a few methods that are the same for all, so that one test is for all of them."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.metadata
import inspect
import re
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

QUESTION: list[Any] = [{"role": "user", "content": "hi"}]


async def settled(value: Any) -> Any:
    """Returns the value, or what an awaitable returns."""
    return await value if inspect.isawaitable(value) else value


async def items(iterable: Any, is_async: bool) -> AsyncIterator[Any]:
    """Yields the items of an iterable, and closes it at the end. Some are of both kinds."""
    try:
        if is_async:
            async for item in iterable:
                yield item
        else:
            for item in iterable:
                yield item
    finally:
        close = (getattr(iterable, "aclose", None) if is_async else None) or getattr(iterable, "close", None)
        if close is not None:
            await settled(close())


@dataclasses.dataclass
class Settings:
    """The use of an SDK by a test. `timeout` in seconds; `arguments` are those of transports in the explicit way."""

    url: str
    is_async: bool
    is_explicit: bool = False
    retries: int = 0
    timeout: float = 30.0
    arguments: dict[str, Any] = dataclasses.field(default_factory=dict)


class Sdk:
    """A client of an SDK. `ask` sends a request, `pieces` reads a stream of events."""

    distribution: ClassVar[str]
    # Those in which it can be used, and in which it can be given a transport.
    flavours: ClassVar[tuple[str, ...]] = ("sync", "asyncio")
    explicit_flavours: ClassVar[tuple[str, ...]] = ("sync", "asyncio")
    # Whether it sends a request again that was answered with status 429, and whether its clients have a timeout.
    retries: ClassVar[bool] = True
    # Whether its exceptions tell the status of a response.
    statuses: ClassVar[bool] = True
    # Whether it gives the events of a stream to its caller one by one.
    streams: ClassVar[bool] = True
    # The options of its own that it sets on sockets, if it does.
    keepalive: ClassVar[bool] = False

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.client: Any = None

    @classmethod
    def library(cls) -> Any:
        """Returns httpx or httpx2, on which the installed version is built."""
        requires = importlib.metadata.requires(cls.distribution) or []
        names = {re.split(r"[^\w.-]", requirement)[0] for requirement in requires if "extra ==" not in requirement}
        return importlib.import_module("httpx2" if "httpx2" in names else "httpx")

    @classmethod
    def gives_streams_back(cls) -> bool:
        """Returns whether the SDK itself lets go of the response of a stream that its caller drops."""
        return True

    @classmethod
    def package_name(cls) -> str:
        """Returns the name of the module with the transports for that library."""
        return "httpcore_rs.httpx2" if cls.library().__name__ == "httpx2" else "httpcore_rs"

    def transport(self, **arguments: Any) -> Any:
        package: Any = importlib.import_module(self.package_name())
        make = package.AsyncTransport if self.settings.is_async else package.SyncTransport
        return make(**self.settings.arguments, **arguments)

    def http_client(self, **arguments: Any) -> Any:
        """Returns a client of httpx over a transport of httpcore_rs."""
        library = self.library()
        make = library.AsyncClient if self.settings.is_async else library.Client
        return make(transport=self.transport(), timeout=self.settings.timeout, **arguments)

    async def __aenter__(self) -> Sdk:
        self.open()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    def open(self) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        await settled(self.client.close())

    async def ask(self, model: str) -> str:
        raise NotImplementedError

    def pieces(self, model: str) -> AsyncIterator[str]:
        raise NotImplementedError

    def status_of(self, error: Exception) -> int | None:
        """Returns the status of a response that was made an exception of."""
        return getattr(error, "status_code", None)

    def timeouts(self) -> tuple[type[Exception], ...]:
        """Returns the exceptions for a response that is too late."""
        return (self.library().TimeoutException,)
