//! The fields of a certificate (RFC 5280, 4.1 and 4.2): its names and its time, and what its key may be used for.
//!
//! Signatures, name constraints and the names of servers are webpki's; this reader only ever makes a verdict stricter.

use super::der::{self, Reader};

/// A certificate, read. Names and numbers are the contents of their elements, compared byte for byte.
#[derive(Clone)]
pub struct Certificate<'a> {
    pub der: &'a [u8],
    /// 1, 2 or 3.
    pub version: u8,
    pub serial: &'a [u8],
    pub issuer: &'a [u8],
    pub subject: &'a [u8],
    /// Seconds since 1970.
    pub not_before: i64,
    pub not_after: i64,
    /// The kind of key that signed the certificate. `key` is the kind of its own key.
    signed_by: Algorithm,
    pub key: Algorithm,
    /// The contents of `SubjectPublicKeyInfo`.
    pub public_key: &'a [u8],
    /// The signed part and the part around it name the same signature algorithm.
    pub has_one_algorithm: bool,
    pub extensions: CertificateExtensions<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Rsa,
    EllipticCurve,
    Other,
}

#[derive(Clone, Default)]
pub struct CertificateExtensions<'a> {
    pub any: bool,
    pub basic_constraints: Option<BasicConstraints>,
    /// The first eight bits, `DIGITAL_SIGNATURE` first.
    pub key_usage: Option<u8>,
    /// The purposes include servers, or none are named.
    pub is_for_servers: Option<bool>,
    pub subject_alt_name: Option<AltName>,
    pub name_constraints: Option<&'a [u8]>,
    pub subject_key_id: Option<&'a [u8]>,
    pub authority_key_id: Option<AuthorityKeyId<'a>>,
    /// Netscape's types, the first eight bits.
    pub netscape_type: Option<u8>,
    /// A proxy certificate (RFC 3820).
    pub is_proxy: bool,
    /// An unknown extension is critical.
    pub has_unknown_critical: bool,
}

#[derive(Clone, Copy)]
pub struct BasicConstraints {
    pub is_ca: bool,
    pub path_length: Option<u64>,
    pub is_critical: bool,
}

#[derive(Clone, Copy)]
pub struct AltName {
    pub is_empty: bool,
    pub is_critical: bool,
}

#[derive(Clone, Copy)]
pub struct AuthorityKeyId<'a> {
    pub id: Option<&'a [u8]>,
    /// The issuer of the issuer's certificate.
    issuer: Option<&'a [u8]>,
    serial: Option<&'a [u8]>,
}

pub const DIGITAL_SIGNATURE: u8 = 0x80;
pub const KEY_ENCIPHERMENT: u8 = 0x20;
pub const KEY_AGREEMENT: u8 = 0x08;
pub const KEY_CERT_SIGN: u8 = 0x04;
pub const CRL_SIGN: u8 = 0x02;

impl<'a> Certificate<'a> {
    /// Parses a certificate. `None` if it is malformed, or holds an extension twice.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut outer = Reader::new(der::only(der::SEQUENCE, bytes)?);
        let mut inner = Reader::new(outer.read(der::SEQUENCE)?);
        let outer_algorithm = outer.read(der::SEQUENCE)?;
        outer.read(der::BIT_STRING)?;

