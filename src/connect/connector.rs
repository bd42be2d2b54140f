//! Connecting to an origin: addresses, sockets, proxies, TLS, and retries.
//!
//! A connect timeout bounds one attempt as a whole. Streams of a user's `network_backend` are the exception: each of their operations has
//! the timeout of its own, as in httpcore.
//!
//! Cancelling: dropping the future of an attempt closes its sockets; an external stream is closed by its owner.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;

use super::happy_eyeballs::{self, Liveness, SocketConfig, SocketOption};
use super::policy::{Checked, ConnectPolicy};
use super::proxy::{self, Proxy, ProxyRoute};
use super::{socks5, tunnel};
use crate::error::{Error, Kind, OsError, Result};
use crate::http2::KeepAlive;
use crate::io::deadline::{finished, until_deadline};
use crate::io::external::ExternalIo;
use crate::io::reactor::Reactor;
use crate::io::socket::Socket;
use crate::io::stream::Stream;
use crate::io::wait_set;
use crate::operation::{
    Backend, Callback, EffectChannel, Endpoints, Event, ExternalHandle, Hop, Outcome, SocketPatches, SocksRequest,
};
use crate::origin::Origin;
use crate::timeout::Seconds;
use crate::timings::{Mark, Timings};
use crate::tls::{EarlyData, Tls};

const HTTP1: &[&[u8]] = &[b"http/1.1"];

/// The backoff between attempts is httpcore's: 0, 0.5, 1, 2, 4, ... seconds.
const BACKOFF_FACTOR: Duration = Duration::from_millis(500);

/// The configuration of a pool's connections, and what makes them.
pub struct Connector {
    pub retries: usize,
    pub local_address: Option<IpAddr>,
    /// The network interface that connections leave by.
    pub interface: Option<Arc<str>>,
    /// The path of a Unix domain socket, to which all connections lead unless there is a proxy.
    pub uds: Option<String>,
    pub liveness: Liveness,
    pub socket_options: Vec<SocketOption>,
    pub proxy: Option<Proxy>,
    pub tls: Tls,
    /// Looks names up in the place of the system.
    pub resolver: Option<Callback>,
    /// Says which addresses may be connected to.
    pub policy: Option<ConnectPolicy>,
    /// The user's `network_backend`, if there is one.
    pub backend: ArcSwapOption<Backend>,
    /// The backend that connects where a program has replaced Python's sockets. Without it nothing is asked.
    pub python_sockets: Option<Backend>,
    /// The protocols that may be spoken, at least one of them.
    pub http1: bool,
    pub http2: bool,
    /// The longest time that the body of a request waits for `100 Continue`, if the request expects that.
    pub expect_continue_timeout: Option<Duration>,
    /// For connections that speak HTTP/2.
    pub keep_alive: Option<KeepAlive>,
}

/// The arguments of one call of [`Connector::connect`].
pub struct Attempt<'a> {
    pub origin: &'a Origin,
    /// The limit for one attempt: name resolution, TCP, the handshake with a proxy, and TLS.
    pub timeout: Option<Duration>,
    pub reactor: Option<&'a Arc<Reactor>>,
    pub effects: &'a EffectChannel,
    pub timings: &'a Timings,
    /// The request, if it may be sent before the handshake of TLS with the origin is complete.
    pub early_data: Option<EarlyData<'a>>,
}

impl Attempt<'_> {
    fn has_tried_early_data(&self) -> bool {
        self.early_data.is_some_and(|early| early.is_tried())
    }
}

/// An attempt that has begun.
struct ConnectContext<'a> {
    attempt: &'a Attempt<'a>,
    deadline: Option<Instant>,
    /// Makes the stream, if the user has a `network_backend`, or where Python's sockets have been replaced. Then each operation of the
    /// stream has a timeout of its own.
    backend: Option<Backend>,
    patches: SocketPatches,
}

