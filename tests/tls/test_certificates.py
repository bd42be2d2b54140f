"""The verdict on certificates: rustls and Python's `ssl` side by side, over chains and set-ups of many kinds.

No certificate that OpenSSL refuses is accepted. Those that are refused though OpenSSL accepts them are marked
`STRICTER`, and have a row in `docs/compatibility.md`. The cases are in `certificate_chains.py` and
`certificate_purposes.py`.
"""

from __future__ import annotations

import os
import socket
import ssl
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import httpcore
import httpx
import pytest

import httpcore_rs
from certificate_chains import ACCEPTED, HOST, REFUSED, STRICTER, leaf, root
from certificate_purposes import CASES
from certificates import Issued, hashed_name, issue, server_context
from peers import always, reply

if TYPE_CHECKING:
    from pathlib import Path

    from peers import Serve

# The comparison.


def verdict_on(port: int, host: str, config: Any) -> str:
    """Returns `accepted`, or the reason for which the engine refused the certificate."""
    with httpcore_rs.ConnectionPool(ssl_context=config) as pool:
        return asked(pool, port, host)


def asked(pool: httpcore_rs.ConnectionPool, port: int, host: str) -> str:
    try:
        response = pool.request("GET", f"https://127.0.0.1:{port}/", extensions={"sni_hostname": host})
    except httpcore.ConnectError as error:
        return str(error)
    assert response.content == b"ok"
    return ACCEPTED


def openssls(port: int, host: str, context: ssl.SSLContext) -> str:
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        try:
            with context.wrap_socket(connection, server_hostname=host):
                return ACCEPTED
        except ssl.SSLCertVerificationError as error:
            return str(error)


@pytest.mark.parametrize("name", CASES)
def test_the_verdict_is_that_of_openssl(serve: Serve, tmp_path: Path, name: str) -> None:
    expected, make = CASES[name]
    chain, trusted, host = make()
    port = serve(always(reply(b"ok")), tls=server_context(chain, tmp_path / "server.pem")).port
    bundle = tmp_path / "trusted.pem"
    bundle.write_bytes(b"".join(issued.pem for issued in trusted))
    of_openssl = openssls(port, host, ssl.create_default_context(cafile=str(bundle)))
    for config in (httpcore_rs.TLSConfig(verify=bundle), httpcore_rs.TLSConfig(cadata=bundle.read_bytes())):
        verdict = verdict_on(port, host, config)
        if of_openssl != ACCEPTED or expected == STRICTER:
            assert "[CERTIFICATE_VERIFY_FAILED] certificate verify failed: " in verdict
        else:
            assert verdict == ACCEPTED
    if sys.version_info < (3, 13):
        assert (of_openssl == ACCEPTED) == (expected != REFUSED), of_openssl


def test_an_authority_expires_under_a_configuration_that_was_made_before(serve: Serve, tmp_path: Path) -> None:
    authority = root(days=(-1, 4 / 86400))
    # In whole seconds, and in UTC.
    expiry = authority.certificate.not_valid_after_utc.timestamp()
    context = server_context([leaf(authority)], tmp_path / "server.pem")
    # Without tickets no handshake is abbreviated: the certificate is verified in each.
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET
    port = serve(always(reply(b"ok")), tls=context).port
    bundle = tmp_path / "trusted.pem"
    bundle.write_bytes(authority.pem)
    config = httpcore_rs.TLSConfig(verify=bundle)
    verdict = verdict_on(port, HOST, config)
    if time.time() < expiry:  # Otherwise the machine was too slow to observe it.
        assert verdict == ACCEPTED
    while time.time() < expiry + 1:
        time.sleep(0.1)
    assert "certificate has expired" in verdict_on(port, HOST, config)


# Sources of trusted certificates.


class Pinned(NamedTuple):
    """A certificate that is not an authority, and two servers: one presents it, the other one signed by its key."""

    pin: Issued
    right: int
    forged: int


@pytest.fixture
def pinned(serve: Serve, tmp_path: Path) -> Pinned:
    pin = leaf(ca=False)
    forged = issue("forged", pin, names=[HOST])
    ports = [
        serve(always(reply(b"ok")), tls=server_context(chain, tmp_path / f"server-{len(chain)}.pem")).port
        for chain in ([pin], [forged, pin])
    ]
    return Pinned(pin, *ports)