        let version = match inner.optional(der::constructed(0)).map(|version| der::only(der::INTEGER, version)) {
            None => 1,
            Some(Some(&[number @ 0..=2])) => number + 1,
            Some(_) => return None,
        };
        let serial = inner.read(der::INTEGER)?;
        let algorithm = inner.read(der::SEQUENCE)?;
        let issuer = inner.read(der::SEQUENCE)?;
        let mut validity = Reader::new(inner.read(der::SEQUENCE)?);
        let (not_before, not_after) = (der::time(&mut validity)?, der::time(&mut validity)?);
        let subject = inner.read(der::SEQUENCE)?;
        let public_key = inner.read(der::SEQUENCE)?;
        let key = Reader::new(public_key).read(der::SEQUENCE)?;
        inner.optional(der::primitive(1));
        inner.optional(der::primitive(2));
        let extensions = match inner.optional(der::constructed(3)) {
            None => CertificateExtensions::default(),
            Some(extensions) => CertificateExtensions::parse(der::only(der::SEQUENCE, extensions)?)?,
        };
        (inner.is_empty() && outer.is_empty()).then_some(Self {
            der: bytes,
            version,
            serial,
            issuer,
            subject,
            not_before,
            not_after,
            signed_by: Algorithm::of(algorithm)?,
            key: Algorithm::of(key)?,
            public_key,
            has_one_algorithm: algorithm == outer_algorithm,
            extensions,
        })
    }

    pub fn is_self_issued(&self) -> bool {
        self.issuer == self.subject
    }

    /// Returns whether the certificate claims to be signed by its own key. As in OpenSSL, the signature itself is not checked.
    pub fn is_self_signed(&self) -> bool {
        self.is_self_issued() && self.may_have_issued(self)
    }

    /// Returns whether the other certificate names this one as its issuer.
    pub fn may_have_issued(&self, other: &Certificate<'_>) -> bool {
        self.subject == other.issuer
            && self.key == other.signed_by
            && other.extensions.authority_key_id.is_none_or(|key| key.is_of(self))
    }

    /// Returns whether the key may sign certificates. A root of version 1 has no extension for that, and may.
    pub fn is_authority(&self) -> bool {
        match self.extensions.basic_constraints {
            Some(constraints) => constraints.is_ca && self.may(KEY_CERT_SIGN),
            None => self.version == 1 && self.is_self_signed(),
        }
    }

    pub fn is_ca(&self) -> bool {
        self.extensions.basic_constraints.is_some_and(|constraints| constraints.is_ca)
    }

    /// Returns whether the key may be used for one of these. Without the extension it may be used for everything.
    pub fn may(&self, uses: u8) -> bool {
        self.extensions.key_usage.is_none_or(|usage| usage & uses != 0)
    }

    /// Returns whether the certificate is valid at `now`, in seconds since 1970.
    pub fn is_valid_at(&self, now: i64) -> bool {
        (self.not_before..=self.not_after).contains(&now)
    }

    /// Returns the subject's common name, else the last part of its name, for messages.
    pub fn name(&self) -> String {
        const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

        let mut found = None;
        let mut names = Reader::new(self.subject);
        while let Some(name) = names.read(der::SET) {
            let mut part = Reader::new(Reader::new(name).read(der::SEQUENCE).unwrap_or_default());
            let kind = part.read(der::OBJECT_IDENTIFIER);
            let Some((_, text)) = part.element() else { continue };
            found = Some(text);
            if kind == Some(COMMON_NAME) {
                break;
            }
        }
        match found {
            Some(text) => format!("\"{}\"", String::from_utf8_lossy(text).escape_debug()),
            None => "without a name".to_owned(),
        }
    }

    /// Returns whether the subject holds an e-mail address, to which name constraints may apply.
    pub fn has_email_in_subject(&self) -> bool {
        const EMAIL_ADDRESS: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x01];
        memchr::memmem::find(self.subject, EMAIL_ADDRESS).is_some()
    }

    /// Returns whether the name constraints apply to e-mail addresses.
    pub fn constrains_email(&self) -> bool {
        let Some(constraints) = self.extensions.name_constraints else { return false };
        let mut constraints = Reader::new(constraints);
        while let Some((_, trees)) = constraints.element() {
            let mut trees = Reader::new(trees);
            while let Some(tree) = trees.read(der::SEQUENCE) {
                if Reader::new(tree).read(der::primitive(1)).is_some() {
                    return true;
                }
            }
        }
        false
    }
}

impl Algorithm {
    /// Returns the kind of an `AlgorithmIdentifier`: those of signatures begin as those of the keys that make them.
    fn of(identifier: &[u8]) -> Option<Self> {
        let identifier = Reader::new(identifier).read(der::OBJECT_IDENTIFIER)?;
        Some(match identifier {
            // PKCS #1, and ANSI X9.62.
            [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, ..] => Self::Rsa,
            [0x2a, 0x86, 0x48, 0xce, 0x3d, ..] => Self::EllipticCurve,
            _ => Self::Other,
        })
    }
}

impl AuthorityKeyId<'_> {
    fn is_of(&self, issuer: &Certificate<'_>) -> bool {
        let same = |id: Option<&[u8]>, own: &[u8]| id.is_none_or(|id| id == own);
        self.id.is_none_or(|id| issuer.extensions.subject_key_id.is_none_or(|own| own == id))
            && same(self.serial, issuer.serial)
            && same(self.issuer, issuer.issuer)
    }
}

impl<'a> CertificateExtensions<'a> {
    fn parse(list: &'a [u8]) -> Option<Self> {
        let mut list = Reader::new(list);
        let mut extensions = Self { any: !list.is_empty(), ..Self::default() };
        while !list.is_empty() {
            let mut extension = Reader::new(list.read(der::SEQUENCE)?);
            let identifier = extension.read(der::OBJECT_IDENTIFIER)?;
            let is_critical = match extension.optional(der::BOOLEAN) {
                None | Some([0]) => false,
                Some(_) => true,
            };
            let value = extension.read(der::OCTET_STRING)?;
            extensions.remember(identifier, is_critical, value)?;
        }
        Some(extensions)
    }

