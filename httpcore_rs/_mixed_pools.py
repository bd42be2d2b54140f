"""Classes of pools that are httpcore's and of this package at the same time: what `install(httpcore=True)` makes.

An object of `httpcore.ConnectionPool` gets one of these classes in its constructor. `isinstance()` holds for both, and
methods that a subclass of httpcore's pool overrides come first:

    the subclass > a class of this package > httpcore's class
"""

from __future__ import annotations

import typing


def mixed_class(made: type, cls: type, pool: type) -> type | None:
    """Returns the class for objects of `made`, which is `cls` of httpcore or derives from it.

    Returns `None` if a subclass overrides what only httpcore's pools have, such as `create_connection()`, or if there
    can be no such class: objects of `made` then keep httpcore's engine.
    """
    between = made.__mro__[: made.__mro__.index(cls)]
    if any(name in vars(each) for each in between for name in _private_methods(cls, pool)):
        return None
    try:
        mixed = _derive(cls, (pool, cls))
        return mixed if made is cls else _derive(made, (made, mixed))
    except TypeError:
        return None


def _private_methods(cls: type, pool: type) -> set[str]:
    """Returns the names of the methods that httpcore's class has, and the one of this package has not."""
    return {name for name in dir(cls) if callable(getattr(cls, name)) and not hasattr(pool, name)}


def _derive(cls: type, bases: tuple[type, ...]) -> type:
    members: dict[str, typing.Any] = {name: getattr(cls, name) for name in ("__module__", "__qualname__", "__doc__")}
    return type(cls.__name__, bases, members)
