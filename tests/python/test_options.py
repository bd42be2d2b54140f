"""The options that httpcore does not have exist on every class with a constructor, and have an effect on each of them.

These are pools, proxies, single connections and transports, for threads and for event loops, those for httpcore2 and
httpx2 included, and the transports of httpx and httpx2 after `install()`.
"""

from __future__ import annotations

import inspect
import ssl
from typing import TYPE_CHECKING, Any

import httpcore
import pytest

import httpcore_rs
from h2_peer import OK
from httpcore_rs._options import DEFAULTS, PoolOptions
from libraries import Client
from proxies import socks5, tunnels

if TYPE_CHECKING:
    from certificates import Certificates
    from flavours import Flavour
    from h2_peer import ServeH2, Session
    from libraries import Library
    from peers import Serve

# Peers of this module use TLS, by rustls.
OVER = ("rustls",)

POOLS = ["ConnectionPool", "HTTPProxy", "SOCKSProxy"]
CONNECTIONS = ["HTTPConnection", "HTTP11Connection", "HTTP2Connection"]
ORIGIN = httpcore.Origin(b"http", b"example.com", 80)
PROXY_URL = {"HTTPProxy": "http://127.0.0.1:1", "SOCKSProxy": "socks5://127.0.0.1:1"}


@pytest.fixture(params=["httpcore", "httpcore2"])
def module(request: pytest.FixtureRequest) -> Any:
    """The modules with pools and connections: `httpcore_rs` and `httpcore_rs.httpcore2`."""
    pytest.importorskip(request.param, reason="httpcore2 exists for CPython 3.10 and newer")
    return httpcore_rs if request.param == "httpcore" else httpcore_rs.httpcore2


def both(names: list[str]) -> list[str]:
    return [*names, *(f"Async{name}" for name in names)]


def make(module: Any, name: str, **options: Any) -> Any:
    """Makes an object of a class with only its required arguments and with options."""
    plain = name.removeprefix("Async")
    origin = module.Origin(b"http", b"example.com", 80)
    required: dict[str, list[Any]] = {
        "HTTPProxy": ["http://127.0.0.1:1"],
        "SOCKSProxy": ["socks5://127.0.0.1:1"],
        "HTTPConnection": [origin],
        "HTTP11Connection": [origin, getattr(module, name.replace("HTTP11Connection", "MockStream"), None)],
        "HTTP2Connection": [origin, getattr(module, name.replace("HTTP2Connection", "MockStream"), None)],
    }
    arguments = [value([]) if isinstance(value, type) else value for value in required.get(plain, [])]
    return getattr(module, name)(*arguments, **options)


# Signatures, docstrings and messages.


def check_signature(cls: Any) -> None:
    parameters = inspect.signature(cls).parameters
    assert not any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values())
    for name, default in DEFAULTS.items():
        assert parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
        assert parameters[name].default == default
    for parameter in parameters.values():
        assert parameter.annotation is not inspect.Parameter.empty
        default = "" if parameter.default is inspect.Parameter.empty else f" = {parameter.default!r}"
        assert f"\n    {parameter.name}: {parameter.annotation}{default}\n" in cls.__init__.__doc__


def test_each_option_has_a_default() -> None:
    assert list(PoolOptions.__annotations__) == list(DEFAULTS)


@pytest.mark.parametrize("name", both(POOLS + CONNECTIONS))
def test_signatures_and_docstrings_name_all_options(module: Any, name: str) -> None:
    cls = getattr(module, name)
    check_signature(cls)
    backend = inspect.signature(cls).parameters.get("network_backend")
    if backend is not None:
        assert backend.annotation == ("AsyncNetworkBackend | None" if "Async" in name else "NetworkBackend | None")


@pytest.mark.parametrize("name", ["SyncTransport", "AsyncTransport"])
def test_signatures_and_docstrings_of_transports_name_all_options(library: Library, name: str) -> None:
    cls = getattr(library, name)
    check_signature(cls)
    assert inspect.signature(cls).parameters["network_backend"].kind is inspect.Parameter.KEYWORD_ONLY


