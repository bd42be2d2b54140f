"""The drive loops: how a thread and a task run an operation of the engine.

What the engine cannot do itself (run code of users, call Python's libraries, wait on an event loop) it returns as an
effect. Effects are carried out here, in the frames and the context of the caller, with nothing of the engine below.
"""

from __future__ import annotations

import functools
import typing

from ._engine import Operation

if typing.TYPE_CHECKING:
    Effect = typing.Union[functools.partial[typing.Any], typing.Awaitable[typing.Any]]


def finish(result: typing.Any) -> typing.Any:
    """The value that a call of the engine returned, or that of the operation which it returned in its place."""
    return drive(result) if type(result) is Operation else result


def drive(operation: Operation) -> typing.Any:
    """Runs an operation in this thread and returns its result."""
    step: typing.Callable[[typing.Any], typing.Any] = operation.poll
    argument: typing.Any = None
    while True:
        try:
            effect = step(argument)
            if effect is None:
                argument = None
                return operation.result()
            argument = effect()
            step = operation.poll
        # Ctrl-C, say, also between two calls. `throw` raises again what does not concern the engine.
        except BaseException as exc:  # noqa: PERF203
            if operation.is_over():
                # An exception that a frame of its own traceback refers to would stay until it is collected as garbage.
                argument = None
                raise
            step, argument = operation.throw, exc


async def adrive(operation: Operation) -> typing.Any:
    """Runs an operation in this task and returns its result. Cancelling it closes its connection there and then."""
    step: typing.Callable[[typing.Any], typing.Any] = operation.poll
    argument: typing.Any = None
    while True:
        try:
            effect = step(argument)
            if effect is None:
                argument = None
                return operation.result()
            # Most effects of a task are awaited; some are only called.
            argument = effect() if type(effect) is functools.partial else await effect
            step = operation.poll
        # A cancellation, say. `throw` raises again what does not concern the engine.
        except BaseException as exc:  # noqa: PERF203
            if operation.is_over():
                # An exception that a frame of its own traceback refers to would stay until it is collected as garbage.
                argument = None
                raise
            step, argument = operation.throw, exc
