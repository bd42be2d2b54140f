"""URLs as strings: those of the usual form are read by the engine, and mean what `httpcore.URL` says."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import httpcore
import pytest

from httpcore_rs._engine import read_url
from peers import always, reply

if TYPE_CHECKING:
    from flavours import Flavour
    from peers import Serve

OK = always(reply(b"ok"))

# Parts of URLs: usual ones, and those that may be unusual.
PARTS = [
    (
        ["http://", "https://"],
        ["HTTP://", "Https://", "ftp://", "ws://", "://", "http:", "http:/", "//", "http:///", ""],
    ),
    (
        ["example.org", "127.0.0.1", "a", "h_st", "-.1"],
        ["A.b", "[::1]", "\u00e4", ".", "user@host", "a:b@c", "%41", ""],
    ),
    (["", ":80", ":443", ":8080", ":1"], [":0", ":", ":080", ":65535", ":65536", ":99999", ":8a", ":-1", ":\u0661"]),
    (["", "/", "/a", "/a/b.c", "/%20"], ["//a", "/a;b", "/;", "/a b", "/\u00e4", "/[a]", "a", "/a:b@c", "\\a", "/.."]),
    (["", "?a", "?a=b&c=d", "?[a]=b"], ["?", "?a?b", "?a;b", "?/", "?a#b", "?\u00fc", "?'", "??"]),
    ([""], ["#", "#a", "#a?b"]),
]
ODD = [*" \t\r\n\0#?/:@[];\\%\x7f\u00dfaZ0", ""]


def strings(number: int) -> list[str]:
    """Returns URLs, usual and unusual ones, some of them changed in a place or two."""
    chance = random.Random(14)
    found = []
    for _ in range(number):
        url = "".join(chance.choice(usual if chance.random() < 0.9 else unusual) for usual, unusual in PARTS)
        for _ in range(chance.choice([0, 0, 0, 1, 2])):
            position = chance.randrange(len(url) + 1)
            url = url[:position] + chance.choice(ODD) + url[position + chance.choice([0, 1]) :]
        found.append(url)
    return found


def expected(url: str) -> Any:
    try:
        parsed = httpcore.URL(url)
    except ValueError as exc:
        return exc
    return parsed.scheme.decode(), parsed.host.decode(), parsed.port, parsed.target.decode()


def test_they_are_equal_to_httpcores() -> None:
    read = 0
    for url in strings(120_000):
        found = read_url(url)
        if found is not None:
            read += 1
            assert found == expected(url), url
    # A good part of them is of the usual form.
    assert read > 20_000


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org",
        "https://example.org/",
        "http://127.0.0.1:8000/path?query",
        "https://api.example-1.com/v1/chat/completions",
        "http://host?a=b",
        "http://host/?filter[name]=a%20b&x=1:2@3",
    ],
)
def test_the_usual_ones_are_read_by_the_engine(url: str) -> None:
    assert read_url(url) == expected(url)


@pytest.mark.parametrize("convert", [str, str.encode, httpcore.URL])
async def test_requests_by_each_kind_of_url(flavour: Flavour, serve: Serve, convert: Any) -> None:
    peer = serve(OK)
    async with flavour.pool() as pool:
        for target in ("path?a=b", "", "?a", "a;b", "a#b", "%20/[a]?b=c?d"):
            await pool.request("GET", convert(peer.url + target))
            async with pool.stream("GET", convert(peer.url + target)) as response:
                await response.read()
    assert [request.target for request in peer.requests[::2]] == [request.target for request in peer.requests[1::2]]
    assert [request.target for request in peer.requests[::2]] == [
        b"/path?a=b",
        b"/",
        b"/?a",
        b"/a",
        b"/a",
        b"/%20/[a]?b=c?d",
    ]
    assert {request.header(b"host") for request in peer.requests} == {peer.authority.encode()}


async def test_bad_urls(flavour: Flavour) -> None:
    async with flavour.pool() as pool:
        for url in ("/path", "host", ""):
            with pytest.raises(httpcore.UnsupportedProtocol):
                await pool.request("GET", url)
        for url in ("http://h\u00f6st/", "http://host/\udc80"):
            with pytest.raises(TypeError, match="unicode"):
                await pool.request("GET", url)
            with pytest.raises(TypeError, match="unicode"):
                async with pool.stream("GET", url):
                    pass
        with pytest.raises(ValueError, match=r"[Pp]ort"):
            await pool.request("GET", "http://host:99999/")
