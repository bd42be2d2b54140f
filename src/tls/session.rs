//! The facts about a session of rustls, in the words of OpenSSL.

use std::sync::OnceLock;

use rustls::{CipherSuite, ClientConnection, HandshakeKind, ProtocolVersion};

use super::der::{self, Reader};

/// A session of rustls, for those who ask about it. Responses share it with the stream.
pub struct RustlsSession {
    /// The name that the server's certificate was verified for.
    pub server_name: String,
    /// Chains are verified.
    pub is_verified: bool,
    facts: OnceLock<SessionFacts>,
}

/// The results of a handshake.
pub struct SessionFacts {
    pub version: Option<&'static str>,
    pub cipher: Option<&'static Cipher>,
    /// The protocol that ALPN has chosen.
    pub protocol: Option<Vec<u8>>,
    /// The certificates that the server has sent, its own first, in DER.
    pub certificates: Vec<Vec<u8>>,
    pub is_resumed: bool,
}

/// A cipher suite, as OpenSSL describes it.
#[derive(Debug, PartialEq, Eq)]
pub struct Cipher {
    pub name: &'static str,
    /// The lowest version of TLS that has it.
    pub version: &'static str,
    /// The length of the key.
    pub bits: u16,
}

impl RustlsSession {
    pub fn new(server_name: &str, is_verified: bool) -> Self {
        let server_name = server_name.trim_matches(['[', ']']).to_owned();
        Self { server_name, is_verified, facts: OnceLock::new() }
    }

    /// Copies the results of the handshake, once.
    pub(super) fn note_facts(&self, connection: &ClientConnection) {
        self.note(|| SessionFacts {
            version: Some(version(connection.protocol_version())),
            cipher: connection.negotiated_cipher_suite().and_then(|suite| cipher(suite.suite())),
            protocol: connection.alpn_protocol().map(<[u8]>::to_vec),
            certificates: connection.peer_certificates().into_iter().flatten().map(|der| der.to_vec()).collect(),
            is_resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
        });
    }

    /// Keeps the results of the handshake, unless it has some.
    pub(super) fn note(&self, facts: impl FnOnce() -> SessionFacts) {
        self.facts.get_or_init(facts);
    }

    /// Returns the results of the handshake, if they were noted before the stream was dropped.
    pub fn facts(&self) -> Option<&SessionFacts> {
        self.facts.get()
    }
}

fn version(version: Option<ProtocolVersion>) -> &'static str {
    match version {
        Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
        _ => "TLSv1.3",
    }
}

/// Returns OpenSSL's description of a suite. Here are all that rustls has.
pub(super) fn cipher(suite: CipherSuite) -> Option<&'static Cipher> {
    const fn new(name: &'static str, version: &'static str, bits: u16) -> Cipher {
        Cipher { name, version, bits }
    }

    Some(match suite {
        CipherSuite::TLS13_AES_256_GCM_SHA384 => &const { new("TLS_AES_256_GCM_SHA384", "TLSv1.3", 256) },
        CipherSuite::TLS13_AES_128_GCM_SHA256 => &const { new("TLS_AES_128_GCM_SHA256", "TLSv1.3", 128) },
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => &const { new("TLS_CHACHA20_POLY1305_SHA256", "TLSv1.3", 256) },
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => {
            &const { new("ECDHE-ECDSA-AES256-GCM-SHA384", "TLSv1.2", 256) }
        }
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => {
            &const { new("ECDHE-ECDSA-AES128-GCM-SHA256", "TLSv1.2", 128) }
        }
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => {
            &const { new("ECDHE-ECDSA-CHACHA20-POLY1305", "TLSv1.2", 256) }
        }
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => {
            &const { new("ECDHE-RSA-AES256-GCM-SHA384", "TLSv1.2", 256) }
        }
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => {
            &const { new("ECDHE-RSA-AES128-GCM-SHA256", "TLSv1.2", 128) }
        }
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => {
            &const { new("ECDHE-RSA-CHACHA20-POLY1305", "TLSv1.2", 256) }
        }
        _ => return None,
    })
}

