"""The constructors take httpcore's and httpx's arguments."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import httpcore
import httpx
import pytest

import httpcore_rs
from httpcore_rs._options import DEFAULTS

POOLS = ["ConnectionPool", "AsyncConnectionPool"]
PROXIES = ["HTTPProxy", "AsyncHTTPProxy", "SOCKSProxy", "AsyncSOCKSProxy"]
TRANSPORTS = {"SyncTransport": httpx.HTTPTransport, "AsyncTransport": httpx.AsyncHTTPTransport}


def parameters(function: Any) -> list[tuple[str, Any, Any]]:
    return [(each.name, each.kind, each.default) for each in inspect.signature(function).parameters.values()]


@pytest.mark.parametrize("name", POOLS)
@pytest.mark.parametrize("method", ["__init__", "request", "stream"])
def test_signatures_are_httpcores(name: str, method: str) -> None:
    tested = parameters(getattr(getattr(httpcore_rs, name), method))
    reference = parameters(getattr(getattr(httpcore, name), method))
    assert tested[: len(reference)] == reference
    # Arguments that httpcore does not have can be passed by name only.
    added = [(name, kind) for name, kind, _ in tested[len(reference) :]]
    options = [(option, inspect.Parameter.KEYWORD_ONLY) for option in DEFAULTS]
    assert added == (options if method == "__init__" else [])


@pytest.mark.parametrize("name", PROXIES)
def test_signatures_of_proxies_are_httpcores(name: str) -> None:
    tested = parameters(getattr(httpcore_rs, name).__init__)
    reference = parameters(getattr(httpcore, name).__init__)
    assert tested[: len(reference)] == reference
    assert all(kind is inspect.Parameter.KEYWORD_ONLY for _, kind, _ in tested[len(reference) :])


@pytest.mark.parametrize(("name", "reference"), TRANSPORTS.items())
def test_transports_take_httpxs_arguments(name: str, reference: Any) -> None:
    tested = dict(inspect.signature(getattr(httpcore_rs, name)).parameters)
    for parameter in inspect.signature(reference).parameters.values():
        assert parameter.name in tested
        if parameter.name != "limits":
            assert tested[parameter.name].default == parameter.default
    limits = tested["limits"].default
    expected = httpx.Limits(max_connections=100, max_keepalive_connections=20)
    for attribute in ("max_connections", "max_keepalive_connections", "keepalive_expiry"):
        assert getattr(limits, attribute) == getattr(expected, attribute)


@pytest.mark.parametrize("name", sorted({*httpcore_rs.__all__} - {"SOCKET_OPTION", "request", "stream"}))
def test_names_are_in_the_modules_that_they_claim(name: str) -> None:
    value = getattr(httpcore_rs, name)
    module = value.__module__.partition("._")[0]
    assert module in ("httpcore_rs", "httpcore")
    assert getattr(importlib.import_module(module), name) is value


@pytest.mark.parametrize("name", [*POOLS, *TRANSPORTS])
def test_some_protocol_must_be_spoken(name: str) -> None:
    with pytest.raises(ValueError, match="http1 and http2"):
        getattr(httpcore_rs, name)(http1=False)


@pytest.mark.parametrize("name", [*POOLS, *TRANSPORTS])
def test_unknown_arguments_are_a_type_error(name: str) -> None:
    with pytest.raises(TypeError, match="no_such_argument"):
        getattr(httpcore_rs, name)(no_such_argument=1)


@pytest.mark.parametrize("name", POOLS)
@pytest.mark.parametrize(
    "arguments",
    [
        {"max_connections": "many"},
        {"keepalive_expiry": "long"},
        {"retries": None},
        {"socket_options": [1]},
        {"ssl_context": "certificate.pem"},
    ],
)
def test_arguments_of_a_wrong_type_are_refused(name: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        getattr(httpcore_rs, name)(**arguments)


@pytest.mark.parametrize("name", POOLS)
def test_all_arguments_may_be_given_by_position(name: str) -> None:
    pool = getattr(httpcore_rs, name)(None, None, 5, 2, 1.5, True, False, 1, None, None, None, None)
    assert repr(pool) == f"<{name} [Requests: 0 active, 0 queued | Connections: 0 active, 0 idle]>"


MODELS = ["URL", "Origin", "Proxy", "Request", "Response"]
PUBLIC = {name: getattr(httpcore, name) for name in httpcore.__all__}
EXCEPTIONS = [name for name, value in PUBLIC.items() if isinstance(value, type) and issubclass(value, Exception)]


@pytest.mark.parametrize("name", [*MODELS, *EXCEPTIONS])
def test_models_and_exceptions_are_httpcores_own(name: str) -> None:
    assert getattr(httpcore_rs, name) is getattr(httpcore, name)
    assert name in httpcore_rs.__all__


@pytest.mark.parametrize("name", POOLS)
def test_pools_can_be_subclassed(name: str) -> None:
    class Mine(getattr(httpcore_rs, name)):  # type: ignore[misc]
        pass

    assert repr(Mine()) == "<Mine [Requests: 0 active, 0 queued | Connections: 0 active, 0 idle]>"
