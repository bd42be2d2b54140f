//! The sources of trusted certificates: files, and folders as OpenSSL reads them.
//!
//! Certificates that cannot be parsed are left out. Whether a certificate may sign others is checked when it is used
//! ([`super::checks`]).

use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};

use super::ConfigError;
use super::bundle;
use super::certificate::Certificate;
use super::chain::Store;
use super::name_hash::name_hash;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Trust {
    /// `verify=False`.
    Anything,
    /// The authorities of all these together.
    Roots(Vec<TrustSource>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TrustSource {
    /// The installed bundle; its file does not change while the process runs.
    Bundle(PathBuf),
    /// A file or a folder that the user or the environment names.
    Named(PathBuf),
    /// Folders that the environment names. Some of them may be missing.
    Folders(Vec<PathBuf>),
    /// OpenSSL's default paths as the environment sets them, in addition to others. Any may be missing.
    Optional { file: Option<PathBuf>, folders: Vec<PathBuf> },
    /// Certificates that the user gave: PEM, or one in DER.
    Given(Arc<[u8]>),
    /// The operating system's: a bundle, and a folder that OpenSSL has hashed. They do not change while the process runs.
    System { file: Option<PathBuf>, folder: Option<PathBuf> },
    /// The operating system's, where they are not in files: macOS and Windows.
    Platform,
}

impl TrustSource {
    pub fn is_systems(&self) -> bool {
        matches!(self, Self::System { .. } | Self::Platform)
    }
}

/// Shows whether a file is still the one that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileFingerprint {
    length: u64,
    modified: Option<SystemTime>,
    /// The file's number, and when anything of it changed.
    #[cfg(unix)]
    identity: (u64, u64, i64, i64),
}

impl Trust {
    /// Returns whether the sources can be read when they are needed: the user has named nothing that could be wrong.
    pub fn is_lazy(&self) -> bool {
        match self {
            Self::Anything => true,
            Self::Roots(sources) => {
                sources.iter().all(|source| matches!(source, TrustSource::Bundle(_)) || source.is_systems())
            }
        }
    }

    /// Returns the state of all files that may change while the process runs. `None` if there are folders.
    pub fn fingerprints(&self) -> Option<Vec<FileFingerprint>> {
        let Self::Roots(sources) = self else { return Some(Vec::new()) };
        let mut fingerprints = Vec::new();
        for source in sources {
            match source {
                TrustSource::Named(path) => fingerprints.push(FileFingerprint::of(path)?),
                TrustSource::Optional { file: Some(path), folders } if folders.is_empty() => {
                    fingerprints.push(FileFingerprint::of(path)?);
                }
                TrustSource::Folders(_) | TrustSource::Optional { .. } => return None,
                TrustSource::Bundle(_) | TrustSource::Given(_) | TrustSource::System { .. } | TrustSource::Platform => {
                }
            }
        }
        Some(fingerprints)
    }

    /// Returns the paths of files and folders that may change while the process runs.
    pub fn paths(&self) -> Vec<&Path> {
        let Self::Roots(sources) = self else { return Vec::new() };
        let mut paths: Vec<&Path> = Vec::new();
        for source in sources {
            match source {
                TrustSource::Named(path) => paths.push(path),
                TrustSource::Folders(folders) => paths.extend(folders.iter().map(PathBuf::as_path)),
                TrustSource::Optional { file, folders } => {
                    paths.extend(file.iter().chain(folders).map(PathBuf::as_path));
                }
                TrustSource::Bundle(_) | TrustSource::Given(_) | TrustSource::System { .. } | TrustSource::Platform => {
                }
            }
        }
        paths
    }
}

impl FileFingerprint {
    fn of(path: &Path) -> Option<Self> {
        std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file).map(Self::new)
    }

    /// Returns the state of a file, or of a folder: that of its list of files.
    pub fn of_any(path: &Path) -> Option<Self> {
        std::fs::metadata(path).ok().map(Self::new)
    }

    fn new(metadata: std::fs::Metadata) -> Self {
        Self {
            length: metadata.len(),
            modified: metadata.modified().ok(),
            #[cfg(unix)]
            identity: {
                use std::os::unix::fs::MetadataExt;
                (metadata.dev(), metadata.ino(), metadata.ctime(), metadata.ctime_nsec())
            },
        }
    }
}

/// Reads all trusted certificates. Those of files come before those of folders, as in OpenSSL.
pub fn load(sources: &[TrustSource]) -> Result<Store, ConfigError> {
    let mut store = Store::default();
    for source in sources {
        match source {
            TrustSource::Named(path) if path.is_dir() => {
                let certificates =
                    read_folder(path).map_err(|error| unreadable("directory", path, pem::Error::Io(error)))?;
                add_hashed(&mut store, path, certificates)?;
            }
            TrustSource::Bundle(path) | TrustSource::Named(path) => add(&mut store, path, read_file(path)?)?,
            TrustSource::Folders(paths) => {
                let certificates = paths.iter().flat_map(|path| read_folder(path).unwrap_or_default()).collect();
                add_hashed(&mut store, paths.first().map_or(Path::new(""), PathBuf::as_path), certificates)?;
            }
            TrustSource::Given(data) => add(&mut store, Path::new("cadata"), decode(data)?)?,
            TrustSource::Optional { file, folders } => {
                let in_file = file.iter().filter(|path| path.is_file()).flat_map(|path| read_loosely(path));
                let in_folders = folders.iter().flat_map(|path| read_folder(path).unwrap_or_default());
                in_file.chain(in_folders).for_each(|certificate| _ = store.add(certificate));
            }
            TrustSource::System { file, folder } => {
                let in_file = file.iter().flat_map(|path| read_loosely(path));
                let in_folder = folder.iter().flat_map(|path| read_folder(path).unwrap_or_default());
                // Most are in both.
                let mut seen = HashSet::new();
                let all = in_file.chain(in_folder).filter(|certificate| seen.insert(certificate.clone()));
                all.for_each(|certificate| _ = store.add(certificate));
                if store.is_empty() {
                    return Err(no_system_store());
                }
            }
            TrustSource::Platform => {
                for certificate in platform_authorities() {
                    store.add(certificate);
                }
                if store.is_empty() {
                    return Err(no_system_store());
                }
            }
        }
    }
    Ok(store)
}

