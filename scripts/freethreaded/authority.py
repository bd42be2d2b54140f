"""Issues certificates for another process, which has no trustme: one line of JSON for each, until its input ends."""

from __future__ import annotations

import datetime as dt
import json
import sys
from typing import Any

import trustme


def main() -> None:
    """Writes the certificate of a new authority, then one certificate for each line that is read."""
    authority = trustme.CA()
    print(json.dumps({"ca": authority.cert_pem.bytes().decode()}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        times: dict[str, Any] = {name: dt.datetime.fromisoformat(text) for name, text in asked["times"].items()}
        leaf = authority.issue_cert(*asked["identities"], **times)
        chain = [blob.bytes().decode() for blob in leaf.cert_chain_pems]
        print(json.dumps({"key": leaf.private_key_pem.bytes().decode(), "chain": chain}), flush=True)


if __name__ == "__main__":
    main()
