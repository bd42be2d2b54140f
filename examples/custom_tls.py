"""Authorities of one's own, and client certificates. Run: python examples/custom_tls.py URL CA [CERTIFICATE KEY]."""

from __future__ import annotations

import ssl
import sys

import httpx

import httpcore_rs


def main(url: str, ca: str, cert: tuple[str, str] | None) -> None:
    """Gets a page three times: with a file of authorities, with a TLSConfig, and with an SSLContext."""
    # TLS 1.3 and nothing older; `system_store=True` would trust the operating system's authorities as well.
    config = httpcore_rs.TLSConfig(verify=ca, cert=cert, minimum_version=ssl.TLSVersion.TLSv1_3)
    # Python's own ssl does TLS then, on the engine's sockets.
    context = ssl.create_default_context(cafile=ca)
    if cert is not None:
        context.load_cert_chain(*cert)
    for transport in (
        httpcore_rs.SyncTransport(verify=ca, cert=cert),
        httpcore_rs.SyncTransport(verify=config),
        httpcore_rs.SyncTransport(verify=context),
    ):
        with httpx.Client(transport=transport, timeout=10) as client:
            print(client.get(url).status_code)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], (sys.argv[3], sys.argv[4]) if len(sys.argv) > 4 else None)
