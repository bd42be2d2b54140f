//! Why a server's certificate is refused, and what to do about it. OpenSSL's words are kept: programs search messages for them.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::UnixTime;
use rustls::{CertificateError, OtherError};

use super::certificate::Certificate;
use super::der;

/// A reason, and the certificate of the chain that gave it.
#[derive(Clone, Debug)]
pub struct Refusal {
    reason: Reason,
    link: CertificateLink,
}

/// A certificate of the chain.
#[derive(Clone, Debug)]
enum CertificateLink {
    Server,
    /// An authority's certificate, by its name.
    Issuer(String),
}

#[derive(Clone, Debug)]
pub enum Reason {
    UnknownIssuer,
    SelfSigned,
    SelfSignedInChain,
    IssuerMissing,
    /// A server's own certificate that is trusted, and that has not signed itself.
    TrustedAlone,
    ChainTooLong,
    Expired {
        not_after: i64,
    },
    NotYetValid {
        not_before: i64,
    },
    NotAnAuthority,
    /// Found by webpki: the certificate is an authority's, not a server's.
    AuthorityAsServer,
    PathTooLong,
    /// By `extendedKeyUsage`.
    Purpose,
    /// By `keyUsage`.
    KeyUsage,
    UnknownCritical,
    Proxy,
    NameConstraints,
    BadSignature,
    Algorithm,
    Unreadable,
    /// A rule of `VERIFY_X509_STRICT`.
    Strict(&'static str),
    Name {
        error: CertificateError,
    },
    /// No key of the chain is pinned.
    NotPinned {
        seen: String,
    },
    Revoked,
    /// No revocation list is of the issuer.
    NoRevocationList,
    RevocationListExpired,
    RevocationListInvalid,
}

impl Refusal {
    pub fn of_server(reason: Reason) -> Self {
        Self { reason, link: CertificateLink::Server }
    }

    pub fn of_issuer(certificate: &Certificate<'_>, reason: Reason) -> Self {
        Self { reason, link: CertificateLink::Issuer(certificate.name()) }
    }

    /// Returns a sentence that says why the server of this name is not trusted.
    pub fn explain(&self, f: &mut fmt::Formatter<'_>, host: &str) -> fmt::Result {
        let (words, why, remedy) = (self.openssl(host), self.why(host), self.remedy());
        write!(f, "[CERTIFICATE_VERIFY_FAILED] certificate verify failed: {words}: {why}; {remedy}")
    }

    fn openssl(&self, host: &str) -> Cow<'static, str> {
        Cow::Borrowed(match &self.reason {
            Reason::UnknownIssuer | Reason::TrustedAlone => "unable to get local issuer certificate",
            Reason::SelfSigned => "self-signed certificate",
            Reason::SelfSignedInChain => "self-signed certificate in certificate chain",
            Reason::IssuerMissing => "unable to get issuer certificate",
            Reason::ChainTooLong => "certificate chain too long",
            Reason::Expired { .. } => "certificate has expired",
            Reason::NotYetValid { .. } => "certificate is not yet valid",
            Reason::NotAnAuthority => "invalid CA certificate",
            Reason::AuthorityAsServer => "invalid non-CA certificate (has CA markings)",
            Reason::PathTooLong => "path length constraint exceeded",
            Reason::Purpose | Reason::KeyUsage => "unsuitable certificate purpose",
            Reason::UnknownCritical => "unhandled critical extension",
            Reason::Proxy => "proxy certificates not allowed, please set the appropriate flag",
            Reason::NameConstraints => "permitted subtree violation or excluded subtree violation",
            Reason::BadSignature => "certificate signature failure",
            Reason::Algorithm => "unsupported signature or key algorithm, or a key that is too short",
            Reason::Unreadable => "unable to parse the certificate",
            Reason::Strict(words) => words,
            Reason::NotPinned { .. } => "public key pin mismatch",
            Reason::Revoked => "certificate revoked",
            Reason::NoRevocationList => "unable to get certificate CRL",
            Reason::RevocationListExpired => "CRL has expired",
            Reason::RevocationListInvalid => "CRL signature failure",
            Reason::Name { .. } => {
                let kind = if is_address(host) { "IP address" } else { "Hostname" };
                return Cow::Owned(format!("{kind} mismatch, certificate is not valid for '{host}'"));
            }
        })
    }

