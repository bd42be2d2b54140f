//! Whom we believe: certificates of authorities, from files and directories.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

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
    /// The caller's own: PEM, or one certificate in DER.
    Given(Arc<[u8]>),
    /// The operating system's own: a bundle, and a folder that OpenSSL has hashed. They do not change while the process runs.
    System { file: Option<PathBuf>, folder: Option<PathBuf> },
}

/// What shows that a file is still the one that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    length: u64,
    modified: Option<SystemTime>,
    /// The file's number, and when anything of it changed.
    #[cfg(unix)]
    identity: (u64, u64, i64, i64),
}

impl Trust {
    /// Whether it can be read when it is needed: the caller names nothing that he could have got wrong.
    pub fn may_wait(&self) -> bool {
        match self {
            Self::Anything => true,
            Self::Roots(sources) => {
                sources.iter().all(|source| matches!(source, Source::Bundle(_) | Source::System { .. }))
            }
        }
    }

    /// The state of all files that may change while the process runs. `None` if it cannot be told: directories.
    pub fn stamps(&self) -> Option<Vec<Stamp>> {
        let Self::Roots(sources) = self else { return Some(Vec::new()) };
        let files = sources.iter().filter_map(|source| match source {
            Source::Named(path) | Source::Optional(path) => Some(path),
            Source::Bundle(_) | Source::Given(_) | Source::System { .. } => None,
        });
        files.map(|path| Stamp::of(path)).collect()
    }
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
        Some(Self {
            length: metadata.len(),
            modified: metadata.modified().ok(),
            #[cfg(unix)]
            identity: {
                use std::os::unix::fs::MetadataExt;
                (metadata.dev(), metadata.ino(), metadata.ctime(), metadata.ctime_nsec())
            },
        })
    }
}

/// The authorities, and among them those certificates that the caller or the environment names.
pub fn load(sources: &[Source]) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), ConfigError> {
    let mut store = RootCertStore::empty();
    let mut named = Vec::new();
    for source in sources {
        match source {
            Source::Bundle(path) => add(&mut store, path, &read(path)?)?,
            Source::Named(path) => {
                let certificates = read(path)?;
                add(&mut store, path, &certificates)?;
                named.extend(certificates);
            }
            Source::Given(data) => {
                let certificates = decode(data)?;
                add(&mut store, Path::new("cadata"), &certificates)?;
                named.extend(certificates);
            }
            Source::Optional(path) => {
                // Whatever it holds is an addition.
                let certificates = read(path).unwrap_or_default();
                store.add_parsable_certificates(certificates.iter().map(borrowed));
                named.extend(certificates);
            }
            Source::System { file, folder } => {
                add_system(&mut store, file.as_deref(), folder.as_deref());
                if store.is_empty() {
                    let message = "no certificates of authorities were found on this system";
                    return Err(ConfigError::of_no_file(message.to_owned()));
                }
            }
        }
    }
    Ok((store, named))
}

/// Adds certificates of a file or directory that must hold one.
fn add(store: &mut RootCertStore, path: &Path, certificates: &[CertificateDer<'static>]) -> Result<(), ConfigError> {
    // Bundles hold certificates of forms that are no longer allowed; they are passed over, as OpenSSL does.
    if store.add_parsable_certificates(certificates.iter().map(borrowed)).0 > 0 {
        return Ok(());
    }
    Err(ConfigError {
        message: format!("{} holds no certificate that can be used", path.display()),
        path: path.to_owned(),
        source: None,
    })
}

fn borrowed<'a>(certificate: &'a CertificateDer<'static>) -> CertificateDer<'a> {
    CertificateDer::from(certificate.as_ref())
}

/// What a file or directory holds.
fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    if !path.is_dir() {
        return read_file(path);
    }
    let entries = std::fs::read_dir(path).map_err(|error| unreadable("directory", path, pem::Error::Io(error)))?;
    let files = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file());
    // A directory of certificates may hold other things, too.
    Ok(files.flat_map(|path| read_file(&path).unwrap_or_default()).collect())
}

fn read_file(path: &Path) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| unreadable("CA bundle", path, error))
}

/// The certificates in PEM, or the one in DER.
fn decode(data: &[u8]) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    // A sequence of more than 127 bytes begins with what no text does.
    if let [0x30, 0x80..=0xff, ..] = data {
        return Ok(vec![CertificateDer::from(data.to_vec())]);
    }
    CertificateDer::pem_slice_iter(data)
        .collect::<Result<_, _>>()
        .map_err(|error| unreadable("certificate", Path::new("cadata"), error))
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

pub fn unreadable(what: &str, path: &Path, error: pem::Error) -> ConfigError {
    let (message, source) = match error {
        pem::Error::Io(source) => (format!("the {what} {} cannot be read: {source}", path.display()), Some(source)),
        error => (format!("{} holds no {what}: {error}", path.display()), None),
    };
    ConfigError { message, path: path.to_owned(), source }
}
