"""Errors: what can go wrong, and where to catch it. Run: python examples/errors.py [URL...]."""

from __future__ import annotations

import sys

import httpx

import httpcore_rs


def fetch(client: httpx.Client, url: str) -> str:
    """Returns one line about the response, or about what went wrong."""
    try:
        response = client.get(url)
        response.raise_for_status()
    except httpx.HTTPStatusError as exc:
        return f"the server answered, with {exc.response.status_code}"
    except httpx.ConnectError as exc:
        return f"nothing was sent: {exc}"
    except httpx.TimeoutException as exc:
        return f"{type(exc).__name__}: {exc}"
    except httpx.TransportError as exc:
        # ReadError, WriteError, RemoteProtocolError, ProxyError, UnsupportedProtocol ...
        return f"{type(exc).__name__}: {exc}"
    return f"{response.status_code} {response.reason_phrase}"


def main(urls: list[str]) -> None:
    """Prints what became of each URL."""
    with httpx.Client(transport=httpcore_rs.SyncTransport(), timeout=5) as client:
        for url in urls:
            print(f"{url}: {fetch(client, url)}")


if __name__ == "__main__":
    main(sys.argv[1:] or ["https://www.example.com/", "http://127.0.0.1:1/", "ftp://www.example.com/"])
