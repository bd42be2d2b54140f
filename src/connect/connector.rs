//! From an origin to a stream: name, address, socket, the way through a proxy, TLS, and trying again.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::happy_eyeballs::{self, SocketConfig, SocketOption};
use super::proxy::{self, Proxy, ProxyRoute};
use super::{socks5, tunnel};
use crate::error::{Error, Kind, OsError, Result};
use crate::http2::KeepAlive;
use crate::io::external::ExternalIo;
use crate::io::reactor::Reactor;
use crate::io::socket::Socket;
use crate::io::stream::Stream;
use crate::io::wait_set;
use crate::lock::lock;
use crate::operation::{Backend, EffectChannel, Endpoints, Event, Hop, Outcome, SocksRequest};
use crate::origin::Origin;
use crate::timeout::Seconds;
use crate::tls::Tls;

const HTTP1: &[&[u8]] = &[b"http/1.1"];

/// httpcore's backoff between attempts: 0, 0.5, 1, 2, 4, ... seconds.
const BACKOFF_FACTOR: Duration = Duration::from_millis(500);

/// How a pool makes its connections.
pub struct Connector {
    pub retries: usize,
    pub local_address: Option<IpAddr>,
    /// A Unix domain socket to connect to, whatever the origin, unless there is a proxy.
    pub uds: Option<String>,
    pub socket_options: Vec<SocketOption>,
    pub proxy: Option<Proxy>,
    pub tls: Tls,
    /// The caller's own way to make streams, if there is one.
    pub backend: Mutex<Option<Backend>>,
    /// Which protocols are spoken; at least one of them.
    pub http1: bool,
    pub http2: bool,
    /// For connections that speak HTTP/2.
    pub keep_alive: Option<KeepAlive>,
}

/// What one attempt needs besides.
pub struct Attempt<'a> {
    pub origin: &'a Origin,
    /// Covers one attempt: name resolution, TCP, what is said to a proxy, and TLS.
    pub timeout: Option<Duration>,
    pub reactor: Option<&'a Arc<Reactor>>,
    pub effects: &'a EffectChannel,
}

/// An attempt that has begun.
struct ConnectContext<'a> {
    attempt: &'a Attempt<'a>,
    deadline: Option<Instant>,
    /// What makes the stream, if it is not we. Then the timeouts are its streams' own.
    backend: Option<Backend>,
}

