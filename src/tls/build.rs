//! Builds configurations of rustls. Those without a client certificate are shared by all pools of the process with equal options.

use std::collections::HashMap;
use std::ffi::OsString;
use std::sync::{Arc, Mutex};

use rustls::client::Resumption;
use rustls::{ClientConfig, KeyLogFile};

use super::config::ConfigError;
use super::identity::Identity;
use super::insecure::AcceptAnything;
use super::key_log::KeyLogWriter;
use super::options::{KeyLogging, TlsOptions};
use super::revocation::RevocationLists;
use super::trust::{self, FileFingerprint, Trust};
use super::verifier::Verifier;

/// The environment variable that names the file for the secrets of connections.
const KEY_LOG: &str = "SSLKEYLOGFILE";

/// Returns the configuration for these options.
pub fn config(options: &TlsOptions, identity: Option<&Identity>) -> Result<Arc<ClientConfig>, ConfigError> {
    match identity {
        None => shared(options),
        Some(identity) => {
            let mut config = build(options)?;
            config.client_auth_cert_resolver = Arc::new(identity.load()?);
            Ok(Arc::new(config))
        }
    }
}

/// A configuration, and the state of the files and of the environment when it was built.
struct BuiltConfig {
    fingerprints: Vec<Option<FileFingerprint>>,
    key_log: Option<OsString>,
    config: Arc<ClientConfig>,
}

/// Returns the process's configuration for these options. One whose files have changed is built anew.
fn shared(options: &TlsOptions) -> Result<Arc<ClientConfig>, ConfigError> {
    static SHARED: Mutex<Option<HashMap<TlsOptions, BuiltConfig>>> = Mutex::new(None);
    // Bounds the memory of a process that names ever new files.
    const MOST: usize = 32;

    let Some(trusted) = options.trust.fingerprints() else { return build(options).map(Arc::new) };
    let lists = options.revocation_lists.iter().map(super::identity::PemSource::fingerprint);
    let fingerprints: Vec<_> = trusted.into_iter().map(Some).chain(lists).collect();
    let key_log = std::env::var_os(KEY_LOG);
    // Held by another thread, perhaps by one of the parent at a fork: then this thread builds its own.
    let Ok(mut guard) = SHARED.try_lock() else { return build(options).map(Arc::new) };
    let all = guard.get_or_insert_default();
    if let Some(built) = all.get(options)
        && built.fingerprints == fingerprints
        && built.key_log == key_log
    {
        return Ok(Arc::clone(&built.config));
    }
    let config = Arc::new(build(options)?);
    if all.len() >= MOST {
        all.clear();
    }
    all.insert(options.clone(), BuiltConfig { fingerprints, key_log, config: Arc::clone(&config) });
    Ok(config)
}

fn build(options: &TlsOptions) -> Result<ClientConfig, ConfigError> {
    let provider = Arc::new(options.provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(options.versions.list())
        .map_err(|_| {
            ConfigError::of_no_file("the versions, ciphers and groups that were named do not fit together".to_owned())
        })?;
    let pins = options.pins.clone();
    let builder = match &options.trust {
        Trust::Anything => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(AcceptAnything { provider, pins }))
        }
        Trust::Roots(sources) => {
            let verifier = Verifier {
                store: trust::load(sources)?,
                rules: options.rules,
                algorithms: provider.signature_verification_algorithms,
                accepts_other_names: options.accepts_other_names,
                pins,
                revocation_lists: RevocationLists::load(&options.revocation_lists)?,
            };
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
        }
    };
    let mut config = builder.with_no_client_auth();
    match &options.key_log {
        KeyLogging::Environment if std::env::var_os(KEY_LOG).is_some() => config.key_log = Arc::new(KeyLogFile::new()),
        KeyLogging::Environment | KeyLogging::Off => {}
        KeyLogging::File(path) => config.key_log = Arc::new(KeyLogWriter::open(path)?),
    }
    config.resumption = match options.session_cache_size {
        0 => Resumption::disabled(),
        size => Resumption::in_memory_sessions(size),
    };
    Ok(config)
}

/// The configurations with client certificates that were chosen by host. A session is only resumed with the certificate that it began with,
/// so equal certificates have to be the same object.
#[derive(Default)]
pub struct ChosenConfigs(Vec<ChosenConfig>);

struct ChosenConfig {
    identity: Identity,
    files: Vec<Option<FileFingerprint>>,
    base: Arc<ClientConfig>,
    config: Arc<ClientConfig>,
}

/// Returns `base` with a client certificate.
pub fn chosen(
    configs: &Mutex<ChosenConfigs>,
    base: &Arc<ClientConfig>,
    identity: &Identity,
) -> Result<Arc<ClientConfig>, ConfigError> {
    // More certificates than a program uses at a time.
    const MOST: usize = 32;

    let files = identity.fingerprints();
    let is_same =
        |known: &ChosenConfig| known.identity == *identity && known.files == files && Arc::ptr_eq(&known.base, base);
    if let Ok(known) = configs.try_lock()
        && let Some(known) = known.0.iter().find(|known| is_same(known))
    {
        return Ok(Arc::clone(&known.config));
    }
    let mut config = (**base).clone();
    config.client_auth_cert_resolver = Arc::new(identity.load()?);
    let config = Arc::new(config);
    if let Ok(mut known) = configs.try_lock() {
        known.0.retain(|known| known.identity != *identity);
        if known.0.len() >= MOST {
            known.0.remove(0);
        }
        let base = Arc::clone(base);
        known.0.push(ChosenConfig { identity: identity.clone(), files, base, config: Arc::clone(&config) });
    }
    Ok(config)
}
