"""The events that a request reports to its `trace` extension, of httpcore and of httpcore_rs side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpcore

import httpcore_rs

if TYPE_CHECKING:
    from flavours import Flavour


def recorder(flavour: Flavour, events: list[tuple[str, Any]]) -> Any:
    def record(name: str, info: Any) -> None:
        events.append((name, dict(info)))

    async def arecord(name: str, info: Any) -> None:
        record(name, info)

    return arecord if flavour.is_async else record


async def names_of(pool: Any, flavour: Flavour, *arguments: Any, **more: Any) -> list[str]:
    events: list[tuple[str, Any]] = []
    raised = None
    try:
        await flavour.call(pool, "request", *arguments, extensions={"trace": recorder(flavour, events)}, **more)
    except (httpcore.NetworkError, httpcore.ProtocolError) as exc:
        raised = exc
    # The last failure that was reported is the exception that the caller got.
    failures = [info["exception"] for name, info in events if name.endswith(".failed")]
    assert failures[-1:] == ([] if raised is None else [raised])
    return [name for name, _ in events]


def both(flavour: Flavour, **arguments: Any) -> tuple[Any, Any]:
    kind = "AsyncConnectionPool" if flavour.is_async else "ConnectionPool"
    return getattr(httpcore, kind)(**arguments), getattr(httpcore_rs, kind)(**arguments)
