"""The arguments of `request()`: they result in the same bytes, or the same errors, as with httpcore."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpcore
import pytest

import httpcore_rs
from peers import always, reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from flavours import Flavour
    from peers import Peer

    Serve = Callable[..., Peer]

ARGUMENTS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "bytes": {"method": b"GET", "headers": [(b"X-A", b"1")]},
    "str": {"headers": [("X-A", "1"), ("x-a", "2")]},
    "a mapping": {"headers": {"X-A": "1", b"X-B": b"2"}},
    "a tuple": {"headers": (("X-A", "1"),)},
    "pairs that are lists": {"headers": [["X-A", "1"]]},
    "Host": {"headers": [("X-A", "1"), ("host", "example.com"), ("X-B", "2")]},
    "a body": {"method": "POST", "content": b"hello"},
    "an empty body": {"method": "POST", "content": b""},
    "a body with its length": {"method": "POST", "headers": {"content-length": "5"}, "content": b"hello"},
    "an empty body with headers": {"method": "PUT", "headers": [("X-A", "1")], "content": b""},
    "a target": {"extensions": {"target": b"*"}},
    "a target as str": {"extensions": {"target": "/elsewhere?a=b"}},
    "timeouts": {"extensions": {"timeout": {"read": 5, "connect": None}}},
    "extensions that are empty": {"extensions": {}},
}

WRONG: dict[str, dict[str, Any]] = {
    "a method of no text": {"method": 1},
    "a method beyond ASCII": {"method": "GÉT"},
    "a URL of no text": {"url": 1},
    "a URL beyond ASCII": {"url": "http://exämple.com/"},
    "headers of no pairs": {"headers": 1},
    "a name of no text": {"headers": [(1, "x")]},
    "a value beyond ASCII": {"headers": [("X", "ä")]},
    "a header of three": {"headers": [("X", "1", "2")]},
}


def pools(flavour: Flavour) -> tuple[Any, Any]:
    kind = "AsyncConnectionPool" if flavour.is_async else "ConnectionPool"
    return getattr(httpcore, kind)(), getattr(httpcore_rs, kind)()


async def outcome(flavour: Flavour, pool: Any, arguments: dict[str, Any]) -> Any:
    try:
        return (await flavour.call(pool, "request", **arguments)).content
    except (TypeError, ValueError) as exc:
        return type(exc), str(exc)


@pytest.mark.parametrize("form", ["str", "bytes", "URL"])
@pytest.mark.parametrize("arguments", ARGUMENTS.values(), ids=ARGUMENTS.keys())
async def test_they_become_the_same_bytes(flavour: Flavour, serve: Serve, arguments: dict[str, Any], form: str) -> None:
    peer = serve(always(reply(b"hello")))
    url = {"str": peer.url, "bytes": peer.url.encode(), "URL": httpcore.URL(peer.url)}[form]
    for pool in pools(flavour):
        assert await outcome(flavour, pool, {"method": "GET", "url": url, **arguments}) == b"hello"
        await flavour.call(pool, "close")
    reference, tested = (connection.received for connection in peer.connections)
    # h11 moves Host to the front. The engine keeps the caller's order.
    assert sorted(tested.split(b"\r\n")) == sorted(reference.split(b"\r\n"))
    if "Host" not in str(arguments) and "host" not in str(arguments):
        assert tested == reference


@pytest.mark.parametrize("arguments", WRONG.values(), ids=WRONG.keys())
async def test_they_are_refused_alike(flavour: Flavour, arguments: dict[str, Any]) -> None:
    reference, tested = pools(flavour)
    complete = {"method": "GET", "url": "http://127.0.0.1:1/", **arguments}
    expected = await outcome(flavour, reference, complete)
    assert await outcome(flavour, tested, complete) == expected
    assert expected[0] in (TypeError, ValueError)


async def test_a_subclass_that_handles_requests_itself(flavour: Flavour, serve: Serve) -> None:
    seen: list[bytes] = []
    if flavour.is_async:

        class Pool(httpcore_rs.AsyncConnectionPool):
            async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
                seen.append(request.method)
                return await super().handle_async_request(request)
    else:

        class Pool(httpcore_rs.ConnectionPool):  # type: ignore[no-redef]
            def handle_request(self, request: httpcore.Request) -> httpcore.Response:
                seen.append(request.method)
                return super().handle_request(request)

    peer = serve(always(reply(b"hello")))
    pool = Pool()
    assert (await flavour.call(pool, "request", "GET", peer.url)).content == b"hello"
    assert seen == [b"GET"]
    await flavour.call(pool, "close")


async def test_a_patch_of_the_class_receives_every_request(
    flavour: Flavour, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = httpcore_rs.AsyncConnectionPool if flavour.is_async else httpcore_rs.ConnectionPool
    name = "handle_async_request" if flavour.is_async else "handle_request"
    original = getattr(kind, name)
    seen = []

    def patched(pool: Any, request: httpcore.Request) -> Any:
        seen.append(request.method)
        return original(pool, request)

    monkeypatch.setattr(kind, name, patched)
    peer = serve(always(reply(b"hello")))
    async with flavour.pool() as pool:
        assert (await pool.request("GET", peer.url)).content == b"hello"
    assert seen == [b"GET"]