/// Who is at the other end of a socket.
#[derive(Clone, Copy)]
struct Peer<'a> {
    origin: &'a Origin,
    hop: Hop,
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
                            Some(backend) => attempt.effects.sleep(backend, delay).await?,
                            None if delay.is_zero() => {}
                            None => wait_set::sleep_until(Instant::now() + delay).await,
                        }
                        Ok(())
                    };
                    attempt.effects.span(|| Event::Retry, |()| Outcome::Nothing, sleeping).await?;
                }
                result => return result,
            }
        }
    }

    async fn connect_once(&self, attempt: &Attempt<'_>) -> Result<Stream> {
        let origin = attempt.origin;
        let way = ConnectContext { attempt, deadline: wait_set::deadline_in(attempt.timeout), backend: self.backend() };
        if let Some(proxy) = &self.proxy {
            // Boxed: not the usual way.
            return Box::pin(self.connect_by(proxy, &way)).await;
        }
        let stream = self.open(&way, Peer { origin, hop: Hop::Direct }).await?;
        if origin.scheme.is_tls() { self.secure(&way, stream, Hop::Direct).await } else { Ok(stream) }
    }

    async fn connect_by(&self, proxy: &Proxy, way: &ConnectContext<'_>) -> Result<Stream> {
        let &Attempt { origin, effects, .. } = way.attempt;
        let is_socks = matches!(proxy.protocol, proxy::ProxyProtocol::Socks5(_));
        let hop = if is_socks { Hop::ToSocksProxy } else { Hop::ToHttpProxy };
        let mut stream = self.open(way, Peer { origin: &proxy.origin, hop }).await?;
        if proxy.origin.scheme.is_tls() {
            stream = self.secure(way, stream, hop).await?;
        }
        // A forwarding proxy is where the connection ends.
        let hop = match (proxy.route(origin), &proxy.protocol) {
            (ProxyRoute::Tunnel, _) => {
                let opening = tunnel::open(stream, proxy, origin, way.operation_timeout(), effects);
                stream = way.handshake(proxy, opening).await?;
                Hop::ThroughTunnel
            }
            (_, proxy::ProxyProtocol::Socks5(credentials)) => {
                let event = setup_socks5(&stream, origin, credentials.as_ref());
                let operation_timeout = way.operation_timeout();
                let opening =
                    socks5::connect(stream, &proxy.origin, credentials.as_ref(), origin, operation_timeout, effects);
                stream = effects.span(|| event, opened, way.handshake(proxy, opening)).await?;
                Hop::ThroughSocks
            }
            _ => return Ok(stream),
        };
        if origin.scheme.is_tls() { self.secure(way, stream, hop).await } else { Ok(stream) }
    }

    /// A stream to an origin or a proxy, without TLS.
    async fn open(&self, way: &ConnectContext<'_>, peer: Peer<'_>) -> Result<Stream> {
        let effects = way.attempt.effects;
        if let Some(backend) = &way.backend {
            effects.close_dropped().await?;
            let event = self.connect_event(way, peer);
            let connecting = effects.connect(Arc::clone(backend), None, event.clone());
            let stream = effects.span(|| event, |stream| Outcome::External(stream.clone()), connecting).await?;
            return Ok(Stream::External(Box::new(ExternalIo::new(stream))));
        }
        let connecting = way.in_time(|| format!("connecting to {peer}"), self.socket(way, peer));
        let socket = effects.span(|| self.connect_event(way, peer), connected, connecting).await?;
        Ok(Stream::Plain(socket))
    }

    /// The stream with TLS on it, to the origin or to the proxy.
    async fn secure(&self, way: &ConnectContext<'_>, stream: Stream, hop: Hop) -> Result<Stream> {
        let &Attempt { origin, effects, timeout, .. } = way.attempt;
        let (origin, tls, protocols) = match &self.proxy {
            Some(proxy) if hop == Hop::ToHttpProxy => (&*proxy.origin, &proxy.tls, HTTP1),
            _ => (origin, &self.tls, self.protocols()),
        };
        let name = server_name(origin);
        let by_backend = way.backend.is_some();
        let event = || Event::StartTls { server_hostname: name.to_owned(), timeout, by_backend, hop };
        let securing = || format!("the TLS handshake to {}", Peer { origin, hop });
        let backend = way.backend.as_ref().map(Arc::clone);
        match (stream, backend) {
            (Stream::External(stream), Some(backend)) => {
                let event = event();
                let handshake = effects.connect(backend, Some(stream.handle().clone()), event.clone());
                let secured = effects.span(|| event, |stream| Outcome::External(stream.clone()), handshake).await?;
                stream.release();
                Ok(Stream::External(Box::new(ExternalIo::new(secured))))
            }
            (stream, _) => {
                // Boxed: a handshake of rustls is large.
                let handshake = Box::pin(tls.handshake(stream, name, protocols));
                effects.span(event, opened, way.in_time(securing, handshake)).await
            }
        }
    }

    /// What TLS offers (ALPN), the preferred one first.
    fn protocols(&self) -> &'static [&'static [u8]] {
        match (self.http1, self.http2) {
            (_, false) => HTTP1,
            (true, true) => &[b"h2", b"http/1.1"],
            (false, true) => &[b"h2"],
        }
    }

    /// How connections lead to an origin.
    pub fn route(&self, origin: &Origin) -> ProxyRoute {
        self.proxy.as_ref().map_or(ProxyRoute::Direct, |proxy| proxy.route(origin))
    }

    /// Where connections for an origin end.
    pub fn end<'a>(&'a self, origin: &'a Arc<Origin>) -> &'a Arc<Origin> {
        match &self.proxy {
            Some(proxy) if proxy.route(origin) == ProxyRoute::Forward => &proxy.origin,
            _ => origin,
        }
    }

    /// Whether a connection to the origin may turn out to speak HTTP/2. Those to proxies do not.
    pub fn may_multiplex(&self, origin: &Origin) -> bool {
        self.http2 && (origin.scheme.is_tls() || !self.http1) && self.route(origin) != ProxyRoute::Forward
    }

    /// Whether it is HTTP/2 that is spoken on a stream for the origin: TLS has chosen it, or there is nothing else.
    pub fn speaks_http2(&self, origin: &Origin, stream: &Stream) -> bool {
        self.route(origin) != ProxyRoute::Forward && (stream.has_chosen_http2() || (self.http2 && !self.http1))
    }

    fn connect_event(&self, way: &ConnectContext<'_>, peer: Peer<'_>) -> Event {
        let timeout = way.attempt.timeout;
        if let Some(path) = self.unix_socket() {
            return Event::ConnectUnixSocket { path: path.to_owned(), timeout };
        }
        let Peer { origin, hop } = peer;
        let host = origin.host.clone();
        Event::ConnectTcp { host, port: origin.port, local_address: self.local_address, timeout, hop }
    }

    fn unix_socket(&self) -> Option<&str> {
        self.uds.as_deref().filter(|_| self.proxy.is_none())
    }

    fn backend(&self) -> Option<Backend> {
        lock(&self.backend).clone()
    }

    async fn socket(&self, way: &ConnectContext<'_>, peer: Peer<'_>) -> Result<Socket> {
        let config = SocketConfig { local_address: self.local_address, options: self.socket_options.clone() };
        let reactor = way.attempt.reactor;
        if let Some(path) = self.unix_socket() {
            return happy_eyeballs::connect_unix(path, &config, reactor).await.map_err(|error| failed(path, error));
        }
        let addresses = addresses(peer.origin, way.attempt.effects).await?;
        happy_eyeballs::connect(addresses, &config, reactor).await.map_err(|error| failed(peer, error))
    }
}