@pytest.mark.parametrize("name", both(POOLS + CONNECTIONS))
def test_an_unknown_option_of_a_pool_or_connection_is_a_type_error(module: Any, name: str) -> None:
    expected = rf"^{name}\.__init__\(\) got an unexpected keyword argument 'no_such_option'"
    for options in ({"no_such_option": 1}, {"no_such_option": 1, "http2_ping_interval": 5.0}):
        with pytest.raises(TypeError, match=expected):
            make(module, name, **options)


@pytest.mark.parametrize("name", ["SyncTransport", "AsyncTransport"])
def test_an_unknown_option_of_a_transport_is_a_type_error(library: Library, name: str) -> None:
    with pytest.raises(TypeError, match=rf"^{name}\.__init__\(\) got an unexpected keyword argument 'no_such_option'"):
        getattr(library, name)(no_such_option=1)


def test_a_subclass_is_named_in_the_message() -> None:
    class Pool(httpcore_rs.ConnectionPool):
        pass

    with pytest.raises(TypeError, match=r"Pool\.__init__\(\) got an unexpected keyword argument 'no_such_option'"):
        Pool(no_such_option=1)  # type: ignore[call-arg]


SECONDS = [
    ("long", TypeError, "a number of seconds, not str"),
    (-1.0, ValueError, "a number of seconds from 0 on, not -1"),
]


# By option: wrong values, and what is raised for them.
async def acallback(_: object) -> None: ...


WRONG: dict[str, list[tuple[Any, type[Exception], str]]] = {
    "max_connections_per_origin": [("2", TypeError, "an integer, not str"), (0, ValueError, "at least 1, or None")],
    "max_keepalive_connections_per_origin": [("2", TypeError, "an integer, not str")],
    "connect_policy": [(1, TypeError, r"a function of an address .*PublicAddressesOnly\(\), not int")],
    "interface": [
        (1, TypeError, "a str, not int"),
        ("", ValueError, "the name of a network interface"),
        ("a" * 16, ValueError, "the name of a network interface"),
    ],
    "proxy_authenticate": [(1, TypeError, "a function of a ProxyChallenge, not int")],
    "resolver": [(1, TypeError, r"a function of a host and a port, .*, not int")],
    "expect_continue_timeout": [*SECONDS, (float("inf"), ValueError, "a number of seconds from 0 on, not inf")],
    "http2_ping_interval": SECONDS,
    "http2_ping_timeout": SECONDS,
    "pool_wait_warning": SECONDS,
    "on_pool_wait": [(1, TypeError, "a function"), (acallback, TypeError, "a plain function")],
    "tcp_keepalive": [*SECONDS, (0.5, ValueError, "at least 1 second, or None")],
    "tcp_user_timeout": [*SECONDS, (0, ValueError, "at least 1 second, or None")],
    "replay": [
        (True, TypeError, "a str, not bool"),
        ("always", ValueError, '"idempotent", "unsent" or "never", not "always"'),
    ],
    "retry": [(3, TypeError, "a RetryPolicy or None, not int")],
    "default_timeout": SECONDS,
    "total_timeout": SECONDS,
    "user_agent": [
        (7, TypeError, "a str of ASCII, or bytes, not int"),
        ("a\r\nb", ValueError, "printable text without spaces at its ends"),
        ("", ValueError, "printable text without spaces at its ends"),
    ],
}


@pytest.mark.parametrize("name", both(POOLS + CONNECTIONS))
@pytest.mark.parametrize("option", DEFAULTS)
def test_a_wrong_value_is_refused_by_name(module: Any, name: str, option: str) -> None:
    for value, exception, expected in WRONG[option]:
        with pytest.raises(exception, match=f"^{option} must be {expected}"):
            make(module, name, **{option: value})


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("http1", "yes", "a bool"),
        ("http2", 1, "a bool"),
        ("retries", "often", "an integer"),
        ("local_address", 1, "a str"),
        ("uds", 1, "a path"),
    ],
)
def test_a_value_of_a_wrong_type_is_refused_by_name(option: str, value: Any, expected: str) -> None:
    with pytest.raises(TypeError, match=f"^{option} must be {expected}, not {type(value).__name__}"):
        httpcore_rs.ConnectionPool(**{option: value})


