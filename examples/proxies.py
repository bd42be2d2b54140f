"""Requests through a proxy. Run: python examples/proxies.py PROXY [URL].

PROXY is `http://user:password@host:port`, `https://...`, `socks5://...` or `socks5h://...`.
"""

from __future__ import annotations

import sys

import httpx

import httpcore_rs


def main(proxy: str, url: str) -> None:
    """Gets a page through the proxy, and one with the proxies of the environment."""
    with httpx.Client(transport=httpcore_rs.SyncTransport(proxy=proxy), timeout=10) as client:
        try:
            print(client.get(url).status_code)
        except httpx.ProxyError as exc:
            sys.exit(f"the proxy refused: {exc}")
    # Given a transport, httpx ignores HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY. With these mounts it does not.
    mounts = httpcore_rs.SyncTransport.environment_mounts()
    with httpx.Client(transport=httpcore_rs.SyncTransport(), mounts=mounts, timeout=10) as client:
        print(client.get(url).status_code)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "https://www.example.com/")
