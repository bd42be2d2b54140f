//! Connecting to one of a host's addresses (RFC 8305, "Happy Eyeballs").
//!
//! IPv6 and IPv4 addresses are tried in turn. The next attempt begins when the last one has failed, or after 250 ms; attempts that are
//! under way go on meanwhile. The first socket that connects wins, the others are closed. If all fail, the error is that of the first.
//!
//! Cancelling: dropping the future closes all sockets.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockAddr, TcpKeepalive, Type};

use crate::io::reactor::Reactor;
use crate::io::socket::Socket;
use crate::io::sys::{self, OptionValue};
use crate::io::wait_set;

/// RFC 8305, 5: "Connection Attempt Delay".
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// One `setsockopt` for every socket, as the user has asked for it.
#[derive(Clone, Debug)]
pub struct SocketOption {
    pub level: i32,
    pub name: i32,
    pub value: OptionValue,
}

/// The settings of sockets before they connect.
#[derive(Clone, Debug, Default)]
pub struct SocketConfig {
    pub local_address: Option<IpAddr>,
    pub liveness: Liveness,
    /// The user's options, which take precedence.
    pub options: Vec<SocketOption>,
    /// The network interface that connections leave by.
    pub interface: Option<Arc<str>>,
}

/// The limits after which TCP takes a peer for gone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Liveness {
    /// The silence after which the peer is probed. The connection ends after another such time without an answer.
    pub probe_after: Option<Duration>,
    /// The limit for data that was sent and not acknowledged.
    pub user_timeout: Option<Duration>,
}

/// The number of probes before a connection counts as dead.
const PROBES: u32 = 4;
/// A system accepts no longer times between probes (Linux: `MAX_TCP_KEEPIDLE`).
const LONGEST_SILENCE: Duration = Duration::from_secs(32_767);

impl Liveness {
    fn apply(&self, socket: &socket2::Socket) -> io::Result<()> {
        if let Some(silence) = self.probe_after {
            let silence = silence.min(LONGEST_SILENCE);
            let interval = (silence / PROBES).max(Duration::from_secs(1));
            let probing = TcpKeepalive::new().with_time(silence).with_interval(interval).with_retries(PROBES);
            // A system without one of the options connects nevertheless: this is a default, which is to do no harm.
            let _ = socket.set_tcp_keepalive(&probing);
        }
        self.user_timeout.map_or(Ok(()), |limit| sys::set_user_timeout(socket, limit))
    }
}

impl SocketConfig {
    /// Returns a socket whose connect to `address` is under way.
    pub fn connect(&self, address: &SockAddr, domain: Domain, reactor: Option<&Arc<Reactor>>) -> io::Result<Socket> {
        let is_unix = domain == Domain::UNIX;
        let socket = socket2::Socket::new(domain, Type::STREAM, if is_unix { None } else { Some(Protocol::TCP) })?;
        socket.set_nonblocking(true)?;
        if !is_unix {
            // As in httpcore, before the user's options, which may override it.
            socket.set_tcp_nodelay(true)?;
            self.liveness.apply(&socket)?;
        }
        for option in &self.options {
            sys::set_option(&socket, option.level, option.name, &option.value)?;
        }
        if let (Some(interface), false) = (&self.interface, is_unix) {
            sys::bind_to_interface(&socket, interface, domain == Domain::IPV4)?;
        }
        if let (Some(local_address), false) = (self.local_address, is_unix) {
            socket.bind(&SocketAddr::new(local_address, 0).into())?;
        }
        let under_way = match socket.connect(address) {
            Ok(()) => false,
            Err(error) if sys::is_connecting(&error) && !(is_unix && error.kind() == io::ErrorKind::WouldBlock) => true,
            Err(error) => return Err(error),
        };
        // Registered only now: a poller would report an unconnected socket as hung up.
        let socket = Socket::new(socket, reactor)?;
        if under_way {
            socket.expect_blocked();
        }
        Ok(socket)
    }

    /// Returns whether an address is of the local address's family, if there is one.
    fn suits(&self, address: &SocketAddr) -> bool {
        self.local_address.is_none_or(|local| local.is_ipv4() == address.is_ipv4())
    }
}

