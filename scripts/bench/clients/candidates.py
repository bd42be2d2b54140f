"""All candidates, by the names under which they are shown, and which of them can do what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Callable, Generic, TypeVar

from bench.bare import BareProtocol, BareSocket
from bench.clients import async_peers, sync_peers, under_httpx
from bench.clients.interface import AsyncClient, Options, SyncClient
from bench.clients.pools import AsyncPool, Pool

Client = TypeVar("Client", SyncClient, AsyncClient)


@dataclass(frozen=True)
class Candidate(Generic[Client]):
    """The maker of a candidate, the module that it needs, and its limits.

    `streams`: it has bodies; `http2`: it speaks HTTP/2; `tls`: it speaks TLS.
    """

    make: Callable[[Options], Client]
    needs: str = "httpx"
    streams: bool = True
    http2: bool = False
    tls: bool = True


NO_IO = "httpx, no I/O"
OURS = "httpcore_rs"
PARSED = "httpcore_rs, parsed URL"
OPENSSL = "httpcore_rs, SSLContext"
OVER_OURS = "httpx + httpcore_rs"
OVER_OURS_2 = "httpx2 + httpcore_rs"

SYNC: dict[str, Candidate[SyncClient]] = {
    "bare socket": Candidate(lambda options: BareSocket(options.context())),
    OURS: Candidate(partial(Pool, "httpcore_rs"), http2=True),
    PARSED: Candidate(partial(Pool, "httpcore_rs", parsed=True), streams=False, tls=False),
    OPENSSL: Candidate(partial(Pool, "httpcore_rs", openssl=True)),
    "httpcore": Candidate(partial(Pool, "httpcore"), http2=True),
    "httpcore2": Candidate(partial(Pool, "httpcore2"), "httpcore2", http2=True),
    "pyreqwest": Candidate(sync_peers.Pyreqwest, "pyreqwest", http2=True),
    "pyqwest": Candidate(sync_peers.Pyqwest, "pyqwest", http2=True),
    "urllib3": Candidate(sync_peers.Urllib3, "urllib3"),
    "niquests": Candidate(sync_peers.Niquests, "niquests", http2=True),
    NO_IO: Candidate(lambda _: under_httpx.Httpx(under_httpx.NoTransport()), streams=False, tls=False),
    "httpx + bare socket": Candidate(lambda _: under_httpx.over_bare_sockets(), streams=False, tls=False),
    OVER_OURS: Candidate(under_httpx.over_httpcore_rs, http2=True),
    "httpx + pyreqwest": Candidate(sync_peers.httpx_over_pyreqwest, "pyreqwest"),
    "httpx + pyqwest": Candidate(sync_peers.httpx_over_pyqwest, "pyqwest"),
    "httpx": Candidate(under_httpx.over_its_own, http2=True),
    OVER_OURS_2: Candidate(partial(under_httpx.over_httpcore_rs, library="httpx2"), "httpx2"),
    "httpx2": Candidate(partial(under_httpx.over_its_own, library="httpx2"), "httpx2"),
}

ASYNC: dict[str, Candidate[AsyncClient]] = {
    "bare protocol": Candidate(lambda options: BareProtocol(options.context())),
    OURS: Candidate(partial(AsyncPool, "httpcore_rs"), http2=True),
    PARSED: Candidate(partial(AsyncPool, "httpcore_rs", parsed=True), streams=False, tls=False),
    OPENSSL: Candidate(partial(AsyncPool, "httpcore_rs", openssl=True)),
    "httpcore": Candidate(partial(AsyncPool, "httpcore"), http2=True),
    "httpcore2": Candidate(partial(AsyncPool, "httpcore2"), "httpcore2", http2=True),
    "aiohttp": Candidate(async_peers.Aiohttp, "aiohttp"),
    "pyreqwest": Candidate(async_peers.AsyncPyreqwest, "pyreqwest", http2=True),
    "pyqwest": Candidate(async_peers.AsyncPyqwest, "pyqwest", http2=True),
    "punkreq": Candidate(async_peers.Punkreq, "punkreq", http2=True),
    "niquests": Candidate(async_peers.AsyncNiquests, "niquests", http2=True),
    NO_IO: Candidate(lambda _: under_httpx.AsyncHttpx(under_httpx.NoTransport()), streams=False, tls=False),
    "httpx + bare protocol": Candidate(lambda _: under_httpx.async_over_bare_protocols(), streams=False, tls=False),
    OVER_OURS: Candidate(under_httpx.async_over_httpcore_rs, http2=True),
    "httpx + aiohttp": Candidate(async_peers.httpx_over_aiohttp, "httpx_aiohttp"),
    "httpx + pyreqwest": Candidate(async_peers.httpx_over_pyreqwest, "pyreqwest"),
    "httpx + pyqwest": Candidate(async_peers.httpx_over_pyqwest, "pyqwest"),
    "httpx": Candidate(under_httpx.async_over_its_own, http2=True),
    OVER_OURS_2: Candidate(partial(under_httpx.async_over_httpcore_rs, library="httpx2"), "httpx2"),
    "httpx2": Candidate(partial(under_httpx.async_over_its_own, library="httpx2"), "httpx2"),
}

# Libraries that can take the place of httpcore_rs. "The best peer" is the fastest of them in a result.
PEERS = ("aiohttp", "pyreqwest", "pyqwest", "punkreq", "urllib3", "niquests", "httpcore", "httpcore2")


def makers(
    candidates: dict[str, Candidate[Client]],
    options: Options,
    *,
    streams: bool = False,
    without: Sequence[str] = (),
) -> dict[str, Callable[[], Client]]:
    """Returns the candidates that are installed and can do what the options ask for, and bodies if `streams`."""
    return {
        name: partial(candidate.make, options)
        for name, candidate in candidates.items()
        if name not in without
        and find_spec(candidate.needs)
        and not (streams and not candidate.streams)
        and not (options.http2 and not candidate.http2)
        and (candidate.tls if options.ca else name != OPENSSL)
    }


def missing() -> list[str]:
    """Returns the names of candidates whose library is not installed."""
    needs = {name: candidate.needs for name, candidate in SYNC.items()}
    needs.update({name: candidate.needs for name, candidate in ASYNC.items()})
    return [name for name, module in needs.items() if not find_spec(module)]
