"""httpx.Client over httpcore_rs. Run: python examples/httpx_sync.py [URL]."""

from __future__ import annotations

import sys

import httpx

import httpcore_rs


def main(url: str) -> None:
    """Gets a page, first whole and then in pieces."""
    # The arguments are those of httpx.HTTPTransport: verify=, cert=, limits=, proxy=, retries=, uds=, ...
    transport = httpcore_rs.SyncTransport(retries=1)
    with httpx.Client(transport=transport, timeout=10) as client:
        response = client.get(url)
        print(response.http_version, response.status_code, response.reason_phrase, f"{len(response.content)} bytes")
        with client.stream("GET", url) as response:
            for piece in response.iter_bytes():
                print(f"a piece of {len(piece)} bytes")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "https://www.example.com/")