    fn remember(&mut self, identifier: &[u8], is_critical: bool, value: &'a [u8]) -> Option<()> {
        const NETSCAPE_TYPE: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x86, 0xf8, 0x42, 0x01, 0x01];
        const PROXY: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x01, 0x0e];

        match identifier {
            // Those of RFC 5280, 4.2.1, by their numbers under 2.5.29.
            // OpenSSL does not know the identifiers of keys where they are critical.
            [0x55, 0x1d, 14] => {
                self.has_unknown_critical |= is_critical;
                once(&mut self.subject_key_id, der::only(der::OCTET_STRING, value)?)
            }
            [0x55, 0x1d, 15] => once(&mut self.key_usage, first_bits(value)?),
            [0x55, 0x1d, 17] => {
                let is_empty = der::only(der::SEQUENCE, value)?.is_empty();
                once(&mut self.subject_alt_name, AltName { is_empty, is_critical })
            }
            [0x55, 0x1d, 19] => once(&mut self.basic_constraints, BasicConstraints::parse(value, is_critical)?),
            [0x55, 0x1d, 30] => once(&mut self.name_constraints, der::only(der::SEQUENCE, value)?),
            [0x55, 0x1d, 35] => {
                self.has_unknown_critical |= is_critical;
                once(&mut self.authority_key_id, AuthorityKeyId::parse(value)?)
            }
            [0x55, 0x1d, 37] => once(&mut self.is_for_servers, is_for_servers(value)?),
            // Distribution points of revocation lists, and policies: not checked, as in OpenSSL.
            [0x55, 0x1d, 31 | 32 | 33 | 36 | 54] => Some(()),
            NETSCAPE_TYPE => once(&mut self.netscape_type, first_bits(value)?),
            PROXY => {
                self.is_proxy = true;
                Some(())
            }
            _ => {
                self.has_unknown_critical |= is_critical;
                Some(())
            }
        }
    }
}

/// Sets a field that may occur once only.
fn once<T>(place: &mut Option<T>, value: T) -> Option<()> {
    place.replace(value).is_none().then_some(())
}

/// Returns the first eight bits of a bit string.
fn first_bits(value: &[u8]) -> Option<u8> {
    let (_unused, bits) = der::only(der::BIT_STRING, value)?.split_first()?;
    Some(bits.first().copied().unwrap_or_default())
}

fn is_for_servers(value: &[u8]) -> Option<bool> {
    const SERVER_AUTH: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];

    let mut purposes = Reader::new(der::only(der::SEQUENCE, value)?);
    let mut found = false;
    while !purposes.is_empty() {
        found |= purposes.read(der::OBJECT_IDENTIFIER)? == SERVER_AUTH;
    }
    Some(found)
}

impl BasicConstraints {
    fn parse(value: &[u8], is_critical: bool) -> Option<Self> {
        let mut constraints = Reader::new(der::only(der::SEQUENCE, value)?);
        let is_ca = constraints.optional(der::BOOLEAN).is_some_and(|value| value != [0]);
        let path_length = match constraints.optional(der::INTEGER) {
            None => None,
            // Negative.
            Some([] | [0x80..=0xff, ..]) => return None,
            Some(number @ ([_] | [_, _])) => Some(number.iter().fold(0, |length, byte| length << 8 | u64::from(*byte))),
            Some(_) => Some(u64::MAX),
        };
        constraints.is_empty().then_some(Self { is_ca, path_length, is_critical })
    }
}

impl<'a> AuthorityKeyId<'a> {
    fn parse(value: &'a [u8]) -> Option<Self> {
        let mut parts = Reader::new(der::only(der::SEQUENCE, value)?);
        let id = parts.optional(der::primitive(0));
        let issuer = parts.optional(der::constructed(1)).and_then(directory_name);
        let serial = parts.optional(der::primitive(2));
        parts.is_empty().then_some(Self { id, issuer, serial })
    }
}