/// Connects to the first of `addresses` that answers.
pub async fn connect(
    addresses: Vec<SocketAddr>,
    config: &SocketConfig,
    reactor: Option<&Arc<Reactor>>,
) -> io::Result<Socket> {
    let mut race = Race {
        waiting: interleave(addresses.into_iter().filter(|address| config.suits(address)).collect()).into_iter(),
        running: Vec::new(),
        next_attempt: None,
        first_error: None,
        config,
        reactor,
    };
    std::future::poll_fn(|cx| race.poll(cx)).await
}

/// Connects to the socket at `path`.
pub async fn connect_unix(path: &str, config: &SocketConfig, reactor: Option<&Arc<Reactor>>) -> io::Result<Socket> {
    const BACKLOG_FULL_DELAY: Duration = Duration::from_millis(5);

    let address = SockAddr::unix(path)?;
    loop {
        match config.connect(&address, Domain::UNIX, reactor) {
            Ok(socket) => return Ok(socket),
            // A connect to a Unix socket does not wait for room in the backlog: it fails with EAGAIN until the server accepts.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                wait_set::sleep_until(Instant::now() + BACKLOG_FULL_DELAY).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Returns the addresses in the resolver's order, with families in turn (RFC 8305, 4).
fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let Some(first) = addresses.first() else { return addresses };
    let preferred = first.is_ipv4();
    let (a, b): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|address| address.is_ipv4() == preferred);
    let mut ordered = Vec::with_capacity(a.len() + b.len());
    let (mut a, mut b) = (a.into_iter(), b.into_iter());
    loop {
        match (a.next(), b.next()) {
            (None, None) => return ordered,
            (one, other) => ordered.extend(one.into_iter().chain(other)),
        }
    }
}

/// The attempts to connect to the addresses of one host.
struct Race<'a> {
    waiting: std::vec::IntoIter<SocketAddr>,
    running: Vec<Socket>,
    next_attempt: Option<Instant>,
    /// The error of the first attempt that failed, which is reported if all fail: the first address is the preferred one.
    first_error: Option<io::Error>,
    config: &'a SocketConfig,
    reactor: Option<&'a Arc<Reactor>>,
}

impl Race<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Socket>> {
        'attempts: loop {
            for index in 0..self.running.len() {
                if let Poll::Ready(result) = poll_connected(&self.running[index], cx) {
                    let socket = self.running.swap_remove(index);
                    match result {
                        Ok(()) => return Poll::Ready(Ok(socket)),
                        Err(error) => self.failed(error),
                    }
                    // The indices have changed.
                    continue 'attempts;
                }
            }
            let now = Instant::now();
            if self.running.is_empty() || self.next_attempt.is_some_and(|at| now >= at) {
                let Some(address) = self.waiting.next() else {
                    self.next_attempt = None;
                    if self.running.is_empty() {
                        return Poll::Ready(Err(self
                            .first_error
                            .take()
                            .unwrap_or_else(|| no_address(self.config.local_address))));
                    }
                    return Poll::Pending;
                };
                match self.config.connect(&address.into(), Domain::for_address(address), self.reactor) {
                    Ok(socket) => {
                        self.running.push(socket);
                        self.next_attempt = Some(now + ATTEMPT_DELAY);
                    }
                    Err(error) => self.failed(error),
                }
                continue;
            }
            if let Some(at) = self.next_attempt {
                wait_set::wake_at(at);
            }
            return Poll::Pending;
        }
    }

    /// Notes that an attempt has failed: the next one begins at once.
    fn failed(&mut self, error: io::Error) {
        self.first_error.get_or_insert(error);
        self.next_attempt = Some(Instant::now());
    }
}

fn poll_connected(socket: &Socket, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    if socket.poll_writable(cx).is_pending() {
        if !sys::POLLS_REPORT_FAILED_CONNECTS
            && let Ok(Some(error)) = socket.socket().take_error()
        {
            return Poll::Ready(Err(error));
        }
        return Poll::Pending;
    }
    Poll::Ready(match socket.socket().take_error() {
        Ok(None) => Ok(()),
        Ok(Some(error)) | Err(error) => Err(error),
    })
}