# PINGs.


def answers_after_a_ping(session: Session) -> None:
    """Answers the first request after a PING has come, and the others at once."""
    stream = session.read_request()
    session.until(lambda: session.pings)
    session.respond(stream, b"ok")
    OK(session)


PINGING: dict[str, Any] = {"http2_ping_interval": 0.03, "http2_ping_timeout": 10.0}


@pytest.mark.parametrize("name", [*POOLS, "HTTPConnection"])
async def test_pings_are_sent(
    flavour: Flavour, serve: Serve, serve_h2: ServeH2, certificates: Certificates, name: str
) -> None:
    peer = serve_h2(answers_after_a_ping)
    cls = getattr(httpcore_rs, flavour.prefixed(name))
    options: dict[str, Any] = {"http1": False, "http2": True, **PINGING}
    tls = httpcore_rs.TLSConfig(verify=str(certificates.ca))
    if name == "ConnectionPool":
        client = cls(tls, **options)
    elif name == "HTTPProxy":
        client = cls(f"http://{serve(tunnels).authority}", ssl_context=tls, **options)
    elif name == "SOCKSProxy":
        client = cls(f"socks5://{serve(socks5()).authority}", ssl_context=tls, **options)
    else:
        client = cls(httpcore.URL(peer.url).origin, tls, **options)
    response = await flavour.call(client, "request", "GET", peer.url)
    assert response.content == b"ok"
    await flavour.call(client, "close")


async def test_pings_are_sent_over_a_stream_of_the_callers(
    flavour: Flavour, serve_h2: ServeH2, certificates: Certificates
) -> None:
    # The engine does not write to such a stream while it waits for data: a PING goes out with the next request.
    def script(session: Session) -> None:
        session.respond(session.read_request(), b"ok")
        answers_after_a_ping(session)

    peer = serve_h2(script)
    url = httpcore.URL(peer.url)
    context = ssl.create_default_context(cafile=str(certificates.ca))
    context.set_alpn_protocols(["h2"])
    stream = await flavour.call(flavour.backend(), "connect_tcp", url.host.decode(), url.port)
    stream = await flavour.call(stream, "start_tls", context, "127.0.0.1")
    connection = getattr(httpcore_rs, flavour.prefixed("HTTP2Connection"))(url.origin, stream, **PINGING)
    for _ in range(2):
        response = await flavour.call(connection, "request", "GET", peer.url)
        assert response.content == b"ok"
        await flavour.sleep(2 * PINGING["http2_ping_interval"])
    await flavour.call(connection, "close")


async def test_a_transport_sends_pings(
    flavour: Flavour, serve_h2: ServeH2, certificates: Certificates, library: Library
) -> None:
    peer = serve_h2(answers_after_a_ping)
    tls = httpcore_rs.TLSConfig(verify=str(certificates.ca))
    async with library.client(flavour, library.transport(flavour, verify=tls, http2=True, **PINGING)) as client:
        assert (await client.send("GET", peer.url)).text == "ok"


async def test_a_client_sends_pings_after_install(
    flavour: Flavour, serve_h2: ServeH2, certificates: Certificates, library: Library
) -> None:
    peer = serve_h2(answers_after_a_ping)
    context = ssl.create_default_context(cafile=str(certificates.ca))
    with httpcore_rs.install(**PINGING):
        async with Client(flavour, library, verify=context, http2=True) as client:
            assert (await client.send("GET", peer.url)).text == "ok"


async def test_a_transport_of_the_library_takes_options_after_install(
    flavour: Flavour, serve_h2: ServeH2, certificates: Certificates, library: Library
) -> None:
    peer = serve_h2(answers_after_a_ping)
    context = ssl.create_default_context(cafile=str(certificates.ca))
    cls = library.AsyncHTTPTransport if flavour.is_async else library.HTTPTransport
    with httpcore_rs.install(http2_ping_interval=None):
        transport = cls(verify=context, http2=True, **PINGING)
    async with Client(flavour, library, transport=transport) as client:
        assert (await client.send("GET", peer.url)).text == "ok"


