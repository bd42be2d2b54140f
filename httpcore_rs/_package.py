"""httpcore and its fork httpcore2: whose models, exceptions, interfaces and backends the users of a pool know.

Requests tell by themselves which of the two they are of; what is here is for everything that has no request yet.
"""

from __future__ import annotations

import functools
import importlib
import typing


class Package:
    """The first of `names` that is installed."""

    def __init__(self, *names: str) -> None:
        self._names = names

    @functools.cached_property
    def module(self) -> typing.Any:
        """The package, imported."""
        for name in self._names:
            try:
                return importlib.import_module(name)
            except ModuleNotFoundError as exc:  # noqa: PERF203  # Two, once.
                if exc.name != name:
                    raise
        raise ModuleNotFoundError(f"httpcore_rs needs {' or '.join(self._names)}, which is not installed")

    @functools.cached_property
    def name(self) -> str:
        """The package's own name. httpx2 can put httpcore2 in the place of httpcore (`alias_httpx()`)."""
        name: str = self.module.__name__
        return name

    @functools.cached_property
    def models(self) -> typing.Any:
        """Models, and the functions that check what they are made of."""
        return importlib.import_module(f"{self.name}._models")

    @property
    def sync_backend(self) -> typing.Any:
        """The class of the backend for threads."""
        return self.module.SyncBackend

    @functools.cached_property
    def async_backend(self) -> typing.Any:
        """The class of the backend for whichever loop is running."""
        return importlib.import_module(f"{self.name}._backends.auto").AutoBackend


# Those who name neither mean httpcore.
HTTPCORE = Package("httpcore", "httpcore2")
HTTPCORE2 = Package("httpcore2")


def package_of(model: object) -> Package:
    """The package that an `Origin`, say, belongs to: the one that its class, or a class above it, was defined in."""
    modules = {cls.__module__.partition(".")[0] for cls in type(model).__mro__}
    return HTTPCORE2 if "httpcore2" in modules else HTTPCORE
