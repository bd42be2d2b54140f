"""Base classes of pools and connections: the `with` statements, and type parameters."""

from __future__ import annotations

import typing

if typing.TYPE_CHECKING:
    import types
    from typing import Generic

    from httpcore import (
        AsyncConnectionInterface,
        AsyncNetworkBackend,
        AsyncNetworkStream,
        ConnectionInterface,
        NetworkBackend,
        NetworkStream,
    )
    from typing_extensions import Self
else:
    # Only type checkers need these. When the program runs, httpcore may be missing, and httpcore2 in its place.
    AsyncNetworkBackend = AsyncNetworkStream = NetworkBackend = NetworkStream = object
    AsyncConnectionInterface = ConnectionInterface = object

    class Generic:
        """Takes the place of `typing.Generic`, whose own methods would appear in the `help()` of each class.

        Without `__slots__`: `install(httpcore=True)` needs pools whose objects are laid out as httpcore's are.
        """

        def __class_getitem__(cls, parameters: object) -> type:
            """Returns the class itself: type parameters have no effect when the program runs."""
            return cls


__all__ = [
    "AsyncConnectionInterface",
    "AsyncContextManager",
    "AsyncNetworkBackend",
    "AsyncNetworkStream",
    "Backend",
    "ConnectionInterface",
    "Generic",
    "Interface",
    "NetworkBackend",
    "NetworkStream",
    "Stream",
    "SyncContextManager",
]

# The classes of network backends, network streams and connections: those for threads or those for event loops.
Backend = typing.TypeVar("Backend")
Stream = typing.TypeVar("Stream", bound="NetworkStream | AsyncNetworkStream")
Interface = typing.TypeVar("Interface")


class SyncContextManager:
    """Closes the object at the end of a `with` block."""

    if typing.TYPE_CHECKING:

        def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: types.TracebackType | None = None,
    ) -> None:
        self.close()


class AsyncContextManager:
    """Closes the object at the end of an `async with` block."""

    if typing.TYPE_CHECKING:

        async def aclose(self) -> None: ...

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: types.TracebackType | None = None,
    ) -> None:
        await self.aclose()