def test_options_of_install(library: Library, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    given: list[Any] = []
    genuine = httpcore_rs.ConnectionPool.__init__

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        given.append({name: kwargs[name] for name in DEFAULTS if name in kwargs})
        genuine(self, *args, **kwargs)

    monkeypatch.setattr(httpcore_rs.ConnectionPool, "__init__", init)
    request.addfinalizer(httpcore_rs.uninstall)
    httpcore_rs.install(**PINGING)
    library.HTTPTransport()
    library.HTTPTransport(http2_ping_interval=7.0)
    # A further call replaces them.
    httpcore_rs.install(http2_ping_timeout=3.0)
    library.HTTPTransport()
    httpcore_rs.install()
    library.HTTPTransport()
    assert given == [PINGING, {**PINGING, "http2_ping_interval": 7.0}, {"http2_ping_timeout": 3.0}, {}]


def test_unknown_options_of_install_are_type_errors(library: Library) -> None:
    with pytest.raises(TypeError, match=r"^install\(\) got an unexpected keyword argument 'no_such_option'"):
        httpcore_rs.install(no_such_option=1)  # type: ignore[call-arg]
    with httpcore_rs.install(), pytest.raises(TypeError, match=r"^HTTPTransport\.__init__\(\) .*'no_such_option'"):
        library.HTTPTransport(no_such_option=1)
    with pytest.raises(TypeError, match="http2_ping_interval"):
        library.HTTPTransport(http2_ping_interval=1.0)


# Network backends.

HELLO = [b"HTTP/1.1 200 OK\r\n", b"Content-Length: 5\r\n", b"\r\n", b"hello"]
SOCKS_REPLIES = [b"\x05\x00", b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x50"]
URL = "http://example.com/"


def mock(flavour: Flavour, replies: list[bytes] = HELLO) -> Any:
    """A backend that makes no connections: it answers by itself."""
    return getattr(httpcore, flavour.prefixed("MockBackend"))(replies)


@pytest.mark.parametrize("name", [*POOLS, "HTTPConnection"])
async def test_a_network_backend_is_used(flavour: Flavour, name: str) -> None:
    cls = getattr(httpcore_rs, flavour.prefixed(name))
    backend = mock(flavour, [*SOCKS_REPLIES, *HELLO] if name == "SOCKSProxy" else HELLO)
    required = [PROXY_URL[name]] if name in PROXY_URL else [ORIGIN] if name == "HTTPConnection" else []
    client = cls(*required, network_backend=backend)
    response = await flavour.call(client, "request", "GET", URL)
    assert response.content == b"hello"
    await flavour.call(client, "close")


@pytest.fixture(params=[None, *PROXY_URL])
def proxy(request: pytest.FixtureRequest) -> str | None:
    """No proxy, and one of either kind."""
    return request.param


@pytest.mark.parametrize("how", ["transport", "install"])
async def test_the_network_backend_of_a_transport_is_used(
    flavour: Flavour, library: Library, how: str, proxy: str | None
) -> None:
    backend = mock(flavour, [*SOCKS_REPLIES, *HELLO] if proxy == "SOCKSProxy" else HELLO)
    arguments = {"proxy": PROXY_URL.get(proxy or ""), "network_backend": backend}
    if how == "transport":
        transport = library.transport(flavour, **arguments)
    else:
        with httpcore_rs.install():
            cls = library.AsyncHTTPTransport if flavour.is_async else library.HTTPTransport
            transport = cls(**arguments)
    async with Client(flavour, library, transport=transport) as client:
        assert (await client.send("GET", URL)).text == "hello"


@pytest.mark.parametrize("name", ["HTTP11Connection", "HTTP2Connection"])
def test_a_connection_over_a_stream_takes_no_network_backend(flavour: Flavour, name: str) -> None:
    # Its stream is connected already: a backend would be ignored.
    with pytest.raises(TypeError, match=f"{name}.* unexpected keyword argument 'network_backend'"):
        make(httpcore_rs, flavour.prefixed(name), network_backend=mock(flavour))
