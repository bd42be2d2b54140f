//! Writes of h2 over a layer of TLS that keeps the borders of writes.

use std::sync::Mutex;
use std::task::Waker;

use super::*;
use crate::io::stream::TlsLayer;
use crate::lock::lock;
use crate::testing::{origin, stream_pair};

/// The writes that a layer has accepted, and how many bytes it accepts until it blocks.
#[derive(Default)]
struct Accepted {
    writes: Vec<usize>,
    flushes: usize,
    room: usize,
    has_failed: bool,
}

/// A layer without encryption.
struct CountingLayer {
    below: Stream,
    accepted: Arc<Mutex<Accepted>>,
}

impl TlsLayer for CountingLayer {
    fn below(&self) -> &Stream {
        &self.below
    }

    fn below_mut(&mut self) -> &mut Stream {
        &mut self.below
    }

    fn has_chosen(&self, _: &[u8]) -> bool {
        true
    }
}

impl AsyncRead for CountingLayer {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for CountingLayer {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut accepted = lock(&self.accepted);
        if accepted.has_failed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let length = buf.len().min(accepted.room);
        if length == 0 {
            return Poll::Pending;
        }
        accepted.room -= length;
        accepted.writes.push(length);
        Poll::Ready(Ok(length))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let joined: Vec<u8> = bufs.iter().flat_map(|buf| buf.to_vec()).collect();
        self.poll_write(cx, &joined)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.accepted).flushes += 1;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Returns a wire over a layer that accepts `room` bytes.
fn wire(room: usize) -> (Http2WireHandle, Arc<Mutex<Accepted>>) {
    let accepted = Arc::new(Mutex::new(Accepted { room, ..Accepted::default() }));
    let layer = CountingLayer { below: stream_pair().0, accepted: Arc::clone(&accepted) };
    (Http2WireHandle::new(Stream::Tls(Box::new(layer)), origin()), accepted)
}

fn cx() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// Writes a frame of this length, with its header, and flushes it as h2 does.
fn write(wire: &mut Http2WireHandle, length: usize) -> Poll<usize> {
    let (header, payload) = ([0; 9], vec![0; length]);
    let bufs = [IoSlice::new(&header), IoSlice::new(&payload)];
    let poll = Pin::new(&mut *wire).poll_write_vectored(&mut cx(), &bufs).map(|written| written.expect("no failure"));
    assert!(Pin::new(wire).poll_flush(&mut cx()).is_ready());
    poll
}

fn send(wire: &Http2WireHandle) -> bool {
    wire.lock().poll_send(&mut cx()).map(|sent| sent.expect("a failure is kept by the wire")).is_ready()
}

#[test]
fn frames_are_written_together_when_h2_has_been_polled() {
    let (mut wire, accepted) = wire(usize::MAX);
    assert_eq!(write(&mut wire, 1), Poll::Ready(10));
    assert!(send(&wire) && lock(&accepted).writes.is_empty(), "there is no request yet");
    wire.lock().open();
    for _ in 0..4 {
        assert_eq!(write(&mut wire, 16_384), Poll::Ready(16_393));
    }
    assert!(lock(&accepted).writes.is_empty());
    assert!(send(&wire));
    assert_eq!(lock(&accepted).writes, [10 + 4 * 16_393]);
    assert_eq!(lock(&accepted).flushes, 1);
    assert!(send(&wire) && wire.lock().queue.capacity() == 0, "an idle connection keeps no buffer");
}

#[test]
fn a_full_queue_is_written_with_the_next_frame() {
    let (mut wire, accepted) = wire(usize::MAX);
    wire.lock().open();
    let frames = COLLECTED / 16_393 + 1;
    for _ in 0..=frames {
        assert_eq!(write(&mut wire, 16_384), Poll::Ready(16_393));
    }
    assert_eq!(lock(&accepted).writes, [(frames + 1) * 16_393]);
}

#[test]
fn what_the_stream_does_not_accept_waits_and_stops_h2() {
    let (mut wire, accepted) = wire(1000);
    wire.lock().open();
    assert_eq!(write(&mut wire, 16_384), Poll::Ready(16_393));
    assert!(!send(&wire) && wire.is_write_blocked());
    while wire.lock().queue.len() < COLLECTED {
        assert_eq!(write(&mut wire, 16_384), Poll::Ready(16_393));
    }
    assert_eq!(write(&mut wire, 16_384), Poll::Pending);
    assert!(!send(&wire) && wire.is_write_blocked());
    lock(&accepted).room = usize::MAX;
    assert!(send(&wire) && !wire.is_write_blocked());
    let sent: usize = lock(&accepted).writes.iter().sum();
    assert_eq!(sent % 16_393, 0, "all frames but the one that h2 has kept");
    assert_eq!(write(&mut wire, 16_384), Poll::Ready(16_393));
}

#[test]
fn a_failure_is_kept_from_h2() {
    let (mut wire, accepted) = wire(0);
    wire.lock().open();
    assert_eq!(write(&mut wire, 16_384), Poll::Ready(16_393));
    lock(&accepted).has_failed = true;
    assert!(send(&wire) && wire.lock().has_write_failed());
    assert_eq!(write(&mut wire, 16_384), Poll::Ready(16_393));
    assert!(Pin::new(&mut wire).poll_shutdown(&mut cx()).is_ready());
    assert_eq!(wire.lock().fault().expect("the failure").kind(), Kind::WriteError);
}
