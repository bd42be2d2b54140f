"""Authentication to a proxy in several rounds (`proxy_authenticate=`)."""

from __future__ import annotations

import typing

from ._names import public

if typing.TYPE_CHECKING:
    # Headers, or `None` to give up.
    ProxyAnswer = typing.Union[
        typing.Mapping[str, str], typing.Iterable[tuple[typing.Union[str, bytes], typing.Union[str, bytes]]], None
    ]


@public
class ProxyChallenge(typing.NamedTuple):
    """The response of a proxy that wants authentication before it opens a tunnel.

    Attributes:
        proxy: str
            The proxy: `http://proxy.example.com:8080`.
        origin: str
            The origin that the tunnel is to lead to: `https://api.example.com:443`.
        status: int
            407.
        headers: list[tuple[bytes, bytes]]
            The headers of the response, `Proxy-Authenticate` among them.
        round: int
            The number of the response on this connection, from 1 on.

    """

    proxy: str
    origin: str
    status: int
    headers: list[tuple[bytes, bytes]]
    round: int


if typing.TYPE_CHECKING:
    # What a pool takes.
    ProxyAuthenticate = typing.Callable[[ProxyChallenge], typing.Union[ProxyAnswer, typing.Awaitable[ProxyAnswer]]]


def pairs(answer: typing.Any) -> typing.Any:
    """Returns the headers of an answer as pairs."""
    return list(answer.items()) if isinstance(answer, typing.Mapping) else answer