impl ConnectContext<'_> {
    /// One part of an attempt; the deadline is that of the whole.
    async fn in_time<T>(&self, what: impl FnOnce() -> String, work: impl Future<Output = Result<T>>) -> Result<T> {
        match wait_set::timeout_at(self.deadline, work).await {
            Ok(result) => result,
            Err(_) => Err(self.timed_out(&what())),
        }
    }

    /// What is said to a proxy. A stream of the caller's keeps the time itself.
    async fn handshake(&self, proxy: &Proxy, work: impl Future<Output = Result<Stream>>) -> Result<Stream> {
        let what = || format!("the handshake with the proxy {}", proxy.origin);
        if self.backend.is_none() {
            return self.in_time(what, work).await;
        }
        work.await.map_err(|error| match error.kind() {
            Kind::ReadTimeout | Kind::WriteTimeout => self.timed_out(&what()).with_source(error),
            _ => error,
        })
    }

    /// How long each read and write of a stream of the caller's may take; the deadline of the whole sees to ours.
    fn operation_timeout(&self) -> Option<Duration> {
        self.backend.as_ref()?;
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    fn timed_out(&self, what: &str) -> Error {
        let limit = Seconds(self.attempt.timeout.unwrap_or_default());
        Error::new(Kind::ConnectTimeout, format!("{what} took longer than {limit} (connect timeout)"))
    }
}

impl fmt::Display for Peer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if matches!(self.hop, Hop::ToHttpProxy | Hop::ToSocksProxy) {
            f.write_str("the proxy ")?;
        }
        self.origin.fmt(f)
    }
}

/// The name that the server is verified for.
fn server_name(origin: &Origin) -> &str {
    origin.server_name.as_deref().unwrap_or(&origin.host)
}

fn connected(socket: &Socket) -> Outcome {
    Outcome::Stream(Box::new(Endpoints::of(socket.socket(), None)))
}

fn opened(stream: &Stream) -> Outcome {
    match (stream, stream.socket()) {
        (Stream::External(stream), _) => Outcome::External(stream.handle().clone()),
        (stream, Some(socket)) => Outcome::Stream(Box::new(Endpoints::of(socket.socket(), stream.session()))),
        (_, None) => Outcome::Nothing,
    }
}

fn setup_socks5(stream: &Stream, origin: &Origin, credentials: Option<&socks5::Credentials>) -> Event {
    Event::SetupSocks5(Box::new(SocksRequest {
        stream: opened(stream),
        host: origin.host.clone(),
        port: origin.port,
        username: credentials.map(|credentials| credentials.username.clone()),
    }))
}

async fn addresses(origin: &Origin, effects: &EffectChannel) -> Result<Vec<SocketAddr>> {
    let port = origin.tcp_port()?;
    if let Ok(address) = origin.bare_host().parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    effects.resolve(&origin.host, port).await
}

fn failed(peer: impl fmt::Display, error: io::Error) -> Error {
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
