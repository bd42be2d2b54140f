//! The peer of a stream, whose turn it is whenever the engine has to wait.

use std::collections::VecDeque;
use std::future::Future;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::connect::{Proxy, ProxyProtocol};
use crate::error::Result;
use crate::io::block_on::drive;
use crate::io::parker::Parker;
use crate::io::sleep::sleep;
use crate::io::socket::Socket;
use crate::io::stream::Stream;
use crate::io::wait_set::WaitSet;
use crate::message::{Content, HeadWriter, Request};
use crate::operation::{Effect, EffectChannel};
use crate::origin::{Origin, Scheme};
use crate::timeout::Timeouts;
use crate::tls::{Rules, Tls, TlsConfig, TlsOptions, Trust};

/// Waits in a row in which the peer may have nothing to do before the engine counts as stuck.
const IDLE_TURNS: usize = 3;
/// The same where both ends are the engine's: the peer never has anything to do.
const IDLE_TURNS_BETWEEN: usize = 1000;

/// Sends its pieces one at a time, each when the engine waits, and ends the stream behind the last one.
pub struct TurnPeer {
    stream: UnixStream,
    pieces: VecDeque<Vec<u8>>,
    /// Bytes sent so far.
    pub sent: usize,
    /// The bytes that the engine has sent.
    pub received: Vec<u8>,
    /// The stream has been ended.
    pub has_ended: bool,
    max_idle_turns: usize,
}

impl TurnPeer {
    /// Returns the engine's end of a stream and the peer at the other one.
    pub fn new<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Stream, Self) {
        let (ours, stream) = UnixStream::pair().expect("a socket pair");
        for socket in [&ours, &stream] {
            socket.set_nonblocking(true).expect("a non-blocking socket");
        }
        let socket = Socket::new(OwnedFd::from(ours).into(), None).expect("a socket");
        let pieces = pieces.into_iter().map(<[u8]>::to_vec).collect();
        let peer = Self { stream, pieces, sent: 0, received: Vec::new(), has_ended: false, max_idle_turns: IDLE_TURNS };
        (Stream::Plain(socket), peer)
    }

    /// Returns both ends of a stream, of which the peer has none: nothing moves but what the futures move.
    pub fn between() -> (Stream, Stream, Self) {
        let (first, second) = UnixStream::pair().expect("a socket pair");
        let [first, second] = [first, second].map(|end| {
            end.set_nonblocking(true).expect("a non-blocking socket");
            Stream::Plain(Socket::new(OwnedFd::from(end).into(), None).expect("a socket"))
        });
        let (_, peer) = Self::new([]);
        (first, second, Self { max_idle_turns: IDLE_TURNS_BETWEEN, ..peer })
    }

    /// Receives what there is, and sends one piece or ends the stream. Returns whether anything moved.
    pub fn turn(&mut self) -> bool {
        let has_received = self.receive();
        self.send() || has_received
    }

    /// Receives what there is. Returns whether there was anything.
    pub fn receive(&mut self) -> bool {
        let before = self.received.len();
        let mut bytes = [0; 4096];
        while let Ok(length @ 1..) = self.stream.read(&mut bytes) {
            self.received.extend_from_slice(&bytes[..length]);
        }
        self.received.len() > before
    }

    /// Sends one piece or ends the stream. Returns whether it did.
    pub fn send(&mut self) -> bool {
        let Some(piece) = self.pieces.pop_front() else {
            let ends = !std::mem::replace(&mut self.has_ended, true);
            if ends {
                // An error means that the engine has closed the stream.
                let _ = self.stream.shutdown(Shutdown::Write);
            }
            return ends;
        };
        match self.stream.write(&piece) {
            Ok(length) => {
                self.sent += length;
                if length < piece.len() {
                    self.pieces.push_front(piece[length..].to_vec());
                }
                length > 0
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.pieces.push_front(piece);
                false
            }
            Err(_) => {
                self.pieces.clear();
                false
            }
        }
    }

    /// Runs a future of the engine, with a turn of the peer in the place of each wait. Panics if the future waits for what can
    /// never come.
    pub fn run<F: Future>(&mut self, effects: &EffectChannel, future: F) -> F::Output {
        let mut idle_turns = 0;
        let wait = |_: &Parker, mut wait_set: WaitSet| {
            idle_turns = if self.turn() { 0 } else { idle_turns + 1 };
            assert!(idle_turns < self.max_idle_turns, "the engine waits for what never comes");
            wait_set.deadline = Some(Instant::now());
            sleep(&wait_set, None).expect("poll(2) works");
            Ok(())
        };
        drive(future, effects, answer, wait).expect("the engine does not wait for itself")
    }
}

/// No target has a body that is streamed, or streams of the caller's.
fn answer(effect: Effect) {
    match effect {
        Effect::Yield(reply) => reply.set(Ok(())),
        _ => panic!("an effect that no target needs"),
    }
}

/// Returns `http://example.com`.
pub fn origin(scheme: Scheme) -> Arc<Origin> {
    let port = scheme.default_port();
    Arc::new(Origin { scheme, host: "example.com".to_owned(), port, server_name: None, tunnel_headers: None })
}

/// Returns an HTTP proxy that these fields are for.
pub fn http_proxy(fields: &[(&[u8], &[u8])]) -> Result<Proxy> {
    let options = TlsOptions::new(Trust::Anything, Rules::default());
    let fields = fields.iter().map(|(name, value)| (Bytes::copy_from_slice(name), Bytes::copy_from_slice(value)));
    let origin = Origin {
        scheme: Scheme::Http,
        host: "proxy.test".to_owned(),
        port: 8080,
        server_name: None,
        tunnel_headers: None,
    };
    Proxy::new(origin, ProxyProtocol::Http(fields.collect()), Tls::Rustls(TlsConfig::lazy(options)))
}

/// Returns a request with this method, and a body of so many bytes.
pub fn request(method: &str, length: usize) -> Request {
    let mut writer = HeadWriter::new(method.as_bytes(), b"/").expect("a legal request line");
    writer.header(b"Host", b"example.com").expect("a legal field");
    if length > 0 {
        writer.header(b"Content-Length", length.to_string().as_bytes()).expect("a legal field");
    }
    Request {
        origin: origin(Scheme::Http),
        head: writer.finish().expect("a legal head"),
        content: Content::Inline(Bytes::from(vec![b'x'; length])),
        timeouts: Timeouts::default(),
        has_trailers: false,
        timings: Arc::default(),
        has_informational: false,
        expect_continue: None,
    }
}
