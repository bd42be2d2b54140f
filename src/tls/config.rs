//! TLS by rustls: its configuration and the handshake.
//!
//! The configuration for the usual case (certifi's roots, no client certificate) is built by the first handshake that needs it. One
//! with files that the user names is built at once, so that a wrong path fails there. It is built again when a file has changed: handshakes
//! look at the files, and not more often than the configuration says. If what the files hold then cannot be used, what was read before
//! stays in use.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;

use super::build;
use super::early_data::EarlyData;
use super::explained::in_words;
use super::identity::Identity;
use super::options::TlsOptions;
use super::rustls_stream::RustlsStream;
use super::session::RustlsSession;
use super::trust::{FileFingerprint, Trust};
use crate::error::{Error, Kind, Result};
use crate::io::stream::Stream;
use crate::operation::Opaque;

/// Makes TLS connections. Shared by all connections of a pool, and by pools with the same options.
#[derive(Clone)]
pub struct TlsConfig {
    shared: Arc<SharedConfig>,
}

/// The options that pools do not share.
#[derive(Clone, Debug, Default)]
pub struct OwnOptions {
    pub identity: Option<Identity>,
    /// Chooses a client certificate for a host. What it is belongs to the layer that calls it.
    pub chooser: Option<Opaque>,
    /// The protocols that are offered (ALPN), in place of those of the pool.
    pub protocols: Option<Vec<Vec<u8>>>,
    /// The least time between two looks at the files. `None`: they are read once.
    pub reload: Option<Duration>,
    /// Requests may be sent before the handshake is complete.
    pub early_data: bool,
}

struct SharedConfig {
    options: TlsOptions,
    own: OwnOptions,
    current: ArcSwapOption<Current>,
    /// Configurations with the certificates that were chosen for hosts.
    chosen: Mutex<build::ChosenConfigs>,
}

