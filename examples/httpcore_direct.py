"""A program for httpcore over httpcore_rs: only the import differs. Run: python examples/httpcore_direct.py [URL]."""

from __future__ import annotations

import sys

import httpcore_rs as httpcore


def main(url: str) -> None:
    """Gets a page, and prints the error if there is one."""
    with httpcore.ConnectionPool(max_connections=10, keepalive_expiry=30) as pool:
        timeout = {"connect": 5.0, "read": 5.0, "write": 5.0, "pool": 5.0}
        try:
            response = pool.request("GET", url, extensions={"timeout": timeout})
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError) as exc:
            sys.exit(f"{type(exc).__name__}: {exc}")
        print(response.status, f"{len(response.content)} bytes")
        for name, value in response.headers:
            print(f"  {name.decode()}: {value.decode()}")
        print(pool)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "https://www.example.com/")
