//! Helpers for Rust tests: streams with a scripted peer at the other end, requests, and answers to effects.
//!
//! A test gives a [`ScriptedPeer`] its script, gets the engine's end of a socket pair, and runs a future of the engine with [`run`]. The
//! peer's thread is joined by [`Played::finish`], which raises what went wrong in the script.
//!
//! ```ignore
//! let (stream, peer) = ScriptedPeer::play(|peer| {
//!     peer.expect_head("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n");
//!     peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
//! });
//! let mut answers = Answers::default();
//! let mut connection = Http1::new(stream, origin());
//! ...
//! peer.finish();
//! ```

use std::collections::VecDeque;
use std::future::Future;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;

use crate::io::block_on::block_on;
use crate::io::socket::Socket;
use crate::io::stream::Stream;
use crate::message::{Content, HeadWriter, Request};
use crate::operation::{Effect, EffectChannel, ExternalStream, Fields, ReadyChunks, SpanStage, TraceEvent};
use crate::origin::{Origin, Scheme};
use crate::timeout::Timeouts;

/// The time after which a script that waits for the engine fails.
const SCRIPT_TIMEOUT: Duration = Duration::from_secs(20);

/// Returns `http://example.com`.
pub fn origin() -> Arc<Origin> {
    Arc::new(Origin {
        scheme: Scheme::Http,
        host: "example.com".to_owned(),
        port: 80,
        server_name: None,
        tunnel_headers: None,
    })
}

/// Returns a stream of the engine, and the other end of it.
pub fn stream_pair() -> (Stream, UnixStream) {
    let (socket, peer) = socket_pair();
    (Stream::Plain(socket), peer)
}

/// Returns a socket of the engine, and the other end of it.
pub fn socket_pair() -> (Socket, UnixStream) {
    let (ours, peer) = UnixStream::pair().expect("a socket pair");
    ours.set_nonblocking(true).expect("a non-blocking socket");
    (Socket::new(OwnedFd::from(ours).into(), None).expect("a socket"), peer)
}

/// An external stream on which nothing is called: a test replies to the effects in its place.
#[derive(Default)]
pub struct ExternalStub {
    pub is_async: bool,
    pub has_chosen_http2: bool,
}

impl ExternalStream for ExternalStub {
    fn is_async(&self) -> bool {
        self.is_async
    }

    fn has_chosen_http2(&self) -> bool {
        self.has_chosen_http2
    }

    fn is_for_threads(&self) -> bool {
        !self.is_async
    }
}

/// Returns a request to [`origin`]. `Host` comes first.
pub fn request(method: &str, target: &str, fields: &[(&str, &str)], content: Content) -> Request {
    let mut writer = HeadWriter::new(method.as_bytes(), target.as_bytes()).expect("a legal request line");
    writer.header(b"Host", b"example.com").expect("a legal field");
    for (name, value) in fields {
        writer.header(name.as_bytes(), value.as_bytes()).expect("a legal field");
    }
    Request {
        origin: origin(),
        head: writer.finish().expect("a legal head"),
        content,
        timeouts: Timeouts::default(),
        has_trailers: false,
        timings: Arc::default(),
        has_informational: false,
        expect_continue: None,
    }
}

/// Returns a GET of `/` without a body.
pub fn get() -> Request {
    request("GET", "/", &[], Content::Inline(Bytes::new()))
}

/// Answers to the effects of an operation, and what it asked for.
#[derive(Default)]
pub struct Answers {
    pub effects: EffectChannel,
    /// The chunks of the request body that are left.
    pub chunks: VecDeque<Bytes>,
    /// The answers to questions for chunks at hand. When there are none left, the iterator cannot be asked for them.
    pub ready: VecDeque<ReadyChunks>,
    pub trailers: Fields,
    /// The names of the trace events so far: `http11.send_request_headers.started`.
    pub events: Vec<String>,
}

impl Answers {
    /// Returns answers to an operation that is traced.
    pub fn traced() -> Self {
        Self { effects: EffectChannel::new(true), ..Self::default() }
    }

