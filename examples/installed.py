"""httpcore_rs under clients that other code makes, such as an SDK. Run: python examples/installed.py [URL].

This works with httpx2 as well, on which the newest SDKs are built.
"""

from __future__ import annotations

import sys

import httpx

import httpcore_rs


def main(url: str) -> None:
    """Gets a page with a client that is made without a transport."""
    httpcore_rs.install()
    with httpx.Client() as client:
        print(client.get(url))
    httpcore_rs.uninstall()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "https://www.example.com/")
