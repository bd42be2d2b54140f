"""Bodies that are read and sent in pieces. Run: python examples/streaming.py [URL]."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import httpx

import httpcore_rs


def pieces() -> Iterator[bytes]:
    """Yields the body of a request; the engine asks for the next piece when the socket takes more."""
    for number in range(100):
        yield f"line {number}\n".encode()


def main(url: str) -> None:
    """Reads a response line by line and in pieces, and sends a body from a generator."""
    with httpx.Client(transport=httpcore_rs.SyncTransport(), timeout=10) as client:
        with client.stream("GET", url) as response:
            for line in response.iter_lines():
                print(line)
        with client.stream("GET", url) as response:
            # Closed after the first piece: the rest is not read, and the connection is closed.
            print(f"a first piece of {len(next(response.iter_raw()))} bytes")
        print(client.post(url, content=pieces()).status_code)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "https://www.example.com/")
