//! From an origin to a stream: name, address, socket, TLS, and trying again.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::happy_eyeballs::{self, SocketConfig};
pub use super::happy_eyeballs::{OptionValue, SocketOption};
use crate::ask::Asker;
use crate::error::{Error, Kind, OsError, Result};
use crate::io::park;
use crate::io::reactor::Reactor;
use crate::io::socket::Socket;
use crate::io::stream::Stream;
use crate::origin::Origin;
use crate::timeout::Seconds;
use crate::tls::TlsConfig;

/// httpcore's backoff between attempts: 0, 0.5, 1, 2, 4, ... seconds.
const BACKOFF_FACTOR: Duration = Duration::from_millis(500);

/// How a pool makes its connections.
#[derive(Debug)]
pub struct Connector {
    pub retries: usize,
    pub local_address: Option<IpAddr>,
    /// A Unix domain socket to connect to, whatever the origin.
    pub uds: Option<String>,
    pub socket_options: Vec<SocketOption>,
    pub tls: TlsConfig,
}

/// What one attempt needs besides.
pub struct Attempt<'a> {
    pub origin: &'a Origin,
    /// The name for SNI and verification, if not the host.
    pub server_name: Option<&'a str>,
    /// Covers name resolution, TCP and TLS of one attempt.
    pub timeout: Option<Duration>,
    pub reactor: Option<&'a Arc<Reactor>>,
    pub asker: &'a Asker,
}

impl Connector {
    /// Connects, and again after a failure as often as `retries` says.
    pub async fn connect(&self, attempt: &Attempt<'_>) -> Result<Stream> {
        let mut retries_left = self.retries;
        let mut delays = backoff();
        loop {
            match self.connect_once(attempt).await {
                Err(error) if error.is_failed_connect() && retries_left > 0 => {
                    retries_left -= 1;
                    if let Some(delay) = delays.next().filter(|delay| !delay.is_zero()) {
                        park::sleep_until(Instant::now() + delay).await;
                    }
                }
                result => return result,
            }
        }
    }

    async fn connect_once(&self, attempt: &Attempt<'_>) -> Result<Stream> {
        let deadline = attempt.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut phase = "connecting";
        let connecting = async {
            let socket = self.socket(attempt, &mut phase).await?;
            if !attempt.origin.scheme.is_tls() {
                return Ok(Stream::Plain(socket));
            }
            phase = "the TLS handshake";
            let name = attempt.server_name.unwrap_or(&attempt.origin.host);
            let stream = self.tls.handshake(socket, name).await?;
            Ok(Stream::Tls(Box::new(stream)))
        };
        if let Ok(result) = park::timeout_at(deadline, connecting).await {
            return result;
        }
        let limit = Seconds(attempt.timeout.unwrap_or_default());
        let message = format!("{phase} to {} took longer than {limit} (connect timeout)", attempt.origin);
        Err(Error::new(Kind::ConnectTimeout, message))
    }

    async fn socket(&self, attempt: &Attempt<'_>, phase: &mut &str) -> Result<Socket> {
        let config = SocketConfig { local_address: self.local_address, options: self.socket_options.clone() };
        if let Some(path) = &self.uds {
            return happy_eyeballs::connect_unix(path, &config, attempt.reactor)
                .await
                .map_err(|error| failed(path, error));
        }
        let addresses = addresses(attempt, phase).await?;
        happy_eyeballs::connect(addresses, &config, attempt.reactor)
            .await
            .map_err(|error| failed(attempt.origin, error))
    }
}

async fn addresses(attempt: &Attempt<'_>, phase: &mut &str) -> Result<Vec<SocketAddr>> {
    let origin = attempt.origin;
    let Ok(port) = u16::try_from(origin.port) else {
        let message = format!("connecting to {origin} failed: {} is not a port (0-65535)", origin.port);
        return Err(Error::new(Kind::ConnectError, message));
    };
    if let Ok(address) = origin.host.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    *phase = "resolving the name and connecting";
    attempt.asker.resolve(&origin.host, port).await
}

fn failed(peer: impl std::fmt::Display, error: io::Error) -> Error {
    Error::new(Kind::ConnectError, format!("connecting to {peer} failed: {}", OsError(&error))).with_source(error)
}

fn backoff() -> impl Iterator<Item = Duration> {
    std::iter::once(Duration::ZERO)
        .chain(std::iter::successors(Some(BACKOFF_FACTOR), |delay| Some(delay.saturating_mul(2))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backs_off_as_httpcore_does() {
        let delays: Vec<_> = backoff().take(5).map(|delay| delay.as_secs_f32()).collect();
        assert_eq!(delays, [0.0, 0.5, 1.0, 2.0, 4.0]);
    }
}
