"""`retry` and `total_timeout` of the transports: policies in the terms of httpx and httpx2."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest

import httpcore_rs
from peers import after_a_response, reply, silence
from retries import OK, busy_first, policy

if TYPE_CHECKING:
    from flavours import Flavour
    from libraries import Library
    from peers import Connection, Serve


async def test_a_status_is_repeated(flavour: Flavour, serve: Serve, library: Library) -> None:
    peer = busy_first(serve, 2)
    async with library.client(flavour, library.transport(flavour, retry=policy())) as client:
        response = await client.send("GET", peer.url)
        assert (response.status_code, response.text, response.extensions["attempts"]) == (200, "ok", 3)
        response = await client.send("POST", peer.url, content=b"x")
        assert response.extensions["attempts"] == 1


class Unseekable(io.BytesIO):
    def seekable(self) -> bool:
        return False

    def seek(self, offset: int, whence: int = 0) -> int:
        raise io.UnsupportedOperation


@pytest.mark.parametrize(("file", "requests"), [(io.BytesIO, 3), (bytes, 3), (Unseekable, 1)])
async def test_files_are_sent_again_if_they_can_be_read_again(
    flavour: Flavour, serve: Serve, library: Library, file: Any, requests: int
) -> None:
    peer = busy_first(serve, 2)
    async with library.client(flavour, library.transport(flavour, retry=policy())) as client:
        await client.send("PUT", peer.url, files={"file": ("name", file(b"content"))}, data={"field": "value"})
    assert len(peer.requests) == requests
    assert len({request.body for request in peer.requests}) == 1
    assert b"content" in peer.requests[-1].body
    assert b"value" in peer.requests[-1].body


@pytest.mark.parametrize("name", ["ReadTimeout", "TimeoutException", "TransportError", "RequestError", "HTTPError"])
async def test_exceptions_of_the_library(flavour: Flavour, serve: Serve, library: Library, name: str) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        if connection.number == 0:
            silence(connection)
        connection.send(OK)

    peer = serve(script)
    transport = library.transport(flavour, retry=policy(attempts=20, exceptions=[getattr(library.module, name)]))
    async with library.client(flavour, transport, timeout=library.module.Timeout(30, read=0.2)) as client:
        assert (await client.send("GET", peer.url)).extensions["attempts"] >= 2


async def test_the_last_error_is_the_librarys(flavour: Flavour, serve: Serve, library: Library) -> None:
    peer = serve(lambda connection: connection.read_request())
    async with library.client(flavour, library.transport(flavour, retry=policy(attempts=2))) as client:
        with pytest.raises(library.module.RemoteProtocolError):
            await client.send("GET", peer.url)
    assert len(peer.requests) == 2


async def test_install_has_it(flavour: Flavour, serve: Serve, library: Library) -> None:
    peer = busy_first(serve, 1)
    cls = library.AsyncHTTPTransport if flavour.is_async else library.HTTPTransport
    with httpcore_rs.install(retry=policy()):
        transport = cls()
    async with library.client(flavour, transport) as client:
        assert (await client.send("GET", peer.url)).extensions["attempts"] == 2


async def test_total_timeout(flavour: Flavour, serve: Serve, library: Library) -> None:
    def total(seconds: float) -> dict[str, Any]:
        return {"timeout": {**library.module.Timeout(30).as_dict(), "total": seconds}}

    peer = serve(after_a_response(silence))
    async with library.client(flavour, library.transport(flavour, total_timeout=0.3), timeout=30) as client:
        for arguments, seconds in (({}, r"0\.3"), ({"extensions": total(0.2)}, r"0\.2")):
            # Connects, so that the limit ends nothing but the wait for the response.
            assert (await client.send("GET", peer.url, extensions=total(30))).text == "ok"
            with pytest.raises(library.module.ReadTimeout, match=rf"within {seconds} s \(total timeout\)"):
                await client.send("GET", peer.url, **arguments)


async def test_a_deadline_covers_redirects(flavour: Flavour, serve: Serve, library: Library) -> None:
    def script(connection: Connection) -> None:
        while True:
            connection.read_request()
            connection.send(reply(status=b"302 Found", headers=[(b"Location", b"/on")]))

    peer = serve(script)
    async with library.client(flavour, follow_redirects=True, max_redirects=10_000_000) as client:
        timeouts = {**library.module.Timeout(30).as_dict(), "total": httpcore_rs.Deadline(1.5)}
        with pytest.raises(library.module.TimeoutException, match=r"within 1\.5 s \(total timeout\)"):
            await client.send("GET", peer.url, extensions={"timeout": timeouts})
    assert len(peer.requests) > 1
