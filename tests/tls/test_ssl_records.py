"""Records under a user's `ssl.SSLContext`: the steps that call the user's code, and records in pieces or broken."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import ssl
from typing import TYPE_CHECKING, Any

import httpcore
import pytest

from peers import always, echo, reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from certificates import Certificates
    from flavours import Flavour
    from peers import Connection, Serve

OK = always(reply(b"ok"))


class Spied(ssl.SSLObject):
    """An object with methods of its own, as users make them."""

    calls: list[str]

    def read(self, *args: Any) -> Any:
        self.calls.append("read")
        return super().read(*args)

    def write(self, data: Any) -> int:
        self.calls.append("write")
        return super().write(data)


class Wrapping(ssl.SSLContext):
    """A context that replaces methods of its sessions."""

    calls: list[str]

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        made = super().wrap_bio(*args, **kwargs)
        for name in ("read", "write"):
            method = getattr(made, name)
            setattr(made, name, lambda *args, name=name, method=method: (self.calls.append(name), method(*args))[1])
        return made


def spying(kind: str, calls: list[str], certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """Returns a context of a kind whose sessions add the names of their calls to `calls`."""
    context = (Wrapping if kind == "an object with methods of its own" else ssl.SSLContext)(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(str(certificates.ca))
    if isinstance(context, Wrapping):
        context.calls = calls
    elif kind == "a class of objects":
        context.sslobject_class = type("Object", (Spied,), {"calls": calls})
    elif kind == "a callback":
        # `read` and `write` are the directions of messages.
        context._msg_callback = lambda *args: calls.append(args[1])  # type: ignore[attr-defined]
    elif kind == "methods that were replaced":
        for name, method in (("read", ssl.SSLObject.read), ("write", ssl.SSLObject.write)):
            monkeypatch.setattr(
                ssl.SSLObject, name, lambda *args, name=name, method=method: (calls.append(name), method(*args))[1]
            )
    return context


KINDS = ("a class of objects", "an object with methods of its own", "methods that were replaced", "a callback")


@pytest.mark.parametrize("kind", KINDS)
async def test_code_of_users_is_called_at_each_step(
    flavour: Flavour,
    serve: Serve,
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    calls: list[str] = []
    peer = serve(echo, tls=certificates.server_context())
    async with flavour.pool(ssl_context=spying(kind, calls, certificates, monkeypatch)) as pool:
        for length in (1, 200_000):
            calls.clear()
            described = json.loads((await pool.request("POST", peer.url, content=b"x" * length)).content)
            assert described["length"] == length
            assert {"read", "write"} <= set(calls)
    assert len(peer.connections) == 1


class ByHand:
    """The server side of a session that decides how its ciphertext is cut into packets."""

    def __init__(self, connection: Connection, context: ssl.SSLContext) -> None:
        self._connection = connection
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._session = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    def _step(self, step: Callable[[], Any]) -> Any:
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:  # noqa: PERF203
                self._connection.send(self._outgoing.read())
                self._incoming.write(self._connection.receive())

    def read_head(self) -> None:
        self._step(self._session.do_handshake)
        self._step(lambda: self._session.read(65536))

    def encrypt(self, *plaintexts: bytes) -> bytes:
        for plaintext in plaintexts:
            self._session.write(plaintext)
        return self._outgoing.read()

    def close_notify(self) -> bytes:
        with contextlib.suppress(ssl.SSLError):
            self._session.unwrap()
        return self._outgoing.read()


@pytest.mark.parametrize("is_plain", [True, False], ids=["plain", "subclass"])
@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
async def test_records_that_arrive_in_pieces(
    flavour: Flavour,
    serve: Serve,
    certificates: Certificates,
    context: ssl.SSLContext,
    version: str,
    is_plain: bool,
) -> None:
    server = certificates.server_context()
    server.minimum_version = server.maximum_version = ssl.TLSVersion[version]
    if not is_plain:
        context.sslobject_class = type("Object", (Spied,), {"calls": []})
    body = bytes(range(256)) * 1200

    def script(connection: Connection) -> None:
        session = ByHand(connection, server)
        session.read_head()
        # Short records and long ones; the last one comes together with the end.
        bodies = (body[at : at + 16_384] for at in range(0, len(body), 16_384))
        ciphertext = session.encrypt(b"HTTP/1.1 200 OK\r\n", b"\r\n", *bodies) + session.close_notify()
        sizes = itertools.cycle((1, 4, 5, 3, 17, 2_000, 33_000, 70_000))
        pieces = io.BytesIO(ciphertext)
        connection.send_pieces(iter(lambda: pieces.read(next(sizes)), b""))
        connection.wait_closed()

    peer = serve(script)
    async with flavour.pool(ssl_context=context) as pool:
        assert (await pool.request("GET", f"https://{peer.authority}/")).content == body


@pytest.mark.parametrize("is_plain", [True, False], ids=["plain", "subclass"])
@pytest.mark.parametrize("more", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x17\x03\x03\x00\x20" + bytes(32)])
async def test_bytes_that_cannot_be_decrypted(
    flavour: Flavour,
    serve: Serve,
    certificates: Certificates,
    context: ssl.SSLContext,
    more: bytes,
    is_plain: bool,
) -> None:
    if not is_plain:
        context.sslobject_class = type("Object", (Spied,), {"calls": []})

    def script(connection: Connection) -> None:
        session = ByHand(connection, certificates.server_context())
        session.read_head()
        connection.send(session.encrypt(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc") + more)
        connection.wait_closed()

    peer = serve(script)
    async with flavour.pool(ssl_context=context) as pool:
        with pytest.raises(httpcore.ReadError, match=r"\[SSL: "):
            await pool.request("GET", f"https://{peer.authority}/")
        assert pool.connections == []
