"""Clients and transports that do not belong together, and the clients that pass everything on."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import pytest

import httpcore_rs
from peers import always, echo, reply

if TYPE_CHECKING:
    from certificates import Certificates
    from flavours import Flavour
    from libraries import Library
    from peers import Serve

OK = always(reply(b"ok"))


def client_of(library: Library, flavour: Flavour) -> Any:
    package: Any = httpcore_rs if library.name == "httpx" else httpcore_rs.httpx2
    return package.AsyncClient if flavour.is_async else package.Client


async def get(flavour: Flavour, client: Any, url: str) -> Any:
    try:
        return await flavour.call(client, "request", "GET", url)
    finally:
        await flavour.call(client, "close")


async def test_a_transport_of_the_other_kind(flavour: Flavour, library: Library) -> None:
    wrong = library.SyncTransport if flavour.is_async else library.AsyncTransport
    right = library.AsyncTransport if flavour.is_async else library.SyncTransport
    made = library.AsyncClient if flavour.is_async else library.Client
    for method in ("request", "__enter__"):
        arguments = ["GET", "http://x.test/"] if method == "request" else []
        with pytest.raises(TypeError, match=rf"pass {library.package_name}\.{right.__name__}\(\.\.\.\)"):
            await flavour.call(made(transport=wrong()), method, *arguments)
    assert not hasattr(wrong(), "handle_request" if flavour.is_async is False else "handle_async_request")


@pytest.fixture
def other(library: Library) -> Any:
    name = "httpx2" if library.name == "httpx" else "httpx"
    return pytest.importorskip(name, reason="only one of the libraries is installed")


async def test_a_transport_of_the_other_library(flavour: Flavour, library: Library, other: Any) -> None:
    client = (other.AsyncClient if flavour.is_async else other.Client)(transport=library.transport(flavour))
    with pytest.raises(
        TypeError, match=rf"is a transport for {library.name}, and was given a request of {other.__name__}: pass"
    ):
        await flavour.call(client, "request", "GET", "http://127.0.0.1:1/")


async def test_the_arguments_arrive(
    flavour: Flavour, library: Library, serve: Serve, certificates: Certificates
) -> None:
    peer = serve(OK, tls=certificates.server_context())
    made = client_of(library, flavour)
    arguments: dict[str, Any] = {"verify": str(certificates.ca), "headers": {"X-Mine": "yes"}, "retries": 1}
    client = made(**arguments, limits=library.Limits(max_connections=1))
    assert isinstance(client, library.AsyncClient if flavour.is_async else library.Client)
    assert (await get(flavour, client, peer.url)).text == "ok"
    assert peer.requests[0].header(b"x-mine") == b"yes"


async def test_proxies(flavour: Flavour, library: Library, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy, made = serve(echo), client_of(library, flavour)
    await get(flavour, made(proxy=f"http://{proxy.authority}"), "http://a.test/")
    monkeypatch.setenv("HTTP_PROXY", f"http://{proxy.authority}")
    await get(flavour, made(), "http://b.test/")
    assert [request.target for request in proxy.requests] == [b"http://a.test/", b"http://b.test/"]
    assert not made(trust_env=False)._mounts


async def test_ignored_arguments_are_refused(flavour: Flavour, library: Library) -> None:
    made, transport = client_of(library, flavour), library.transport(flavour)
    for name, value in {"verify": False, "http2": True, "proxy": "http://p.test", "limits": library.Limits()}.items():
        with pytest.raises(TypeError, match=rf"{name}= beside transport=.*Transport\({name}=\.\.\.\)"):
            made(transport=transport, **{name: value})
    assert made(transport=transport, timeout=3)._transport is transport
    with pytest.raises(TypeError, match="no_such_argument"):
        made(no_such_argument=1)


def test_the_docstring_describes_all_parameters(flavour: Flavour, library: Library) -> None:
    made = client_of(library, flavour)
    lines = made.__init__.__doc__.splitlines()
    for parameter in inspect.signature(made).parameters.values():
        (place,) = [number for number, line in enumerate(lines) if line.startswith(f"    {parameter.name}: ")]
        assert lines[place].endswith(f" = {parameter.default!r}")
        assert lines[place + 1].startswith("        ")
        # That of a parameter which this package does not know.
        assert "See `" not in lines[place + 1]


async def test_wrong_transports_are_refused(flavour: Flavour, library: Library) -> None:
    wrong = (library.SyncTransport if flavour.is_async else library.AsyncTransport)()
    for arguments in ({"transport": wrong}, {"mounts": {"http://": wrong}}):
        with pytest.raises(TypeError, match=r"pass httpcore_rs"):
            client_of(library, flavour)(**arguments)
