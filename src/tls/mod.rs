//! TLS: sessions as layers on a stream, and which certificates are trusted.
//!
//! [`Tls`] is what a pool does TLS with: rustls ([`TlsConfig`]), or Python's `ssl` ([`python_ssl`]).

mod base64;
mod build;
mod bundle;
mod certificate;
mod chain;
mod checks;
mod config;
mod der;
mod early_data;
mod encrypted_key;
mod engine;
mod explained;
mod failure;
mod identity;
mod insecure;
mod key_log;
mod name_hash;
#[cfg(feature = "native-tls")]
mod native;
mod options;
mod pins;
pub mod python_ssl;
mod refusal;
mod revocation;
mod rustls_stream;
#[cfg(test)]
mod seed_tests;
mod session;
#[cfg(test)]
mod tests;
mod trust;
mod verifier;

pub use self::chain::Rules;
pub use self::config::{ConfigError, OwnOptions, TlsConfig};
pub use self::early_data::EarlyData;
pub use self::engine::Tls;
pub use self::failure::failed;
pub use self::identity::{Identity, Password, PemSource};
#[cfg(feature = "native-tls")]
pub use self::native::NativeTls;
pub use self::options::{
    KeyLogging, SESSION_CACHE_SIZE, TlsOptions, Versions, cipher_named, cipher_names, group_named, group_names,
};
pub use self::pins::Pin;
pub use self::session::{RustlsSession, SessionFacts, marked_as_authority};
pub use self::trust::{Trust, TrustSource};