    /// Returns answers that hold these chunks of a request body.
    pub fn with_chunks(chunks: &[&'static str]) -> Self {
        Self { chunks: chunks.iter().map(|&chunk| chunk.into()).collect(), ..Self::default() }
    }

    /// Carries out an effect.
    pub fn answer(&mut self, effect: Effect) {
        match effect {
            Effect::NextChunk(reply) => reply.set(Ok(self.chunks.pop_front())),
            Effect::ReadyChunks { reply, .. } => {
                reply.set(Ok(self.ready.pop_front().unwrap_or(ReadyChunks::Unknown)));
            }
            Effect::Trailers(reply) => reply.set(Ok(self.trailers.clone())),
            Effect::Informational { head, reply } => {
                self.events.push(format!("informational {}", head.status()));
                reply.set(Ok(()));
            }
            Effect::Yield(reply) | Effect::CloseDropped(reply) => reply.set(Ok(())),
            Effect::Trace { trace_event, reply } => {
                let TraceEvent { event, stage } = *trace_event;
                let (name, failure) = match stage {
                    SpanStage::Started => ("started", None),
                    SpanStage::Complete(_) => ("complete", None),
                    SpanStage::Failed(error) => ("failed", Some(error)),
                };
                self.events.push(format!("{}.{}.{name}", event.logger(), event.name()));
                reply.set(Ok(failure));
            }
            Effect::Spawn { .. }
            | Effect::Resolve { .. }
            | Effect::CheckAddresses { .. }
            | Effect::ProxyAuthenticate { .. }
            | Effect::SocketPatches(_)
            | Effect::ChooseIdentity { .. }
            | Effect::Connect { .. }
            | Effect::Read { .. }
            | Effect::Write { .. }
            | Effect::IsReadable { .. }
            | Effect::PoolWait { .. }
            | Effect::Sleep { .. } => panic!("an effect that the test has no answer to"),
        }
    }
}

/// Runs a future of the engine to its end on the calling thread.
pub fn run<F: Future>(answers: &mut Answers, future: F) -> F::Output {
    let effects = answers.effects.clone();
    block_on(future, &effects, |effect| answers.answer(effect)).expect("no error of the driver")
}

/// The scripted peer of a stream.
pub struct ScriptedPeer {
    stream: UnixStream,
}

/// A script that is being played in a thread of its own.
pub struct Played<T>(JoinHandle<T>);

impl<T> Played<T> {
    /// Waits for the end of the script and returns its value.
    pub fn finish(self) -> T {
        self.0.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl ScriptedPeer {
    /// Plays a script. Its end closes the stream.
    pub fn play<T: Send + 'static>(script: impl FnOnce(&mut Self) -> T + Send + 'static) -> (Stream, Played<T>) {
        let (stream, peer) = stream_pair();
        (stream, Self::play_on(peer, script))
    }

    /// Plays a script on a stream. Its end closes the stream.
    pub fn play_on<T: Send + 'static>(
        stream: UnixStream,
        script: impl FnOnce(&mut Self) -> T + Send + 'static,
    ) -> Played<T> {
        stream.set_read_timeout(Some(SCRIPT_TIMEOUT)).expect("a timeout");
        stream.set_write_timeout(Some(SCRIPT_TIMEOUT)).expect("a timeout");
        Played(thread::spawn(move || script(&mut Self { stream })))
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("the engine reads");
    }

    /// Sends the bytes one by one, so that the engine sees them as they are cut anywhere.
    pub fn send_slowly(&mut self, bytes: impl AsRef<[u8]>) {
        for byte in bytes.as_ref() {
            self.send([*byte]);
            thread::sleep(Duration::from_micros(200));
        }
    }

    pub fn receive(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).expect("the engine sends as much");
        bytes
    }

    /// Receives a message up to its first blank line.
    pub fn receive_head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.extend(self.receive(1));
        }
        String::from_utf8(head).expect("a head in ASCII")
    }

    /// Receives exactly these bytes.
    pub fn expect(&mut self, expected: impl AsRef<[u8]>) {
        let expected = expected.as_ref();
        let received = self.receive(expected.len());
        assert_eq!(received.escape_ascii().to_string(), expected.escape_ascii().to_string());
    }

    /// Receives what the engine sends until it closes the stream.
    pub fn receive_rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            // The engine has closed it with bytes unread.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            result => drop(result.expect("the engine closes the stream")),
        }
        rest
    }

    /// Ends the peer's direction of the stream; the other one stays open.
    pub fn end(&mut self) {
        self.stream.shutdown(std::net::Shutdown::Write).expect("an open stream");
    }
}
