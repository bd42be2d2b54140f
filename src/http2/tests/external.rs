//! Connections over external streams: the exchanges request reads and writes as effects.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;

use super::peer::CANCEL;
use super::*;
use crate::io::block_on::block_on;
use crate::io::external::ExternalIo;
use crate::io::stream::Stream;
use crate::operation::{Effect, ExternalHandle, ExternalStream, StreamOwner};

/// An external stream of threads: one end of a socket pair, in blocking mode.
struct BlockingStream(UnixStream);

impl ExternalStream for BlockingStream {
    fn is_async(&self) -> bool {
        false
    }

    fn has_chosen_http2(&self) -> bool {
        true
    }

    fn is_for_threads(&self) -> bool {
        true
    }
}

struct ExternalConnection {
    connection: Arc<Http2>,
    stream: Arc<BlockingStream>,
    owner: Arc<StreamOwner>,
}

impl ExternalConnection {
    /// Plays a server and connects to it.
    fn new(script: impl FnOnce(&mut FramePeer<'_>) + Send + 'static) -> (Self, Played<()>) {
        let (stream, peer) = UnixStream::pair().expect("a socket pair");
        let peer = ScriptedPeer::play_on(peer, |peer| {
            let mut peer = FramePeer::new(peer);
            script(&mut peer);
            peer.rest();
        });
        let (stream, owner) = (Arc::new(BlockingStream(stream)), StreamOwner::pool());
        let external: Arc<dyn ExternalStream> = Arc::clone(&stream) as _;
        let io = ExternalIo::new(ExternalHandle::new(external, &owner));
        let connection = Http2::new(Stream::External(Box::new(io)), origin(), None).expect("no I/O takes place");
        connection.attach(None).expect("threads use the connection");
        (Self { connection, stream, owner }, peer)
    }

    /// Runs a future, with blocking reads and writes.
    fn run<F: Future>(&self, effects: &EffectChannel, future: F) -> F::Output {
        block_on(future, effects, |effect| self.carry_out(effect)).expect("no error of the driver")
    }

    fn carry_out(&self, effect: Effect) {
        let mut stream = &self.stream.0;
        match effect {
            Effect::Read { max_bytes, reply, .. } => {
                reply.begin();
                let mut bytes = vec![0; max_bytes];
                let length = stream.read(&mut bytes).expect("a read");
                bytes.truncate(length);
                reply.set(Ok(bytes.into()));
            }
            Effect::Write { bytes, reply, .. } => {
                reply.begin();
                stream.write_all(&bytes).expect("a write");
                reply.set(Ok(()));
            }
            _ => panic!("an effect that the test has no answer to"),
        }
    }

    fn send(&self) -> std::result::Result<Http2Response, Http2Failure> {
        let effects = EffectChannel::default();
        self.run(&effects, self.connection.send(&get(), &effects))
    }

    fn read(&self, body: &mut Http2Body) -> Result<Bytes> {
        let effects = EffectChannel::default();
        let mut content = BytesMut::new();
        while let Some(chunk) = self.run(&effects, poll_fn(|cx| body.poll_chunk(cx, None, &effects)))? {
            content.extend_from_slice(&chunk);
        }
        Ok(content.freeze())
    }

    fn exchange(&self) -> Result<Bytes> {
        let mut response = self.send().map_err(|failure| failure.error)?;
        self.read(&mut response.body)
    }

    /// Closes the connection as its owner does.
    fn finish(self, peer: Played<()>) {
        drop(self.connection);
        let dropped = self.owner.take(false);
        assert_eq!(dropped.streams.len(), 1);
        drop((dropped, self.stream));
        peer.finish();
    }
}

#[test]
fn an_exchange_reads_and_writes_an_external_stream() {
    let (external, peer) = ExternalConnection::new(|peer| {
        peer.open(&[]);
        for content in ["first", "second"] {
            let stream = peer.expect_request();
            peer.respond(stream, content);
        }
    });
    assert!(external.connection.is_usable_by(0));
    assert_eq!(external.exchange().expect("a response"), "first");
    external.run(&EffectChannel::default(), external.connection.process_idle_frames());
    assert_eq!(external.exchange().expect("a response"), "second");
    assert!(crate::http2::StreamWaiter::new(&external.connection).is_none(), "only exchanges read the stream");
    external.finish(peer);
}

#[test]
fn the_reset_of_an_external_stream_is_sent_by_its_owner() {
    let (external, peer) = ExternalConnection::new(|peer| {
        peer.open(&[]);
        let stream = peer.expect_request();
        peer.head(stream, 200);
        peer.expect_reset(stream, CANCEL);
        let rest = peer.rest();
        assert!(rest.is_empty(), "{rest:?}");
    });
    drop(external.send().expect("a head"));
    let mut dropped = external.owner.take(false);
    assert!(dropped.streams.is_empty());
    let reset = dropped.resets.pop().expect("a reset");
    assert!(dropped.resets.is_empty() && !reset.is_async());
    let effects = EffectChannel::default();
    external.run(&effects, reset.send(effects.clone())).expect("no failure");
    assert!(external.owner.is_empty());
    external.finish(peer);
}

/// The reset is dropped with its connection.
#[test]
fn a_reset_without_a_connection_is_not_sent() {
    let (external, peer) = ExternalConnection::new(|peer| {
        peer.open(&[]);
        let stream = peer.expect_request();
        peer.head(stream, 200);
        assert!(peer.rest().is_empty());
    });
    drop(external.send().expect("a head"));
    let ExternalConnection { connection, stream, owner } = external;
    drop(connection);
    let mut dropped = owner.take(false);
    let reset = dropped.resets.pop().expect("a reset");
    let effects = EffectChannel::default();
    block_on(reset.send(effects.clone()), &effects, |_| panic!("no effect")).expect("no error").expect("no failure");
    drop((dropped, stream));
    peer.finish();
}

#[test]
fn threads_share_an_external_stream() {
    const REQUESTS: usize = 10;
    let (external, peer) = ExternalConnection::new(|peer| {
        peer.open(&[]);
        for _ in 0..4 * REQUESTS {
            let stream = peer.expect_request();
            peer.respond(stream, "content");
        }
    });
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..REQUESTS {
                    assert_eq!(external.exchange().expect("a response"), "content");
                }
            });
        }
    });
    external.finish(peer);
}

#[test]
fn the_end_of_an_external_stream_fails_the_exchange() {
    let (external, peer) = ExternalConnection::new(|peer| {
        peer.open(&[]);
        peer.expect_request();
        peer.peer.end();
    });
    let failure = external.send().err().expect("the end of the stream");
    assert_eq!(failure.cause, FailureCause::CutOff);
    assert!(!external.connection.is_open());
    external.finish(peer);
}