    fn why(&self, host: &str) -> String {
        let it = match &self.link {
            CertificateLink::Server => format!("the certificate of {host}"),
            CertificateLink::Issuer(name) => format!("the authority certificate {name}, in the chain of {host},"),
        };
        match &self.reason {
            Reason::UnknownIssuer => format!("no trusted authority has signed the certificate of {host}"),
            Reason::SelfSigned => {
                format!("{host} shows a certificate that is signed by itself and that is not trusted")
            }
            Reason::SelfSignedInChain => match &self.link {
                CertificateLink::Issuer(name) => format!("the authority {name}, which {host} has sent, is not trusted"),
                CertificateLink::Server => format!("the authority of {host} is not trusted"),
            },
            Reason::IssuerMissing => {
                format!("{it} is trusted, but it has not signed itself, and its issuer is not trusted")
            }
            Reason::TrustedAlone => {
                format!(
                    "the certificate of {host} is trusted, but it has not signed itself, and its issuer is not trusted"
                )
            }
            Reason::ChainTooLong => format!("{host} has too many authorities above it"),
            Reason::Expired { not_after } => format!("{it} was valid until {}", der::date(*not_after)),
            Reason::NotYetValid { not_before } => format!("{it} is valid from {} on", der::date(*not_before)),
            Reason::NotAnAuthority => {
                format!("{it} may not sign others (basicConstraints without CA:TRUE, or keyUsage without keyCertSign)")
            }
            Reason::AuthorityAsServer => format!("{it} is an authority's"),
            Reason::PathTooLong => format!("{it} allows fewer authorities below it"),
            Reason::Purpose => format!("{it} is not for servers (its extendedKeyUsage lacks serverAuth)"),
            Reason::KeyUsage => format!("the key of {host} may not be used for TLS (keyUsage lacks digitalSignature)"),
            Reason::UnknownCritical => format!("{it} has a critical extension that is not known"),
            Reason::Proxy => format!("{it} is a proxy certificate"),
            Reason::NameConstraints => format!("an authority in the chain of {host} may not sign for these names"),
            Reason::BadSignature => {
                format!("a certificate in the chain of {host} is not signed by the authority that it names")
            }
            Reason::Algorithm => format!("the chain of {host} is signed in a way that is not supported"),
            Reason::Unreadable => format!("{it} is malformed, or not of X.509 version 3"),
            Reason::Strict(_) => format!("{it} breaks a rule of RFC 5280"),
            Reason::Name { error } => names(error),
            Reason::NotPinned { seen } => format!("none of the keys of {host} is pinned: {seen}"),
            Reason::Revoked => format!("a revocation list withdraws {it}"),
            Reason::NoRevocationList => format!("there is no revocation list of the issuer of {it}"),
            Reason::RevocationListExpired => format!("the revocation list of the issuer of {it} is out of date"),
            Reason::RevocationListInvalid => {
                format!("the revocation list of the issuer of {it} is malformed, or not signed by it")
            }
        }
    }

    fn remedy(&self) -> &'static str {
        match (&self.reason, &self.link) {
            (Reason::UnknownIssuer, _) => "pass its CA as TLSConfig(verify=\"ca.pem\")",
            (Reason::SelfSigned, _) => "if it is the right one, pass it as TLSConfig(verify=\"certificate.pem\")",
            (Reason::SelfSignedInChain, _) => {
                "if it is the right one, pass its certificate as TLSConfig(verify=\"ca.pem\")"
            }
            (Reason::IssuerMissing | Reason::TrustedAlone, _) => {
                "add the certificate of its issuer to the trusted ones"
            }
            (Reason::Expired { .. }, CertificateLink::Server) => {
                "the server needs a new one, or this machine's clock is wrong"
            }
            (Reason::Expired { .. }, CertificateLink::Issuer(_)) => {
                "the server, or the file of trusted ones, needs a new one"
            }
            (Reason::NotYetValid { .. }, _) => "check this machine's clock",
            (Reason::NotAnAuthority, _) => {
                "it vouches for itself at most: trust the certificate of an authority instead"
            }
            (Reason::Strict(_), _) => {
                "Python 3.13 and newer ask for it: renew it, or pass an ssl.SSLContext without VERIFY_X509_STRICT"
            }
            (Reason::Algorithm | Reason::BadSignature, _) => {
                "keys of RSA need at least 2048 bits, and signatures SHA-256 or better"
            }
            (Reason::Name { .. }, _) => "connect by a name that it holds, or set the request extension sni_hostname",
            (Reason::NotPinned { .. }, _) => "if one of them is right, pass it in TLSConfig(pins=...)",
            (Reason::NoRevocationList | Reason::RevocationListExpired | Reason::RevocationListInvalid, _) => {
                "pass a newer one in TLSConfig(crls=...)"
            }
            _ => "the server needs another certificate",
        }
    }
}

fn is_address(host: &str) -> bool {
    host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
}

/// Lists the names that a certificate is valid for.
fn names(error: &CertificateError) -> String {
    let CertificateError::NotValidForNameContext { presented, .. } = error else {
        return "it holds other names".to_owned();
    };
    let names: Vec<_> = presented.iter().filter_map(|name| as_openssl_writes(name)).collect();
    if names.is_empty() {
        return "it holds no name of a host (subjectAltName)".to_owned();
    }
    format!("it holds {}", names.join(", "))
}

