//! Describes the errors of rustls and what to do about them. OpenSSL's names are kept: programs search messages for them.

use std::fmt;
use std::io;

use rustls::{AlertDescription, Error, PeerIncompatible};

use super::refusal::Refusal;

/// Describes an error of a TLS stream to `host`. Errors of the operating system are returned unchanged.
pub fn in_words(error: io::Error, host: &str) -> io::Error {
    match error.get_ref().and_then(|cause| cause.downcast_ref::<Error>()) {
        Some(cause) => io::Error::new(error.kind(), Explained { error: cause, host }.to_string()),
        None => error,
    }
}

struct Explained<'a> {
    error: &'a Error,
    host: &'a str,
}

impl fmt::Display for Explained<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        explain(self.error, self.host, f)
    }
}

fn explain(error: &Error, host: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match error {
        Error::InvalidCertificate(why) => Refusal::from(why).explain(f, host),
        Error::AlertReceived(alert) => f.write_str(&alerted(*alert, host)),
        Error::InvalidMessage(_) => f.write_str(
            "[WRONG_VERSION_NUMBER] wrong version number: the server does not speak TLS on this port, which may be one for http://",
        ),
        Error::NoCertificatesPresented => f.write_str("the server has shown no certificate"),
        Error::NoApplicationProtocol => f.write_str(&alerted(AlertDescription::NoApplicationProtocol, host)),
        Error::PeerIncompatible(why) => incompatible(why, f),
        Error::PeerMisbehaved(_) | Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            f.write_str("the server breaks the rules of TLS")
        }
        Error::DecryptError => f.write_str("[BAD_RECORD_MAC] bad record mac: what the server sends cannot be decrypted"),
        Error::PeerSentOversizedRecord => f.write_str("the server sends records that are longer than TLS allows"),
        error => write!(f, "{error}"),
    }
}

fn incompatible(why: &PeerIncompatible, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    use PeerIncompatible as P;

    f.write_str(match why {
        P::ServerDoesNotSupportTls12Or13
        | P::ServerTlsVersionIsDisabledByOurConfig
        | P::Tls12NotOffered
        | P::Tls12NotOfferedOrEnabled
        | P::SupportedVersionsExtensionRequired => {
            "[UNSUPPORTED_PROTOCOL] unsupported protocol version: the server wants a version of TLS that is not allowed here"
        }
        P::NoCipherSuitesInCommon
        | P::NoKxGroupsInCommon
        | P::NoSignatureSchemesInCommon
        | P::NoCertificateRequestSignatureSchemesInCommon => {
            "the server has no cipher, group or signature scheme that is supported here"
        }
        P::ExtendedMasterSecretExtensionRequired => {
            "the server does not support what TLS 1.2 needs to be safe (extended master secret)"
        }
        _ => "the server wants something of TLS that is not supported here",
    })
}

/// Describes an alert that the server sent.
fn alerted(alert: AlertDescription, host: &str) -> String {
    use AlertDescription as A;

    let (name, why) = match alert {
        A::CertificateRequired => (
            "TLSV13_ALERT_CERTIFICATE_REQUIRED",
            "the server wants a certificate of the client: pass one as TLSConfig(cert=(\"chain.pem\", \"key.pem\"))",
        ),
        A::HandshakeFailure => (
            "SSLV3_ALERT_HANDSHAKE_FAILURE",
            "the server refused the handshake: it supports none of the offered ciphers, or it wants a certificate of the client \
             (TLSConfig(cert=...))",
        ),
        A::ProtocolVersion => (
            "TLSV1_ALERT_PROTOCOL_VERSION",
            "the server supports no version of TLS that is allowed here: tlsv1 alert protocol version",
        ),
        A::UnknownCA => (
            "TLSV1_ALERT_UNKNOWN_CA",
            "the server does not trust the authority of the client's certificate: pass another one as TLSConfig(cert=...)",
        ),
        A::BadCertificate | A::NoCertificate | A::UnsupportedCertificate | A::CertificateUnknown | A::AccessDenied => (
            "SSLV3_ALERT_BAD_CERTIFICATE",
            "the server refused the client's certificate, or wants one: pass another one as TLSConfig(cert=...)",
        ),
        A::CertificateExpired => {
            ("SSLV3_ALERT_CERTIFICATE_EXPIRED", "the client's certificate has expired, says the server")
        }
        A::CertificateRevoked => {
            ("SSLV3_ALERT_CERTIFICATE_REVOKED", "the client's certificate has been revoked, says the server")
        }
        A::UnrecognisedName => {
            return format!("[TLSV1_UNRECOGNIZED_NAME] the server knows no host of the name {host} (SNI)");
        }
        A::NoApplicationProtocol => {
            ("TLSV1_ALERT_NO_APPLICATION_PROTOCOL", "the server speaks none of the protocols that are offered (ALPN)")
        }
        A::InternalError => ("TLSV1_ALERT_INTERNAL_ERROR", "the server has failed"),
        alert => return format!("the server ended the connection with the alert {} of TLS", u8::from(alert)),
    };
    format!("[{name}] {why}")
}
