//! The two halves of a session, with an engine that reverses the bits of every byte and greets with one record.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{SessionFault, SslSession, SslStream, StepBuffers, StepInput, StepOutput, steps};
use crate::io::socket::Socket;
use crate::io::stream::{Stream, TlsLayer};
use crate::io::wait_set;

/// The only message of the handshake, in a record.
const HELLO: &[u8] = b"\x16\x03\x03\x00\x02hi";

fn reversed(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| !byte).collect()
}

/// Both ends of a connection.
fn pair() -> io::Result<(SslStream, UnixStream)> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let inner = Stream::Plain(Socket::new(socket2::Socket::from(std::os::fd::OwnedFd::from(ours)), None)?);
    Ok((SslStream::new(inner, Arc::new(())), theirs))
}

/// Takes the steps that are noted, as a driver does. Returns how many.
fn take_steps() -> usize {
    std::iter::from_fn(steps::take_step).filter(take_step).count()
}

fn take_step(session: &Arc<SslSession>) -> bool {
    let Some(input) = session.begin_step() else { return false };
    let output = match input {
        StepInput::Handshake { ciphertext, is_eof: false } => {
            let answer = if ciphertext.is_empty() { HELLO } else { b"" };
            StepOutput { buffers: encrypted(answer), is_handshaken: ciphertext == HELLO, ..StepOutput::default() }
        }
        StepInput::Handshake { .. } => {
            StepOutput { fault: Some(SessionFault::new("EOF".to_owned(), None)), ..StepOutput::default() }
        }
        StepInput::Data(mut buffers) => {
            assert!(buffers.plaintext_in.is_empty() && buffers.ciphertext_out.is_empty());
            buffers.plaintext_in.extend_from_slice(&reversed(&buffers.ciphertext_in));
            if !buffers.plaintext_out.is_empty() {
                buffers.ciphertext_out.push_back(reversed(&buffers.plaintext_out).into());
            }
            buffers.plaintext_out.clear();
            StepOutput { buffers, ..StepOutput::default() }
        }
    };
    session.finish_step(output);
    true
}

/// The buffers after a step that has encrypted something.
fn encrypted(bytes: &[u8]) -> StepBuffers {
    let ciphertext_out = (!bytes.is_empty()).then(|| Bytes::copy_from_slice(bytes)).into_iter().collect();
    StepBuffers { ciphertext_out, ..StepBuffers::default() }
}

/// Polls and takes steps until there is nothing left to do.
fn drive<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
    loop {
        wait_set::clear();
        let result = poll(&mut Context::from_waker(Waker::noop()));
        if result.is_ready() || take_steps() == 0 {
            wait_set::clear();
            return result;
        }
        // The kernel is asked again, as after a sleep.
    }
}

fn connected() -> io::Result<(SslStream, UnixStream)> {
    let (mut stream, mut peer) = pair()?;
    peer.write_all(HELLO)?;
    let mut handshake = Box::pin(stream.handshake());
    let poll = drive(|cx| handshake.as_mut().poll(cx));
    drop(handshake);
    assert!(matches!(poll, Poll::Ready(Ok(()))), "{poll:?}");
    let mut greeting = [0; HELLO.len()];
    peer.read_exact(&mut greeting)?;
    assert_eq!(greeting, HELLO);
    Ok((stream, peer))
}

fn read(stream: &mut SslStream, size: usize) -> Poll<io::Result<Vec<u8>>> {
    if let Some(socket) = stream.below().socket() {
        socket.expect_readable();
    }
    let mut bytes = vec![0; size];
    let mut buf = ReadBuf::new(&mut bytes);
    match drive(|cx| Pin::new(&mut *stream).poll_read(cx, &mut buf)) {
        Poll::Ready(Ok(())) => Poll::Ready(Ok(buf.filled().to_vec())),
        Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        Poll::Pending => Poll::Pending,
    }
}

