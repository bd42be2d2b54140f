"""The drive loop: how a task runs an operation of the engine.

What the engine cannot do itself (wait on the event loop, run the caller's code) it hands out as an awaitable.
Everything is awaited here, in the caller's own task, with his context variables and cancel scopes.
"""

from __future__ import annotations

import functools
import typing

from ._hosts import shield

if typing.TYPE_CHECKING:
    from httpcore import AsyncNetworkStream

    from ._engine import Exchange


async def drive(exchange: Exchange) -> typing.Any:
    """Runs an operation to its end and returns its result. Cancelling it closes its connection there and then."""
    wanted = exchange.poll(None)
    while wanted is not None:
        try:
            answer = await wanted
        except BaseException as exc:  # noqa: BLE001, PERF203  # A cancellation, say. `throw` raises it again.
            wanted = exchange.throw(exc)
        else:
            wanted = exchange.poll(answer)
    return exchange.result()


async def close_streams(
    resets: list[Exchange], streams: list[AsyncNetworkStream], failure: BaseException | None
) -> None:
    """Sends resets and closes streams of a `network_backend`, all of them, also in a task that is being cancelled.

    Then raises `failure`, which was there first, or else what the first stream raised.
    """
    with shield():
        steps: list[typing.Callable[[], typing.Awaitable[object]]] = [
            functools.partial(drive, reset) for reset in resets
        ]
        steps += [stream.aclose for stream in streams]
        for step in steps:
            try:
                await step()
            except Exception as exc:  # noqa: BLE001, PERF203  # The others are closed as well.
                failure = failure or exc
    if failure is not None:
        raise failure
