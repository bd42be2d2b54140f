"""Reports of requests that have waited in a pool for long: `pool_wait_warning` and `on_pool_wait`."""

from __future__ import annotations

import dataclasses
import logging
import typing

from ._names import public

logger = logging.getLogger("httpcore_rs.pool")

# The number of origins that a text names.
_SHOWN = 3


@public
@dataclasses.dataclass(frozen=True)
class Holder:
    """The requests of one origin that use connections of a pool.

    Attributes:
        origin: The origin: `"https://www.example.com:443"`.
        requests: The number of its requests that use or make a connection.
        oldest: Seconds for which the oldest of them has had its connection.
    """

    origin: str
    requests: int
    oldest: float

    def __str__(self) -> str:
        requests = "1 request" if self.requests == 1 else f"{self.requests} requests"
        return f"{self.origin} ({requests}, the oldest for {self.oldest:.1f} s)"


@public
@dataclasses.dataclass(frozen=True)
class PoolWait:
    """A request that has waited for a connection for long. `on_pool_wait` gets it; its text is in the log.

    Attributes:
        origin: The origin that the request goes to.
        waited: Seconds for which it has waited so far.
        max_connections: The limit of the pool; `None` if there is none.
        waiting: The number of requests that wait, this one included.
        holders: The origins whose requests use the connections, the one with most of them first.
    """

    origin: str
    waited: float
    max_connections: int | None
    waiting: int
    holders: tuple[Holder, ...]

    def __str__(self) -> str:
        shown = ", ".join(map(str, self.holders[:_SHOWN])) or "no request"
        more = len(self.holders) - _SHOWN
        return (
            f"a request to {self.origin} has waited {self.waited:.1f} s for a connection; "
            f"max_connections={self.max_connections}, {self.waiting} waiting; "
            f"in use by {shown}{f' and {more} more' if more > 0 else ''}"
        )


def pool_wait(
    callback: typing.Callable[[PoolWait], object] | None,
    origin: str,
    waited: float,
    max_connections: int | None,
    waiting: int,
    holders: list[tuple[str, int, float]],
) -> None:
    """Reports that a request has waited for long. An exception of the callback is logged: the request goes on."""
    wait = PoolWait(origin, waited, max_connections, waiting, tuple(Holder(*each) for each in holders))
    logger.warning("%s", wait)
    if callback is not None:
        try:
            callback(wait)
        except Exception:
            logger.exception("on_pool_wait raised an exception")
