//! The options of a configuration, without a client certificate.

use std::path::PathBuf;

use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion};

use super::chain::Rules;
use super::identity::PemSource;
use super::pins::Pin;
use super::session::cipher;
use super::trust::Trust;

/// The options by which pools share configurations.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TlsOptions {
    pub trust: Trust,
    pub rules: Rules,
    pub versions: Versions,
    /// The cipher suites that are offered, by their numbers in TLS. `None`: those of rustls.
    pub ciphers: Option<Vec<u16>>,
    /// The groups for key exchanges, the preferred one first, by their numbers in TLS. `None`: those of rustls.
    pub groups: Option<Vec<u16>>,
    /// Certificates are verified, but not for the name of the server.
    pub accepts_other_names: bool,
    /// A key of the chain has to be one of these.
    pub pins: Vec<Pin>,
    pub revocation_lists: Vec<PemSource>,
    pub key_log: KeyLogging,
    /// The number of servers whose sessions are kept for resumption.
    pub session_cache_size: usize,
    /// A stream that ends without `close_notify` is an error.
    pub needs_close_notify: bool,
}

/// The versions of TLS that are offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Versions {
    #[default]
    Both,
    Tls12,
    Tls13,
}

/// The file for the secrets of connections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum KeyLogging {
    /// The one that `SSLKEYLOGFILE` names, if it is set.
    #[default]
    Environment,
    Off,
    File(PathBuf),
}

/// Servers whose sessions rustls keeps by default.
pub const SESSION_CACHE_SIZE: usize = 256;

impl TlsOptions {
    pub fn new(trust: Trust, rules: Rules) -> Self {
        Self {
            trust,
            rules,
            versions: Versions::Both,
            ciphers: None,
            groups: None,
            accepts_other_names: false,
            pins: Vec::new(),
            revocation_lists: Vec::new(),
            key_log: KeyLogging::Environment,
            session_cache_size: SESSION_CACHE_SIZE,
            needs_close_notify: false,
        }
    }

    /// Returns whether the configuration can be built on its first use: the user has named nothing that could be wrong.
    pub fn is_lazy(&self) -> bool {
        self.trust.is_lazy() && self.revocation_lists.is_empty() && !matches!(self.key_log, KeyLogging::File(_))
    }

    /// Returns whether the server has to have the name that was asked for.
    pub fn verifies_names(&self) -> bool {
        self.trust != Trust::Anything && !self.accepts_other_names
    }

    /// Returns whether a cipher suite is of a version that is offered.
    pub fn fits(&self) -> bool {
        let versions = self.versions.list();
        self.provider().cipher_suites.iter().any(|suite| versions.contains(&suite.version()))
    }

    /// Returns whether TLS 1.3 is offered.
    pub fn has_tls13(&self) -> bool {
        use rustls::version::TLS13;

        self.versions.list().contains(&&TLS13)
            && self.provider().cipher_suites.iter().any(|suite| suite.version() == &TLS13)
    }

    /// Returns the cryptography with the suites and groups of these options.
    pub fn provider(&self) -> CryptoProvider {
        let mut provider = aws_lc_rs::default_provider();
        if let Some(ciphers) = &self.ciphers {
            provider.cipher_suites.retain(|suite| ciphers.contains(&u16::from(suite.suite())));
        }
        if let Some(groups) = &self.groups {
            provider.kx_groups = groups.iter().filter_map(|number| group_numbered(*number)).collect();
        }
        provider
    }
}

impl Versions {
    pub fn list(self) -> &'static [&'static SupportedProtocolVersion] {
        use rustls::version::{TLS12, TLS13};

        static BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];

        match self {
            Self::Both => &BOTH,
            Self::Tls12 => &BOTH[1..],
            Self::Tls13 => &BOTH[..1],
        }
    }
}

fn group_numbered(number: u16) -> Option<&'static dyn SupportedKxGroup> {
    aws_lc_rs::ALL_KX_GROUPS.iter().copied().find(|group| u16::from(group.name()) == number)
}

/// Returns the number of a cipher suite by OpenSSL's name for it, or by IANA's.
pub fn cipher_named(name: &str) -> Option<u16> {
    let is_named = |suite: &&SupportedCipherSuite| {
        let suite = suite.suite();
        let iana = suite.as_str().unwrap_or_default();
        let iana = iana.strip_prefix("TLS13_").map_or_else(|| iana.to_owned(), |rest| format!("TLS_{rest}"));
        name == iana || cipher(suite).is_some_and(|cipher| cipher.name == name)
    };
    aws_lc_rs::DEFAULT_CIPHER_SUITES.iter().find(is_named).map(|suite| suite.suite().into())
}

/// Returns the names of all cipher suites, as OpenSSL writes them.
pub fn cipher_names() -> Vec<&'static str> {
    aws_lc_rs::DEFAULT_CIPHER_SUITES
        .iter()
        .filter_map(|suite| cipher(suite.suite()))
        .map(|cipher| cipher.name)
        .collect()
}

/// The names of groups: OpenSSL's, and others that are in use.
const GROUPS: &[(u16, &[&str])] = &[
    (0x11ec, &["X25519MLKEM768"]),
    (0x11eb, &["SecP256r1MLKEM768"]),
    (0x0201, &["MLKEM768"]),
    (0x0202, &["MLKEM1024"]),
    (0x001d, &["X25519"]),
    (0x0017, &["secp256r1", "P-256", "prime256v1"]),
    (0x0018, &["secp384r1", "P-384"]),
    (0x0019, &["secp521r1", "P-521"]),
];

/// Returns the number of a group by its name, in capitals or not.
pub fn group_named(name: &str) -> Option<u16> {
    let named = GROUPS.iter().find(|(_, names)| names.iter().any(|known| known.eq_ignore_ascii_case(name)));
    named.map(|(number, _)| *number).filter(|number| group_numbered(*number).is_some())
}

/// Returns the names of all groups.
pub fn group_names() -> Vec<&'static str> {
    let known = GROUPS.iter().filter(|(number, _)| group_numbered(*number).is_some());
    known.filter_map(|(_, names)| names.first().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_suites_and_groups_have_names() {
        let names = cipher_names();
        assert_eq!(names.len(), aws_lc_rs::DEFAULT_CIPHER_SUITES.len());
        assert!(names.iter().all(|name| cipher_named(name).is_some()));
        assert_eq!(cipher_named("TLS_AES_128_GCM_SHA256"), Some(0x1301));
        assert_eq!(cipher_named("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"), cipher_named("ECDHE-RSA-AES128-GCM-SHA256"));
        assert_eq!(cipher_named("RC4-MD5"), None);
        for group in aws_lc_rs::ALL_KX_GROUPS {
            let number = u16::from(group.name());
            assert!(GROUPS.iter().any(|(known, _)| *known == number), "{:?}", group.name());
        }
        assert!(group_names().iter().all(|name| group_named(name).is_some()));
        assert_eq!(group_named("p-256"), group_named("secp256r1"));
        assert_eq!(group_named("sect163k1"), None);
    }
}