fn is_eq(read: &Poll<io::Result<Vec<u8>>>, expected: &[u8]) -> bool {
    matches!(read, Poll::Ready(Ok(bytes)) if bytes == expected)
}

#[test]
fn bytes_pass_both_ways_and_the_end_of_the_stream_is_one() -> io::Result<()> {
    let (mut stream, mut peer) = connected()?;
    assert!(read(&mut stream, 8).is_pending());
    let written = drive(|cx| Pin::new(&mut stream).poll_write(cx, b"ping"));
    assert!(matches!(written, Poll::Ready(Ok(4))));
    assert!(matches!(drive(|cx| Pin::new(&mut stream).poll_flush(cx)), Poll::Ready(Ok(()))));
    let mut received = [0; 4];
    peer.read_exact(&mut received)?;
    assert_eq!(received, *reversed(b"ping"));

    peer.write_all(&reversed(b"pong"))?;
    assert!(is_eq(&read(&mut stream, 3), b"pon"));
    drop(peer);
    assert!(is_eq(&read(&mut stream, 3), b"g"));
    assert!(is_eq(&read(&mut stream, 3), b""));
    Ok(())
}

#[test]
fn a_handshake_that_is_cut_off_is_told_so() -> io::Result<()> {
    let (mut stream, peer) = pair()?;
    drop(peer);
    let mut handshake = std::pin::pin!(stream.handshake());
    match drive(|cx| handshake.as_mut().poll(cx)) {
        Poll::Ready(Err(error)) => {
            assert!(["EOF", "Broken pipe (os error 32)"].contains(&&*error.to_string()), "{error}");
        }
        other => panic!("{other:?}"),
    }
    Ok(())
}

#[test]
fn no_more_is_accepted_than_can_be_sent() -> io::Result<()> {
    let (mut stream, mut peer) = connected()?;
    let block = vec![7; 1024 * 1024];
    let mut accepted = 0;
    while let Poll::Ready(result) = drive(|cx| Pin::new(&mut stream).poll_write(cx, &block)) {
        let length = result?;
        assert!((1..=256 * 1024).contains(&length));
        accepted += length;
    }
    assert!(drive(|cx| Pin::new(&mut stream).poll_flush(cx)).is_pending());
    peer.set_nonblocking(true)?;
    let mut held = 0;
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length) = peer.read(&mut buffer) {
        held += length;
    }
    assert!(accepted - held <= 2 * 256 * 1024, "{accepted} accepted, {held} sent");
    Ok(())
}

#[test]
fn what_is_read_ahead_is_bounded() -> io::Result<()> {
    let (mut stream, mut peer) = connected()?;
    peer.set_nonblocking(true)?;
    let block = vec![7; 64 * 1024];
    let mut sent = 0;
    // The steps are not taken: what arrives stays in the buffers.
    for _ in 0..100 {
        while let Ok(length) = peer.write(&block) {
            sent += length;
        }
        if let Some(socket) = stream.below().socket() {
            socket.expect_readable();
        }
        let mut byte = [0];
        let poll =
            Pin::new(&mut stream).poll_read(&mut Context::from_waker(Waker::noop()), &mut ReadBuf::new(&mut byte));
        assert!(poll.is_pending());
    }
    assert_eq!(std::iter::from_fn(steps::take_step).count(), 1, "noted once");
    wait_set::clear();
    let (mut in_kernel, mut buffer) = (0, vec![0; 64 * 1024]);
    if let Some(socket) = stream.below().socket() {
        let mut kernel = socket.socket();
        while let Ok(length) = kernel.read(&mut buffer) {
            in_kernel += length;
        }
    }
    assert!(sent - in_kernel <= 512 * 1024, "{} read ahead", sent - in_kernel);
    Ok(())
}

