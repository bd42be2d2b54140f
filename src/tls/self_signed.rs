//! A self-signed certificate of an authority that is a server's own as well, as `openssl req -x509` makes them. webpki accepts none
//! in that role; OpenSSL does where the caller trusts just this one, and so do we.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

/// webpki's verification, but that a server may show a certificate which is trusted itself.
#[derive(Debug)]
pub struct OrTrustedItself {
    pub webpki: Arc<WebPkiServerVerifier>,
    /// What the caller's own files hold.
    pub trusted: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for OrTrustedItself {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.webpki.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            // That is what webpki says of a certificate whose time has come and not gone: it looks at that first.
            Err(error) if is_ca_used_as_end_entity(&error) && self.trusted.contains(end_entity) => {
                if !may_be_a_servers(end_entity) {
                    return Err(CertificateError::InvalidPurpose.into());
                }
                let certificate = ParsedCertificate::try_from(end_entity)?;
                rustls::client::verify_server_name(&certificate, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

/// Whether webpki refused a certificate because it is an authority's.
pub fn is_ca_used_as_end_entity(error: &Error) -> bool {
    let Error::InvalidCertificate(CertificateError::Other(other)) = error else { return false };
    matches!(other.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}

/// Whether a certificate is one for servers: it does not say what it is for, or it says that (RFC 5280, 4.2.1.12).
fn may_be_a_servers(certificate: &[u8]) -> bool {
    // The DER of the identifiers of this extension, of servers, and of any purpose.
    const EXTENDED_KEY_USAGE: &[u8] = &[0x06, 0x03, 0x55, 0x1d, 0x25];
    const SERVER_AUTH: &[u8] = &[0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];
    const ANY: &[u8] = &[0x06, 0x04, 0x55, 0x1d, 0x25, 0x00];
    const CRITICAL: &[u8] = &[0x01, 0x01, 0xff];
    const OCTET_STRING: u8 = 0x04;

    let Some(at) = memchr::memmem::find(certificate, EXTENDED_KEY_USAGE) else { return true };
    let extension = &certificate[at + EXTENDED_KEY_USAGE.len()..];
    let extension = extension.strip_prefix(CRITICAL).unwrap_or(extension);
    // What is longer than 127 bytes, or was no such extension after all, is refused.
    let &[OCTET_STRING, length @ ..0x80, ref rest @ ..] = extension else { return false };
    let purposes = &rest[..rest.len().min(usize::from(length))];
    [SERVER_AUTH, ANY].iter().any(|purpose| memchr::memmem::find(purposes, purpose).is_some())
}
