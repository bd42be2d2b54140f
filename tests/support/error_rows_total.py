"""The messages of `docs/troubleshooting.md` about the total timeout, and how each is provoked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpcore

from error_rows import OK, row
from peers import always, deafness, reply, silence

if TYPE_CHECKING:
    from error_rows import Bench
    from peers import Connection

TOTAL = {"total": 0.3}


@row(
    "no connection to <origin> became free within <seconds> s (total timeout): <what the connections do>",
    httpcore.PoolTimeout,
)
async def total_timeout_of_a_wait(bench: Bench) -> object:
    url = bench.serve(always(OK)).url
    async with bench.flavour.pool(max_connections=1) as pool, pool.stream("GET", url):
        return await pool.request("GET", url, extensions={"timeout": TOTAL})


@row("the request to <origin> was not begun within <seconds> s (total timeout)", httpcore.PoolTimeout)
async def total_timeout_of_an_earlier_request(bench: Bench) -> object:
    return await bench.get_from(silence, limits={"total": 0.0})


@row("connecting to <origin> was not finished within <seconds> s (total timeout)", httpcore.ConnectTimeout)
async def total_timeout_of_a_connect(bench: Bench) -> object:
    return await bench.get(f"https://{bench.serve(silence).authority}/", limits=TOTAL)


@row("the request was not sent to <origin> within <seconds> s (total timeout)", httpcore.WriteTimeout)
async def total_timeout_of_an_upload(bench: Bench) -> object:
    return await bench.get_from(deafness, method="POST", content=bytes(20_000_000), limits=TOTAL)


@row("no response from <origin> within <seconds> s (total timeout)", httpcore.ReadTimeout)
async def total_timeout_of_a_response(bench: Bench) -> object:
    return await bench.get_from(silence, limits=TOTAL)


@row("the response body from <origin> was not read within <seconds> s (total timeout)", httpcore.ReadTimeout)
async def total_timeout_of_a_body(bench: Bench) -> object:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(reply(b"cut short")[:-1])
        connection.wait_closed()

    # The head arrives within it, on a busy machine as well.
    return await bench.get_from(script, limits={"total": 1.0})
