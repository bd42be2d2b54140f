"""The table of odd responses, its second half: ways to frame a body, informational heads, surplus bytes, early ends."""

from __future__ import annotations

from odd_responses import (
    CASES,
    CHUNKED,
    CHUNKS,
    CLOSED,
    CODED,
    FRESH,
    LENGTH,
    LENGTH_2,
    LINE,
    LINE_10,
    RESPONSE,
    answered,
    different,
    header,
    refused,
    same,
)

# The whole table.
__all__ = ["CASES"]


# --- Transfer-Encoding ---


def coded(value: bytes, body: bytes = CHUNKS) -> bytes:
    return LINE + b"Transfer-Encoding: " + value + b"\r\n\r\n" + body


for value in [
    b" chunked ",
    b"gzip, chunked",
    b"chunked, gzip",
    b"gzip",
    b"chunked, chunked",
    b"identity, chunked",
    b"chunked;a=b",
    b"xchunked",
    b"chunkedx",
    b"",
    b"chunked,",
    b",chunked",
    b"\x0bchunked",
    b'"chunked"',
    b"chunked\r\nTransfer-Encoding: chunked",
    b"gzip\r\nTransfer-Encoding: chunked",
    b"chunked\r\nTransfer-Encoding: identity",
]:
    same(f"transfer-encoding {value!r}", coded(value), closes=True)
same("transfer-encoding in a fold", LINE + b"Transfer-Encoding:\r\n chunked\r\n\r\n" + CHUNKS)
same("transfer-encoding with a space before the colon", LINE + b"Transfer-Encoding : chunked\r\n\r\n" + CHUNKS)
same("another transfer coding, and a length", header(b"Transfer-Encoding: gzip"))
different(
    "transfer-encoding b'Chunked'",
    coded(b"Chunked"),
    answered((b"Transfer-Encoding", b"Chunked")),
    "the caller gets the value as the server wrote it, and not in lower case",
)
different(
    "transfer-encoding b'identity'",
    coded(b"identity", b"hi"),
    answered((b"Transfer-Encoding", b"identity"), then=CLOSED),
    "identity means no coding",
    closes=True,
)
different(
    "transfer-encoding b'identity', and a length",
    header(b"Transfer-Encoding: identity"),
    answered((b"Transfer-Encoding", b"identity"), LENGTH_2, then=FRESH),
    "identity means no coding, so that the length counts; the connection is closed",
)
for name, lines in [("first", LENGTH + CODED), ("last", CODED + LENGTH)]:
    different(
        f"chunked and a length, which comes {name}",
        LINE + lines + b"\r\n" + CHUNKS,
        answered(*([LENGTH_2, CHUNKED] if name == "first" else [CHUNKED, LENGTH_2]), then=FRESH),
        "a proxy on the way may have used the other one (RFC 9112, 6.3): the connection is closed",
    )
same("chunked and a length, and the length is true", LINE + LENGTH + CODED + b"\r\nhi", closes=True)

# --- Content-Length ---


def length(value: bytes, body: bytes = b"hi") -> bytes:
    return LINE + b"Content-Length: " + value + b"\r\n\r\n" + body


for value in [
    b" 2 ",
    b"\t2",
    b"02",
    b"2, 3",
    b"2,",
    b",2",
    b"+2",
    b"-2",
    b"2 2",
    b"2.0",
    b"2e0",
    b"0x2",
    b"1_0",
    b"2;",
    b"2\x0b",
    b"two",
    b"\xef\xbc\x92",
    b"2\r\nContent-Length: 3",
    b"1\r\n 2",
    b"\r\n 2",
]:
    same(f"content-length {value!r}", length(value))
for value in [b"", b"9223372036854775807", b"18446744073709551615", b"18446744073709551616", b"9" * 23]:
    same(f"content-length {value!r}", length(value), closes=True)
