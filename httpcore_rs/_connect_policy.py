"""Connect policies: functions that say which addresses a pool may connect to (`connect_policy=`).

`PublicAddressesOnly`, the policy that needs no Python, is a class of the engine.
"""

from __future__ import annotations

import typing

from ._coroutines import close_coroutine
from ._names import public

if typing.TYPE_CHECKING:
    import ipaddress


@public
class ConnectAddress(typing.NamedTuple):
    """An address that a pool is going to connect to, as a connect policy is given it.

    Attributes:
        host: str
            The host that was asked for: that of the URL, or that of the proxy. An address of IPv6 has no brackets.
        ip: ipaddress.IPv4Address | ipaddress.IPv6Address
            The address that is connected to.
        port: int
            The port that is connected to.
        origin: str
            The origin of the request, with its port: `https://api.example.com:443`.
        is_proxy: bool
            Whether the host is the pool's proxy.

    """

    host: str
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address
    port: int
    origin: str
    is_proxy: bool


# What a pool takes: an object that refuses an address by `False` or by an exception.
ConnectPolicy = typing.Callable[[ConnectAddress], bool]


def check_addresses(
    policy: ConnectPolicy, host: str, port: int, origin: str, is_proxy: bool, addresses: list[str]
) -> list[str | Exception | None]:
    """Asks a policy about addresses. Returns for each `None` if it is allowed, and otherwise why not.

    Raises `TypeError` for an answer that is no bool: a policy without a `return` must not allow everything, and a
    coroutine must not count as true.
    """
    import ipaddress

    answers: list[str | Exception | None] = []
    for text in addresses:
        try:
            answer = policy(ConnectAddress(host, ipaddress.ip_address(text), port, origin, is_proxy))
        except Exception as exc:  # noqa: BLE001  # The way to refuse with a reason.
            answers.append(exc)
            continue
        if answer is not True and answer is not False:
            close_coroutine(answer)
            raise TypeError(f"the connect policy must return True or False, not {type(answer).__name__}")
        answers.append(None if answer else "")
    return answers
