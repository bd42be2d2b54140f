"""Fixtures of the tests of SDKs. scripts/downstream runs them, in an environment of its own."""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import urllib.request
import uuid
from typing import TYPE_CHECKING, Any

import pytest

import httpcore_rs
from flavours import FLAVOURS
from sdk_base import Settings
from sdks import SDKS
from servers import AsgiServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from certificates import Certificates
    from flavours import Flavour
    from sdk_base import Sdk

WAYS = ("install", "explicit")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs tests that take `case` for each SDK, in each way and flavour that it has."""
    if "case" not in metafunc.fixturenames:
        return
    wanted = getattr(metafunc.function, "wanted", lambda _: True)
    cases = [
        (name, way, flavour)
        for name, sdk in SDKS.items()
        for way in WAYS
        for flavour in sdk.flavours
        if wanted(sdk) and not (way == "explicit" and flavour not in sdk.explicit_flavours)
    ]
    metafunc.parametrize("case", cases, ids="-".join, indirect=True)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Runs a coroutine test in the flavour of its case."""
    case = pyfuncitem.funcargs.get("case")
    if case is None:
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in inspect.signature(pyfuncitem.obj).parameters}
    case.flavour.run(pyfuncitem.obj(**arguments))
    return True


class Server:
    """The server, and what it has seen of the test's own requests: those to models whose names end with the token."""

    def __init__(self, asgi: AsgiServer) -> None:
        self.http, self.https = asgi.http, asgi.https
        self.token = uuid.uuid4().hex

    def model(self, kind: str) -> str:
        return f"{kind}-{self.token}"

    def seen(self) -> list[dict[str, Any]]:
        return self._get("seen")

    def release(self) -> None:
        """Lets a stream continue that is held after its first event."""
        self._get("release")

    def _get(self, action: str) -> Any:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{self.http}/-/{action}?token={self.token}") as response:
            return json.loads(response.read())


class Case:
    """An SDK, in one way and one flavour."""

    def __init__(self, sdk: type[Sdk], way: str, flavour: Flavour, server: Server) -> None:
        self.sdk = sdk
        self.way = way
        self.flavour = flavour
        self.server = server

    def open(self, *, url: str | None = None, **settings: Any) -> Sdk:
        return self.sdk(
            Settings(url or self.server.http, self.flavour.is_async, is_explicit=self.way == "explicit", **settings)
        )


@pytest.fixture
def case(request: pytest.FixtureRequest, server: Server) -> Iterator[Case]:
    name, way, flavour = request.param
    if way == "install":
        httpcore_rs.install()
    yield Case(SDKS[name], way, FLAVOURS[flavour](), server)
    httpcore_rs.uninstall()


@pytest.fixture(scope="session")
def sdk_server(certificates: Certificates) -> Iterator[AsgiServer]:
    with AsgiServer(certificates, "sdk_server:app") as server:
        yield server


@pytest.fixture
def server(sdk_server: AsgiServer) -> Server:
    return Server(sdk_server)


class Traffic:
    """The requests that were sent, and the responses, of all clients of httpx and httpx2."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.responses: list[Any] = []

    def count_ours(self) -> int:
        """Returns the number of responses that a pool of httpcore_rs received."""
        streams = [response.extensions.get("network_stream") for response in self.responses]
        return sum(type(stream).__module__.startswith("httpcore_rs") for stream in streams)

    def are_all_ours(self, server: Server) -> bool:
        """Returns whether each request that reached the server was answered to a pool of httpcore_rs."""
        return self.count_ours() == len(self.responses) == len(server.seen()) > 0


@pytest.fixture
def traffic(monkeypatch: pytest.MonkeyPatch) -> Traffic:
    traffic = Traffic()
    for name in ("httpx", "httpx2"):
        try:
            library = importlib.import_module(name)
        except ModuleNotFoundError:
            continue
        for cls, wrap in ((library.Client, _recorded), (library.AsyncClient, _async_recorded)):
            monkeypatch.setattr(cls, "send", wrap(cls.send, traffic))
    return traffic


def _recorded(send: Any, traffic: Traffic) -> Any:
    @functools.wraps(send)
    def wrapper(self: Any, request: Any, **arguments: Any) -> Any:
        traffic.requests.append(request)
        traffic.responses.append(send(self, request, **arguments))
        return traffic.responses[-1]

    return wrapper


def _async_recorded(send: Any, traffic: Traffic) -> Any:
    @functools.wraps(send)
    async def wrapper(self: Any, request: Any, **arguments: Any) -> Any:
        traffic.requests.append(request)
        response = await send(self, request, **arguments)
        traffic.responses.append(response)
        return response

    return wrapper
