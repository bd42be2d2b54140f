//! Whom we believe: certificates of authorities, from files and directories.

use std::collections::HashSet;
use std::ffi::OsStr;
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
    /// The operating system's own: a bundle, and a folder that OpenSSL has hashed. They do not change while the process runs.
    System { file: Option<PathBuf>, folder: Option<PathBuf> },
}

impl Trust {
    /// Whether all in this process may use one configuration. What the caller names may change on the disk.
    pub fn is_shareable(&self) -> bool {
        match self {
            Self::Anything => true,
            Self::Roots(sources) => {
                sources.iter().all(|source| matches!(source, Source::Bundle(_) | Source::System { .. }))
            }
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
            Source::System { file, folder } => {
                add_system(&mut store, file.as_deref(), folder.as_deref());
                if store.is_empty() {
                    return Err(ConfigError {
                        message: "no certificates of authorities were found on this system".to_owned(),
                        path: PathBuf::new(),
                        source: None,
                    });
                }
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

/// Adds what a system's bundle and folder hold, each certificate once. What cannot be read is passed over, as OpenSSL does.
fn add_system(store: &mut RootCertStore, file: Option<&Path>, folder: Option<&Path>) {
    let entries = folder.and_then(|folder| std::fs::read_dir(folder).ok()).into_iter().flatten().flatten();
    // Other names are of no use to OpenSSL: usually those of the same certificates.
    let hashed = entries.filter(|entry| is_hash(&entry.file_name())).map(|entry| entry.path());
    let mut seen = HashSet::new();
    for path in file.map(Path::to_owned).into_iter().chain(hashed) {
        let Ok(certificates) = CertificateDer::pem_file_iter(path) else { continue };
        let new = certificates.flatten().filter(|certificate| seen.insert(certificate.clone())).collect::<Vec<_>>();
        store.add_parsable_certificates(new);
    }
}

/// Whether OpenSSL looks at a file of this name: eight hexadecimal digits of the subject's hash, and a number.
fn is_hash(name: &OsStr) -> bool {
    let Some((hash, number)) = name.to_str().and_then(|name| name.split_once('.')) else { return false };
    hash.len() == 8
        && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
        && !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
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