/// `DNS:a.test` for webpki's `DnsName("a.test")`.
fn as_openssl_writes(name: &str) -> Option<String> {
    let (kind, rest) = name.split_once('(')?;
    let kind = match kind {
        "DnsName" => "DNS",
        "IpAddress" => "IP",
        "UniformResourceIdentifier" => "URI",
        _ => return None,
    };
    Some(format!("{kind}:{}", rest.trim_end_matches(')').trim_matches('"')))
}

impl From<webpki::Error> for Refusal {
    fn from(error: webpki::Error) -> Self {
        use webpki::Error as E;

        Self::of_server(match error {
            E::UnknownIssuer => Reason::UnknownIssuer,
            E::InvalidSignatureForPublicKey => Reason::BadSignature,
            E::CertNotValidForName(context) => Reason::Name {
                error: CertificateError::NotValidForNameContext {
                    expected: context.expected,
                    presented: context.presented,
                },
            },
            E::CaUsedAsEndEntity => Reason::AuthorityAsServer,
            E::EndEntityUsedAsCa => Reason::NotAnAuthority,
            E::PathLenConstraintViolated => Reason::PathTooLong,
            E::RequiredEkuNotFoundContext(_) | E::EmptyEkuExtension => Reason::Purpose,
            E::NameConstraintViolation | E::MalformedNameConstraint | E::InvalidNetworkMaskConstraint => {
                Reason::NameConstraints
            }
            E::UnsupportedCriticalExtension => Reason::UnknownCritical,
            E::UnsupportedSignatureAlgorithmContext(_)
            | E::UnsupportedSignatureAlgorithmForPublicKeyContext(_)
            | E::SignatureAlgorithmMismatch => Reason::Algorithm,
            E::CertRevoked => Reason::Revoked,
            E::UnknownRevocationStatus => Reason::NoRevocationList,
            E::CrlExpired { .. } => Reason::RevocationListExpired,
            E::InvalidCrlSignatureForPublicKey
            | E::IssuerNotCrlSigner
            | E::UnsupportedCrlSignatureAlgorithmContext(_)
            | E::UnsupportedCrlSignatureAlgorithmForPublicKeyContext(_) => Reason::RevocationListInvalid,
            E::MaximumPathDepthExceeded | E::MaximumPathBuildCallsExceeded | E::MaximumSignatureChecksExceeded => {
                Reason::ChainTooLong
            }
            _ => Reason::Unreadable,
        })
    }
}

impl From<Refusal> for rustls::Error {
    /// Returns rustls' own error where there is one: rustls then sends the alert that belongs to it.
    fn from(refusal: Refusal) -> Self {
        let is_servers = matches!(refusal.link, CertificateLink::Server);
        let at = |seconds: i64| UnixTime::since_unix_epoch(Duration::from_secs(seconds.try_into().unwrap_or_default()));
        Self::InvalidCertificate(match refusal.reason {
            Reason::UnknownIssuer => CertificateError::UnknownIssuer,
            Reason::BadSignature => CertificateError::BadSignature,
            Reason::Expired { not_after } if is_servers => {
                CertificateError::ExpiredContext { time: UnixTime::now(), not_after: at(not_after) }
            }
            Reason::NotYetValid { not_before } if is_servers => {
                CertificateError::NotValidYetContext { time: UnixTime::now(), not_before: at(not_before) }
            }
            Reason::Name { error } => error,
            Reason::Revoked => CertificateError::Revoked,
            _ => CertificateError::Other(OtherError(Arc::new(refusal))),
        })
    }
}

impl From<&CertificateError> for Refusal {
    fn from(error: &CertificateError) -> Self {
        if let CertificateError::Other(other) = error
            && let Some(refusal) = other.0.downcast_ref::<Self>()
        {
            return refusal.clone();
        }
        let seconds = |time: &UnixTime| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        Self::of_server(match error {
            CertificateError::UnknownIssuer => Reason::UnknownIssuer,
            CertificateError::BadSignature => Reason::BadSignature,
            CertificateError::Revoked => Reason::Revoked,
            CertificateError::ExpiredContext { not_after, .. } => Reason::Expired { not_after: seconds(not_after) },
            CertificateError::NotValidYetContext { not_before, .. } => {
                Reason::NotYetValid { not_before: seconds(not_before) }
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Reason::Name { error: error.clone() }
            }
            CertificateError::UnsupportedSignatureAlgorithmContext { .. }
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => Reason::Algorithm,
            _ => Reason::Unreadable,
        })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.explain(f, "the server")
    }
}

impl std::error::Error for Refusal {}