same("content-length 0", length(b"0", b""))
RAW_LENGTH = "the caller gets the headers as the server wrote them, and not made into one"
for value in [b"2, 2", b"2,2"]:
    different(f"content-length {value!r}", length(value), answered((b"Content-Length", value)), RAW_LENGTH)
for count in [2, 3]:
    response = LINE + LENGTH * count + b"\r\nhi"
    different(f"content-length {count} times", response, answered(*[LENGTH_2] * count), RAW_LENGTH)
same("content-length in two forms", length(b"2\r\nContent-Length: 02"))
different(
    "content-length with 22 leading zeros",
    length(b"0" * 22 + b"2"),
    answered((b"Content-Length", b"0" * 22 + b"2")),
    "leading zeros change nothing",
)

# --- Chunks ---


def chunked(body: bytes) -> bytes:
    return LINE + CODED + b"\r\n" + body


for body in [
    b"0\r\n\r\n",
    b"1\r\nh\r\n1\r\ni\r\n0\r\n\r\n",
    b"A\r\n0123456789\r\n0\r\n\r\n",
    b"a\r\n0123456789\r\n0\r\n\r\n",
    b"0002\r\nhi\r\n000\r\n\r\n",
    b"2;a\r\nhi\r\n0\r\n\r\n",
    b'2;a="b\\"c;"\r\nhi\r\n0;d=e\r\n\r\n',
    b"2;a\x01\xe9\r\nhi\r\n0\r\n\r\n",
    b"2 \r\nhi\r\n0\r\n\r\n",
    b"2\t\r\nhi\r\n0\r\n\r\n",
    b" 2\r\nhi\r\n0\r\n\r\n",
    b"2 2\r\nhi\r\n0\r\n\r\n",
    b"+2\r\nhi\r\n0\r\n\r\n",
    b"-2\r\nhi\r\n0\r\n\r\n",
    b"0x2\r\nhi\r\n0\r\n\r\n",
    b"1_0\r\nhi\r\n0\r\n\r\n",
    b"g\r\nhi\r\n0\r\n\r\n",
    b"\r\nhi\r\n0\r\n\r\n",
    b"2\r\nhix\r\n0\r\n\r\n",
    b"2\r\nhi0\r\n\r\n",
    b"2\nhi\n0\n\n",
    b"2\nhi\r\n0\r\n\r\n",
    b"2\r\nhi\n0\r\n\r\n",
    b"2;a\nb\r\nhi\r\n0\r\n\r\n",
    b"2\rhi\r0\r\r",
    b"FFFFFFFFFFFFFFFF\r\nhi",
    b"10000000000000000\r\nhi",
    b"2",
    b"2\r\n",
    b"2\r\nh",
    b"2\r\nhi",
    b"2\r\nhi\r\n",
    b"2\r\nhi\r\n0",
    b"2\r\nhi\r\n0\r\n",
    b"2\r\nhi\r\n0\r\nX: y\r\n",
    b"",
]:
    same(f"chunks {body!r}", chunked(body), closes=not body.endswith(b"\r\n0\r\n\r\n"))
same("a chunk extension of 200 bytes", chunked(b"2;" + b"a" * 200 + b"\r\nhi\r\n0\r\n\r\n"))
different(
    "chunks b'2 ;a'",
    chunked(b"2 ;a\r\nhi\r\n0\r\n\r\n"),
    answered(CHUNKED),
    "white space before an extension has to be understood (RFC 9112, 7.1.1)",
)
different(
    "a chunk size of 28 digits",
    chunked(b"0" * 27 + b"2\r\nhi\r\n0\r\n\r\n"),
    answered(CHUNKED),
    "leading zeros change nothing",
)
different("a CR in a chunk extension", chunked(b"2;a\rb\r\nhi\r\n0\r\n\r\n"), refused(), "a bare CR has no place there")
different(
    "a chunk extension of 20 KiB",
    chunked(b"2;" + b"a" * 20 * 1024 + b"\r\nhi\r\n0\r\n\r\n"),
    refused(),
    "a response may have 16 KiB of chunk extensions in all",
)
for trailer in [b"X: y\r\n", b"X:y\r\nZ: caf\xe9\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"]:
    same(f"trailer {trailer!r}", chunked(b"2\r\nhi\r\n0\r\n" + trailer + b"\r\n"))