@pytest.mark.parametrize(
    "way", ["verify", "directory", "cadata", "SSL_CERT_FILE", "SSL_CERT_DIR", "TLSConfig() and SSL_CERT_FILE"]
)
def test_a_trusted_certificate_vouches_for_itself_only(
    pinned: Pinned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    file = folder / hashed_name(pinned.pin.certificate)
    file.write_bytes(pinned.pin.pem)
    config: Any = None
    if way == "verify":
        config = httpcore_rs.TLSConfig(verify=file)
    elif way == "directory":
        config = httpcore_rs.TLSConfig(verify=folder)
    elif way == "cadata":
        config = httpcore_rs.TLSConfig(cadata=pinned.pin.pem)
    else:
        variable = way.rsplit(maxsplit=1)[-1]
        monkeypatch.setenv(variable, str(file if variable == "SSL_CERT_FILE" else folder))
        if "TLSConfig" in way:
            config = httpcore_rs.TLSConfig()
    assert verdict_on(pinned.right, HOST, config) == ACCEPTED
    assert "invalid CA certificate" in verdict_on(pinned.forged, HOST, config)


@pytest.fixture
def three(serve: Serve, tmp_path: Path) -> list[tuple[Issued, int]]:
    """Returns authorities, each with the port of a server whose certificate it issued."""
    found = []
    for name in ("A", "B", "C"):
        authority = root(name)
        context = server_context([leaf(authority)], tmp_path / f"{name}.pem")
        found.append((authority, serve(always(reply(b"ok")), tls=context).port))
    return found


def verdicts(three: list[tuple[Issued, int]], config: Any = None) -> list[bool]:
    return [verdict_on(port, HOST, config) == ACCEPTED for _, port in three]


def verdicts_of_openssl(three: list[tuple[Issued, int]], context: ssl.SSLContext) -> list[bool]:
    return [openssls(port, HOST, context) == ACCEPTED for _, port in three]


def test_the_environment_names_a_file_and_folders(
    three: list[tuple[Issued, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (a, _), (b, _), (c, _) = three
    file = tmp_path / "a.pem"
    file.write_bytes(a.pem)
    folders = [tmp_path / "b", tmp_path / "c"]
    for folder, authority in zip(folders, (b, c)):
        folder.mkdir()
        (folder / hashed_name(authority.certificate)).write_bytes(authority.pem)
    missing = tmp_path / "missing"
    monkeypatch.setenv("SSL_CERT_DIR", os.pathsep.join(map(str, (folders[0], missing, folders[1]))))
    everything = [False, True, True]
    assert verdicts(three) == verdicts_of_openssl(three, httpcore.default_ssl_context()) == everything
    assert (
        verdicts(three, httpcore_rs.TLSConfig()) == verdicts_of_openssl(three, httpx.create_ssl_context()) == everything
    )
    # httpcore trusts both; httpx uses the file instead of the folders.
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    assert verdicts(three) == verdicts_of_openssl(three, httpcore.default_ssl_context()) == [True, True, True]
    only_the_file = [True, False, False]
    assert (
        verdicts(three, httpcore_rs.TLSConfig())
        == verdicts_of_openssl(three, httpx.create_ssl_context())
        == only_the_file
    )
    assert verdicts(three, httpcore_rs.TLSConfig(trust_env=False)) == [False, False, False]


def test_in_a_folder_only_hashed_names_count(three: list[tuple[Issued, int]], tmp_path: Path) -> None:
    (a, _), (b, _), (c, _) = three
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    for folder in (right, wrong):
        folder.mkdir()
    (right / hashed_name(a.certificate)).write_bytes(a.pem)
    for number, name in enumerate(["README.old~", "plain-not-hashed.pem", "0123abcd.0", "server.crt"]):
        (right / name).write_bytes((b, c)[number % 2].pem)
        (wrong / name).write_bytes(b.pem)
    # The number of the first is 0, and the letters are lower case.
    (right / hashed_name(b.certificate, 1)).write_bytes(b.pem)
    (right / hashed_name(c.certificate).upper().replace(".0", ".00")).write_bytes(c.pem)
    context = ssl.create_default_context(capath=str(right))
    assert (
        verdicts(three, httpcore_rs.TLSConfig(verify=right))
        == verdicts_of_openssl(three, context)
        == [True, False, False]
    )
    with pytest.raises(ssl.SSLError, match="openssl rehash"):
        httpcore_rs.TLSConfig(verify=wrong)


def test_several_authorities_of_one_name_in_a_folder(serve: Serve, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    three = []
    for number in range(3):
        authority = root("The same")
        (folder / hashed_name(authority.certificate, number)).write_bytes(authority.pem)
        context = server_context([leaf(authority)], tmp_path / f"{number}.pem")
        three.append((authority, serve(always(reply(b"ok")), tls=context).port))
    context = ssl.create_default_context(capath=str(folder))
    assert (
        verdicts(three, httpcore_rs.TLSConfig(verify=folder))
        == verdicts_of_openssl(three, context)
        == [True, True, True]
    )
