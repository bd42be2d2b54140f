"""A download with a progress bar, by tqdm. Run: python examples/download.py URL FILE."""

from __future__ import annotations

import sys
from pathlib import Path

import httpx
from tqdm import tqdm

import httpcore_rs


def main(url: str, file: Path) -> None:
    """Writes the body to a file. The `read` timeout is the longest time without a byte."""
    timeout = httpx.Timeout(10, read=30)
    with httpx.Client(transport=httpcore_rs.SyncTransport(), timeout=timeout, follow_redirects=True) as client:
        with client.stream("GET", url) as response, file.open("wb") as output:
            response.raise_for_status()
            total = int(response.headers.get("Content-Length", 0)) or None
            with tqdm(total=total, unit="B", unit_scale=True, unit_divisor=1024, desc=file.name) as bar:
                for chunk in response.iter_bytes():
                    output.write(chunk)
                    # Bytes of the network: fewer than those of the file if the server has compressed it.
                    bar.update(response.num_bytes_downloaded - bar.n)
    print(f"{file}: {file.stat().st_size} bytes")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