fn no_system_store() -> ConfigError {
    ConfigError::of_no_file("no certificates of authorities were found on this system".to_owned())
}

/// Returns the authorities that the operating system trusts for servers.
#[cfg(any(target_os = "macos", windows))]
fn platform_authorities() -> Vec<CertificateDer<'static>> {
    rustls_native_certs::load_native_certs().certs
}

/// Returns nothing: here the authorities are in files ([`TrustSource::System`]).
#[cfg(not(any(target_os = "macos", windows)))]
fn platform_authorities() -> Vec<CertificateDer<'static>> {
    Vec::new()
}

/// Adds the certificates of a file or folder, which must hold at least one.
fn add(store: &mut Store, path: &Path, certificates: Vec<CertificateDer<'static>>) -> Result<(), ConfigError> {
    // Bundles hold certificates of forms that are no longer allowed; they are skipped, as by OpenSSL.
    let added = certificates.into_iter().map(|certificate| store.add(certificate)).filter(|is_added| *is_added).count();
    if added > 0 {
        return Ok(());
    }
    let message = format!("{} holds no certificate that can be used", path.display());
    Err(ConfigError { message, path: path.to_owned(), source: None })
}

fn add_hashed(store: &mut Store, path: &Path, certificates: Vec<CertificateDer<'static>>) -> Result<(), ConfigError> {
    add(store, path, certificates).map_err(|mut error| {
        error.message +=
            ": only files with names like 1a2b3c4d.0, of the hash of the subject, count; `openssl rehash` makes them";
        error
    })
}

/// Returns the certificates of a folder that OpenSSL would find: their files are named by the hash of the subject, and numbered from 0.
fn read_folder(path: &Path) -> std::io::Result<Vec<CertificateDer<'static>>> {
    let entries = std::fs::read_dir(path)?.flatten();
    let mut files: Vec<_> =
        entries.filter_map(|entry| hash_and_number(&entry.file_name()).map(|name| (name, entry.path()))).collect();
    files.sort_unstable();
    let (mut next, mut certificates) = ((0, 0), Vec::new());
    for ((hash, number), path) in files {
        let expected = if next.0 == hash { next.1 } else { 0 };
        if number == expected {
            next = (hash, number + 1);
            certificates.extend(read_loosely(&path).into_iter().filter(|certificate| has_hash(certificate, hash)));
        }
    }
    Ok(certificates)
}

fn has_hash(certificate: &CertificateDer<'_>, hash: u32) -> bool {
    Certificate::parse(certificate).and_then(|certificate| name_hash(certificate.subject)) == Some(hash)
}

/// Returns the certificates of a file, which may be missing, or hold other things as well.
fn read_loosely(path: &Path) -> Vec<CertificateDer<'static>> {
    let Ok(text) = std::fs::read(path) else { return Vec::new() };
    bundle::certificates(&text).unwrap_or_else(|| CertificateDer::pem_reader_iter(text.as_slice()).flatten().collect())
}

fn read_file(path: &Path) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let failed = |error| unreadable("CA bundle", path, error);
    let text = std::fs::read(path).map_err(|error| failed(pem::Error::Io(error)))?;
    match bundle::certificates(&text) {
        Some(certificates) => Ok(certificates),
        None => CertificateDer::pem_reader_iter(text.as_slice()).collect::<Result<_, _>>().map_err(failed),
    }
}

/// Returns the certificates in PEM, or the one in DER.
fn decode(data: &[u8]) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    // A DER sequence of more than 127 bytes begins with a byte that no text begins with.
    if let [0x30, 0x80..=0xff, ..] = data {
        return Ok(vec![CertificateDer::from(data.to_vec())]);
    }
    CertificateDer::pem_slice_iter(data)
        .collect::<Result<_, _>>()
        .map_err(|error| unreadable("certificate", Path::new("cadata"), error))
}

/// Parses the name of a file that OpenSSL looks for: eight hexadecimal digits, a dot, and a number.
fn hash_and_number(name: &OsStr) -> Option<(u32, u32)> {
    let (hash, number) = name.to_str()?.split_once('.')?;
    let is_hash = hash.len() == 8 && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_number = number == "0" || !number.starts_with('0') && number.bytes().all(|byte| byte.is_ascii_digit());
    if is_hash && is_number { Some((u32::from_str_radix(hash, 16).ok()?, number.parse().ok()?)) } else { None }
}

pub fn unreadable(what: &str, path: &Path, error: pem::Error) -> ConfigError {
    let (message, source) = match error {
        pem::Error::Io(source) => (format!("the {what} {} cannot be read: {source}", path.display()), Some(source)),
        error => (format!("{} holds no {what}: {error}", path.display()), None),
    };
    ConfigError { message, path: path.to_owned(), source }
}
