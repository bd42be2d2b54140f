//! TLS by rustls: its configuration (trust, client certificate) and the handshake.
//!
//! The configuration for the usual case (certifi's roots, no client certificate) is built by the first handshake that needs it. One
//! with files that the user names is built at once, so that a wrong path fails there. Either is built once per process, and again
//! when a file has changed. A configuration with a client certificate or a directory is not shared between pools.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};

use rustls::client::WantsClientCert;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ConfigBuilder, KeyLogFile};
use tokio_rustls::TlsConnector;

use super::chain::Rules;
use super::explained::in_words;
use super::insecure;
use super::rustls_stream::RustlsStream;
use super::session::RustlsSession;
use super::trust::{self, FileFingerprint, Trust};
use super::verifier::Verifier;
use crate::error::{Error, Kind, Result};
use crate::io::stream::Stream;

/// The environment variable that names the file for the secrets of connections.
const KEY_LOG: &str = "SSLKEYLOGFILE";

/// The certificate that a client shows: a chain and its key, each in a PEM file (which may be the same).
#[derive(Clone, Debug)]
pub struct Identity {
    pub chain: PathBuf,
    pub key: PathBuf,
}

/// Makes TLS connections. Shared by all connections of a pool, and by pools with the same options.
#[derive(Clone)]
pub struct TlsConfig {
    lazy: Arc<Lazy>,
}

/// The options of a configuration, without a client certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TlsOptions {
    pub trust: Trust,
    pub rules: Rules,
    /// TLS 1.2 is refused.
    pub needs_tls13: bool,
}

impl TlsOptions {
    /// Returns whether the configuration can be built on its first use: the user has named nothing that could be wrong.
    pub fn is_lazy(&self) -> bool {
        self.trust.is_lazy()
    }
}

struct Lazy {
    options: TlsOptions,
    identity: Option<Identity>,
    built: OnceLock<Arc<ClientConfig>>,
}

/// Why a configuration cannot be built: the file and what is wrong with it.
#[derive(Debug)]
pub struct ConfigError {
    pub message: String,
    pub path: PathBuf,
    /// The operating system's error, if the file could not be read.
    pub source: Option<io::Error>,
}

impl ConfigError {
    pub(super) fn of_no_file(message: String) -> Self {
        Self { message, path: PathBuf::new(), source: None }
    }
}

impl TlsConfig {
    /// A configuration that is built on its first use.
    pub fn lazy(options: TlsOptions) -> Self {
        Self { lazy: Arc::new(Lazy { options, identity: None, built: OnceLock::new() }) }
    }

    /// A configuration whose files are read now.
    pub fn load(options: TlsOptions, identity: Option<Identity>) -> std::result::Result<Self, ConfigError> {
        let config = Self { lazy: Arc::new(Lazy { options, identity, built: OnceLock::new() }) };
        config.rustls()?;
        Ok(config)
    }

    /// Speaks TLS on a connected stream, offering `protocols` (ALPN). Dropping the future closes the stream.
    pub async fn handshake(&self, stream: Stream, name: &str, protocols: &[&[u8]]) -> Result<RustlsStream> {
        let failed = |message: String| Error::new(Kind::ConnectError, message);
        let config = self.rustls().map_err(|error| failed(error.message))?;
        let server_name = self.server_name(name).map_err(failed)?;
        let protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let connector = TlsConnector::from(config);
        let connected = connector.with_alpn(protocols).connect(server_name, stream).await;
        let session = RustlsSession::new(name, self.lazy.options.trust != Trust::Anything);
        connected.map(|connected| RustlsStream::new(connected, session)).map_err(|error| {
            let error = match error.kind() {
                io::ErrorKind::UnexpectedEof => io::Error::new(error.kind(), "the server closed the connection"),
                _ => in_words(error, name),
            };
            failed(format!("the TLS handshake with {name} failed: {error}")).with_source(error)
        })
    }

