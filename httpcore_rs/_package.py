"""httpcore and its fork httpcore2: the package whose models, exceptions, interfaces and backends a pool uses.

A request shows by its class which of the two it belongs to. This module is for what happens without a request.
"""

from __future__ import annotations

import functools
import importlib
import typing

from ._sockets import PythonSockets


class Package:
    """The first of `names` that is installed. `public_module` is the module of this project that stands for it."""

    def __init__(self, *names: str, public_module: str) -> None:
        self._names = names
        self.public_module = public_module

    @functools.cached_property
    def module(self) -> typing.Any:
        """The package, imported."""
        for name in self._names:
            try:
                return importlib.import_module(name)
            except ModuleNotFoundError as exc:  # noqa: PERF203  # There are two at most.
                if exc.name != name:
                    raise
        raise ModuleNotFoundError(f"httpcore_rs needs {' or '.join(self._names)}, which is not installed")

    @functools.cached_property
    def name(self) -> str:
        """The name of the package: "httpcore2" also where httpx2 has put it in httpcore's place (`alias_httpx()`)."""
        name: str = self.module.__name__
        return name

    @functools.cached_property
    def models(self) -> typing.Any:
        """The module with the models and with the functions that check their arguments."""
        return importlib.import_module(f"{self.name}._models")

    @functools.cached_property
    def proxy(self) -> typing.Any:
        """The class `Proxy`. httpcore has one from 1.0.7 on."""
        try:
            return self.module.Proxy
        except AttributeError:
            return importlib.import_module("._proxy_model", __package__).proxy_class(self.models)

    @property
    def sync_backend(self) -> typing.Any:
        """The class of the network backend for threads."""
        return self.module.SyncBackend

    @functools.cached_property
    def async_backend(self) -> typing.Any:
        """The class of the network backend for the running event loop."""
        return importlib.import_module(f"{self.name}._backends.auto").AutoBackend

    def python_sockets(self, is_async: bool) -> PythonSockets:
        """Returns the network backend that connects where a program has replaced Python's sockets."""
        return self._python_sockets[is_async]

    @functools.cached_property
    def _python_sockets(self) -> tuple[PythonSockets, PythonSockets]:
        return PythonSockets(self.sync_backend), PythonSockets(self.async_backend)


# httpcore2 stands in where only httpcore2 is installed.
HTTPCORE = Package("httpcore", "httpcore2", public_module="httpcore_rs")
HTTPCORE2 = Package("httpcore2", public_module="httpcore_rs.httpcore2")


def package_of(model: object) -> Package:
    """Returns the package of a model, such as an `Origin`: the one that defines its class or a base of that class."""
    modules = {cls.__module__.partition(".")[0] for cls in type(model).__mro__}
    return HTTPCORE2 if "httpcore2" in modules else HTTPCORE
