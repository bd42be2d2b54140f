"""The public names: where they are from, what `help()` says about them, and that type checkers see the same ones."""

from __future__ import annotations

import ast
import importlib
import inspect
import pydoc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import httpcore_rs
from httpcore_rs import _engine, _names
from peers import echo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flavours import Flavour
    from libraries import Library
    from peers import Serve

# By module: the names of this project in it, and the package whose names the others are.
MODULES: dict[str, tuple[list[str], str]] = {
    "httpcore_rs": (
        [*_names.OWN, *_names.TRANSPORTS, *_names.CONNECTING, *_names.METRICS, *_names.INSTALLATION],
        "httpcore",
    ),
    "httpcore_rs.httpcore2": (_names.OWN, "httpcore2"),
    "httpcore_rs.httpx2": (_names.TRANSPORTS, "httpx2"),
}
OWN = [(module, name) for module, (names, _) in MODULES.items() for name in names]

# Classes of Rust that users meet. Those of streams are not public by name: `NetworkStream` is httpcore's interface.
STREAMS = [
    _engine.ResponseStream,
    _engine.AsyncResponseStream,
    _engine.NetworkStream,
    _engine.AsyncNetworkStream,
    _engine.TLSObject,
]


def get(module: str, name: str) -> Any:
    package = MODULES[module][1]
    pytest.importorskip(package, reason="httpcore2 and httpx2 exist for CPython 3.10 and newer")
    return getattr(importlib.import_module(module), name)


def methods(cls: type) -> Iterator[tuple[str, Any]]:
    """The public methods and properties that a class of this project defines, and its constructor."""
    for base in cls.__mro__:
        if base.__module__.startswith("httpcore_rs"):
            for name, value in vars(base).items():
                if not name.startswith("_") or name == "__init__":
                    yield name, value


@pytest.mark.parametrize(("module", "name"), OWN)
def test_a_public_name_says_where_it_is_from(module: str, name: str) -> None:
    value = get(module, name)
    # These serve both packages.
    assert value.__module__ == ("httpcore_rs" if name in ("Deadline", "RetryPolicy", "TLSConfig") else module)
    assert value.__name__ == value.__qualname__ == name
    assert pydoc.locate(f"{module}.{name}") is value


@pytest.mark.parametrize(("module", "name"), OWN)
def test_a_public_name_has_a_docstring_and_a_signature(module: str, name: str) -> None:
    value = get(module, name)
    assert value.__doc__
    signature = inspect.signature(value)
    assert "self" not in signature.parameters
    if not inspect.isclass(value):
        annotations = [parameter.annotation for parameter in signature.parameters.values()]
        assert inspect.Parameter.empty not in [*annotations, signature.return_annotation]
        return
    assert not {"args", "kwargs", "options"} & {*signature.parameters}
    for method, function in methods(value):
        if callable(function) or isinstance(function, property):
            assert inspect.getdoc(function), f"{name}.{method}"
        if inspect.isfunction(function):
            parameters = [*inspect.signature(function).parameters.values()][1:]
            assert all(each.annotation is not inspect.Parameter.empty for each in parameters), f"{name}.{method}"


@pytest.mark.parametrize("cls", STREAMS, ids=lambda cls: cls.__name__)
def test_streams_are_documented(cls: type) -> None:
    assert cls.__module__ == "httpcore_rs"
    assert cls.__doc__
    for name, value in vars(cls).items():
        if not name.startswith("_"):
            assert value.__doc__, name
            assert callable(value) is False or inspect.signature(value), name


async def test_connections_of_pools_are_of_public_modules(flavour: Flavour, serve: Serve, library: Library) -> None:
    peer = serve(echo)
    pools = library.pools
    proxy = pools.Proxy(f"http://{peer.authority}")
    for arguments in ({}, {"proxy": proxy}):
        pool = getattr(pools, flavour.prefixed("ConnectionPool"))(**arguments)
        await flavour.call(pool, "request", "GET", peer.url)
        (connection,) = pool.connections
        assert type(connection).__module__ == pools.__name__
        assert type(connection).__doc__
        await flavour.call(pool, "close")


@pytest.mark.parametrize(("module", "package"), [(module, package) for module, (_, package) in MODULES.items()])
def test_type_checkers_see_the_same_names(module: str, package: str) -> None:
    pytest.importorskip(package, reason="httpcore2 and httpx2 exist for CPython 3.10 and newer")
    imported = importlib.import_module(module)
    source = Path(imported.__file__ or "")
    stub = source.with_suffix(".pyi")
    tree = ast.parse((stub if stub.exists() else source).read_text())
    static = {node.name for node in tree.body if isinstance(node, (ast.ClassDef, ast.FunctionDef))}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            static |= {alias.asname for alias in node.names if alias.asname == alias.name}
        elif isinstance(node, ast.Assign):
            static |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    public = {name for name in static if name and not name.startswith("_")}
    assert public == {*imported.__all__}
    assert all(getattr(imported, name) is not None for name in imported.__all__)


def test_no_name_is_listed_twice() -> None:
    assert len(httpcore_rs.__all__) == len({*httpcore_rs.__all__})
