//! Uploads over the socket of a reactor, whose job sends what the socket did not accept.

use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::os::unix::net::UnixStream;

use bytes::Bytes;
use socket2::{Domain, Type};

use super::super::*;
use super::*;
use crate::error::Kind;
use crate::io::block_on::block_on;
use crate::io::socket::Socket;
use crate::message::{Content, Request};
use crate::operation::{Effect, EffectChannel, ReadyChunks};
use crate::testing::{Answers, origin, request, run, stream_pair};

const RESPONSE: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";

fn reactor() -> Arc<Reactor> {
    Arc::new(Reactor::new().expect("a reactor"))
}

fn chunked() -> Request {
    request("POST", "/", &[("Transfer-Encoding", "chunked")], Content::Streamed)
}

fn connect(mut stream: Stream, reactor: &Arc<Reactor>) -> Http1 {
    stream.attach(Some(reactor)).expect("a registration");
    Http1::new(stream, origin())
}

fn some(chunks: &[&'static str], is_awaited: bool) -> ReadyChunks {
    ReadyChunks::Some { chunks: chunks.iter().map(|&chunk| chunk.into()).collect(), is_awaited }
}

#[test]
fn chunks_at_hand_are_written_together() {
    // A socket that keeps the borders of writes.
    let (ours, peer) = socket2::Socket::pair(Domain::UNIX, Type::SEQPACKET, None).expect("a socket pair");
    ours.set_nonblocking(true).expect("a non-blocking socket");
    let reactor = reactor();
    let mut connection = connect(Stream::Plain(Socket::new(ours, None).expect("a socket")), &reactor);
    peer.send(RESPONSE).expect("room for a response");
    let mut answers = Answers::with_chunks(&["e"]);
    answers.ready =
        [some(&["a", "b", "c"], false), some(&["d"], true), some(&[], false), ReadyChunks::End].into_iter().collect();
    let effects = answers.effects.clone();
    let response = run(&mut answers, connection.send(&chunked(), &effects)).expect("a response");
    assert_eq!(response.head.status, 204);
    assert!(answers.chunks.is_empty() && answers.ready.is_empty());
    drop((response, connection));
    let mut writes = Vec::new();
    loop {
        let mut buffer = [MaybeUninit::uninit(); 1000];
        let length = peer.recv(&mut buffer).expect("a write");
        if length == 0 {
            break;
        }
        // SAFETY: `recv` has initialised that many bytes.
        let bytes: Vec<u8> = buffer[..length].iter().map(|byte| unsafe { byte.assume_init() }).collect();
        writes.push(String::from_utf8(bytes).expect("a text"));
    }
    assert_eq!(
        writes[1..],
        ["1\r\na\r\n1\r\nb\r\n1\r\nc\r\n", "1\r\nd\r\n", "1\r\ne\r\n", "0\r\n\r\n"],
        "the head, and one write for what is at hand"
    );
}

/// Sends a large chunk, after which the iterator waits. `meanwhile` is called during that wait, with the bytes that are expected.
fn upload(
    peer: &mut UnixStream,
    mut meanwhile: impl FnMut(&mut UnixStream, &Reactor, usize),
) -> std::result::Result<Http1Response, Http1Failure> {
    let reactor = reactor();
    let (stream, other) = stream_pair();
    *peer = other;
    let mut connection = connect(stream, &reactor);
    let chunk = Bytes::from(vec![b'x'; 1024 * 1024]);
    let expected = chunk.len() + "100000\r\n\r\n".len();
    let mut ready = vec![ReadyChunks::End, ReadyChunks::Some { chunks: vec![chunk], is_awaited: true }];
    let effects = EffectChannel::default();
    let request = chunked();
    let sending = connection.send(&request, &effects);
    block_on(sending, &effects, |effect| match effect {
        Effect::ReadyChunks { reply, .. } => reply.set(Ok(ready.pop().expect("the end is asked for once"))),
        Effect::NextChunk(reply) => {
            meanwhile(peer, &reactor, expected);
            reply.set(Ok(Some("last".into())));
        }
        Effect::Yield(reply) => reply.set(Ok(())),
        _ => panic!("nothing else is requested"),
    })
    .expect("no error of the driver")
}

#[test]
fn a_job_sends_what_the_socket_does_not_accept() {
    let mut peer = stream_pair().1;
    let response = upload(&mut peer, |peer, reactor, expected| {
        let mut received = Vec::new();
        while !received.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            peer.read_exact(&mut byte).expect("the head");
            received.push(byte[0]);
        }
        peer.set_nonblocking(true).expect("an open socket");
        received.clear();
        while received.len() < expected {
            let mut buffer = [0; 8 * 1024];
            match peer.read(&mut buffer) {
                Ok(length) => received.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => reactor.turn().expect("a turn"),
                Err(error) => panic!("{error}"),
            }
        }
        assert!(received.starts_with(b"100000\r\nx") && received.ends_with(b"x\r\n"));
        peer.write_all(RESPONSE).expect("room for a response");
    });
    assert_eq!(response.expect("a response").head.status, 204);
    let mut rest = [0; 100];
    let length = peer.read(&mut rest).expect("what follows");
    assert_eq!(rest[..length].escape_ascii().to_string(), r"4\r\nlast\r\n0\r\n\r\n");
}

#[test]
fn a_job_that_fails_ends_the_request() {
    let mut peer = stream_pair().1;
    let failure = upload(&mut peer, |peer, reactor, _| {
        *peer = stream_pair().1;
        reactor.turn().expect("a turn");
    });
    let error = failure.err().expect("the peer is gone").error;
    assert!(matches!(error.kind(), Kind::WriteError | Kind::ReadError | Kind::RemoteProtocolError), "{error:?}");
}

#[test]
fn a_wire_that_is_gone_leaves_its_job_nothing_to_do() {
    let reactor = reactor();
    let waker = BacklogJob::waker(Weak::new(), &reactor);
    waker.wake_by_ref();
    reactor.turn().expect("a turn");
    drop(reactor);
    waker.wake();
}
