//! The implementations of TLS that a pool or a proxy can have.

use super::config::TlsConfig;
use super::failure::caused_by;
use super::python_ssl::{PythonTls, SslStream};
use crate::error::{Error, Kind, OsError, Result};
use crate::io::stream::Stream;

/// The TLS implementation of a pool or a proxy, for sockets. TLS on an external stream is its backend's.
pub enum Tls {
    Rustls(TlsConfig),
    /// Python's `ssl`, with the user's `ssl.SSLContext`.
    Python(PythonTls),
}

impl Tls {
    /// Performs the handshake with a server of this name. Dropping the future closes the stream.
    pub async fn handshake(&self, stream: Stream, name: &str, protocols: &'static [&'static [u8]]) -> Result<Stream> {
        match self {
            Self::Rustls(config) => Ok(Stream::Tls(Box::new(config.handshake(stream, name, protocols).await?))),
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
