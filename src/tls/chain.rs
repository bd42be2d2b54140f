//! Builds the chain from the server's certificate to a trusted one, as OpenSSL does.
//!
//! One chain is built and checked. Issuers are found by name and key identifier, first among the trusted certificates, then among those
//! that the server has sent; of several the first that is valid now is taken. webpki alone would try all paths, and accept some that
//! OpenSSL refuses.

use std::ops::Range;

use rustls::pki_types::CertificateDer;

use super::certificate::Certificate;
use super::refusal::{Reason, Refusal};

/// The rules that Python's `ssl` applies to a chain. They depend on Python's version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rules {
    /// A chain may end at any trusted certificate, not only at a self-signed one (`VERIFY_X509_PARTIAL_CHAIN`).
    pub partial_chain: bool,
    /// The rules of RFC 5280 for certificates are applied (`VERIFY_X509_STRICT`).
    pub strict: bool,
}

/// The trusted certificates. Whether one is an authority's, and valid now, is checked when it is used.
#[derive(Debug, Default)]
pub struct Store {
    certificates: Vec<Trusted>,
}

#[derive(Debug)]
struct Trusted {
    der: CertificateDer<'static>,
    /// The position of its subject's name: most lookups end at the length.
    subject: Range<usize>,
}

impl Store {
    /// Adds a certificate. `false` if it cannot be read.
    pub fn add(&mut self, der: CertificateDer<'static>) -> bool {
        let Some(certificate) = Certificate::parse(&der) else { return false };
        let start = certificate.subject.as_ptr().addr() - certificate.der.as_ptr().addr();
        let subject = start..start + certificate.subject.len();
        self.certificates.push(Trusted { der, subject });
        true
    }

    /// Returns the certificates, for another implementation of TLS.
    #[cfg(feature = "native-tls")]
    pub fn certificates(&self) -> impl Iterator<Item = &[u8]> {
        self.certificates.iter().map(|trusted| trusted.der.as_ref())
    }

    pub fn is_empty(&self) -> bool {
        self.certificates.is_empty()
    }

    fn issuer_of(&self, certificate: &Certificate<'_>, now: i64) -> Option<Certificate<'_>> {
        let named = self.certificates.iter().filter(|trusted| {
            trusted.subject.len() == certificate.issuer.len()
                && trusted.der.get(trusted.subject.clone()) == Some(certificate.issuer)
        });
        best(named.filter_map(|trusted| Certificate::parse(&trusted.der)), certificate, now)
    }

    fn holds(&self, certificate: &Certificate<'_>) -> bool {
        self.certificates.iter().any(|trusted| trusted.der.as_ref() == certificate.der)
    }
}

/// Returns the certificates from the server's to the one that is trusted.
pub fn build<'a>(
    server: Certificate<'a>,
    sent: &[Certificate<'a>],
    store: &'a Store,
    rules: Rules,
    now: i64,
) -> Result<Vec<Certificate<'a>>, Refusal> {
    // webpki takes six between the two ends.
    const LONGEST: usize = 8;

    let mut sent = sent.to_vec();
    let mut chain = vec![server];
    let mut last_is_trusted = false;
    while let Some(last) = chain.last() {
        if chain.len() > LONGEST {
            return Err(Refusal::of_server(Reason::ChainTooLong));
        }
        let is_self_signed = last.is_self_signed();
        match store.issuer_of(last, now) {
            // A certificate that has signed itself, and is trusted itself. One that only bears the same name is not.
            Some(issuer) if is_self_signed && issuer.der == last.der => return Ok(chain),
            Some(issuer) if !is_self_signed => {
                let is_end = rules.partial_chain || issuer.is_self_signed();
                chain.push(issuer);
                if is_end {
                    return Ok(chain);
                }
                last_is_trusted = true;
                continue;
            }
            _ => {}
        }
        // Above a trusted certificate only trusted ones may follow.
        if is_self_signed || last_is_trusted {
            break;
        }
        let Some(issuer) = best(sent.iter().cloned(), last, now) else { break };
        sent.retain(|certificate| certificate.der != issuer.der);
        chain.push(issuer);
    }
    let server_is_trusted = chain.first().is_some_and(|server| store.holds(server));
    if server_is_trusted && rules.partial_chain && !last_is_trusted {
        return Ok(chain);
    }
    if server_is_trusted && !last_is_trusted {
        return Err(Refusal::of_server(Reason::TrustedAlone));
    }
    Err(untrusted(&chain, last_is_trusted))
}

/// Returns the certificate that has issued another: the first that is valid now, else the one that expires last.
fn best<'a>(
    certificates: impl Iterator<Item = Certificate<'a>>,
    issued: &Certificate<'_>,
    now: i64,
) -> Option<Certificate<'a>> {
    let mut best: Option<Certificate<'a>> = None;
    for certificate in certificates.filter(|certificate| certificate.may_have_issued(issued)) {
        if certificate.is_valid_at(now) {
            return Some(certificate);
        }
        if best.as_ref().is_none_or(|best| certificate.not_after > best.not_after) {
            best = Some(certificate);
        }
    }
    best
}

/// Returns why a chain that ends here is not trusted.
fn untrusted(chain: &[Certificate<'_>], last_is_trusted: bool) -> Refusal {
    match chain {
        [server] if server.is_self_signed() => Refusal::of_server(Reason::SelfSigned),
        [.., last] if last.is_self_signed() => Refusal::of_issuer(last, Reason::SelfSignedInChain),
        [.., last] if last_is_trusted => Refusal::of_issuer(last, Reason::IssuerMissing),
        _ => Refusal::of_server(Reason::UnknownIssuer),
    }
}
