"""The error messages of connect policies and of authentication to a proxy, and requests that end with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpcore

import httpcore_rs
from error_rows import OK, SECRET, WANTS, row, through
from peers import answers

if TYPE_CHECKING:
    from error_rows import Bench
    from peers import Connection


@row("connecting to <origin> failed: the connect policy <policy> refuses <addresses>", httpcore.ConnectError)
async def refused_address(bench: Bench) -> object:
    return await bench.get_from(answers(OK), pool={"connect_policy": httpcore_rs.PublicAddressesOnly()})


@row("connecting to the proxy <proxy> failed: the connect policy <policy> refuses <addresses>", httpcore.ConnectError)
async def refused_address_of_a_proxy(bench: Bench) -> object:
    arguments = through(bench.serve(answers(OK)))
    return await bench.get("http://origin.test/", pool={**arguments, "connect_policy": lambda address: False})


async def authenticate(bench: Bench, answer: Any, *, closes: bool = False) -> object:
    """Asks a proxy for a tunnel that answers each request by 407."""

    def script(connection: Connection) -> None:
        while True:
            connection.read_head()
            connection.send(WANTS)
            if closes:
                return

    pool = {**through(bench.serve(script)), "proxy_authenticate": lambda challenge: answer}
    return await bench.get("https://origin.test/", pool=pool)


REFUSED = "407 <reason of the proxy>: the proxy <proxy> wants credentials (Proxy-Authenticate: <challenges>); "
TOKEN = {"Proxy-Authorization": f"Negotiate {SECRET}"}


@row(f"{REFUSED}proxy_authenticate has given up", httpcore.ProxyError)
async def given_up(bench: Bench) -> object:
    return await authenticate(bench, None)


@row(f"{REFUSED}proxy_authenticate has answered too often", httpcore.ProxyError)
async def too_many_rounds(bench: Bench) -> object:
    return await authenticate(bench, TOKEN)


@row(
    f"{REFUSED}the proxy has ended the connection, or sent a long body: authentication cannot go on there",
    httpcore.ProxyError,
)
async def ended_between_rounds(bench: Bench) -> object:
    return await authenticate(bench, TOKEN, closes=True)