/// The other end of a socket.
#[derive(Clone, Copy)]
struct Peer<'a> {
    origin: &'a Origin,
    hop: Hop,
}

impl Connector {
    /// Connects. A failed attempt is repeated up to `retries` times, after a pause. If the deadline of the request would pass within that
    /// pause, the error of the last attempt is returned.
    pub async fn connect(&self, attempt: &Attempt<'_>) -> Result<Stream> {
        let &Attempt { effects, origin, .. } = attempt;
        let result = until_deadline(effects, pin!(self.connect_with_retries(attempt))).await;
        finished(effects, result, |deadline| {
            deadline.error(Kind::ConnectTimeout, format_args!("connecting to {origin} was not finished"))
        })
    }

    async fn connect_with_retries(&self, attempt: &Attempt<'_>) -> Result<Stream> {
        let mut retries_left = self.retries;
        let mut delays = backoff();
        loop {
            let was_tried = attempt.has_tried_early_data();
            match self.connect_once(attempt).await {
                // Without early data it may succeed (RFC 8446, D.3).
                Err(error) if error.kind() == Kind::ConnectError && was_tried != attempt.has_tried_early_data() => {}
                Err(error) if error.is_failed_connect() && retries_left > 0 => {
                    retries_left -= 1;
                    let delay = delays.next().unwrap_or_default();
                    if attempt.effects.deadline().is_some_and(|deadline| deadline.remaining() <= delay) {
                        return Err(error);
                    }
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
        let timeout = attempt.effects.limited(attempt.timeout);
        let result = self.connect_within(&Attempt { timeout: timeout.limit, ..*attempt }).await;
        result.map_err(|error| timeout.attribute(error))
    }

    async fn connect_within(&self, attempt: &Attempt<'_>) -> Result<Stream> {
        let origin = attempt.origin;
        let (backend, patches) = self.connects_by(attempt).await?;
        let context = ConnectContext { attempt, deadline: wait_set::deadline_in(attempt.timeout), backend, patches };
        if let Some(proxy) = &self.proxy {
            // Boxed: most connections have no proxy, and their future stays small.
            return Box::pin(self.connect_by(proxy, &context)).await;
        }
        let stream = self.open(&context, Peer { origin, hop: Hop::Direct }).await?;
        if origin.scheme.is_tls() { self.secure(&context, stream, Hop::Direct).await } else { Ok(stream) }
    }

    /// Returns what connects in place of the engine, if anything does, and what has been replaced of Python's sockets.
    async fn connects_by(&self, attempt: &Attempt<'_>) -> Result<(Option<Backend>, SocketPatches)> {
        let (None, Some(python_sockets)) = (self.backend(), &self.python_sockets) else {
            return Ok((self.backend(), SocketPatches::Nothing));
        };
        let patches = attempt.effects.socket_patches().await?;
        let is_needed = patches == SocketPatches::Sockets;
        Ok((is_needed.then(|| Arc::clone(python_sockets)), patches))
    }

    async fn connect_by(&self, proxy: &Proxy, context: &ConnectContext<'_>) -> Result<Stream> {
        let &Attempt { origin, effects, timings, .. } = context.attempt;
        if let Some(policy) = &self.policy {
            context.in_time(|| format!("connecting to {origin}"), policy.check_target(origin, effects)).await?;
        }
        let is_socks = matches!(proxy.protocol, proxy::ProxyProtocol::Socks5(_));
        let hop = if is_socks { Hop::ToSocksProxy } else { Hop::ToHttpProxy };
        let mut stream = self.open(context, Peer { origin: &proxy.origin, hop }).await?;
        timings.mark_now(Mark::ProxyBegun);
        if proxy.origin.scheme.is_tls() {
            stream = self.secure(context, stream, hop).await?;
        }
        // A connection for requests that the proxy forwards ends at the proxy.
        let hop = match (proxy.route(origin), &proxy.protocol) {
            (ProxyRoute::Tunnel, _) => {
                let opening = tunnel::open(stream, proxy, origin, context.operation_timeout(), effects);
                stream = context.handshake(proxy, opening).await?;
                Hop::ThroughTunnel
            }
            (_, proxy::ProxyProtocol::Socks5(credentials)) => {
                let event = setup_socks5(&stream, origin, credentials.as_ref());
                let operation_timeout = context.operation_timeout();
                let opening =
                    socks5::connect(stream, &proxy.origin, credentials.as_ref(), origin, operation_timeout, effects);
                stream = effects.span(|| event, opened, context.handshake(proxy, opening)).await?;
                Hop::ThroughSocks
            }
            _ => {
                timings.mark_now(Mark::ProxyEnded);
                return Ok(stream);
            }
        };
        timings.mark_now(Mark::ProxyEnded);
        if origin.scheme.is_tls() { self.secure(context, stream, hop).await } else { Ok(stream) }
    }

    /// Opens a stream to an origin or a proxy, without TLS.
    async fn open(&self, context: &ConnectContext<'_>, peer: Peer<'_>) -> Result<Stream> {
        let effects = context.attempt.effects;
        if let Some(backend) = &context.backend {
            effects.close_dropped().await?;
            let event = self.connect_event(context, peer);
            context.attempt.timings.mark_now(Mark::ConnectBegun);
            let connecting = self.connect_by_backend(backend, context, peer, event.clone());
            let stream = effects.span(|| event, |stream| Outcome::External(stream.clone()), connecting).await?;
            context.attempt.timings.mark_now(Mark::ConnectEnded);
            return Ok(Stream::External(Box::new(ExternalIo::new(stream))));
        }
        let connecting = context.in_time(|| format!("connecting to {peer}"), self.socket(context, peer));
        let socket = effects.span(|| self.connect_event(context, peer), connected, connecting).await?;
        Ok(Stream::Plain(socket))
    }

    /// Has a backend connect. With a resolver or a policy it is given addresses in place of names, one after the other.
    async fn connect_by_backend(
        &self,
        backend: &Backend,
        context: &ConnectContext<'_>,
        peer: Peer<'_>,
        event: Event,
    ) -> Result<ExternalHandle> {
        let effects = context.attempt.effects;
        let (false, Event::ConnectTcp { local_address, timeout, hop, .. }) =
            (self.resolver.is_none() && self.policy.is_none(), &event)
        else {
            return effects.connect(Arc::clone(backend), None, event).await;
        };
        let addresses = context.in_time(|| format!("connecting to {peer}"), self.addresses(context, peer)).await?;
        let mut first_error = None;
        for address in addresses {
            let (host, port) = (address.ip().to_string(), address.port().into());
            let event = Event::ConnectTcp { host, port, local_address: *local_address, timeout: *timeout, hop: *hop };
            match effects.connect(Arc::clone(backend), None, event).await {
                Err(error) if error.is_failed_connect() => drop(first_error.get_or_insert(error)),
                connected => return connected,
            }
        }
        Err(first_error.unwrap_or_else(|| failed(peer, happy_eyeballs::no_address(None))))
    }

    /// Returns the addresses of an origin or a proxy that may be connected to.
    async fn addresses(&self, context: &ConnectContext<'_>, peer: Peer<'_>) -> Result<Vec<SocketAddr>> {
        let addresses = lookup(peer.origin, self.resolver.as_ref(), context).await?;
        let Some(policy) = &self.policy else { return Ok(addresses) };
        let checked = Checked { peer: peer.origin, origin: context.attempt.origin, is_proxy: peer.is_proxy() };
        policy.allowed(checked, addresses, context.attempt.effects).await
    }

    /// Begins TLS on a stream, with the origin or with the proxy.
    async fn secure(&self, context: &ConnectContext<'_>, stream: Stream, hop: Hop) -> Result<Stream> {
        let &Attempt { origin, effects, timeout, timings, early_data, .. } = context.attempt;
        let (origin, tls, protocols) = match &self.proxy {
            Some(proxy) if hop == Hop::ToHttpProxy => (&*proxy.origin, &proxy.tls, HTTP1),
            _ => (origin, &self.tls, self.protocols()),
        };
        let name = server_name(origin);
        let by_backend = context.backend.is_some();
        let event = || Event::StartTls { server_hostname: name.to_owned(), timeout, by_backend, hop };
        let securing = || format!("the TLS handshake to {}", Peer { origin, hop });
        let backend = context.backend.as_ref().map(Arc::clone);
        // That with a proxy is a part of the handshake with the proxy.
        let is_with_origin = hop != Hop::ToHttpProxy;
        if is_with_origin {
            timings.mark_now(Mark::TlsBegun);
        }
        let secured = match (stream, backend) {
            (Stream::External(stream), Some(backend)) => {
                let event = event();
                let handshake = effects.connect(backend, Some(stream.handle().clone()), event.clone());
                let secured = effects.span(|| event, |stream| Outcome::External(stream.clone()), handshake).await?;
                stream.release();
                Ok(Stream::External(Box::new(ExternalIo::new(secured))))
            }
            (stream, _) => {
                // Boxed: the future of a handshake of rustls is large.
                let chosen = match tls.chooser() {
                    Some(chooser) => {
                        effects.choose_identity(Arc::clone(chooser), name.trim_matches(['[', ']'])).await?
                    }
                    None => None,
                };
                let early_data = early_data.filter(|_| is_with_origin);
                let handshake = Box::pin(tls.handshake(stream, name, protocols, chosen, early_data));
                effects.span(event, opened, context.in_time(securing, handshake)).await
            }
        };
        if is_with_origin && secured.is_ok() {
            timings.mark_now(Mark::TlsEnded);
        }
        secured
    }

    /// Returns the protocols that TLS offers (ALPN), the preferred one first.
    fn protocols(&self) -> &'static [&'static [u8]] {
        match (self.http1, self.http2) {
            (_, false) => HTTP1,
            (true, true) => &[b"h2", b"http/1.1"],
            (false, true) => &[b"h2"],
        }
    }

    /// Returns the route of connections for an origin.
    pub fn route(&self, origin: &Origin) -> ProxyRoute {
        self.proxy.as_ref().map_or(ProxyRoute::Direct, |proxy| proxy.route(origin))
    }

    /// Returns the origin at which connections for `origin` end: itself, or a proxy that forwards requests.
    pub fn end<'a>(&'a self, origin: &'a Arc<Origin>) -> &'a Arc<Origin> {
        match &self.proxy {
            Some(proxy) if proxy.route(origin) == ProxyRoute::Forward => &proxy.origin,
            _ => origin,
        }
    }

    /// Returns whether a connection for the origin may turn out to speak HTTP/2. Connections that end at a proxy do not.
    pub fn may_multiplex(&self, origin: &Origin) -> bool {
        self.http2 && (origin.scheme.is_tls() || !self.http1) && self.route(origin) != ProxyRoute::Forward
    }

    /// Returns whether HTTP/2 is spoken on a stream for the origin: TLS has chosen it, or no other protocol is allowed.
    pub fn speaks_http2(&self, origin: &Origin, stream: &Stream) -> bool {
        self.route(origin) != ProxyRoute::Forward && (stream.has_chosen_http2() || (self.http2 && !self.http1))
    }

    fn connect_event(&self, context: &ConnectContext<'_>, peer: Peer<'_>) -> Event {
        let timeout = context.attempt.timeout;
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
        self.backend.load().as_deref().cloned()
    }

    async fn socket(&self, context: &ConnectContext<'_>, peer: Peer<'_>) -> Result<Socket> {
        let config = SocketConfig {
            local_address: self.local_address,
            liveness: self.liveness,
            options: self.socket_options.clone(),
            interface: self.interface.clone(),
        };
        let Attempt { reactor, timings, .. } = *context.attempt;
        let socket = if let Some(path) = self.unix_socket() {
            timings.mark_now(Mark::ConnectBegun);
            happy_eyeballs::connect_unix(path, &config, reactor).await.map_err(|error| failed(path, error))?
        } else {
            let addresses = self.addresses(context, peer).await?;
            timings.mark_now(Mark::ConnectBegun);
            happy_eyeballs::connect(addresses, &config, reactor).await.map_err(|error| failed(peer, error))?
        };
        timings.mark_now(Mark::ConnectEnded);
        Ok(socket)
    }
}

impl ConnectContext<'_> {
    /// Runs one part of an attempt until the deadline of the whole attempt.
    async fn in_time<T>(&self, what: impl FnOnce() -> String, work: impl Future<Output = Result<T>>) -> Result<T> {
        match wait_set::timeout_at(self.deadline, work).await {
            Ok(result) => result,
            Err(_) => Err(self.timed_out(&what())),
        }
    }

    /// Runs the handshake with a proxy. On an external stream, each read and write of it has a timeout.
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

    /// Returns the timeout for each read and write of an external stream. Other streams need none: the deadline bounds the attempt.
    fn operation_timeout(&self) -> Option<Duration> {
        self.backend.as_ref()?;
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    fn timed_out(&self, what: &str) -> Error {
        let limit = Seconds(self.attempt.timeout.unwrap_or_default());
        Error::new(Kind::ConnectTimeout, format!("{what} took longer than {limit} (connect timeout)"))
    }
}

impl Peer<'_> {
    fn is_proxy(&self) -> bool {
        matches!(self.hop, Hop::ToHttpProxy | Hop::ToSocksProxy)
    }
}

impl fmt::Display for Peer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_proxy() {
            f.write_str("the proxy ")?;
        }
        self.origin.fmt(f)
    }
}