    /// Returns the name that a certificate must be valid for. A name with a dot at its end is refused, as by OpenSSL, where no certificate
    /// is valid for it; rustls would accept it.
    fn server_name(&self, name: &str) -> std::result::Result<ServerName<'static>, String> {
        if name.ends_with('.') && self.lazy.options.trust != Trust::Anything {
            return Err(format!(
                "the TLS handshake with {name} was not begun: [CERTIFICATE_VERIFY_FAILED] certificate verify failed: Hostname \
                 mismatch, certificate is not valid for '{name}': certificates hold names without a dot at the end; leave it out"
            ));
        }
        ServerName::try_from(name.trim_matches(['[', ']']).to_owned())
            .map_err(|_| format!("TLS needs a host name or an address, and {name:?} is neither"))
    }

    fn rustls(&self) -> std::result::Result<Arc<ClientConfig>, ConfigError> {
        if let Some(config) = self.lazy.built.get() {
            return Ok(Arc::clone(config));
        }
        let config = match &self.lazy.identity {
            None => shared(&self.lazy.options)?,
            Some(identity) => build(&self.lazy.options, Some(identity))?,
        };
        Ok(Arc::clone(self.lazy.built.get_or_init(|| config)))
    }
}

impl fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConfig")
            .field("options", &self.lazy.options)
            .field("identity", &self.lazy.identity)
            .finish_non_exhaustive()
    }
}

/// A configuration, and the state of the files and of the environment when it was built.
struct BuiltConfig {
    fingerprints: Vec<FileFingerprint>,
    key_log: Option<OsString>,
    config: Arc<ClientConfig>,
}

/// Returns the process's configuration for these options. One whose files have changed is built anew.
fn shared(options: &TlsOptions) -> std::result::Result<Arc<ClientConfig>, ConfigError> {
    static SHARED: Mutex<Option<HashMap<TlsOptions, BuiltConfig>>> = Mutex::new(None);
    // Bounds the memory of a process that names ever new files.
    const MOST: usize = 32;

    let Some(fingerprints) = options.trust.fingerprints() else { return build(options, None) };
    let key_log = std::env::var_os(KEY_LOG);
    // Held by another thread, perhaps by one of the parent at a fork: then this thread builds its own.
    let Ok(mut guard) = SHARED.try_lock() else { return build(options, None) };
    let all = guard.get_or_insert_default();
    if let Some(built) = all.get(options)
        && built.fingerprints == fingerprints
        && built.key_log == key_log
    {
        return Ok(Arc::clone(&built.config));
    }
    let config = build(options, None)?;
    if all.len() >= MOST {
        all.clear();
    }
    all.insert(options.clone(), BuiltConfig { fingerprints, key_log, config: Arc::clone(&config) });
    Ok(config)
}

fn build(options: &TlsOptions, identity: Option<&Identity>) -> std::result::Result<Arc<ClientConfig>, ConfigError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let versions: &[_] = if options.needs_tls13 { &[&TLS13] } else { &[&TLS13, &TLS12] };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(|error| ConfigError::of_no_file(error.to_string()))?;
    let builder = match &options.trust {
        Trust::Anything => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(insecure::AcceptAnything(provider)))
        }
        Trust::Roots(sources) => {
            let verifier = Verifier {
                store: trust::load(sources)?,
                rules: options.rules,
                algorithms: provider.signature_verification_algorithms,
            };
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
        }
    };
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => with_identity(builder, identity)?,
    };
    if std::env::var_os(KEY_LOG).is_some() {
        config.key_log = Arc::new(KeyLogFile::new());
    }
    Ok(Arc::new(config))
}

fn with_identity(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    identity: &Identity,
) -> std::result::Result<ClientConfig, ConfigError> {
    let chain: Vec<_> = CertificateDer::pem_file_iter(&identity.chain)
        .and_then(Iterator::collect)
        .map_err(|error| trust::unreadable("client certificate", &identity.chain, error))?;
    let key = PrivateKeyDer::from_pem_file(&identity.key)
        .map_err(|error| trust::unreadable("unencrypted private key", &identity.key, error))?;
    builder.with_client_auth_cert(chain, key).map_err(|error| ConfigError {
        message: format!(
            "the client certificate {} and the key {} cannot be used: {}",
            identity.chain.display(),
            identity.key.display(),
            match error {
                rustls::Error::InconsistentKeys(_) => {
                    "[KEY_VALUES_MISMATCH] key values mismatch: the key is not that of the first certificate in the chain"
                }
                rustls::Error::InvalidCertificate(_) => "the certificate is malformed",
                _ => "the key is of a kind that is not supported, or malformed",
            }
        ),
        path: identity.chain.clone(),
        source: None,
    })
}
