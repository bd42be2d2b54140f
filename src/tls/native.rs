//! TLS by the operating system's library (build feature `native-tls`): OpenSSL, or Schannel, or Secure Transport.
//!
//! It has the same interface as rustls, and fewer options: what the library does not offer is refused when a configuration is made.

use std::any::Any;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use native_tls::{Certificate, Identity as NativeIdentity, Protocol, TlsConnector};
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::base64;
use super::config::{ConfigError, OwnOptions};
use super::encrypted_key::decrypt;
use super::identity::{Identity, Password};
use super::options::{KeyLogging, TlsOptions, Versions};
use super::session::{RustlsSession, SessionFacts};
use super::trust::{self, Trust};
use crate::error::{Error, Kind, Result};
use crate::io::stream::{Stream, TlsLayer};
use crate::lock::lock;

/// Makes TLS connections with the library of the operating system. Its files are read once.
#[derive(Clone)]
pub struct NativeTls(Arc<NativeConfig>);

struct NativeConfig {
    options: TlsOptions,
    protocols: Option<Vec<Vec<u8>>>,
    authorities: Vec<Certificate>,
    identity: Option<NativeIdentity>,
    /// The connectors that were made, by the protocols that they offer: making one reads all authorities.
    connectors: Mutex<Vec<(Vec<String>, TlsConnector)>>,
}

impl NativeTls {
    /// Reads the files. Fails with the name of an option that the library does not have.
    pub fn load(options: TlsOptions, own: OwnOptions) -> std::result::Result<Self, ConfigError> {
        if let Some(refused) = unsupported(&options, &own) {
            return Err(ConfigError::of_no_file(format!("{refused}: engine=\"native-tls\" does not have this option")));
        }
        let authorities = match &options.trust {
            Trust::Anything => Vec::new(),
            Trust::Roots(sources) => {
                trust::load(sources)?.certificates().filter_map(|der| Certificate::from_der(der).ok()).collect()
            }
        };
        let identity = own.identity.as_ref().map(native_identity).transpose()?;
        Ok(Self(Arc::new(NativeConfig {
            options,
            protocols: own.protocols,
            authorities,
            identity,
            connectors: Mutex::default(),
        })))
    }

    /// Returns the protocols that are offered in place of those of the pool.
    pub fn protocols(&self) -> Option<&[Vec<u8>]> {
        self.0.protocols.as_deref()
    }

    /// Speaks TLS on a connected stream, offering `protocols` (ALPN). Dropping the future closes the stream.
    pub async fn handshake(&self, stream: Stream, name: &str, protocols: &[&[u8]]) -> Result<NativeStream> {
        let failed =
            |why: String| Error::new(Kind::ConnectError, format!("the TLS handshake with {name} failed: {why}"));
        let protocols = match self.protocols() {
            Some(own) => own.iter().map(|protocol| String::from_utf8_lossy(protocol).into_owned()).collect(),
            None => protocols.iter().map(|protocol| String::from_utf8_lossy(protocol).into_owned()).collect::<Vec<_>>(),
        };
        let connector = self.cached_connector(&protocols).map_err(|error| failed(in_words(&error.to_string())))?;
        let connector = tokio_native_tls::TlsConnector::from(connector);
        let bare = name.trim_matches(['[', ']']);
        let stream = connector.connect(bare, stream).await.map_err(|error| failed(in_words(&error.to_string())))?;
        let session = RustlsSession::new(name, self.0.options.trust != Trust::Anything);
        let chosen = stream.get_ref().negotiated_alpn().ok().flatten();
        Ok(NativeStream { stream, session: Arc::new(session), chosen })
    }

    fn cached_connector(&self, protocols: &[String]) -> native_tls::Result<TlsConnector> {
        let known =
            lock(&self.0.connectors).iter().find(|(known, _)| known == protocols).map(|(_, known)| known.clone());
        if let Some(connector) = known {
            return Ok(connector);
        }
        let connector = self.connector(protocols)?;
        lock(&self.0.connectors).push((protocols.to_vec(), connector.clone()));
        Ok(connector)
    }

