"""Cases for `tls/test_certificates.py`: purposes, keys and signatures, names, and name constraints."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certificate_chains import ACCEPTED, CASES, HOST, REFUSED, STRICTER, SetUp, case, direct, inner, leaf, root, through
from certificates import ANY_PURPOSE, CLIENT_AUTH, SERVER_AUTH, Issued, issue, rebuilt, subject_name

if TYPE_CHECKING:
    from collections.abc import Sequence

# Purposes of the server's certificate.


def _netscape(bits: int) -> x509.UnrecognizedExtension:
    oid = x509.ObjectIdentifier("2.16.840.1.113730.1.1")
    return x509.UnrecognizedExtension(oid, b"\x03\x02\x00" + bytes([bits]))


UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
PROXY = x509.UnrecognizedExtension(
    x509.ObjectIdentifier("1.3.6.1.5.5.7.1.14"), bytes.fromhex("300c300a06082b06010505071501")
)
POLICIES = x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier("2.5.29.32.0"), None)])


@case(REFUSED)
def a_proxy_certificate() -> SetUp:
    a = root()
    return SetUp([issue(HOST, a, extra=[(PROXY, False)])], [a])


CASES |= {
    "for servers and clients": (ACCEPTED, lambda: direct({"purposes": [CLIENT_AUTH, SERVER_AUTH]})),
    "for clients": (REFUSED, lambda: direct({"purposes": [CLIENT_AUTH]})),
    "for any purpose": (REFUSED, lambda: direct({"purposes": [ANY_PURPOSE]})),
    "for signing code": (REFUSED, lambda: direct({"purposes": [ExtendedKeyUsageOID.CODE_SIGNING]})),
    "may sign certificates only": (REFUSED, lambda: direct({"uses": ["key_cert_sign"]})),
    "may sign lists only": (REFUSED, lambda: direct({"uses": ["crl_sign"]})),
    "may sign": (ACCEPTED, lambda: direct({"uses": ["digital_signature"]})),
    "may agree on keys only": (STRICTER, lambda: direct({"uses": ["key_agreement"]})),
    "an rsa key that may encipher only": (ACCEPTED, lambda: direct({"uses": ["key_encipherment"], "key": RSA_2048})),
    "an authority as a server": (STRICTER, lambda: direct({"ca": True})),
    "of netscapes type client": (REFUSED, lambda: direct({"extra": [(_netscape(0x80), False)]})),
    "of netscapes type server": (ACCEPTED, lambda: direct({"extra": [(_netscape(0x40), False)]})),
    "a critical extension that is unknown": (REFUSED, lambda: direct({"extra": [(UNKNOWN, True)]})),
    "an extension that is unknown": (ACCEPTED, lambda: direct({"extra": [(UNKNOWN, False)]})),
    "a critical extension of the intermediate that is unknown": (REFUSED, lambda: through(extra=[(UNKNOWN, True)])),
    "a critical extension of the root that is unknown": (REFUSED, lambda: direct(extra=[(UNKNOWN, True)])),
    "critical policies": (STRICTER, lambda: direct({"extra": [(POLICIES, True)]})),
    "critical policies of the root": (ACCEPTED, lambda: direct(extra=[(POLICIES, True)])),
}


# Keys and signatures.


RSA_2048 = rsa.generate_private_key(65537, 2048)
RSA_3072 = rsa.generate_private_key(65537, 3072)
RSA_1024 = rsa.generate_private_key(65537, 1024)


@case(ACCEPTED)
def ed25519_keys() -> SetUp:
    keys = ed25519.Ed25519PrivateKey.generate(), ed25519.Ed25519PrivateKey.generate()
    return direct({"key": keys[0], "digest": None}, key=keys[1], digest=None)


@case(STRICTER)
def ed448_keys() -> SetUp:
    a = root(key=ed448.Ed448PrivateKey.generate(), digest=None)
    return SetUp([leaf(a, digest=None)], [a])


def _with_sha1(issued: Issued) -> Issued:
    """Returns the same certificate, signed with RSA and SHA-1, which `cryptography` refuses to make."""
    of_sha256, of_sha1 = (bytes.fromhex("06092a864886f70d0101" + last) for last in ("0b", "05"))
    return rebuilt(
        issued,
        lambda contents: contents.replace(of_sha256, of_sha1),
        lambda signed: RSA_2048.sign(signed, padding.PKCS1v15(), hashes.SHA1()),
    )


@case(REFUSED)
def signed_with_sha1() -> SetUp:
    a = root(key=RSA_2048)
    return SetUp([_with_sha1(leaf(a))], [a])


@case(ACCEPTED)
def a_root_signed_with_sha1() -> SetUp:
    a = _with_sha1(root(key=RSA_2048))
    return SetUp([leaf(a)], [a])


CASES |= {
    "rsa 2048": (ACCEPTED, lambda: direct({"key": RSA_2048}, key=RSA_2048)),
    "a root of rsa 1024": (REFUSED, lambda: direct(key=RSA_1024)),
    "an intermediate of rsa 1024": (REFUSED, lambda: through(key=RSA_1024)),
    "a leaf of rsa 1024": (REFUSED, lambda: direct({"key": RSA_1024})),
    "a trusted self signed leaf of rsa 1024": (REFUSED, lambda: SetUp(*[[leaf(key=RSA_1024)]] * 2)),
    "rsa 3072 and sha384": (ACCEPTED, lambda: direct({"digest": hashes.SHA384()}, key=RSA_3072)),
    "signed with sha512": (ACCEPTED, lambda: direct({"digest": hashes.SHA512()}, key=RSA_2048)),
    "p384 and p521": (
        ACCEPTED,
        lambda: direct({"key": ec.generate_private_key(ec.SECP384R1())}, key=ec.generate_private_key(ec.SECP521R1())),
    ),
}


# Names.


def named(*names: str | x509.GeneralName, host: str = HOST, subject: str | x509.Name = "leaf") -> SetUp:
    a = root()
    return SetUp([issue(subject, a, names=names)], [a], host)


def _ip(text: str) -> x509.IPAddress:
    return x509.IPAddress(ipaddress.ip_address(text))


CASES |= {
    "one of several names": (ACCEPTED, lambda: named("a.test", HOST, "b.test")),
    "another name": (REFUSED, lambda: named("other.example.test")),
    "a name in capitals": (ACCEPTED, lambda: named(HOST.upper())),
    "a host in capitals": (ACCEPTED, lambda: named(HOST, host=HOST.upper())),
    "a common name only": (STRICTER, lambda: named(subject=HOST)),
    "a common name beside another name": (REFUSED, lambda: named("other.example.test", subject=HOST)),
    "a wildcard": (ACCEPTED, lambda: named("*.example.test")),
    "a wildcard for two labels": (REFUSED, lambda: named("*.test.example", host="a.b.test.example")),
    "a wildcard for the domain itself": (REFUSED, lambda: named("*.example.test", host="example.test")),
    "a wildcard in the middle": (REFUSED, lambda: named("server.*.test")),
    "a wildcard for a part of a label": (REFUSED, lambda: named("ser*.example.test")),
    "a wildcard for a top level domain": (REFUSED, lambda: named("*.test", host="example.test")),
    "a wildcard for everything": (REFUSED, lambda: named("*", host="localhost")),
    "a wildcard for an international name": (
        ACCEPTED,
        lambda: named("*.example.test", host="xn--mnchen-3ya.example.test"),
    ),
    "an international name": (ACCEPTED, lambda: named("xn--mnchen-3ya.test", host="xn--mnchen-3ya.test")),
    "a host with a trailing dot": (REFUSED, lambda: named(HOST, host=HOST + ".")),
    "a name with a trailing dot": (REFUSED, lambda: named(HOST + ".")),
    "a name that begins with a dot": (REFUSED, lambda: named(".example.test")),
    "a name with an underscore": (ACCEPTED, lambda: named("my_server.example.test", host="my_server.example.test")),
    "an ip address": (ACCEPTED, lambda: named(_ip("127.0.0.1"), host="127.0.0.1")),
    "an ipv6 address": (ACCEPTED, lambda: named(_ip("::1"), host="::1")),
    "another ip address": (REFUSED, lambda: named(_ip("127.0.0.2"), host="127.0.0.1")),
    "an ip address as a dns name": (REFUSED, lambda: named("127.0.0.1", host="127.0.0.1")),
    "an ip address as the common name": (REFUSED, lambda: named(subject="127.0.0.1", host="127.0.0.1")),
    "a wildcard for an ip address": (REFUSED, lambda: named("*.0.0.1", host="127.0.0.1")),
    "an ipv4 address in ipv6": (REFUSED, lambda: named(_ip("::ffff:127.0.0.1"), host="127.0.0.1")),
    "a name with a nul": (REFUSED, lambda: named(HOST + "\0.other.test")),
    "a name with a space": (REFUSED, lambda: named(HOST + " ")),
    "an empty name": (REFUSED, lambda: named("")),
    "an ip address beside the common name": (STRICTER, lambda: named(_ip("127.0.0.1"), subject=HOST)),
    "a uri of the host": (REFUSED, lambda: named(x509.UniformResourceIdentifier(f"https://{HOST}"))),
    "an email address at the host": (REFUSED, lambda: named(x509.RFC822Name(f"user@{HOST}"))),
}


# Name constraints.


def constrained(
    permitted: Sequence[x509.GeneralName] = (),
    excluded: Sequence[x509.GeneralName] = (),
    *,
    by_root: bool = False,
    critical: bool = True,
    subject: str | x509.Name = "leaf",
    names: Sequence[str | x509.GeneralName] = (HOST,),
    host: str = HOST,
) -> SetUp:
    """Registers a case: a certificate issued by an authority that may sign for some names only."""
    extra = [(x509.NameConstraints(permitted or None, excluded or None), critical)]
    a = root(extra=extra if by_root else ())
    b = inner(a, extra=() if by_root else extra)
    return SetUp([issue(subject, b, names=names), b], [a], host)


def _dns(*names: str) -> list[x509.GeneralName]:
    return [x509.DNSName(name) for name in names]


def _network(text: str) -> list[x509.GeneralName]:
    return [x509.IPAddress(ipaddress.ip_network(text))]


def _with_email(address: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.EMAIL_ADDRESS, address)])


CASES |= {
    "a permitted domain": (ACCEPTED, lambda: constrained(_dns("example.test"))),
    "another permitted domain": (REFUSED, lambda: constrained(_dns("other.test"))),
    "another permitted domain that is not critical": (REFUSED, lambda: constrained(_dns("other.test"), critical=False)),
    "a permitted domain that ends alike": (REFUSED, lambda: constrained(_dns("ample.test"))),
    "a permitted domain with a dot": (ACCEPTED, lambda: constrained(_dns(".example.test"))),
    "a permitted domain with a dot and the domain itself": (
        REFUSED,
        lambda: constrained(_dns(".example.test"), names=["example.test"], host="example.test"),
    ),
    "every domain is permitted": (ACCEPTED, lambda: constrained(_dns(""))),
    "every domain is excluded": (REFUSED, lambda: constrained(excluded=_dns(""))),
    "a wildcard that is more than what is permitted": (
        REFUSED,
        lambda: constrained(_dns(HOST), names=["*.example.test"]),
    ),
    "a wildcard in a permitted domain": (ACCEPTED, lambda: constrained(_dns("example.test"), names=["*.example.test"])),
    "a permitted and an excluded domain": (
        REFUSED,
        lambda: constrained(_dns("example.test"), _dns("server.example.test")),
    ),
    "an excluded domain": (REFUSED, lambda: constrained(excluded=_dns("example.test"))),
    "another excluded domain": (ACCEPTED, lambda: constrained(excluded=_dns("other.test"))),
    "one name of two is permitted": (REFUSED, lambda: constrained(_dns("example.test"), names=[HOST, "other.test"])),
    "a domain that the root permits": (ACCEPTED, lambda: constrained(_dns("example.test"), by_root=True)),
    "a domain that the root does not permit": (REFUSED, lambda: constrained(_dns("other.test"), by_root=True)),
    "an ip address in a permitted network": (
        ACCEPTED,
        lambda: constrained(_network("127.0.0.0/8"), names=[_ip("127.0.0.1")], host="127.0.0.1"),
    ),
    "an ip address in another network": (
        REFUSED,
        lambda: constrained(_network("10.0.0.0/8"), names=[_ip("127.0.0.1")], host="127.0.0.1"),
    ),
    "an ip address in an excluded network": (
        REFUSED,
        lambda: constrained(excluded=_network("127.0.0.0/8"), names=[_ip("127.0.0.1")], host="127.0.0.1"),
    ),
    "a name where networks are permitted": (ACCEPTED, lambda: constrained(_network("10.0.0.0/8"))),
    "a directory that is not permitted": (REFUSED, lambda: constrained([x509.DirectoryName(subject_name("other"))])),
    "a directory that is permitted": (STRICTER, lambda: constrained([x509.DirectoryName(subject_name("leaf"))])),
    "an email address in the subject that is not permitted": (
        REFUSED,
        lambda: constrained([x509.RFC822Name("other.test")], subject=_with_email("user@example.test")),
    ),
    "an email address in the subject that is permitted": (
        STRICTER,
        lambda: constrained([x509.RFC822Name("example.test")], subject=_with_email("user@example.test")),
    ),
}


# Rules of RFC 5280 that only Python 3.13 and newer check (`VERIFY_X509_STRICT`).


@case(ACCEPTED)
def a_leaf_without_the_authoritys_key_id() -> SetUp:
    a = root()
    return SetUp([leaf(a, key_ids=False)], [a])


@case(ACCEPTED)
def a_leaf_with_issuer_and_serial_number_only() -> SetUp:
    a = root()
    identifier = x509.AuthorityKeyIdentifier(
        None, [x509.DirectoryName(a.certificate.subject)], a.certificate.serial_number
    )
    return SetUp([leaf(a, key_ids=False, extra=[(identifier, False)])], [a])


@case(ACCEPTED)
def an_intermediate_without_the_authoritys_key_id() -> SetUp:
    a = root()
    key = ec.generate_private_key(ec.SECP256R1())
    b = inner(a, key=key, key_ids=False, extra=[(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)])
    return SetUp([leaf(b), b], [a])


@case(REFUSED)
def a_critical_authority_key_id() -> SetUp:
    a = root()
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(a.key.public_key())
    return SetUp([leaf(a, key_ids=False, extra=[(identifier, True)])], [a])


@case(REFUSED)
def a_critical_subject_key_id_of_a_root() -> SetUp:
    key = ec.generate_private_key(ec.SECP256R1())
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    a = root(key=key, key_ids=False, extra=[(identifier, True)])
    return SetUp([leaf(a)], [a])


@case(ACCEPTED)
def an_empty_subject() -> SetUp:
    a = root()
    return SetUp([issue("", a, names=[HOST])], [a])


@case(ACCEPTED)
def an_empty_subject_with_critical_names() -> SetUp:
    a = root()
    return SetUp([issue("", a, extra=[(x509.SubjectAlternativeName([x509.DNSName(HOST)]), True)])], [a])


CASES |= {
    "a root without a key id": (ACCEPTED, lambda: direct({"key_ids": True}, key_ids=False)),
    "a root and a leaf without key ids": (ACCEPTED, lambda: direct({"key_ids": False}, key_ids=False)),
    "an intermediate without key usage": (ACCEPTED, lambda: through(uses=())),
    "an intermediate with constraints that are not critical": (ACCEPTED, lambda: through(critical=False)),
    "a leaf that may sign certificates and more": (
        ACCEPTED,
        lambda: direct({"uses": ["digital_signature", "key_cert_sign"]}),
    ),
    "a leaf without constraints that may sign certificates and more": (
        ACCEPTED,
        lambda: direct({"ca": None, "uses": ["digital_signature", "key_cert_sign"]}),
    ),
    "a leaf without constraints": (ACCEPTED, lambda: direct({"ca": None})),
    "a root with an empty name": (ACCEPTED, lambda: direct(name="")),
    "a self signed leaf without key ids": (ACCEPTED, lambda: SetUp(*[[leaf(key_ids=False)]] * 2)),
    "a self signed authority without key usage or key ids": (
        ACCEPTED,
        lambda: SetUp(*[[leaf(ca=True, uses=(), key_ids=False, critical=False)]] * 2),
    ),
}