for trailer in [b"no colon\r\n", b" folded\r\n", b"X : y\r\n", b": y\r\n", b"X Y: z\r\n", b"X: a\0b\r\n"]:
    same(f"trailer {trailer!r}", chunked(b"2\r\nhi\r\n0\r\n" + trailer + b"\r\n"))
for name, trailer in [
    ("a trailer with a fold", b"X: a\r\n b\r\n"),
    ("101 trailers", b"".join(b"X-%d: y\r\n" % number for number in range(101))),
    ("a trailer of 20 KiB", b"X: " + b"y" * 20 * 1024 + b"\r\n"),
]:
    different(
        name,
        chunked(b"2\r\nhi\r\n0\r\n" + trailer + b"\r\n"),
        refused(),
        "trailers may be 100, 16 KiB in all, and not folded",
    )
for name, end in [
    ("a trailer that ends in a bare LF", b"X: y\n\r\n"),
    ("a bare LF after the last chunk", b"\n"),
    # hyper reads to the blank line, and skips the bytes between that and CR LF CR LF.
    ("a response behind bare LFs in trailers", b"X: 1\n\nHTTP/1.1 200 OK\r\nE: 1\r\n\r\n"),
    ("a response behind LF CR LF in trailers", b"X: 1\n\r\nHTTP/1.1 200 OK\r\nE: 1\r\n\r\n"),
    ("a response behind a bare LF after the last chunk", b"\nHTTP/1.1 200 OK\r\nE: 1\r\n\r\n"),
]:
    different(
        name, chunked(b"2\r\nhi\r\n0\r\n" + end), refused(CLOSED), "behind chunks a line ends in CR LF", closes=True
    )

# --- Ends of lines ---

same("bare LF", RESPONSE.replace(b"\r\n", b"\n"))
same("bare LF in the status line", RESPONSE.replace(b"\r\n", b"\n", 1))
same("bare LF as blank line", LINE + LENGTH + b"\nhi")
same("bare LF after a header", LINE + LENGTH.replace(b"\r", b"") + b"\r\nhi")
same("bare CR", RESPONSE.replace(b"\r\n", b"\r"), closes=True)
same("CR CR LF", RESPONSE.replace(b"\r\n", b"\r\r\n"), closes=True)
same("LF CR", RESPONSE.replace(b"\r\n", b"\n\r"), closes=True)

# --- Heads that are not the last one ---

for status in [100, 102, 103, 199]:
    same(f"{status} before the head", b"HTTP/1.1 %d Wait\r\nX: y\r\n\r\n" % status + RESPONSE)
