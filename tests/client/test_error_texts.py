"""Every error message of `docs/troubleshooting.md`, provoked: its class, its text, and that it contains no secret."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import httpcore
import pytest

import error_rows_connecting
import error_rows_responses
import error_rows_tls
import error_rows_total
from error_rows import ROWS, SECRET, Bench

if TYPE_CHECKING:
    from certificates import Certificates
    from error_rows import Row
    from flavours import Flavour

PAGE = Path(__file__).resolve().parents[2] / "docs" / "troubleshooting.md"
# Names of Rust: `UnknownIssuer`, `IpAddress("...")`, `Os {`.
NAME_OF_RUST = re.compile(r"\b[A-Z][a-z]+[A-Z][a-z]\w*|\w\(\"|\w \{ ")
# Names that users know: classes, fields of certificates and of heads.
KNOWN = re.compile(
    r"TLSConfig(\(cert=\()?|SSLContext|OpenSSL|extendedKeyUsage|subjectAltName|basicConstraints|Name does not resolve"
    r"|TOK3N|SNI|PublicAddressesOnly|sha256/[\w+/]+"
)
# The parts that name a peer, and messages that are the words of httpcore or h11 and name none.
PEERS = re.compile(r"<(origin|proxy|host|path)>|127\.0\.0\.1")
WITHOUT_A_PEER = {
    "<status> <reason of the proxy>",
    "Server disconnected without sending a response.",
    "Requested <method> from proxy server, but got <method of the proxy>.",
    "Invalid username/password",
    "Proxy Server could not connect: <reason of the proxy>.",
    "the response was closed before its body was read to the end",
}
# They add their rows when they are imported.
MODULES = [error_rows_connecting, error_rows_responses, error_rows_tls, error_rows_total]


def chain(exception: BaseException | None) -> list[BaseException]:
    """Returns an exception, its cause, and the causes of that."""
    return [exception, *chain(exception.__cause__)] if exception is not None else []


@pytest.mark.parametrize("row", [pytest.param(row, id=row.provoke.__name__ + f"-{n}") for n, row in enumerate(ROWS)])
async def test_a_message(flavour: Flavour, certificates: Certificates, tmp_path: Path, row: Row) -> None:
    bench = Bench(flavour, certificates, tmp_path)
    try:
        with pytest.raises(row.error) as raised:
            await row.provoke(bench)
        assert type(raised.value) is row.error
        assert re.fullmatch(row.pattern, str(raised.value)), str(raised.value)
        for each in chain(raised.value):
            text = str(each)
            assert text
            assert text.isprintable()
            assert not NAME_OF_RUST.search(KNOWN.sub("", text)), text
            assert SECRET not in text
    finally:
        bench.close()


def documented() -> list[tuple[str, str]]:
    """Returns the messages of the page and the exceptions beside them."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    cells = [line.strip("| ").split(" | ") for line in lines if line.startswith("| `") and line.count(" | ") == 3]
    assert all(all(row) for row in cells)
    texts = [(text.strip("` "), error.strip("`")) for text, error, _, _ in cells]
    return [(re.sub(r"^\.\.\. ", error_rows_tls.FAILED, text), error) for text, error in texts]


def test_the_page_has_every_message_and_no_other() -> None:
    assert sorted(documented()) == sorted((row.text, row.error.__name__) for row in ROWS)


def test_there_are_many_and_none_twice() -> None:
    assert len(ROWS) >= 60
    assert len({(row.text, row.error) for row in ROWS}) == len(ROWS)


def test_messages_name_the_peer_and_the_limit() -> None:
    for row in ROWS:
        if issubclass(row.error, httpcore.TimeoutException):
            assert re.search(r"<seconds> s \((connect|read|write|pool|total) timeout\)", row.text), row.text
        if issubclass(row.error, (httpcore.TimeoutException, httpcore.NetworkError, httpcore.RemoteProtocolError)):
            assert PEERS.search(row.text) or row.text in WITHOUT_A_PEER, row.text
        if row.error is httpcore.ProxyError:
            assert "<proxy>" in row.text or row.text in WITHOUT_A_PEER or "SOCKS" in row.text, row.text


def test_every_exception_of_the_engine_has_a_message() -> None:
    bases = (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError)
    raised = {each for base in bases for each in base.__subclasses__()}
    raised |= {httpcore.UnsupportedProtocol, httpcore.ProxyError, httpcore.ConnectionNotAvailable}
    assert raised <= {row.error for row in ROWS}