/// Returns the name that the server's certificate must be valid for.
fn server_name(origin: &Origin) -> &str {
    origin.server_name.as_deref().unwrap_or(&origin.host)
}

fn connected(socket: &Socket) -> Outcome {
    Outcome::Stream(Box::new(Endpoints::of(socket.socket(), None)))
}

fn opened(stream: &Stream) -> Outcome {
    match (stream, stream.socket()) {
        (Stream::External(stream), _) => Outcome::External(stream.handle().clone()),
        (stream, Some(socket)) => {
            stream.note_facts();
            Outcome::Stream(Box::new(Endpoints::of(socket.socket(), stream.session())))
        }
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

async fn lookup(origin: &Origin, resolver: Option<&Callback>, context: &ConnectContext<'_>) -> Result<Vec<SocketAddr>> {
    let port = origin.tcp_port()?;
    let literal = origin.bare_host().parse::<IpAddr>().ok();
    if let (Some(address), SocketPatches::Nothing) = (literal, context.patches) {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    // An address is no name, nor is one with a zone. A program that has replaced the lookup is asked for addresses too.
    let resolver = resolver.filter(|_| literal.is_none() && !origin.host.contains(':'));
    let Attempt { effects, timings, .. } = context.attempt;
    timings.mark_now(Mark::DnsBegun);
    let resolving = effects.resolve(origin.bare_host(), port, resolver.cloned());
    let addresses = if effects.traces_all() {
        let event = || Event::ResolveName { host: origin.bare_host().to_owned(), port };
        effects.span(event, |_| Outcome::Nothing, resolving).await?
    } else {
        resolving.await?
    };
    timings.mark_now(Mark::DnsEnded);
    Ok(addresses)
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
    fn the_backoff_is_that_of_httpcore() {
        let delays: Vec<_> = backoff().take(5).map(|delay| delay.as_secs_f32()).collect();
        assert_eq!(delays, [0.0, 0.5, 1.0, 2.0, 4.0]);
    }
}
