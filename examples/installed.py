"""httpcore_rs under clients that somebody else makes, such as those of an SDK. Run: python examples/installed.py [URL].

Works the same with httpx2, on which the newest SDKs are built.
"""

from __future__ import annotations

import sys

import httpx

import httpcore_rs


def main(url: str) -> None:
    """GET a page by a client that knows nothing of us."""
    httpcore_rs.install()
    with httpx.Client() as client:
        print(client.get(url))
    httpcore_rs.uninstall()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "https://www.example.com/")