#[derive(Default)]
struct Counter(AtomicUsize);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn one_driver_at_a_time_takes_a_step_and_wakes_the_others() -> io::Result<()> {
    let (mut stream, mut peer) = connected()?;
    peer.write_all(&reversed(b"data"))?;
    let session = Arc::clone(stream.session());
    let counter = Arc::new(Counter::default());
    let waker = Waker::from(Arc::clone(&counter));
    let mut poll = |size: usize| {
        let mut bytes = vec![0; size];
        let mut buf = ReadBuf::new(&mut bytes);
        if let Some(socket) = stream.below().socket() {
            socket.expect_readable();
        }
        let poll = Pin::new(&mut stream).poll_read(&mut Context::from_waker(&waker), &mut buf);
        poll.is_ready().then(|| buf.filled().to_vec())
    };
    assert_eq!(poll(4), None);
    assert!(session.begin_step().is_some());
    assert_eq!(poll(4), None);
    assert!(session.begin_step().is_none(), "it is under way");
    assert_eq!(counter.0.load(Ordering::Relaxed), 0);
    let buffers = StepBuffers { plaintext_in: BytesMut::from(&b"data"[..]), ..StepBuffers::default() };
    session.finish_step(StepOutput { buffers, ..StepOutput::default() });
    assert_eq!(counter.0.load(Ordering::Relaxed), 1);
    assert_eq!(poll(4).as_deref(), Some(&b"data"[..]));
    steps::take_step();
    wait_set::clear();
    Ok(())
}

#[test]
fn a_step_that_is_interrupted_fails_the_session() -> io::Result<()> {
    let (mut stream, mut peer) = connected()?;
    peer.write_all(&reversed(b"data"))?;
    let session = Arc::clone(stream.session());
    if let Some(socket) = stream.below().socket() {
        socket.expect_readable();
    }
    let mut byte = [0];
    let poll = Pin::new(&mut stream).poll_read(&mut Context::from_waker(Waker::noop()), &mut ReadBuf::new(&mut byte));
    assert!(poll.is_pending());
    steps::take_step();
    wait_set::clear();
    assert!(session.begin_step().is_some());
    session.fail_step();
    for _ in 0..2 {
        assert!(matches!(read(&mut stream, 4), Poll::Ready(Err(_))));
        assert!(matches!(drive(|cx| Pin::new(&mut stream).poll_write(cx, b"x")), Poll::Ready(Err(_))));
    }
    Ok(())
}

#[test]
fn the_session_of_a_stream_that_is_gone_takes_no_step() -> io::Result<()> {
    let (mut stream, _peer) = connected()?;
    let session = Arc::clone(stream.session());
    assert!(matches!(
        Pin::new(&mut stream).poll_write(&mut Context::from_waker(Waker::noop()), b"x"),
        Poll::Ready(Ok(1))
    ));
    drop(stream);
    assert!(session.begin_step().is_none());
    Ok(())
}

/// A record that arrives. The engine of these tests passes its bytes on as any others.
fn record(length: u16) -> Vec<u8> {
    let [high, low] = length.to_be_bytes();
    [&[23, 3, 3, high, low][..], &vec![7; usize::from(length)]].concat()
}

#[test]
fn a_step_is_taken_for_whole_records_only() -> io::Result<()> {
    let (mut stream, mut peer) = connected()?;
    let bytes = [record(100), record(200), record(16_000)].concat();
    for part in [&bytes[..60], &bytes[60..104]] {
        peer.write_all(part)?;
        assert!(read(&mut stream, 8).is_pending());
    }
    peer.write_all(&bytes[104..400])?;
    assert!(is_eq(&read(&mut stream, 20_000), &reversed(&bytes[..310])));
    assert!(read(&mut stream, 8).is_pending(), "the third record is not complete");
    peer.write_all(&bytes[400..])?;
    assert!(is_eq(&read(&mut stream, 20_000), &reversed(&bytes[310..])));
    Ok(())
}

