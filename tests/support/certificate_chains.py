"""Cases for `tls/test_certificates.py`: chains, time, rights to sign, certificates that are trusted themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from certificates import ANY_PURPOSE, CLIENT_AUTH, SERVER_AUTH, Issued, issue, rebuilt, subject_name

if TYPE_CHECKING:
    from collections.abc import Sequence

# The verdict of Python's `ssl` before 3.13, whose default context is stricter.
ACCEPTED, REFUSED = "accepted", "refused"
# Python's `ssl` accepts it, and the engine refuses it.
STRICTER = "stricter"

HOST = "server.example.test"
DAY_BEFORE, DAY_AFTER = (-5, -1), (1, 5)


class SetUp(NamedTuple):
    """The chain that a server presents, the certificates that a client trusts, and the host that it connects to."""

    chain: Sequence[Issued]
    trusted: Sequence[Issued]
    host: str = HOST


Make = Callable[[], SetUp]
CASES: dict[str, tuple[str, Make]] = {}


def case(expected: str) -> Callable[[Make], Make]:
    """Registers a case under its name."""

    def register(make: Make) -> Make:
        CASES[make.__name__.replace("_", " ")] = expected, make
        return make

    return register


def root(name: str = "Root", **arguments: Any) -> Issued:
    return issue(name, **{"ca": True, **arguments})


def inner(by: Issued, name: str = "Intermediate", **arguments: Any) -> Issued:
    return issue(name, by, **{"ca": True, **arguments})


def leaf(by: Issued | None = None, **arguments: Any) -> Issued:
    return issue("leaf", by, **{"names": [HOST], **arguments})


def direct(leaf_: dict[str, Any] | None = None, host: str = HOST, **root_: Any) -> SetUp:
    """Returns the set-up of a root and a certificate that it issued."""
    by = root(**root_)
    return SetUp([leaf(by, **leaf_ or {})], [by], host)


def through(leaf_: dict[str, Any] | None = None, host: str = HOST, **inner_: Any) -> SetUp:
    """Returns the set-up of a root, an authority that it issued, and a certificate that this authority issued."""
    by = root()
    between = inner(by, **inner_)
    return SetUp([leaf(between, **leaf_ or {}), between], [by], host)


# Chains as they should be.


@case(ACCEPTED)
def by_three_intermediates() -> SetUp:
    a = root()
    b = inner(a, "B")
    c = inner(b, "C")
    d = inner(c, "D")
    return SetUp([leaf(d), d, c, b], [a])


@case(STRICTER)
def by_seven_intermediates() -> SetUp:
    chain = [root()]
    for number in range(7):
        chain.append(inner(chain[-1], f"Authority {number}"))
    return SetUp([leaf(chain[-1]), *reversed(chain[1:])], [chain[0]])


@case(ACCEPTED)
def intermediates_in_the_wrong_order() -> SetUp:
    a = root()
    b = inner(a, "B")
    c = inner(b, "C")
    return SetUp([leaf(c), b, c], [a])


@case(ACCEPTED)
def with_the_root_sent_along() -> SetUp:
    a = root()
    return SetUp([leaf(a), a], [a])


@case(ACCEPTED)
def with_a_foreign_certificate_sent_along() -> SetUp:
    a = root()
    return SetUp([leaf(a), root("Foreign")], [a])


@case(REFUSED)
def the_intermediate_is_not_sent() -> SetUp:
    a = root()
    return SetUp([leaf(inner(a))], [a])


@case(ACCEPTED)
def the_intermediate_is_trusted_beside_its_root() -> SetUp:
    a = root()
    b = inner(a)
    return SetUp([leaf(b)], [a, b])


@case(REFUSED)
def only_the_intermediate_is_trusted() -> SetUp:
    b = inner(root())
    return SetUp([leaf(b), b], [b])


@case(REFUSED)
def by_an_unknown_root_that_is_sent() -> SetUp:
    a = root("Other")
    return SetUp([leaf(a), a], [root()])


@case(REFUSED)
def by_another_root_of_the_same_name_that_is_sent() -> SetUp:
    a = root(key_ids=False)
    return SetUp([leaf(a, key_ids=False), a], [root(key_ids=False)])


@case(REFUSED)
def a_root_without_the_authoritys_key_id() -> SetUp:
    a = root()
    wrong = x509.AuthorityKeyIdentifier(b"x" * 20, None, None)
    return SetUp([leaf(a, key_ids=False, extra=[(wrong, False)])], [a])


@case(REFUSED)
def a_key_id_with_another_serial_number() -> SetUp:
    a = root()
    names = [x509.DirectoryName(a.certificate.subject)]
    wrong = x509.AuthorityKeyIdentifier(None, names, a.certificate.serial_number + 1)
    return SetUp([leaf(a, key_ids=False, extra=[(wrong, False)])], [a])


@case(ACCEPTED)
def a_key_id_with_issuer_and_serial_number() -> SetUp:
    a = root()
    names = [x509.DirectoryName(a.certificate.subject)]
    right = x509.AuthorityKeyIdentifier(None, names, a.certificate.serial_number)
    return SetUp([leaf(a, key_ids=False, extra=[(right, False)])], [a])


@case(REFUSED)
def a_key_id_with_another_issuer() -> SetUp:
    a = root()
    names = [x509.DirectoryName(subject_name("Other"))]
    wrong = x509.AuthorityKeyIdentifier(None, names, a.certificate.serial_number)
    return SetUp([leaf(a, key_ids=False, extra=[(wrong, False)])], [a])


@case(REFUSED)
def a_root_that_names_another_key_as_its_issuers() -> SetUp:
    key = ec.generate_private_key(ec.SECP256R1())
    own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    a = root(key=key, key_ids=False, extra=[(own, False), (x509.AuthorityKeyIdentifier(b"x" * 20, None, None), False)])
    return SetUp([leaf(a)], [a])


@case(REFUSED)
def two_trusted_ones_that_have_issued_each_other() -> SetUp:
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    a, b = root("A", key=keys[0]), root("B", key=keys[1])
    a_by_b, b_by_a = inner(b, "A", key=keys[0]), inner(a, "B", key=keys[1])
    return SetUp([leaf(a)], [a_by_b, b_by_a])


CASES |= {
    "by a root": (ACCEPTED, direct),
    "by an intermediate": (ACCEPTED, through),
    "by an unknown root": (REFUSED, lambda: SetUp([leaf(root("Other"))], [root()])),
    "by another root of the same name": (REFUSED, lambda: SetUp([leaf(root())], [root()])),
    "by another root of the same name without key ids": (
        REFUSED,
        lambda: SetUp([leaf(root(key_ids=False), key_ids=False)], [root(key_ids=False)]),
    ),
    "a signature that does not fit": (
        REFUSED,
        lambda: direct({"signed_with": ec.generate_private_key(ec.SECP256R1())}),
    ),
    "an intermediate whose signature does not fit": (
        REFUSED,
        lambda: through(signed_with=ec.generate_private_key(ec.SECP256R1())),
    ),
}


# Time.


def _same_root(*days: tuple[int, int]) -> list[Issued]:
    key = ec.generate_private_key(ec.SECP256R1())
    return [root(key=key, days=span) for span in days]


@case(ACCEPTED)
def by_a_root_that_was_renewed() -> SetUp:
    old, new = _same_root(DAY_BEFORE, (-1, 10))
    return SetUp([leaf(new)], [old, new])


@case(REFUSED)
def by_a_root_twice_expired() -> SetUp:
    old, new = _same_root((-9, -5), DAY_BEFORE)
    return SetUp([leaf(new)], [old, new])


@case(REFUSED)
def by_an_expired_root_that_another_root_vouches_for() -> SetUp:
    other = root("Other")
    key = ec.generate_private_key(ec.SECP256R1())
    old, cross = root(key=key, days=DAY_BEFORE), inner(other, "Root", key=key)
    return SetUp([leaf(old), cross], [old, other])


@case(ACCEPTED)
def by_a_root_that_an_expired_root_vouches_for() -> SetUp:
    other = root("Other", days=DAY_BEFORE)
    key = ec.generate_private_key(ec.SECP256R1())
    new, cross = root(key=key), inner(other, "Root", key=key)
    return SetUp([leaf(new), cross], [other, new])


@case(ACCEPTED)
def an_expired_and_a_renewed_intermediate_are_sent() -> SetUp:
    a = root()
    key = ec.generate_private_key(ec.SECP256R1())
    old, new = inner(a, key=key, days=DAY_BEFORE), inner(a, key=key)
    return SetUp([leaf(new), old, new], [a])


@case(REFUSED)
def an_expired_intermediate_is_trusted_and_a_renewed_one_sent() -> SetUp:
    a = root()
    key = ec.generate_private_key(ec.SECP256R1())
    old, new = inner(a, key=key, days=DAY_BEFORE), inner(a, key=key)
    return SetUp([leaf(new), new], [a, old])


CASES |= {
    "expired": (REFUSED, lambda: direct({"days": DAY_BEFORE})),
    "early": (REFUSED, lambda: direct({"days": DAY_AFTER})),
    "by an expired intermediate": (REFUSED, lambda: through(days=DAY_BEFORE)),
    "by an early intermediate": (REFUSED, lambda: through(days=DAY_AFTER)),
    "by an expired root": (REFUSED, lambda: direct(days=DAY_BEFORE)),
    "by an early root": (REFUSED, lambda: direct(days=DAY_AFTER)),
}


# The right to sign other certificates.


@case(REFUSED)
def by_the_certificate_of_another_server() -> SetUp:
    a = root()
    other = issue("other", a, names=["other.test"])
    return SetUp([leaf(other), other], [a])


def _of_version_1(by: Issued | None = None) -> Issued:
    """Returns a certificate of version 1, which has no extensions."""
    plain = issue("Root" if by is None else "Intermediate", by, ca=None, key_ids=False)
    signing = (by or plain).key
    return rebuilt(
        plain,
        lambda contents: contents.replace(bytes.fromhex("a003020102"), b"", 1),
        lambda signed: signing.sign(signed, ec.ECDSA(hashes.SHA256())),
    )


@case(ACCEPTED)
def by_a_root_of_version_1() -> SetUp:
    a = _of_version_1()
    return SetUp([leaf(a, key_ids=False)], [a])


@case(REFUSED)
def by_an_intermediate_of_version_1() -> SetUp:
    a = root()
    b = _of_version_1(a)
    return SetUp([leaf(b, key_ids=False), b], [a])


@case(REFUSED)
def by_a_trusted_certificate_of_version_1_that_another_has_signed() -> SetUp:
    a = root()
    b = _of_version_1(a)
    return SetUp([leaf(b, key_ids=False), b], [a, b])


def _paths(*lengths: int | None, self_issued: bool = False) -> SetUp:
    """Returns a root and authorities below it, with these limits to the length of the path."""
    chain = [root(path_length=lengths[0])]
    for number, length in enumerate(lengths[1:]):
        chain.append(inner(chain[-1], "Root" if self_issued else f"Authority {number}", path_length=length))
    return SetUp([leaf(chain[-1]), *reversed(chain[1:])], [chain[0]])


CASES |= {
    "by a root that is no ca": (REFUSED, lambda: direct(ca=False)),
    "by a root without basic constraints": (REFUSED, lambda: direct(ca=None)),
    "by a root without basic constraints that may sign": (STRICTER, lambda: direct(ca=None, uses=["key_cert_sign"])),
    "by a root with constraints that are not critical": (ACCEPTED, lambda: direct(critical=False)),
    "by a root without key usage": (ACCEPTED, lambda: direct(uses=())),
    "by a root that may not sign": (REFUSED, lambda: direct(uses=["digital_signature", "crl_sign"])),
    "by a root for clients only": (REFUSED, lambda: direct(purposes=[CLIENT_AUTH])),
    "by a root for servers only": (ACCEPTED, lambda: direct(purposes=[SERVER_AUTH])),
    "by a root for any purpose": (REFUSED, lambda: direct(purposes=[ANY_PURPOSE])),
    "by an intermediate that is no ca": (REFUSED, lambda: through(ca=False)),
    "by an intermediate without basic constraints": (REFUSED, lambda: through(ca=None)),
    "by an intermediate without basic constraints that may sign": (
        REFUSED,
        lambda: through(ca=None, uses=["key_cert_sign"]),
    ),
    "by an intermediate that may not sign": (REFUSED, lambda: through(uses=["digital_signature", "crl_sign"])),
    "by an intermediate for clients only": (REFUSED, lambda: through(purposes=[CLIENT_AUTH])),
    "by an intermediate for servers only": (ACCEPTED, lambda: through(purposes=[SERVER_AUTH])),
    "by an intermediate for any purpose": (REFUSED, lambda: through(purposes=[ANY_PURPOSE])),
    "path length 0 and none below": (ACCEPTED, lambda: _paths(0)),
    "path length 0 and one below": (REFUSED, lambda: _paths(0, None)),
    "path length 1 and one below": (ACCEPTED, lambda: _paths(1, None)),
    "path length 1 and two below": (REFUSED, lambda: _paths(1, None, None)),
    "path length 0 of an intermediate and one below": (REFUSED, lambda: _paths(None, 0, None)),
    "path lengths that fall": (ACCEPTED, lambda: _paths(2, 1, 0)),
    "path length 0 and one below that has issued itself": (ACCEPTED, lambda: _paths(0, None, self_issued=True)),
}


# Trusted certificates that are not authorities.


def _pinned(own: Issued, *others: Issued, host: str = HOST) -> SetUp:
    return SetUp([own], [own, *others], host)


@case(REFUSED)
def self_signed_with_the_key_of_the_trusted_one() -> SetUp:
    own = leaf()
    return SetUp([leaf(key=own.key)], [own])


@case(REFUSED)
def the_second_self_signed_of_the_same_name_without_key_ids() -> SetUp:
    own = leaf(key_ids=False)
    return SetUp([own], [leaf(key_ids=False), own])


@case(REFUSED)
def signed_by_a_trusted_self_signed_one() -> SetUp:
    pin = issue("pin", names=["pin.test"])
    return SetUp([leaf(pin)], [pin])


@case(REFUSED)
def signed_by_a_trusted_self_signed_one_without_constraints() -> SetUp:
    pin = issue("pin", names=["pin.test"], ca=None)
    return SetUp([leaf(pin)], [pin])


@case(REFUSED)
def signed_by_a_trusted_self_signed_one_for_servers() -> SetUp:
    pin = issue("pin", names=["pin.test"], uses=["digital_signature"], purposes=[SERVER_AUTH])
    return SetUp([leaf(pin), pin], [pin])


@case(REFUSED)
def signed_by_a_trusted_server_beside_its_authority() -> SetUp:
    a = root()
    pin = issue("pin", a, names=["pin.test"])
    return SetUp([leaf(pin), pin], [pin, a])


@case(REFUSED)
def signed_by_a_trusted_server_alone() -> SetUp:
    pin = issue("pin", root(), names=["pin.test"])
    return SetUp([leaf(pin), pin], [pin])


@case(ACCEPTED)
def a_trusted_leaf_beside_its_authority() -> SetUp:
    a = root()
    return _pinned(leaf(a), a)


@case(REFUSED)
def a_trusted_leaf_beside_its_expired_authority() -> SetUp:
    a = root(days=DAY_BEFORE)
    return _pinned(leaf(a), a)


CASES |= {
    "self signed and trusted": (ACCEPTED, lambda: _pinned(leaf())),
    "self signed without constraints and trusted": (ACCEPTED, lambda: _pinned(leaf(ca=None))),
    "self signed authority and trusted": (ACCEPTED, lambda: _pinned(leaf(ca=True))),
    "self signed authority without key usage and trusted": (
        ACCEPTED,
        lambda: _pinned(leaf(ca=True, uses=())),
    ),
    "self signed authority that signs certificates only and trusted": (
        REFUSED,
        lambda: _pinned(leaf(ca=True, uses=["key_cert_sign"])),
    ),
    "self signed and not trusted": (REFUSED, lambda: SetUp([leaf()], [root()])),
    "self signed and another of the same name trusted": (REFUSED, lambda: SetUp([leaf()], [leaf()])),
    "self signed and another of the same name trusted without key ids": (
        REFUSED,
        lambda: SetUp([leaf(key_ids=False)], [leaf(key_ids=False)]),
    ),
    "self signed and expired": (REFUSED, lambda: _pinned(leaf(days=DAY_BEFORE))),
    "self signed and early": (REFUSED, lambda: _pinned(leaf(days=DAY_AFTER))),
    "self signed for another host": (REFUSED, lambda: _pinned(leaf(names=["other.test"]))),
    "self signed for clients": (REFUSED, lambda: _pinned(leaf(purposes=[CLIENT_AUTH]))),
    "self signed for any purpose": (REFUSED, lambda: _pinned(leaf(purposes=[ANY_PURPOSE]))),
    "two self signed of different names trusted": (
        ACCEPTED,
        lambda: _pinned(leaf(), issue("other", names=["other.test"])),
    ),
    "a trusted leaf without its authority": (REFUSED, lambda: _pinned(leaf(root()))),
}
