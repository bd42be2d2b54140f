//! Whom we believe: certificates of authorities, from files and directories.

use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};

use super::ConfigError;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Trust {
    /// `verify=False`.
    Anything,
    /// The authorities of all these together.
    Roots(Vec<Source>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// The installed bundle; its file does not change while the process runs.
    Bundle(PathBuf),
    /// A file or directory that the caller or the environment names.
    Named(PathBuf),
    /// As `Named`, but it may be missing: what OpenSSL's default paths may be, too.
    Optional(PathBuf),
}

impl Trust {
    /// Whether all in this process may use one configuration. What the caller names may change on the disk.
    pub fn is_shareable(&self) -> bool {
        match self {
            Self::Anything => true,
            Self::Roots(sources) => sources.iter().all(|source| matches!(source, Source::Bundle(_))),
        }
    }
}

pub fn load(sources: &[Source]) -> Result<RootCertStore, ConfigError> {
    let mut store = RootCertStore::empty();
    for source in sources {
        match source {
            Source::Bundle(path) | Source::Named(path) => {
                if add(&mut store, path)? == 0 {
                    return Err(ConfigError {
                        message: format!("{} holds no certificate that can be used", path.display()),
                        path: path.clone(),
                        source: None,
                    });
                }
            }
            Source::Optional(path) => {
                // Whatever it holds is an addition.
                let _ = add(&mut store, path);
            }
        }
    }
    Ok(store)
}

/// Adds what a file or directory holds; how many certificates that were.
fn add(store: &mut RootCertStore, path: &Path) -> Result<usize, ConfigError> {
    if !path.is_dir() {
        return add_file(store, path);
    }
    let entries = std::fs::read_dir(path).map_err(|error| unreadable("directory", path, pem::Error::Io(error)))?;
    let mut added = 0;
    for entry in entries.flatten().filter(|entry| entry.path().is_file()) {
        // A directory of certificates may hold other things, too.
        added += add_file(store, &entry.path()).unwrap_or(0);
    }
    Ok(added)
}

fn add_file(store: &mut RootCertStore, path: &Path) -> Result<usize, ConfigError> {
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| unreadable("CA bundle", path, error))?;
    // Bundles hold certificates of forms that are no longer allowed; they are passed over, as OpenSSL does.
    Ok(store.add_parsable_certificates(certificates).0)
}

pub fn unreadable(what: &str, path: &Path, error: pem::Error) -> ConfigError {
    let (message, source) = match error {
        pem::Error::Io(source) => (format!("the {what} {} cannot be read: {source}", path.display()), Some(source)),
        error => (format!("{} holds no {what}: {error}", path.display()), None),
    };
    ConfigError { message, path: path.to_owned(), source }
}
