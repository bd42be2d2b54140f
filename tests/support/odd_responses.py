"""The table of odd responses, its first half: status lines, headers, and whether the connection is reused.

A case is read as httpcore reads it, or is called different, with its outcome and the reason. odd_bodies.py adds to it.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Outcome(NamedTuple):
    """The outcome of a response, and of the request after it."""

    status: int | None = None
    version: bytes = b""
    reason: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""
    error: str | None = None
    then: str = ""


# The possible outcomes of the request after it.
REUSED = "went over the same connection"
FRESH = "went over a connection of its own"
CLOSED = "the peer had closed the connection"
WRONG = "got bytes that were not its answer"


class Case(NamedTuple):
    """A response and its expected outcome."""

    name: str
    response: bytes
    method: str = "GET"
    closes: bool = False  # the peer ends the connection after it
    why: str = ""  # why it is read differently from httpcore
    outcome: Outcome | None = None  # the outcome, if it differs from httpcore's


CASES: list[Case] = []


def same(name: str, response: bytes, **about: Any) -> None:
    """Registers a response that is read as httpcore reads it."""
    CASES.append(Case(name, response, **about))


def different(name: str, response: bytes, outcome: Outcome, why: str, **about: Any) -> None:
    """Registers a response that is read differently."""
    CASES.append(Case(name, response, why=why, outcome=outcome, **about))


def answered(*headers: tuple[bytes, bytes], body: bytes = b"hi", then: str = REUSED, **rest: Any) -> Outcome:
    return Outcome(
        **{"status": 200, "version": b"HTTP/1.1", "reason": b"OK", **rest}, headers=headers, body=body, then=then
    )


def refused(then: str = FRESH) -> Outcome:
    return Outcome(error="RemoteProtocolError", then=then)


LINE = b"HTTP/1.1 200 OK\r\n"
LENGTH = b"Content-Length: 2\r\n"
CODED = b"Transfer-Encoding: chunked\r\n"
CHUNKS = b"2\r\nhi\r\n0\r\n\r\n"
RESPONSE = LINE + LENGTH + b"\r\nhi"

LENGTH_2 = (b"Content-Length", b"2")
CHUNKED = (b"Transfer-Encoding", b"chunked")


# --- Status lines ---


def status_line(line: bytes) -> bytes:
    return line + b"\r\n" + LENGTH + b"\r\nhi"


for line in [
    b"HTTP/1.1 200 OK",
    b"HTTP/1.0 200 OK",
    b"HTTP/1.2 200 OK",
    b"HTTP/1.9 200 OK",
    b"HTTP/0.9 200 OK",
    b"HTTP/2 200 OK",
    b"HTTP/1.10 200 OK",
    b"HTTP/1. 200 OK",
    b"http/1.1 200 OK",
    b"HTTP 200 OK",
    b"ICY 200 OK",
    b"HTTP/1.1",
    b"HTTP/1.1 ",
    b"HTTP/1.1 OK",
    b"HTTP/1.1  200 OK",
    b"HTTP/1.1\t200 OK",
    b" HTTP/1.1 200 OK",
    b"\xef\xbb\xbfHTTP/1.1 200 OK",
    b"HTTP/1.1 200",
    b"HTTP/1.1 200 ",
    b"HTTP/1.1 200OK",
    b"HTTP/1.1 200\tOK",
    b"HTTP/1.1 200  OK ",
    b"HTTP/1.1 200 D\xe9j\xe0 vu",
    b"HTTP/1.1 200 \xe2\x9c\x93",
    b"HTTP/1.1 200 a\tb",
    b"HTTP/1.1 200 a\x01b\x7f",
    b"HTTP/1.1 200 a\0b",
    b"HTTP/1.1 200 a\rb",
    b"HTTP/1.1 000 Zero",
    b"HTTP/1.1 099 Low",
    b"HTTP/1.1 600 High",
    b"HTTP/1.1 999 Highest",
    b"HTTP/1.1 20 Short",
    b"HTTP/1.1 2000 Long",
    b"HTTP/1.1 -20 Negative",
    b"HTTP/1.1 2x0 Letter",
]:
    same(f"status line {line!r}", status_line(line))
different(
    "status line b'HTTP/2.0 200 OK'",
    status_line(b"HTTP/2.0 200 OK"),
    answered(LENGTH_2, version=b"HTTP/2.0", then=FRESH),
    "a server that claims another version in this format gets no second request",
)
same("a space before the status line", b" " + RESPONSE)
same("NUL before the status line", b"\0" + RESPONSE)
same("a CR before the status line", b"\r" + RESPONSE, closes=True)
for blank in [b"\r\n", b"\n", b"\r\n\r\n", b"\r\n" * 200]:
    different(
        f"{blank.count(10)} x {blank[-2:]!r} before the status line",
        blank + RESPONSE,
        answered(LENGTH_2),
        "blank lines before a head are passed over (RFC 9112, 2.2)",
    )

# --- Headers ---


def header(line: bytes) -> bytes:
    return LINE + line + b"\r\n" + LENGTH + b"\r\nhi"


for line in [
    b"X:",
    b"X:a",
    b"X: \t a \t ",
    b"X: a\tb",
    b"X: caf\xe9 \x80\xff",
    b"X: \xe2\x9c\x93",
    b"X: a\x01b",
    b"X: a\x7fb",
    b"X: \x1b[0m",
    b"X: a\0b",
    b"X: a\x0bb",
    b"X: a\x0cb",
    b"X: a\rb",
    b"X: a\r",
    b"X: a\r\nX: a",
    b": no name",
    b"no colon",
    b"X : space before the colon",
    b"X\t: tab before the colon",
    b"X Y: space in the name",
    b"X\x01: a",
    b"X\x7f: a",
    b"X\xe9: a",
    b"X\0: a",
    b"X(Y): a",
    b"X/Y: a",
    b'"X": a',
    b"X@Y: a",
    b"!#$%&'*+-.^_`|~: a",
    b"X: a\r\n b",
    b"X: a\r\n\tb",
    b"X: a\r\n ",
    b"X:\r\n a",
    b" folded: first",
    b"\tfolded: first",
    b" ",
    b"Content-Length : 2",
    b"Set-Cookie: a=1\r\nset-cookie: a=2",
]:
    same(f"header {line!r}", header(line))
different(
    "spaces around a fold",
    header(b"X: a  \r\n   b  \r\n \tc"),
    answered((b"X", b"a b c"), LENGTH_2),
    "a fold is one space, whatever stood around it (RFC 9112, 5.2)",
)
same("150 headers", header(b"\r\n".join(b"X-%d: %d" % (number, number) for number in range(150))))
same("a value of 90 KiB", header(b"X: " + b"v" * 90 * 1024))
same("a name of 20 KiB", header(b"n" * 20 * 1024 + b": v"))
different(
    "a head of 110 KiB",
    header(b"X: " + b"v" * 110 * 1024),
    refused(),
    "the bound of 100 KiB holds however the bytes arrive; httpcore's only for heads that arrive in parts",
)

# --- Reuse of the connection ---

for line in [
    b"Connection: close",
    b"Connection: CLOSE",
    b"Connection: keep-alive",
    b"Connection: foo, close",
    b"Connection: close, keep-alive",
    b"Connection: keep-alive\r\nConnection: close",
    b"Connection:",
    b"Connection: close;",
    b"Connection: upgrade",
    b"Connection: upgrade\r\nUpgrade: h2c",
    b"Proxy-Connection: close",
    b"Keep-Alive: timeout=5, max=0",
]:
    same(f"header {line!r}", header(line))
LINE_10 = b"HTTP/1.0 200 OK\r\n"
same("HTTP/1.0 with keep-alive", LINE_10 + b"Connection: keep-alive\r\n" + LENGTH + b"\r\nhi")
same("HTTP/1.0 until close", LINE_10 + b"\r\nhi", closes=True)
same("HTTP/1.0 until close, with keep-alive", LINE_10 + b"Connection: keep-alive\r\n\r\nhi", closes=True)
same("HTTP/1.0 in chunks", LINE_10 + CODED + b"\r\n" + CHUNKS)
same("HTTP/1.0 in chunks, with keep-alive", LINE_10 + b"Connection: keep-alive\r\n" + CODED + b"\r\n" + CHUNKS)
same("HTTP/1.1 until close", LINE + b"\r\nhi", closes=True)
same("HTTP/1.1 until close, with keep-alive", LINE + b"Connection: keep-alive\r\n\r\nhi", closes=True)
same("a head and nothing else", LINE + b"\r\n", closes=True)
