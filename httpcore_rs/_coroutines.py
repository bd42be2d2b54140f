"""Coroutines among the functions of users and among what they return."""

from __future__ import annotations

import collections.abc
import inspect


def is_coroutine_function(target: object) -> bool:
    """Returns whether a callable is certain to return a coroutine."""
    call = vars(type(target)).get("__call__")
    return inspect.iscoroutinefunction(target) or inspect.iscoroutinefunction(call)


def close_coroutine(result: object) -> None:
    """Closes a coroutine that is not going to be awaited, of which Python would warn. Does nothing to other objects."""
    if isinstance(result, collections.abc.Coroutine):
        result.close()
