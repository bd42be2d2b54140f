//! From an origin to a stream: name, address, socket, TLS, and trying again.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::happy_eyeballs::{self, SocketConfig};
pub use super::happy_eyeballs::{OptionValue, SocketOption};
use super::http2::KeepAlive;
use crate::ask::{Asker, Backend};
use crate::error::{Error, Kind, OsError, Result};
use crate::io::carrier::Carried;
use crate::io::park;
use crate::io::reactor::Reactor;
use crate::io::socket::Socket;
use crate::io::stream::Stream;
use crate::lock::lock;
use crate::origin::Origin;
use crate::timeout::Seconds;
use crate::tls::TlsConfig;
use crate::trace::{Endpoints, Event, Outcome};

/// httpcore's backoff between attempts: 0, 0.5, 1, 2, 4, ... seconds.
const BACKOFF_FACTOR: Duration = Duration::from_millis(500);

/// How a pool makes its connections.
pub struct Connector {
    pub retries: usize,
    pub local_address: Option<IpAddr>,
    /// A Unix domain socket to connect to, whatever the origin.
    pub uds: Option<String>,
    pub socket_options: Vec<SocketOption>,
    pub tls: TlsConfig,
    /// The caller's own way to make streams, if he has one.
    pub backend: Mutex<Option<Backend>>,
    /// Which protocols are spoken; at least one of them.
    pub http1: bool,
    pub http2: bool,
    /// For connections that speak HTTP/2.
    pub keep_alive: Option<KeepAlive>,
    /// The way to make those with TLS, where it is not ours to do.
    pub tls_backend: Option<Backend>,
}

/// What one attempt needs besides.
pub struct Attempt<'a> {
    pub origin: &'a Origin,
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
                    let delay = delays.next().unwrap_or_default();
                    let sleeping = async {
                        match self.backend() {
                            Some(backend) => attempt.asker.sleep(backend, delay).await?,
                            None if delay.is_zero() => {}
                            None => park::sleep_until(Instant::now() + delay).await,
                        }
                        Ok(())
                    };
                    attempt.asker.span(|| Event::Retry, |()| Outcome::Nothing, sleeping).await?;
                }
                result => return result,
            }
        }
    }

    async fn connect_once(&self, attempt: &Attempt<'_>) -> Result<Stream> {
        if let Some(backend) = self.backend() {
            // Boxed: not the usual way.
            return Box::pin(self.connect_through(backend, attempt)).await;
        }
        if let Some(backend) = self.tls_backend.clone().filter(|_| attempt.origin.scheme.is_tls()) {
            port(attempt.origin)?;
            return Box::pin(self.connect_through(backend, attempt)).await;
        }
        let Attempt { origin, asker, timeout, .. } = *attempt;
        let deadline = park::deadline_in(timeout);
        let connecting = in_time(attempt, deadline, "connecting", self.socket(attempt));
        let socket = asker.span(|| self.connect_event(attempt), connected, connecting).await?;
        if !origin.scheme.is_tls() {
            return Ok(Stream::Plain(socket));
        }
        let name = server_name(origin);
        let event = || Event::StartTls { server_hostname: name.to_owned(), timeout, by_backend: false };
        // Boxed: a TLS session is large.
        let handshake = Box::pin(self.tls.handshake(socket, name, self.protocols()));
        let handshake = in_time(attempt, deadline, "the TLS handshake", handshake);
        let stream = asker.span(event, |stream| connected(stream.get_ref().0), handshake).await?;
        Ok(Stream::Tls(Box::new(stream)))
    }

    /// Connects by the caller's backend, TLS included. Timeouts are its streams' own.
    async fn connect_through(&self, backend: Backend, attempt: &Attempt<'_>) -> Result<Stream> {
        let Attempt { origin, asker, timeout, .. } = *attempt;
        let event = self.connect_event(attempt);
        let connecting = asker.connect(Arc::clone(&backend), None, event.clone());
        let stream = asker.span(|| event, |stream| Outcome::Carrier(stream.clone()), connecting).await?;
        let mut stream = Carried::new(stream);
        if origin.scheme.is_tls() {
            let server_hostname = server_name(origin).to_owned();
            let event = Event::StartTls { server_hostname, timeout, by_backend: true };
            let handshake = asker.connect(backend, Some(stream.handle().clone()), event.clone());
            let secured = asker.span(|| event, |stream| Outcome::Carrier(stream.clone()), handshake).await?;
            stream.release();
            stream = Carried::new(secured);
        }
        Ok(Stream::Carried(Box::new(stream)))
    }

    /// What TLS offers (ALPN), the preferred one first.
    fn protocols(&self) -> &'static [&'static [u8]] {
        match (self.http1, self.http2) {
            (_, false) => &[b"http/1.1"],
            (true, true) => &[b"h2", b"http/1.1"],
            (false, true) => &[b"h2"],
        }
    }

    /// Whether a connection to the origin may turn out to speak HTTP/2.
    pub fn may_multiplex(&self, origin: &Origin) -> bool {
        self.http2 && (origin.scheme.is_tls() || !self.http1)
    }

    /// Whether it is HTTP/2 that is spoken on a stream: TLS has chosen it, or there is nothing else.
    pub fn speaks_http2(&self, stream: &Stream) -> bool {
        stream.has_chosen_http2() || (self.http2 && !self.http1)
    }

    fn connect_event(&self, attempt: &Attempt<'_>) -> Event {
        let Attempt { origin, timeout, .. } = *attempt;
        if let Some(path) = &self.uds {
            return Event::ConnectUnixSocket { path: path.clone(), timeout };
        }
        let host = origin.host.clone();
        Event::ConnectTcp { host, port: origin.port, local_address: self.local_address, timeout }
    }

    fn backend(&self) -> Option<Backend> {
        lock(&self.backend).clone()
    }

    async fn socket(&self, attempt: &Attempt<'_>) -> Result<Socket> {
        let config = SocketConfig { local_address: self.local_address, options: self.socket_options.clone() };
        if let Some(path) = &self.uds {
            return happy_eyeballs::connect_unix(path, &config, attempt.reactor)
                .await
                .map_err(|error| failed(path, error));
        }
        let addresses = addresses(attempt).await?;
        happy_eyeballs::connect(addresses, &config, attempt.reactor)
            .await
            .map_err(|error| failed(attempt.origin, error))
    }
}

/// The name that the server is verified for.
fn server_name(origin: &Origin) -> &str {
    origin.server_name.as_deref().unwrap_or(&origin.host)
}

fn connected(socket: &Socket) -> Outcome {
    Outcome::Stream(Box::new(Endpoints::of(socket.socket())))
}

/// One part of an attempt; the deadline is that of the whole.
async fn in_time<T>(
    attempt: &Attempt<'_>,
    deadline: Option<Instant>,
    phase: &str,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    if let Ok(result) = park::timeout_at(deadline, work).await {
        return result;
    }
    let limit = Seconds(attempt.timeout.unwrap_or_default());
    let message = format!("{phase} to {} took longer than {limit} (connect timeout)", attempt.origin);
    Err(Error::new(Kind::ConnectTimeout, message))
}

async fn addresses(attempt: &Attempt<'_>) -> Result<Vec<SocketAddr>> {
    let origin = attempt.origin;
    let port = port(origin)?;
    if let Ok(address) = origin.host.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    attempt.asker.resolve(&origin.host, port).await
}

fn port(origin: &Origin) -> Result<u16> {
    u16::try_from(origin.port).map_err(|_| {
        let message = format!("connecting to {origin} failed: {} is not a port (0-65535)", origin.port);
        Error::new(Kind::ConnectError, message)
    })
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
