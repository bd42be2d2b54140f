"""Each program in `examples/` is run as a user runs it, and prints what it is for."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from pages import EXAMPLES, Place, imported, skip_if_impossible

if TYPE_CHECKING:
    from pathlib import Path


class Run(NamedTuple):
    """The arguments of an example, and what it has to print."""

    arguments: tuple[str, ...]
    prints: tuple[str, ...]


SITE = "https://www.example.com"
RUNS = {
    "custom_tls": Run((f"{SITE}/", "ca.pem"), ("200\n200\n200\n",)),
    "download": Run((f"{SITE}/big.bin", "big.bin"), ("big.bin: 2097152 bytes",)),
    "errors": Run(
        (f"{SITE}/", f"{SITE}/status/503", "http://127.0.0.1:1/", "ftp://www.example.com/"),
        (": 200 ", "the server answered, with 503", "nothing was sent: ", "UnsupportedProtocol: "),
    ),
    "http2": Run((f"{SITE}/",), ("Counter({'HTTP/2': 100})", "the last stream: ")),
    "httpcore2_direct": Run((f"{SITE}/",), ("a piece of 47 bytes", "200 HTTP/2", "AsyncConnectionPool")),
    "httpcore_direct": Run((f"{SITE}/",), ("200 47 bytes", "content-length: 47")),
    "httpx_async": Run((f"{SITE}/",), (f"{[200] * 20}",)),
    "httpx_sync": Run((f"{SITE}/",), ("HTTP/1.1 200  47 bytes", "a piece of 47 bytes")),
    "installed": Run((f"{SITE}/",), ("<Response [200 ",)),
    "outage_drill": Run(
        ("0.5",),
        (
            "ReadTimeout",
            "RemoteProtocolError",
            "ConnectError",
            'http_client_requests_total{error_type="ReadTimeout",outcome="failed",pool="drill"}',
            "0 requests, 0 connections in use",
            "wait for the head |",
        ),
    ),
    "prometheus_page": Run((f"{SITE}/",), ("http_client_requests_total{", 'outcome="finished",pool="example"} 3.0')),
    "proxies": Run(("http://user:password@proxy.example.com:3128", f"{SITE}/"), ("200\n200\n",)),
    "server_sent_events": Run((f"{SITE}/events",), ("tick: 0\ntick: 1\ntick: 2\n",)),
    "small_benchmark": Run(("http://www.example.com/", "0.5"), ("httpx: ", "httpx over httpcore_rs: ")),
    "streaming": Run((f"{SITE}/",), ("Example Domain", "a first piece of 47 bytes", "200")),
    "timeouts": Run((f"{SITE}/slow",), ("ReadTimeout: no response from ", "the deadline")),
    "trio_client": Run((f"{SITE}/",), tuple(f"{number} 200" for number in range(10))),
    "websocket": Run(("wss://www.example.com/echo",), ("message 0\nmessage 1\nmessage 2\n",)),
    # Other ways to run an example.
    "custom_tls, mutual": Run(
        ("https://mtls.example.com/", "ca.pem", "client.pem", "client.key"), ("200\n200\n200\n",)
    ),
    "proxies, SOCKS": Run(("socks5://user:password@proxy.example.com:1080", f"{SITE}/"), ("200\n200\n",)),
}
# Run by tests/downstream, with the SDK.
DOWNSTREAM = {"openai_sdk"}


@pytest.mark.parametrize("name", RUNS)
def test_an_example_runs(name: str, place: Place, tmp_path: Path) -> None:
    code = (EXAMPLES / f"{name.partition(',')[0]}.py").read_text(encoding="utf-8")
    skip_if_impossible(imported(code))
    output = place.run(tmp_path, code, *map(place.local, RUNS[name].arguments))
    for text in RUNS[name].prints:
        assert text in output


def test_each_example_is_run() -> None:
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    assert names == {name.partition(",")[0] for name in RUNS} | DOWNSTREAM


@pytest.mark.parametrize("name", sorted(DOWNSTREAM))
def test_an_example_of_an_sdk_is_valid(name: str) -> None:
    compile((EXAMPLES / f"{name}.py").read_text(encoding="utf-8"), name, "exec")