same("100 without a reason", b"HTTP/1.1 100\r\n\r\n" + RESPONSE)
same("100 of HTTP/1.0", b"HTTP/1.0 100 Continue\r\n\r\n" + RESPONSE)
same("100 three times", b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + RESPONSE)
same("100 with close", b"HTTP/1.1 100 Continue\r\nConnection: close\r\n\r\n" + RESPONSE)
same("100 with a length of 0", b"HTTP/1.1 100 Continue\r\nContent-Length: 0\r\n\r\n" + RESPONSE)
same("100 in chunks", b"HTTP/1.1 100 Continue\r\n" + CODED + b"\r\n" + RESPONSE)
same("100 with a body", b"HTTP/1.1 100 Continue\r\n" + LENGTH + b"\r\nhi" + RESPONSE)
same("100 and nothing else", b"HTTP/1.1 100 Continue\r\n\r\n", closes=True)
same("101 that was not requested", b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
same("101 to another protocol", b"HTTP/1.1 101 Switch\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")

# --- Responses that have no body, and surplus bytes ---

LEFTOVER = "bytes that belong to no response never answer the next request: its connection is a new one"
for status in [204, 304]:
    head = b"HTTP/1.1 %d None\r\n" % status
    for lines, body in [(b"", b"hi"), (LENGTH, b"hi"), (CODED, CHUNKS), (b"Content-Length: 0\r\n", b"hi")]:
        fields = tuple(tuple(line.split(b": ")) for line in lines.split(b"\r\n")[:-1])
        same(f"{status} with {lines!r}", head + lines + b"\r\n")
        different(
            f"{status} with {lines!r} and a body",
            head + lines + b"\r\n" + body,
            answered(*fields, status=status, reason=b"None", body=b"", then=FRESH),
            LEFTOVER,
        )
for lines, body in [(LENGTH, b"hi"), (CODED, CHUNKS), (b"Content-Length: 0\r\n", b"")]:
    same(f"205 with {lines!r}", b"HTTP/1.1 205 Reset Content\r\n" + lines + b"\r\n" + body)
same("205 until close", b"HTTP/1.1 205 Reset Content\r\n\r\nhi", closes=True)

for lines, body in [(b"", b"hi"), (LENGTH, b"hi"), (CODED, CHUNKS)]:
    fields = tuple(tuple(line.split(b": ")) for line in lines.split(b"\r\n")[:-1])
    same(f"HEAD with {lines!r}", LINE + lines + b"\r\n", method="HEAD")
    different(
        f"HEAD with {lines!r} and a body",
        LINE + lines + b"\r\n" + body,
        answered(*fields, body=b"", then=FRESH),
        LEFTOVER,
        method="HEAD",
    )
same("HEAD of HTTP/1.0", LINE_10 + LENGTH + b"\r\n", method="HEAD")
same("HEAD with close", LINE + b"Connection: close\r\n" + LENGTH + b"\r\n", method="HEAD")
same("HEAD after 100", b"HTTP/1.1 100 Continue\r\n\r\n" + LINE + LENGTH + b"\r\n", method="HEAD")
different(
    "HEAD with two lengths",
    LINE + LENGTH + b"Content-Length: 3\r\n\r\n",
    answered(LENGTH_2, (b"Content-Length", b"3"), body=b""),
    "there is no body whose length could be mistaken",
    method="HEAD",
)

for name, response, fields in [
    ("a length", RESPONSE, (LENGTH_2,)),
    ("chunks", chunked(CHUNKS), (CHUNKED,)),
]:
    for rest in [b"X", b"\r\n", LINE + b"Content-Length: 5\r\n\r\nwrong"]:
        different(f"{rest!r} behind {name}", response + rest, answered(*fields, then=FRESH), LEFTOVER)
same("bytes behind a body, and close", LINE + b"Connection: close\r\n" + LENGTH + b"\r\nhi!")

# --- Early ends, and bytes that are no response ---

same("nothing", b"", closes=True)
for cut in [1, 5, 9, 12, 16, 17, 20, len(RESPONSE) - 4, len(RESPONSE) - 2, len(RESPONSE) - 1, len(RESPONSE)]:
    same(f"the first {cut} bytes of a response", RESPONSE[:cut], closes=True)
for name, garbage in [
    ("control characters", b"\1\2\3\4\r\n\r\n"),
    ("NUL", b"\0" * 100),
    ("HTML", b"<html>hello</html>"),
    ("HTML and a blank line", b"<html>hello</html>\r\n\r\n"),
    ("HTTP/0.9", b"hello\n"),
    ("SSH", b"SSH-2.0-OpenSSH_9.6\r\n"),
    ("SMTP", b"220 ready\r\n"),
    ("TLS", b"\x15\x03\x01\x00\x02\x02\x16"),
    ("HTTP/2", b"\0\0\0\x04\0\0\0\0\0"),
    ("a request", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("blank lines", b"\r\n" * 5),
]:
    same(name, garbage, closes=True)