/// Returns the first directory name among names of several kinds.
fn directory_name(names: &[u8]) -> Option<&[u8]> {
    let mut names = Reader::new(names);
    while let Some((tag, name)) = names.element() {
        if tag == der::constructed(4) {
            return der::only(der::SEQUENCE, name);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
        let length = u16::try_from(contents.len()).unwrap();
        let [high, low] = length.to_be_bytes();
        let head = match length {
            0..0x80 => vec![tag, low],
            0x80..0x100 => vec![tag, 0x81, low],
            _ => vec![tag, 0x82, high, low],
        };
        [&head[..], contents].concat()
    }

    fn extension(identifier: &[u8], is_critical: bool, value: &[u8]) -> Vec<u8> {
        let critical: &[u8] = if is_critical { &[0x01, 0x01, 0xff] } else { &[] };
        let identifier = element(der::OBJECT_IDENTIFIER, identifier);
        element(der::SEQUENCE, &[&identifier, critical, &element(der::OCTET_STRING, value)].concat())
    }

    /// Returns a certificate of version 3 with these extensions, issued by a name that is its own.
    fn certificate(extensions: &[Vec<u8>]) -> Vec<u8> {
        const ALGORITHM: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];

        let name = [&[0x06, 0x03, 0x55, 0x04, 0x03][..], b"\x0c\x04name"].concat();
        let name = element(der::SEQUENCE, &element(der::SET, &element(der::SEQUENCE, &name)));
        let algorithm = element(der::SEQUENCE, ALGORITHM);
        let validity = [element(der::UTC_TIME, b"700101000000Z"), element(der::UTC_TIME, b"700101000100Z")].concat();
        let signed = [
            vec![0xa0, 0x03, 0x02, 0x01, 0x02, 0x02, 0x01, 0x07],
            algorithm.clone(),
            name.clone(),
            element(der::SEQUENCE, &validity),
            name,
            element(der::SEQUENCE, &[algorithm.clone(), element(der::BIT_STRING, b"\0key")].concat()),
            element(der::constructed(3), &element(der::SEQUENCE, &extensions.concat())),
        ];
        let signed = element(der::SEQUENCE, &signed.concat());
        element(der::SEQUENCE, &[signed, algorithm, element(der::BIT_STRING, b"\0signature")].concat())
    }

    const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 19];
    const KEY_USAGE: &[u8] = &[0x55, 0x1d, 15];
    const PURPOSES: &[u8] = &[0x55, 0x1d, 37];
    const UNKNOWN: &[u8] = &[0x2a, 0x03];

    fn authority() -> Vec<u8> {
        certificate(&[
            extension(BASIC_CONSTRAINTS, true, b"\x30\x06\x01\x01\xff\x02\x01\x03"),
            extension(KEY_USAGE, true, b"\x03\x02\x01\x06"),
            extension(PURPOSES, false, b"\x30\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x01"),
            extension(&[0x55, 0x1d, 14], false, b"\x04\x02id"),
            extension(&[0x55, 0x1d, 35], false, b"\x30\x04\x80\x02id"),
            extension(UNKNOWN, false, b"anything"),
        ])
    }

    #[test]
    fn an_authority() {
        let der = authority();
        let read = Certificate::parse(&der).unwrap();
        assert_eq!((read.version, read.serial, read.name().as_str()), (3, &[7][..], "\"name\""));
        assert!(read.is_authority() && read.is_self_signed() && read.may(KEY_CERT_SIGN) && read.has_one_algorithm);
        assert!(!read.may(DIGITAL_SIGNATURE) && !read.extensions.has_unknown_critical);
        assert_eq!(read.extensions.is_for_servers, Some(true));
        assert_eq!(read.extensions.basic_constraints.unwrap().path_length, Some(3));
        assert_eq!([-1, 0, 60, 61].map(|now| read.is_valid_at(now)), [false, true, true, false]);
    }

    #[test]
    fn what_makes_no_authority() {
        let of = |extensions: &[Vec<u8>]| Certificate::parse(&certificate(extensions)).map(|read| read.is_authority());
        let is_ca = extension(BASIC_CONSTRAINTS, true, b"\x30\x03\x01\x01\xff");
        assert_eq!(of(&[]), Some(false));
        assert_eq!(of(&[extension(BASIC_CONSTRAINTS, true, b"\x30\x00")]), Some(false));
        assert_eq!(of(std::slice::from_ref(&is_ca)), Some(true));
        assert_eq!(of(&[is_ca.clone(), extension(KEY_USAGE, true, b"\x03\x02\x07\x80")]), Some(false));
        assert_eq!(of(&[is_ca.clone(), extension(KEY_USAGE, true, b"\x03\x01\x00")]), Some(false));
        // Twice, negative, or trailing bytes.
        assert_eq!(of(&[is_ca.clone(), is_ca]), None);
        assert_eq!(of(&[extension(BASIC_CONSTRAINTS, true, b"\x30\x06\x01\x01\xff\x02\x01\xff")]), None);
        assert_eq!(of(&[extension(BASIC_CONSTRAINTS, true, b"\x30\x05\x01\x01\xff\x05\x00")]), None);
    }

    #[test]
    fn a_critical_extension_that_is_unknown_is_seen() {
        let der = certificate(&[extension(UNKNOWN, true, b"")]);
        assert!(Certificate::parse(&der).unwrap().extensions.has_unknown_critical);
    }

    #[test]
    fn damaged_certificates_are_read_or_refused() {
        let whole = authority();
        for length in 0..whole.len() {
            assert!(Certificate::parse(&whole[..length]).is_none());
        }
        for at in 0..whole.len() {
            for flip in 1..=0xff {
                let mut damaged = whole.clone();
                damaged[at] ^= flip;
                if let Some(read) = Certificate::parse(&damaged) {
                    _ = (read.name(), read.is_self_signed(), read.constrains_email());
                }
            }
        }
    }
}
