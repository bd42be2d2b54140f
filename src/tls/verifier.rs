//! Verifies a server's certificate: never less strictly than Python's `ssl`, and than webpki.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};

use super::certificate::Certificate;
use super::chain::{self, Rules, Store};
use super::checks;
use super::pins::{self, Pin};
use super::refusal::{Reason, Refusal};
use super::revocation::RevocationLists;

#[derive(Debug)]
pub struct Verifier {
    pub store: Store,
    pub rules: Rules,
    pub algorithms: WebPkiSupportedAlgorithms,
    /// The name of the server is not looked at.
    pub accepts_other_names: bool,
    pub pins: Vec<Pin>,
    pub revocation_lists: RevocationLists,
}

impl Verifier {
    fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Refusal> {
        let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let server = Certificate::parse(end_entity).ok_or(Refusal::of_server(Reason::Unreadable))?;
        let sent: Vec<_> = intermediates.iter().filter_map(|certificate| Certificate::parse(certificate)).collect();
        let chain = chain::build(server, &sent, &self.store, self.rules, seconds)?;
        checks::check(&chain, self.rules, seconds)?;
        let parsed = EndEntityCert::try_from(end_entity)?;
        self.verify_signatures(&parsed, &chain, now)?;
        if !self.accepts_other_names {
            parsed.verify_is_valid_for_subject_name(server_name)?;
        }
        pins::check(&self.pins, end_entity, chain.get(1..).unwrap_or_default())
    }

    /// Verifies a chain, the server's certificate first, by webpki, and that nothing of it is revoked. A certificate that is trusted itself
    /// needs no signature.
    fn verify_signatures(
        &self,
        end_entity: &EndEntityCert<'_>,
        chain: &[Certificate<'_>],
        now: UnixTime,
    ) -> Result<(), Refusal> {
        let [_, between @ .., last] = chain else { return self.revocation_lists.check_alone() };
        let last = CertificateDer::from(last.der);
        let anchor = [webpki::anchor_from_trusted_cert(&last)?];
        let intermediates: Vec<_> = between.iter().map(|certificate| CertificateDer::from(certificate.der)).collect();
        // The path must consist of all of them: webpki may find a shorter one.
        let is_whole = |path: &VerifiedPath<'_>| {
            let is_whole = path.intermediate_certificates().count() == intermediates.len();
            if is_whole { Ok(()) } else { Err(webpki::Error::UnknownIssuer) }
        };
        let algorithms = self.algorithms.all;
        let usage = KeyUsage::server_auth();
        self.revocation_lists.check(|revocation| {
            end_entity.verify_for_usage(
                algorithms,
                &anchor,
                &intermediates,
                now,
                usage,
                revocation,
                Some(&is_whole),
            )?;
            Ok(())
        })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verify(end_entity, intermediates, server_name, now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
