//! Certificate revocation lists: which certificates their authorities have withdrawn (RFC 5280, 5).

use std::path::Path;

use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject;
use webpki::{
    BorrowedCertRevocationList, CertRevocationList, ExpirationPolicy, RevocationCheckDepth, RevocationOptions,
    RevocationOptionsBuilder, UnknownStatusPolicy,
};

use super::config::ConfigError;
use super::identity::PemSource;
use super::refusal::{Reason, Refusal};
use super::trust::unreadable;

/// The revocation lists of a configuration.
#[derive(Debug, Default)]
pub struct RevocationLists(Vec<CertRevocationList<'static>>);

impl RevocationLists {
    /// Reads lists in PEM, or one in DER in each source.
    pub fn load(sources: &[PemSource]) -> Result<Self, ConfigError> {
        let mut lists = Vec::new();
        for source in sources {
            let path = source.path();
            for der in decode(&source.read("revocation list")?, path)? {
                let list = BorrowedCertRevocationList::from_der(&der).and_then(|list| list.to_owned());
                let list = list.map_err(|error| ConfigError {
                    message: format!("{} holds a revocation list that cannot be used: {error}", path.display()),
                    path: path.to_owned(),
                    source: None,
                })?;
                lists.push(list.into());
            }
        }
        Ok(Self(lists))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Calls `verify` with what webpki checks: first the server's certificate, about which a list has to be there, then those of the
    /// authorities, of which a list may be missing. Both are as strict as `VERIFY_CRL_CHECK_LEAF` at least.
    pub fn check(
        &self,
        mut verify: impl FnMut(Option<RevocationOptions<'_>>) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let lists: Vec<_> = self.0.iter().collect();
        let Ok(options) = RevocationOptionsBuilder::new(&lists) else { return verify(None) };
        let options = options.with_expiration_policy(ExpirationPolicy::Enforce);
        verify(Some(options.with_depth(RevocationCheckDepth::EndEntity).build()))?;
        verify(Some(options.with_status_policy(UnknownStatusPolicy::Allow).build()))
    }

    /// Returns the refusal of a certificate that no list can be about, because it is its own issuer; nothing if there are no lists.
    pub fn check_alone(&self) -> Result<(), Refusal> {
        if self.is_empty() { Ok(()) } else { Err(Refusal::of_server(Reason::NoRevocationList)) }
    }
}

fn decode(data: &[u8], path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, ConfigError> {
    // A DER sequence of more than 127 bytes begins with a byte that no text begins with.
    if let [0x30, 0x80..=0xff, ..] = data {
        return Ok(vec![CertificateRevocationListDer::from(data.to_vec())]);
    }
    let lists: Vec<_> = CertificateRevocationListDer::pem_slice_iter(data)
        .collect::<Result<_, _>>()
        .map_err(|error| unreadable("revocation list", path, error))?;
    if lists.is_empty() {
        return Err(unreadable("revocation list", path, rustls::pki_types::pem::Error::NoItemsFound));
    }
    Ok(lists)
}