    fn connector(&self, protocols: &[String]) -> native_tls::Result<TlsConnector> {
        let NativeConfig { options, authorities, identity, .. } = &*self.0;
        let mut builder = TlsConnector::builder();
        let verifies_nothing = options.trust == Trust::Anything;
        builder
            .disable_built_in_roots(true)
            .danger_accept_invalid_certs(verifies_nothing)
            .danger_accept_invalid_hostnames(!options.verifies_names())
            .min_protocol_version(Some(if options.versions == Versions::Tls13 {
                Protocol::Tlsv13
            } else {
                Protocol::Tlsv12
            }))
            .max_protocol_version((options.versions == Versions::Tls12).then_some(Protocol::Tlsv12));
        if !protocols.is_empty() {
            builder.request_alpns(&protocols.iter().map(String::as_str).collect::<Vec<_>>());
        }
        for authority in authorities {
            builder.add_root_certificate(authority.clone());
        }
        if let Some(identity) = identity {
            builder.identity(identity.clone());
        }
        builder.build()
    }
}

/// Returns the first option that only rustls has.
fn unsupported(options: &TlsOptions, own: &OwnOptions) -> Option<&'static str> {
    let refused = [
        (options.ciphers.is_some(), "ciphers"),
        (options.groups.is_some(), "groups"),
        (!options.pins.is_empty(), "pins"),
        (!options.revocation_lists.is_empty(), "crls"),
        (matches!(options.key_log, KeyLogging::File(_)), "keylog"),
        (options.needs_close_notify, "require_close_notify"),
        (own.early_data, "early_data"),
        (own.chooser.is_some(), "cert as a function"),
    ];
    refused.iter().find(|(is_used, _)| *is_used).map(|(_, name)| *name)
}

/// Returns the client certificate, with its key as the unencrypted PKCS#8 that the library takes.
fn native_identity(identity: &Identity) -> std::result::Result<NativeIdentity, ConfigError> {
    // Reads both, with the errors of rustls, and checks that they belong together.
    identity.load()?;
    let fault = |why: &str| ConfigError {
        message: format!("the client certificate {} cannot be used: {why}", identity.chain.path().display()),
        path: identity.chain.path().to_owned(),
        source: None,
    };
    let password = identity.password.as_ref().map_or(&b""[..], |Password(password)| password);
    let key = decrypt(&identity.key.read("private key")?, password).ok_or_else(|| fault("its key is malformed"))?;
    let key = PrivateKeyDer::from(key);
    let mut pem = "-----BEGIN PRIVATE KEY-----\n".to_owned();
    for line in base64::encode(key.secret_der()).as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem.push_str("-----END PRIVATE KEY-----\n");
    NativeIdentity::from_pkcs8(&identity.chain.read("client certificate")?, pem.as_bytes())
        .map_err(|error| fault(&error.to_string()))
}

/// Returns the text of an error with the names that programs search for.
fn in_words(text: &str) -> String {
    if !text.contains("certificate verify failed") {
        return text.to_owned();
    }
    // OpenSSL's text ends with the reason in parentheses.
    let reason = text.rsplit_once('(').map_or(text, |(_, reason)| reason.trim_end_matches(')'));
    let reason = if reason.eq_ignore_ascii_case("hostname mismatch") { "Hostname mismatch" } else { reason };
    format!("[CERTIFICATE_VERIFY_FAILED] certificate verify failed: {reason}")
}

/// TLS by the library on another stream. Dropping it closes that one, without `close_notify`.
pub struct NativeStream {
    stream: tokio_native_tls::TlsStream<Stream>,
    session: Arc<RustlsSession>,
    /// The protocol that ALPN has chosen.
    chosen: Option<Vec<u8>>,
}

impl TlsLayer for NativeStream {
    fn below(&self) -> &Stream {
        self.stream.get_ref().get_ref().get_ref()
    }

    fn below_mut(&mut self) -> &mut Stream {
        self.stream.get_mut().get_mut().get_mut()
    }

    fn has_chosen(&self, protocol: &[u8]) -> bool {
        self.chosen.as_deref() == Some(protocol)
    }

    fn session(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        Some(Arc::<RustlsSession>::clone(&self.session))
    }

    /// Notes what the library tells: not the version, the cipher suite, or whether the session was resumed.
    fn note_facts(&self) {
        let certificate = self.stream.get_ref().peer_certificate().ok().flatten();
        self.session.note(|| SessionFacts {
            version: None,
            cipher: None,
            protocol: self.chosen.clone(),
            certificates: certificate.and_then(|certificate| certificate.to_der().ok()).into_iter().collect(),
            is_resumed: false,
        });
    }
}

impl Drop for NativeStream {
    fn drop(&mut self) {
        if Arc::strong_count(&self.session) > 1 {
            self.note_facts();
        }
    }
}

impl AsyncRead for NativeStream {
    /// An end without `close_notify` is the end of the stream: the library does not tell them apart.
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for NativeStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
