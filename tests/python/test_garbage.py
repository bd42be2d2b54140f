"""Objects of the user that a pool holds, and that refer to the pool: the garbage collector finds the cycle."""

from __future__ import annotations

import gc
import ssl
import weakref
from typing import TYPE_CHECKING, Any, Callable

import httpcore
import pytest

import httpcore_rs
from peers import always, reply

if TYPE_CHECKING:
    from certificates import Certificates
    from flavours import Flavour
    from peers import Serve


class Function:
    """A function of the user: a policy, a resolver, a callback, or a choice of a certificate."""

    owner: Any = None

    def __call__(self, *_: Any) -> Any:
        return None


class Policy(Function):
    def __call__(self, *_: Any) -> bool:
        return True


class Password(Function):
    def __call__(self) -> str:
        return "password"


class Context(ssl.SSLContext):
    owner: Any = None


class SocketOptions(list[Any]):
    owner: Any = None


class Case:
    """The functions return an object that is to refer to a pool, and the arguments of the pool."""

    def __init__(self, flavour: Flavour, certificates: Certificates) -> None:
        self.flavour = flavour
        self.certificates = certificates

    def connect_policy(self) -> tuple[Any, dict[str, Any]]:
        policy = Policy()
        return policy, {"connect_policy": policy}

    def resolver(self) -> tuple[Any, dict[str, Any]]:
        resolver = Function()
        return resolver, {"resolver": resolver}

    def on_pool_wait(self) -> tuple[Any, dict[str, Any]]:
        callback = Function()
        return callback, {"pool_wait_warning": 1.0, "on_pool_wait": callback}

    def network_backend(self) -> tuple[Any, dict[str, Any]]:
        backend = self.flavour.backend()
        return backend, {"network_backend": backend}

    def socket_options(self) -> tuple[Any, dict[str, Any]]:
        options = SocketOptions()
        return options, {"socket_options": options}

    def ssl_context(self) -> tuple[Any, dict[str, Any]]:
        context = Context(ssl.PROTOCOL_TLS_CLIENT)
        return context, {"ssl_context": context}

    def cert(self) -> tuple[Any, dict[str, Any]]:
        choice = Function()
        return choice, {"ssl_context": httpcore_rs.TLSConfig(verify=self.certificates.ca, cert=choice)}

    def password(self) -> tuple[Any, dict[str, Any]]:
        password = Password()
        cert = (str(self.certificates.client_chain), str(self.certificates.client_key), password)
        return password, {"ssl_context": httpcore_rs.TLSConfig(verify=self.certificates.ca, cert=cert)}

    def proxy_authenticate(self) -> tuple[Any, dict[str, Any]]:
        callback = Function()
        return callback, {"proxy": httpcore.Proxy("http://localhost:1"), "proxy_authenticate": callback}

    def ssl_context_of_a_proxy(self) -> tuple[Any, dict[str, Any]]:
        context, arguments = self.ssl_context()
        return context, {"proxy": httpcore.Proxy("https://localhost:1", **arguments)}

    def cert_of_a_proxy(self) -> tuple[Any, dict[str, Any]]:
        choice, arguments = self.cert()
        return choice, {"proxy": httpcore.Proxy("https://localhost:1", **arguments)}


EVERY = [name for name in vars(Case) if not name.startswith("_")]


def are_collected(cycle: Callable[[], tuple[Any, Any]]) -> bool:
    """Returns whether two objects that refer to each other are collected."""

    def made() -> list[weakref.ref[Any]]:
        holder, owner = cycle()
        holder.owner = owner
        return [weakref.ref(holder), weakref.ref(owner)]

    references = made()
    gc.collect()
    return [reference() for reference in references] == [None, None]


@pytest.mark.parametrize("option", EVERY)
def test_a_pool(flavour: Flavour, certificates: Certificates, option: str) -> None:
    def cycle() -> tuple[Any, Any]:
        holder, arguments = getattr(Case(flavour, certificates), option)()
        return holder, flavour.pool(**arguments).raw

    assert are_collected(cycle)


@pytest.mark.parametrize("option", [name for name in EVERY if "proxy" not in name and "pool" not in name])
def test_a_single_connection(flavour: Flavour, certificates: Certificates, option: str) -> None:
    def cycle() -> tuple[Any, Any]:
        holder, arguments = getattr(Case(flavour, certificates), option)()
        kind = getattr(httpcore_rs, flavour.prefixed("HTTPConnection"))
        return holder, kind(httpcore.Origin(b"https", b"localhost", 1), **arguments)

    assert are_collected(cycle)


def test_an_assigned_backend(flavour: Flavour) -> None:
    def cycle() -> tuple[Any, Any]:
        backend, pool = flavour.backend(), flavour.pool().raw
        pool._network_backend = backend
        return backend, pool

    assert are_collected(cycle)


async def test_pools_that_have_sent_requests(flavour: Flavour, serve: Serve, certificates: Certificates) -> None:
    """Their idle connections refer to nothing of the user's."""
    peer = serve(always(reply(b"ok")), tls=certificates.server_context())
    made: list[tuple[Any, Any]] = []
    for option in ("connect_policy", "on_pool_wait", "cert", "password"):
        holder, arguments = getattr(Case(flavour, certificates), option)()
        arguments.setdefault("ssl_context", httpcore_rs.TLSConfig(verify=certificates.ca))
        pool = flavour.pool(**arguments)
        assert (await pool.request("GET", peer.url)).content == b"ok"
        made.append((holder, pool.raw))
        del holder, arguments, pool
    while made:
        assert are_collected(made.pop)


async def test_a_callback_of_a_request(flavour: Flavour, serve: Serve) -> None:
    """A request that has been answered does not keep its callbacks."""
    peer = serve(always(b"HTTP/1.1 103 Early Hints\r\n\r\n" + reply(b"ok")))
    async with flavour.pool() as pool:
        made: list[tuple[Any, Any]] = []
        for extension in ("informational", "trace"):
            callback = Function()
            if extension == "trace" and flavour.is_async:
                continue
            response = await pool.handle(
                httpcore.Request("GET", peer.url, headers={"Host": "test"}, extensions={extension: callback})
            )
            made.append((callback, response))
            del callback, response
        while made:
            assert are_collected(made.pop)
