"""The tests that are left out on Windows, with the reasons."""

from __future__ import annotations

import ctypes
import sys
import types
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

UNIX = "Python has no Unix sockets on Windows"
TRUSTSTORE = "on Windows httpx2 verifies by truststore, with an SSLContext and messages of its own"

# By the fixtures that a test takes.
FIXTURES = {
    "asgi": "hypercorn takes over listening sockets, which processes cannot pass on",
    "openssl": "there is no program of OpenSSL",
    "program": "the programs send signals, fork, or measure by /proc",
}

# By the values of its parameters.
LIBRARIES = {
    "uvloop": "there is no uvloop",
    "trio": "trio is not tested on Windows",
}

# By names that it uses.
NAMES = {
    "descriptors": "descriptors are counted by /dev/fd",
    "sockets_to": "descriptors are listed by /dev/fd",
    "SIGUSR1": "signals cannot be sent",
}

# By the beginning of its own name.
TESTS = {
    "test_uds": UNIX,
    "test_it_connects_to_a_unix_domain_socket": UNIX,
    "test_under_trio_": LIBRARIES["trio"],
    "test_a_pool_serves_one_loop_after_the_other": LIBRARIES["trio"],
    "test_a_cancel_scope_closes_the_stream_before_it_is_left": LIBRARIES["trio"],
    "test_a_signal_handler_does_not_wait_for_the_lookup_that_it_interrupts": NAMES["SIGUSR1"],
    "test_a_tunnel_that_ended_while_idle_is_replaced": "a shutdown does not end the recv of the scripted proxy",
    "test_socket_options_are_set_and_nodelay_always": NAMES["sockets_to"],
    "test_the_system_store_is_a_property_of_the_config": "the operating system's authorities cannot be read",
}
TESTS_OF_HTTPX2 = ("test_making_a_transport_builds_no_ssl_context", "test_arguments_keep_their_meaning")

# wine 8.0 swallows a reset that a poll has seen: in a program of plain Python, too, `recv` returns b"" after `select`.
TESTS_OF_RESETS = ("test_a_reset_in_the_body_is", "test_a_reset_instead_of")
EXCEPTIONS_OF_HTTPX = "test_exceptions_are_httpxs"

# Python's embeddable distribution ignores the environment.
TESTS_OF_ENVIRONMENT = ("test_secrets_are_logged_to_the_file_in_the_environment",)


def reason_to_skip(item: pytest.Item) -> str | None:
    """Returns the reason why a test cannot run on Windows."""
    reason = next(_reasons(item), None)
    return reason and f"sys.platform == 'win32': {reason}"


def _reasons(item: pytest.Item) -> Iterator[str]:
    yield from (reason for fixture, reason in FIXTURES.items() if fixture in getattr(item, "fixturenames", ()))
    yield from (reason for start, reason in TESTS.items() if item.name.startswith(start))
    spec = getattr(item, "callspec", None)
    for value in spec.params.values() if spec is not None else ():
        for name in value if isinstance(value, tuple) else (value,):
            if isinstance(name, str) and name in LIBRARIES:
                yield LIBRARIES[name]
    if item.name.startswith(TESTS_OF_HTTPX2) and "httpx2" in item.name:
        yield TRUSTSTORE
    if item.name.startswith(TESTS_OF_ENVIRONMENT) and "ssl]" in item.name and sys.flags.ignore_environment:
        yield "this Python ignores the environment"
    is_reset = item.name.startswith(TESTS_OF_RESETS) or (
        item.name.startswith(EXCEPTIONS_OF_HTTPX) and "ReadError" in item.name
    )
    if is_reset and _is_wine():
        yield "wine swallows resets"
    code = getattr(getattr(item, "function", None), "__code__", None)
    if code is not None:
        yield from (NAMES[name] for name in _names(code) if name in NAMES)


def _is_wine() -> bool:
    return sys.platform == "win32" and hasattr(ctypes.windll.ntdll, "wine_get_version")


def _names(code: types.CodeType) -> Iterator[str]:
    """Yields the names that a function and those in it use."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)