/// Returns the error for a host without an address that can be connected to.
pub fn no_address(local_address: Option<IpAddr>) -> io::Error {
    let why = match local_address {
        Some(_) => "the host has no address of the local address's family",
        None => "the host has no address",
    };
    io::Error::new(io::ErrorKind::AddrNotAvailable, why)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;
    use crate::testing::{Answers, run};

    const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    /// A server that does not accept connections: once its backlog is full, connects stay pending.
    struct Unresponsive {
        listener: socket2::Socket,
        waiting: Vec<socket2::Socket>,
    }

    impl Unresponsive {
        fn new() -> Self {
            let listener = socket2::Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
            listener.bind(&SocketAddr::new(LOCALHOST, 0).into()).expect("a free port");
            listener.listen(0).expect("a listener");
            let mut server = Self { listener, waiting: Vec::new() };
            let address = server.address().into();
            loop {
                let socket = socket2::Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
                match socket.connect_timeout(&address, Duration::from_millis(100)) {
                    Ok(()) => server.waiting.push(socket),
                    Err(_) => return server,
                }
            }
        }

        fn address(&self) -> SocketAddr {
            self.listener.local_addr().ok().and_then(|address| address.as_socket()).expect("an address")
        }
    }

    /// Returns an address that refuses connections.
    fn refusing() -> SocketAddr {
        let listener = TcpListener::bind((LOCALHOST, 0)).expect("a free port");
        listener.local_addr().expect("an address")
    }

    fn connect_to(addresses: &[SocketAddr], config: &SocketConfig) -> io::Result<Socket> {
        run(&mut Answers::default(), connect(addresses.to_vec(), config, None))
    }

    fn peer(socket: &Socket) -> SocketAddr {
        socket.socket().peer_addr().expect("a connected socket").as_socket().expect("an address")
    }

    #[test]
    fn families_are_tried_in_turn() {
        let parse = |addresses: &[&str]| -> Vec<SocketAddr> {
            addresses.iter().map(|address| address.parse().expect("an address")).collect()
        };
        assert_eq!(
            interleave(parse(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"])),
            parse(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"])
        );
        assert_eq!(
            interleave(parse(&["1.1.1.1:1", "2.2.2.2:1", "[::1]:1"])),
            parse(&["1.1.1.1:1", "[::1]:1", "2.2.2.2:1"])
        );
        assert_eq!(interleave(Vec::new()), Vec::new());
    }

    #[test]
    fn the_first_address_that_accepts_is_used() {
        let listeners = [(); 2].map(|()| TcpListener::bind((LOCALHOST, 0)).expect("a free port"));
        let open = listeners.each_ref().map(|listener| listener.local_addr().expect("an address"));
        let config = SocketConfig::default();
        assert_eq!(peer(&connect_to(&open, &config).expect("a connection")), open[0]);
        let socket = connect_to(&[refusing(), refusing(), open[1], open[0]], &config).expect("a connection");
        assert_eq!(peer(&socket), open[1]);
        assert!(socket.socket().tcp_nodelay().expect("an option"));
    }

    #[test]
    fn the_next_attempt_does_not_wait_for_the_end_of_the_last() {
        let unresponsive = Unresponsive::new();
        let listener = TcpListener::bind((LOCALHOST, 0)).expect("a free port");
        let open = listener.local_addr().expect("an address");
        let began = Instant::now();
        let socket = connect_to(&[unresponsive.address(), open], &SocketConfig::default()).expect("a connection");
        assert_eq!(peer(&socket), open);
        assert!(began.elapsed() >= ATTEMPT_DELAY);
    }

    #[test]
    fn an_attempt_that_is_under_way_may_still_win() {
        let first = Unresponsive::new();
        let second = Unresponsive::new();
        let addresses = [first.address(), second.address()];
        let accepting = std::thread::spawn(move || {
            // Later than the second attempt has begun.
            std::thread::sleep(ATTEMPT_DELAY * 2);
            (0..=first.waiting.len()).map(|_| first.listener.accept().expect("a connection")).collect::<Vec<_>>()
        });
        let socket = connect_to(&addresses, &SocketConfig::default()).expect("a connection");
        assert_eq!(peer(&socket), addresses[0]);
        drop(socket);
        accepting.join().expect("the server ends");
    }

    #[test]
    fn if_all_fail_the_error_is_that_of_the_first() {
        // A connect to the broadcast address fails at once.
        let broadcast = SocketAddr::new(Ipv4Addr::BROADCAST.into(), 9);
        let config = SocketConfig::default();
        let error = connect_to(&[refusing(), broadcast], &config).err().expect("refused");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        let error = connect_to(&[broadcast, refusing()], &config).err().expect("refused");
        assert_ne!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn an_error_does_not_end_attempts_that_are_under_way() {
        let unresponsive = Unresponsive::new();
        let addresses = vec![unresponsive.address(), refusing()];
        let config = SocketConfig::default();
        let connecting = connect(addresses, &config, None);
        let deadline = Some(Instant::now() + ATTEMPT_DELAY * 2);
        assert!(run(&mut Answers::default(), wait_set::timeout_at(deadline, connecting)).is_err());
    }

    #[test]
    fn a_host_without_a_usable_address_is_an_error() {
        let error = connect_to(&[], &SocketConfig::default()).err().expect("nothing to connect to");
        assert_eq!(error.to_string(), "the host has no address");
        let config = SocketConfig { local_address: "::1".parse().ok(), ..SocketConfig::default() };
        let error = connect_to(&[refusing()], &config).err().expect("another family");
        assert_eq!(error.to_string(), "the host has no address of the local address's family");
    }

    #[cfg(target_os = "linux")] // Other systems do not have the whole of 127.0.0.0/8.
    #[test]
    fn sockets_have_the_local_address_and_the_options() {
        let listener = TcpListener::bind((LOCALHOST, 0)).expect("a free port");
        let open = listener.local_addr().expect("an address");
        let local_address: IpAddr = "127.0.0.2".parse().expect("an address");
        let keep_alive =
            SocketOption { level: libc::SOL_SOCKET, name: libc::SO_KEEPALIVE, value: OptionValue::Integer(1) };
        let config =
            SocketConfig { local_address: Some(local_address), options: vec![keep_alive], ..SocketConfig::default() };
        let socket = connect_to(&[open], &config).expect("a connection");
        assert!(socket.socket().keepalive().expect("an option"));
        let (_, from) = listener.accept().expect("the connection");
        assert_eq!(from.ip(), local_address);
        for value in [OptionValue::Bytes(vec![1, 0, 0, 0]), OptionValue::Null(4)] {
            let is_null = matches!(value, OptionValue::Null(_));
            let option = SocketOption { level: libc::SOL_SOCKET, name: libc::SO_KEEPALIVE, value };
            let config = SocketConfig { options: vec![option], ..SocketConfig::default() };
            assert_eq!(connect_to(&[open], &config).is_err(), is_null, "the system needs a value");
        }
    }

    #[test]
    fn a_unix_socket_with_a_full_backlog_is_tried_again() {
        let path = std::env::temp_dir().join(format!("httpcore_rs-{}.sock", std::process::id()));
        let text = path.to_str().expect("a path in UTF-8").to_owned();
        let _ = std::fs::remove_file(&path);
        let connect = || run(&mut Answers::default(), connect_unix(&text, &SocketConfig::default(), None));
        assert_eq!(connect().err().expect("no server").kind(), io::ErrorKind::NotFound);
        let listener = socket2::Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
        listener.bind(&SockAddr::unix(&path).expect("a short path")).expect("a free path");
        listener.listen(0).expect("a listener");
        let first = connect().expect("a connection");
        let server = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            [(); 2].map(|()| listener.accept().expect("a connection"))
        });
        let second = connect().expect("a connection");
        drop((first, second));
        server.join().expect("the server ends");
        std::fs::remove_file(&path).expect("the socket's file");
    }
}
