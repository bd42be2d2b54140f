"""`docs/options.md`: each option with the type and the default that it has in the code, and a reason for that."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import httpcore_rs
from httpcore_rs._transports import DEFAULT_LIMITS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "options.md"
Row = tuple[str, str, str, str]


def rows(section: str) -> dict[str, Row]:
    """Returns the rows of the table of a section, by the name of the option."""
    text = PAGE.read_text(encoding="utf-8").partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    cells = [re.split(r" (?<!\\)\| ", line.strip("|").strip()) for line in lines]
    assert all(len(row) == 4 and all(row) for row in cells)
    made = [
        (name.strip("`"), kind.strip("`").replace("\\|", "|"), default.strip("`"), why)
        for name, kind, default, why in cells
    ]
    return {row[0]: row for row in made}


def shown(default: Any) -> str:
    """Returns a default as the page shows it."""
    if isinstance(default, str):
        return f'"{default}"'
    return repr(default).replace("'", '"')


def parameters(made: Any) -> dict[str, inspect.Parameter]:
    return {name: each for name, each in inspect.signature(made).parameters.items() if name != "self"}


def check(section: str, given: dict[str, inspect.Parameter], ours: dict[str, str]) -> None:
    found = rows(section)
    assert list(found) == list(given)
    for name, parameter in given.items():
        kind = ours.get(name, str(parameter.annotation)).replace("'", '"')
        assert found[name][1:3] == (kind, shown(parameter.default)), name


def test_options_of_pools() -> None:
    check("Pools", parameters(httpcore_rs.ConnectionPool), {})


def test_options_of_transports() -> None:
    pytest.importorskip("httpx")
    own = parameters(httpcore_rs.SyncTransport)
    only = {name: own[name] for name in own if name not in parameters(httpcore_rs.ConnectionPool) or name == "proxy"}
    assert shown(DEFAULT_LIMITS) == rows("Transports")["limits"][2]
    check("Transports", only, {"limits": "httpx.Limits"})
    missing = set(parameters(httpcore_rs.ConnectionPool)) - set(own)
    assert missing == {"ssl_context", "max_connections", "max_keepalive_connections", "keepalive_expiry"}


def test_arguments_of_retry_policies() -> None:
    check("RetryPolicy", parameters(httpcore_rs.RetryPolicy), {})
