//! The certificate of the client: a chain and its key, from files or from memory.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use super::config::ConfigError;
use super::encrypted_key::{decrypt, is_encrypted};
use super::trust::{FileFingerprint, unreadable};

/// The certificate that a client shows: a chain and its key, each in PEM. They may be in the same file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    pub chain: PemSource,
    pub key: PemSource,
    pub password: Option<Password>,
}

/// PEM in a file, or in memory.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum PemSource {
    File(PathBuf),
    Bytes(Arc<[u8]>),
}

/// The password of a private key. Its `Debug` output does not contain it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Password(pub Arc<[u8]>);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

impl fmt::Debug for PemSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Bytes(_) => f.write_str("Bytes(..)"),
        }
    }
}

impl PemSource {
    /// Returns the path, or what stands for one in messages.
    pub fn path(&self) -> &Path {
        match self {
            Self::File(path) => path,
            Self::Bytes(_) => Path::new("given as bytes"),
        }
    }

    pub(super) fn read(&self, what: &str) -> Result<Arc<[u8]>, ConfigError> {
        match self {
            Self::File(path) => {
                std::fs::read(path).map(Into::into).map_err(|error| unreadable(what, path, pem::Error::Io(error)))
            }
            Self::Bytes(bytes) => Ok(Arc::clone(bytes)),
        }
    }

    pub(super) fn fingerprint(&self) -> Option<FileFingerprint> {
        match self {
            Self::File(path) => FileFingerprint::of_any(path),
            Self::Bytes(_) => None,
        }
    }
}

impl Identity {
    /// Reads the certificate and its key, and checks that they belong together.
    pub(super) fn load(&self) -> Result<SingleCertAndKey, ConfigError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&self.chain.read("client certificate")?)
            .collect::<Result<_, _>>()
            .map_err(|error| unreadable("client certificate", self.chain.path(), error))?;
        if chain.is_empty() {
            return Err(unreadable("client certificate", self.chain.path(), pem::Error::NoItemsFound));
        }
        let key = self.private_key()?;
        let certified = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(|error| {
            let why = match error {
                rustls::Error::InconsistentKeys(_) => {
                    "[KEY_VALUES_MISMATCH] key values mismatch: the key is not that of the first certificate in the chain"
                }
                rustls::Error::InvalidCertificate(_) => "the certificate is malformed",
                _ => "the key is of a kind that is not supported, or malformed",
            };
            let (chain, key) = (self.chain.path().display(), self.key.path().display());
            self.fault(format!("the client certificate {chain} and the key {key} cannot be used: {why}"))
        })?;
        Ok(SingleCertAndKey::from(certified))
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>, ConfigError> {
        let text = self.key.read("private key")?;
        let path = self.key.path();
        match &self.password {
            Some(Password(password)) if is_encrypted(&text) => match decrypt(&text, password) {
                Some(key) => Ok(key.into()),
                None => Err(self.fault(format!(
                    "the private key {} cannot be decrypted: the password is wrong, or the encryption is not supported",
                    path.display()
                ))),
            },
            None if is_encrypted(&text) => Err(self.fault(format!(
                "{} holds no unencrypted private key: pass its password as cert=(chain, key, password)",
                path.display()
            ))),
            _ => {
                PrivateKeyDer::from_pem_slice(&text).map_err(|error| unreadable("unencrypted private key", path, error))
            }
        }
    }

    fn fault(&self, message: String) -> ConfigError {
        ConfigError { message, path: self.chain.path().to_owned(), source: None }
    }

    /// Returns the state of the files, to see whether they have changed.
    pub(super) fn fingerprints(&self) -> Vec<Option<FileFingerprint>> {
        vec![self.chain.fingerprint(), self.key.fingerprint()]
    }
}
