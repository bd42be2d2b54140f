//! The implementations of TLS that a pool or a proxy can have.

use super::config::TlsConfig;
use super::early_data::EarlyData;
use super::failure::caused_by;
use super::identity::Identity;
use super::python_ssl::{PythonTls, SslStream};
use crate::error::{Error, Kind, OsError, Result};
use crate::io::stream::Stream;
use crate::operation::Opaque;

/// The TLS implementation of a pool or a proxy, for sockets. TLS on an external stream is its backend's.
pub enum Tls {
    Rustls(TlsConfig),
    #[cfg(feature = "native-tls")]
    Native(super::native::NativeTls),
    /// Python's `ssl`, with the user's `ssl.SSLContext`.
    Python(PythonTls),
}

impl Tls {
    /// Returns what chooses a client certificate for a host, if anything does.
    pub fn chooser(&self) -> Option<&Opaque> {
        match self {
            Self::Rustls(config) => config.chooser(),
            #[cfg(feature = "native-tls")]
            Self::Native(_) => None,
            Self::Python(_) => None,
        }
    }

    /// Returns whether requests may be sent before the handshake is complete.
    pub fn sends_early_data(&self) -> bool {
        matches!(self, Self::Rustls(config) if config.sends_early_data())
    }

    /// Returns why the configuration does not fit the protocols that are spoken, if it does not.
    pub fn misfit(&self, http1: bool, http2: bool) -> Option<&'static str> {
        if http2 && self.sends_early_data() {
            return Some("early_data of the TLSConfig is sent over HTTP/1.1 only, and http2=True");
        }
        let own = match self {
            Self::Rustls(config) => config.protocols()?,
            #[cfg(feature = "native-tls")]
            Self::Native(config) => config.protocols()?,
            Self::Python(_) => return None,
        };
        let has_http2 = own.iter().any(|protocol| protocol == b"h2");
        let has_http1 = own.iter().any(|protocol| protocol.starts_with(b"http/1."));
        match (has_http1, has_http2) {
            (_, true) if !http2 => {
                Some("alpn of the TLSConfig has 'h2', and HTTP/2 is not spoken (http2=False, or a proxy)")
            }
            (true, _) if !http1 => Some("alpn of the TLSConfig has 'http/1.1', and http1=False"),
            (_, false) if http2 => Some("alpn of the TLSConfig lacks 'h2', and http2=True"),
            _ => None,
        }
    }

    /// Performs the handshake with a server of this name. `chosen` is the client certificate for it, if the configuration has a function
    /// that chooses. `early` is sent before the handshake is complete, where that is allowed. Dropping the future closes the stream.
    pub async fn handshake(
        &self,
        stream: Stream,
        name: &str,
        protocols: &'static [&'static [u8]],
        chosen: Option<Opaque>,
        early: Option<EarlyData<'_>>,
    ) -> Result<Stream> {
        match self {
            Self::Rustls(config) => {
                let chosen = chosen.as_ref().and_then(|chosen| chosen.downcast_ref::<Identity>());
                let secured = config.handshake(stream, name, protocols, chosen, early).await?;
                Ok(Stream::Tls(Box::new(secured)))
            }
            #[cfg(feature = "native-tls")]
            Self::Native(config) => Ok(Stream::Tls(Box::new(config.handshake(stream, name, protocols).await?))),
            Self::Python(engine) => {
                let mut stream = Box::new(SslStream::new(stream, engine.session(name, protocols)));
                stream.handshake().await.map_err(|error| {
                    let message = format!("the TLS handshake with {name} failed: {}", OsError(&error));
                    caused_by(Error::new(Kind::ConnectError, message), error)
                })?;
                check_protocol(name, stream.protocol().as_deref(), protocols)?;
                Ok(Stream::Tls(stream))
            }
        }
    }
}

/// Checks that the pool speaks the protocol that ALPN has chosen. An `ssl.SSLContext` may offer others.
fn check_protocol(name: &str, chosen: Option<&[u8]>, protocols: &[&[u8]]) -> Result<()> {
    let chosen = match chosen {
        None | Some(b"h2") => return Ok(()),
        Some(chosen) if protocols.contains(&chosen) => return Ok(()),
        Some(chosen) => chosen.escape_ascii(),
    };
    let spoken: Vec<_> = protocols.iter().map(|protocol| protocol.escape_ascii().to_string()).collect();
    let message = format!(
        "the TLS handshake with {name} has chosen the protocol {chosen} (ALPN), which the ssl.SSLContext offers and the pool \
         does not speak: it speaks {}",
        spoken.join(" and ")
    );
    Err(Error::new(Kind::ConnectError, message))
}