/// Returns a copy of a certificate that is marked as an authority's; `None` if it is malformed. Names, times and all other fields stay
/// as they are, and the signature, which is no longer valid.
///
/// Python's `ssl` decodes the certificate of a peer of its own, or an authority in an `ssl.SSLContext`, and no other certificate.
pub fn marked_as_authority(certificate: &[u8]) -> Option<Vec<u8>> {
    let mut outer = Reader::new(der::only(der::SEQUENCE, certificate)?);
    let mut inner = Reader::new(outer.read(der::SEQUENCE)?);
    let (mut fields, mut extensions) = (Vec::new(), AUTHORITY.to_vec());
    while !inner.is_empty() {
        match inner.element()? {
            (EXTENSIONS, list) => extensions.extend(without_constraints(list)?),
            (tag, contents) => der::write(&mut fields, tag, contents)?,
        }
    }
    let mut list = Vec::new();
    der::write(&mut list, der::SEQUENCE, &extensions)?;
    der::write(&mut fields, EXTENSIONS, &list)?;
    let mut parts = Vec::new();
    der::write(&mut parts, der::SEQUENCE, &fields)?;
    while !outer.is_empty() {
        let (tag, contents) = outer.element()?;
        der::write(&mut parts, tag, contents)?;
    }
    let mut copy = Vec::new();
    der::write(&mut copy, der::SEQUENCE, &parts)?;
    Some(copy)
}

const EXTENSIONS: u8 = der::constructed(3);

/// The extension `basicConstraints` with `cA`, as an element.
const AUTHORITY: &[u8] =
    &[0x30, 0x0f, 0x06, 0x03, 0x55, 0x1d, 0x13, 0x01, 0x01, 0xff, 0x04, 0x05, 0x30, 0x03, 0x01, 0x01, 0xff];

/// Returns the extensions in a list except those that say what a key may sign: `basicConstraints` and `keyUsage`.
fn without_constraints(list: &[u8]) -> Option<Vec<u8>> {
    let mut list = Reader::new(der::only(der::SEQUENCE, list)?);
    let mut kept = Vec::new();
    while !list.is_empty() {
        let extension = list.read(der::SEQUENCE)?;
        if !matches!(Reader::new(extension).read(der::OBJECT_IDENTIFIER)?, [0x55, 0x1d, 15 | 19]) {
            der::write(&mut kept, der::SEQUENCE, extension)?;
        }
    }
    Some(kept)
}

#[cfg(test)]
mod tests {
    use rustls::crypto::aws_lc_rs::DEFAULT_CIPHER_SUITES;

    use super::super::certificate::Certificate;
    use super::*;

    #[test]
    fn every_suite_has_a_description() {
        for suite in DEFAULT_CIPHER_SUITES {
            let known = cipher(suite.suite()).expect("a description");
            let is_tls13 = suite.tls13().is_some();
            assert_eq!(known.version == "TLSv1.3", is_tls13, "{known:?}");
            assert_eq!(known.bits == 128, known.name.contains("AES128") || known.name.contains("AES_128"), "{known:?}");
        }
        assert_eq!(cipher(CipherSuite::TLS_RSA_WITH_AES_128_CBC_SHA), None);
    }

    #[test]
    fn a_marked_copy_differs_in_what_the_key_may_sign() {
        let mut parameters = rcgen::CertificateParams::new(vec!["name.test".to_owned()]).expect("a name");
        parameters.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
        parameters.is_ca = rcgen::IsCa::ExplicitNoCa;
        let key = rcgen::KeyPair::generate().expect("a key");
        let original = parameters.self_signed(&key).expect("a certificate");
        let copy = marked_as_authority(original.der()).expect("a certificate");
        let (before, after) =
            (Certificate::parse(original.der()).expect("parsed"), Certificate::parse(&copy).expect("parsed"));
        assert!(!before.is_ca() && after.is_ca() && after.extensions.key_usage.is_none());
        assert!(before.extensions.key_usage.is_some() && after.extensions.subject_alt_name.is_some());
        assert_eq!((before.serial, before.subject, before.issuer), (after.serial, after.subject, after.issuer));
        assert_eq!((before.not_before, before.not_after), (after.not_before, after.not_after));
        assert_eq!(marked_as_authority(&copy), Some(copy.clone()), "a copy of a copy is the same");
        assert_eq!(marked_as_authority(&copy[..copy.len() - 1]), None);
        assert_eq!(marked_as_authority(b"no certificate"), None);
    }
}