#[test]
fn a_record_that_is_cut_off_is_an_end() -> io::Result<()> {
    let (mut stream, mut peer) = connected()?;
    peer.write_all(&record(100)[..50])?;
    assert!(read(&mut stream, 8).is_pending());
    drop(peer);
    assert!(is_eq(&read(&mut stream, 8), b""));
    Ok(())
}

#[test]
fn what_arrives_during_a_step_comes_after_it() -> io::Result<()> {
    let (mut stream, mut peer) = connected()?;
    let session = Arc::clone(stream.session());
    let poll = |stream: &mut SslStream| {
        let mut bytes = [0; 1000];
        let mut buf = ReadBuf::new(&mut bytes);
        if let Some(socket) = stream.below().socket() {
            socket.expect_readable();
        }
        assert!(Pin::new(stream).poll_read(&mut Context::from_waker(Waker::noop()), &mut buf).is_pending());
    };
    let (first, second) = (record(100), record(50));
    peer.write_all(&[&first[..], &second[..20]].concat())?;
    poll(&mut stream);
    let Some(StepInput::Data(mut buffers)) = session.begin_step() else { panic!("no step") };
    assert_eq!(buffers.ciphertext_in, first);
    peer.write_all(&second[20..])?;
    poll(&mut stream);
    buffers.plaintext_in.extend_from_slice(b"first");
    // The peer negotiates again: the plaintext is not encrypted yet.
    buffers.plaintext_out.extend_from_slice(b"held");
    session.finish_step(StepOutput { buffers, is_holding: true, ..StepOutput::default() });
    assert!(is_eq(&read(&mut stream, 5), b"first"));
    steps::take_step();
    assert!(is_eq(&read(&mut stream, 100), &reversed(&second)));
    let mut received = [0; 4];
    assert!(matches!(drive(|cx| Pin::new(&mut stream).poll_flush(cx)), Poll::Ready(Ok(()))));
    peer.read_exact(&mut received)?;
    assert_eq!(received, *reversed(b"held"), "it is sent with the next step");
    Ok(())
}

#[test]
fn reading_encrypts_nothing_while_ciphertext_waits() -> io::Result<()> {
    let (mut stream, mut peer) = connected()?;
    // The peer sends and does not read.
    let block = vec![7; 1024 * 1024];
    for _ in 0..20 {
        let _: Poll<_> = drive(|cx| Pin::new(&mut stream).poll_write(cx, &block));
        let _: Poll<_> = drive(|cx| Pin::new(&mut stream).poll_flush(cx));
        peer.write_all(&record(10))?;
        assert!(is_eq(&read(&mut stream, 100), &reversed(&record(10))));
    }
    let held = stream.session().buffers().held();
    assert!(held <= 1024 * 1024, "{held} bytes");
    Ok(())
}

#[test]
fn an_idle_session_holds_no_large_buffers() -> io::Result<()> {
    let (mut stream, mut peer) = connected()?;
    peer.set_nonblocking(true)?;
    let (block, mut sent) = (vec![7; 300_000], 0);
    let mut received = vec![0; 300_000];
    let mut is_flushed = false;
    while !is_flushed {
        // The socket asks the kernel again.
        stream.below_mut().attach(None)?;
        if sent < block.len()
            && let Poll::Ready(length) = drive(|cx| Pin::new(&mut stream).poll_write(cx, &block[sent..]))
        {
            sent += length?;
        }
        is_flushed = drive(|cx| Pin::new(&mut stream).poll_flush(cx)).is_ready() && sent == block.len();
        while peer.read(&mut received).is_ok() {}
    }
    let (mut written, mut got) = (0, 0);
    while got < block.len() {
        written += peer.write(&block[written..]).unwrap_or(0);
        if let Poll::Ready(bytes) = read(&mut stream, 100_000) {
            got += bytes?.len();
        }
    }
    assert!(read(&mut stream, 1).is_pending());
    let held = stream.session().buffers().held();
    assert!(held <= 16 * 1024, "{held} bytes");
    Ok(())
}
