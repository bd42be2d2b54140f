"""The drive loops: they run an operation of the engine in a thread or in a task.

An operation returns an effect where it needs something that the engine does not do: running code of users, calling
Python's libraries, waiting on an event loop. The loops carry effects out in the frames and in the context of the
caller, with no frame of the engine below.
"""

from __future__ import annotations

import functools
import typing

from ._engine import Operation

if typing.TYPE_CHECKING:
    Effect = typing.Union[functools.partial[typing.Any], typing.Awaitable[typing.Any]]


def finish(result: typing.Any) -> typing.Any:
    """Returns the result of a call of the engine: the value it returned or, if that is an operation, its result."""
    return drive(result) if type(result) is Operation else result


def drive(operation: Operation) -> typing.Any:
    """Runs an operation in this thread and returns its result."""
    argument: typing.Any = None
    is_raised = False
    while True:
        try:
            effect = operation.throw(argument) if is_raised else operation.poll(argument)
            if effect is None:
                argument = None
                return operation.result()
            argument = effect()
            is_raised = False
        # Also `KeyboardInterrupt` between two calls. `throw` raises an exception again that the engine does not handle.
        except BaseException as exc:  # noqa: PERF203
            if operation.is_over():
                # Where a frame refers to an exception that has this frame in its traceback, only the garbage collector
                # frees both.
                argument = None
                raise
            argument, is_raised = exc, True


async def adrive(operation: Operation) -> typing.Any:
    """Runs an operation in this task and returns its result. Cancelling the task closes the connection at once."""
    argument: typing.Any = None
    is_raised = False
    while True:
        try:
            effect = operation.throw(argument) if is_raised else operation.poll(argument)
            if effect is None:
                argument = None
                return operation.result()
            # Effects that need no waiting are partial functions; the others are awaitables.
            argument = effect() if type(effect) is functools.partial else await effect
            is_raised = False
        # Also a cancellation. `throw` raises an exception again that the engine does not handle.
        except BaseException as exc:  # noqa: PERF203
            if operation.is_over():
                # Where a frame refers to an exception that has this frame in its traceback, only the garbage collector
                # frees both.
                argument = None
                raise
            argument, is_raised = exc, True
