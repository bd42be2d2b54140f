//! TLS: sessions as layers on a stream, and which certificates are trusted.
//!
//! [`Tls`] is what a pool does TLS with: rustls ([`TlsConfig`]), or Python's `ssl` ([`python_ssl`]).

mod bundle;
mod certificate;
mod chain;
mod checks;
mod config;
mod der;
mod engine;
mod explained;
mod failure;
mod insecure;
mod name_hash;
pub mod python_ssl;
mod refusal;
mod rustls_stream;
#[cfg(test)]
mod seed_tests;
mod session;
#[cfg(test)]
mod tests;
mod trust;
mod verifier;

pub use self::chain::Rules;
pub use self::config::{ConfigError, Identity, TlsConfig, TlsOptions};
pub use self::engine::Tls;
pub use self::failure::failed;
pub use self::session::{RustlsSession, SessionFacts, marked_as_authority};
pub use self::trust::{Trust, TrustSource};