/// The configuration in use, and the state of its files at the last look.
struct Current {
    config: Arc<ClientConfig>,
    files: Vec<Option<FileFingerprint>>,
    looked: Instant,
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
        Self::unbuilt(options, OwnOptions::default())
    }

    /// A configuration whose files are read now if the user has named any, otherwise on its first use.
    pub fn new(options: TlsOptions, own: OwnOptions) -> std::result::Result<Self, ConfigError> {
        if options.is_lazy() && own.identity.is_none() {
            Ok(Self::unbuilt(options, own))
        } else {
            Self::load(options, own)
        }
    }

    /// A configuration whose files are read now.
    pub fn load(options: TlsOptions, own: OwnOptions) -> std::result::Result<Self, ConfigError> {
        let config = Self::unbuilt(options, own);
        config.rustls()?;
        Ok(config)
    }

    fn unbuilt(options: TlsOptions, own: OwnOptions) -> Self {
        let shared = SharedConfig { options, own, current: ArcSwapOption::empty(), chosen: Mutex::default() };
        Self { shared: Arc::new(shared) }
    }

    /// Returns what chooses a client certificate for a host, if anything does.
    pub fn chooser(&self) -> Option<&Opaque> {
        self.shared.own.chooser.as_ref()
    }

    /// Returns the protocols that are offered in place of those of the pool.
    pub fn protocols(&self) -> Option<&[Vec<u8>]> {
        self.shared.own.protocols.as_deref()
    }

    /// Returns whether requests may be sent before the handshake is complete.
    pub fn sends_early_data(&self) -> bool {
        self.shared.own.early_data
    }

    /// Speaks TLS on a connected stream, offering `protocols` (ALPN). `chosen` is the client certificate for this host, in place of that
    /// of the configuration. `early` is sent with the first flight, if that is allowed and a ticket of the server permits it. Dropping
    /// the future closes the stream.
    pub async fn handshake(
        &self,
        stream: Stream,
        name: &str,
        protocols: &[&[u8]],
        chosen: Option<&Identity>,
        early: Option<EarlyData<'_>>,
    ) -> Result<RustlsStream> {
        let options = &self.shared.options;
        let failed = |message: String| Error::new(Kind::ConnectError, message);
        let mut config = self.rustls_for(chosen).map_err(|error| failed(error.message))?;
        let early = early.filter(|early| self.sends_early_data() && !early.is_tried());
        if early.is_some() {
            // The copy has the same sessions. Only with such a request the server is told to expect early data.
            Arc::make_mut(&mut config).enable_early_data = true;
        }
        let server_name = self.server_name(name).map_err(failed)?;
        let protocols = match self.protocols() {
            Some(own) => own.to_vec(),
            None => protocols.iter().map(|protocol| protocol.to_vec()).collect(),
        };
        let connector = TlsConnector::from(config);
        let mut sent_early = Ok(None);
        let connecting = connector.with_alpn(protocols).connect_with(server_name, stream, |session| {
            if let Some(early) = early {
                sent_early = early.write(session).map(|is_sent| is_sent.then(|| early.bytes.clone()));
            }
        });
        let connected = match sent_early {
            Ok(sent_early) => connecting.await.map(|connected| (connected, sent_early)),
            Err(error) => Err(error),
        };
        let session = RustlsSession::new(name, options.trust != Trust::Anything);
        let secured = connected.map(|(connected, sent_early)| {
            let accepted = sent_early.filter(|_| connected.get_ref().1.is_early_data_accepted());
            RustlsStream::new(connected, session, options.needs_close_notify).after_early_data(accepted)
        });
        secured.map_err(|error| {
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
        if name.ends_with('.') && self.shared.options.verifies_names() {
            return Err(format!(
                "the TLS handshake with {name} was not begun: [CERTIFICATE_VERIFY_FAILED] certificate verify failed: Hostname \
                 mismatch, certificate is not valid for '{name}': certificates hold names without a dot at the end; leave it out"
            ));
        }
        ServerName::try_from(name.trim_matches(['[', ']']).to_owned())
            .map_err(|_| format!("TLS needs a host name or an address, and {name:?} is neither"))
    }

    fn rustls_for(&self, chosen: Option<&Identity>) -> std::result::Result<Arc<ClientConfig>, ConfigError> {
        let config = self.rustls()?;
        match chosen {
            None => Ok(config),
            Some(identity) => build::chosen(&self.shared.chosen, &config, identity),
        }
    }

    fn rustls(&self) -> std::result::Result<Arc<ClientConfig>, ConfigError> {
        match self.shared.current.load_full() {
            None => {
                let current = Arc::new(self.build(Instant::now())?);
                let config = Arc::clone(&current.config);
                self.shared.current.store(Some(current));
                Ok(config)
            }
            Some(current) => Ok(self.reload(&current)),
        }
    }

    fn build(&self, looked: Instant) -> std::result::Result<Current, ConfigError> {
        let SharedConfig { options, own, .. } = &*self.shared;
        // Before they are read: a change meanwhile is noticed at the next look.
        let files = self.files();
        Ok(Current { config: build::config(options, own.identity.as_ref())?, files, looked })
    }

    /// Returns the configuration that `current` has, or a new one if files have changed.
    fn reload(&self, current: &Arc<Current>) -> Arc<ClientConfig> {
        let now = Instant::now();
        let is_due = |interval| now.saturating_duration_since(current.looked) >= interval;
        if current.files.is_empty() || !self.shared.own.reload.is_some_and(is_due) {
            return Arc::clone(&current.config);
        }
        let next = if self.files() == current.files { None } else { self.build(now).ok() };
        let next = next.unwrap_or_else(|| Current {
            config: Arc::clone(&current.config),
            // Unchanged, so that files which cannot be used now are read again at the next look.
            files: current.files.clone(),
            looked: now,
        });
        let config = Arc::clone(&next.config);
        self.shared.current.store(Some(Arc::new(next)));
        config
    }

    /// Returns the state of all files and folders that the configuration is made of.
    fn files(&self) -> Vec<Option<FileFingerprint>> {
        let SharedConfig { options, own, .. } = &*self.shared;
        let trusted = options.trust.paths().into_iter().map(FileFingerprint::of_any);
        let lists = options.revocation_lists.iter().map(super::identity::PemSource::fingerprint);
        let identity = own.identity.iter().flat_map(Identity::fingerprints);
        trusted.chain(lists).chain(identity).collect()
    }
}

impl fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConfig")
            .field("options", &self.shared.options)
            .field("own", &self.shared.own)
            .finish_non_exhaustive()
    }
}
