//! Sockets without a reactor, over socket pairs. Readiness is reported by the tests, in place of a sleeping thread.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

use super::super::sys::Readiness;
use super::*;
use crate::testing::socket_pair;

/// Remembers that it was woken.
#[derive(Default)]
struct WakeMark(AtomicBool);

impl Wake for WakeMark {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn pair() -> (Socket, UnixStream) {
    wait_set::clear();
    socket_pair()
}

fn read(socket: &mut Socket, length: usize) -> Poll<Vec<u8>> {
    let mut bytes = vec![0; length];
    let mut buf = ReadBuf::new(&mut bytes);
    let poll = Pin::new(socket).poll_read(&mut Context::from_waker(Waker::noop()), &mut buf);
    poll.map(|result| {
        result.expect("a read without an error");
        buf.filled().to_vec()
    })
}

fn write(socket: &mut Socket, bytes: &[u8]) -> Poll<io::Result<usize>> {
    Pin::new(socket).poll_write(&mut Context::from_waker(Waker::noop()), bytes)
}

fn ready(bytes: &[u8]) -> Poll<Vec<u8>> {
    Poll::Ready(bytes.to_vec())
}

/// Returns the directions that the last poll waits for.
fn waits() -> Vec<Direction> {
    wait_set::take().interests.into_iter().map(|(_, direction)| direction).collect()
}

fn report(socket: &Socket, readiness: Readiness) {
    socket.source.set_ready(readiness);
}

const READ_READY: Readiness = Readiness { readable: true, writable: false, read_closed: false };
const WRITE_READY: Readiness = Readiness { readable: false, writable: true, read_closed: false };

#[test]
fn a_short_read_drains_the_socket() {
    let (mut socket, peer) = pair();
    (&peer).write_all(b"ab").expect("room for two bytes");
    assert_eq!(read(&mut socket, 4), ready(b"ab"));
    assert!(waits().is_empty());
    (&peer).write_all(b"cd").expect("room for two bytes");
    assert!(read(&mut socket, 4).is_pending(), "the kernel is not asked before it has reported the socket ready");
    assert_eq!(waits(), [Direction::Read]);
    report(&socket, READ_READY);
    assert_eq!(read(&mut socket, 4), ready(b"cd"));
    assert_eq!(socket.moved(), 4);
}

#[test]
fn a_full_read_leaves_the_socket_readable() {
    let (mut socket, peer) = pair();
    (&peer).write_all(b"abcd").expect("room for four bytes");
    assert_eq!(read(&mut socket, 2), ready(b"ab"));
    assert_eq!(read(&mut socket, 2), ready(b"cd"));
    assert!(read(&mut socket, 2).is_pending(), "the kernel has no more");
    assert_eq!(waits(), [Direction::Read]);
}

#[test]
fn a_drained_socket_can_be_made_to_ask_the_kernel() {
    let (mut socket, peer) = pair();
    assert!(read(&mut socket, 4).is_pending());
    (&peer).write_all(b"ab").expect("room for two bytes");
    assert!(read(&mut socket, 4).is_pending());
    socket.expect_readable();
    assert_eq!(read(&mut socket, 4), ready(b"ab"));
}

#[test]
fn a_read_never_blocks_after_the_peer_has_closed() {
    let (mut socket, peer) = pair();
    (&peer).write_all(b"ab").expect("room for two bytes");
    drop(peer);
    report(&socket, Readiness { readable: true, writable: true, read_closed: true });
    assert_eq!(read(&mut socket, 4), ready(b"ab"));
    for _ in 0..3 {
        assert_eq!(read(&mut socket, 4), ready(b""));
    }
    assert!(socket.is_readable());
}

#[test]
fn a_write_waits_when_the_buffer_of_the_kernel_is_full() {
    let (mut socket, peer) = pair();
    let chunk = vec![1; 64 * 1024];
    let mut sent = 0;
    while let Poll::Ready(result) = write(&mut socket, &chunk) {
        sent += result.expect("a write without an error");
    }
    assert_eq!((waits(), socket.moved()), (vec![Direction::Write], sent as u64));
    assert!(socket.poll_writable(&mut Context::from_waker(Waker::noop())).is_pending());

    let mut received = vec![0; sent];
    let mut left = sent;
    while left > 0 {
        left -= (&peer).read(&mut received).expect("what was sent");
    }
    assert!(write(&mut socket, &chunk).is_pending(), "the kernel is not asked before it has reported the socket ready");
    report(&socket, WRITE_READY);
    assert!(write(&mut socket, &chunk).is_ready());
}

#[test]
fn slices_are_sent_together() {
    let (mut socket, peer) = pair();
    let slices = [IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"cd")];
    let sent = Pin::new(&mut socket).poll_write_vectored(&mut Context::from_waker(Waker::noop()), &slices);
    assert!(matches!(sent, Poll::Ready(Ok(4))));
    let mut received = [0; 4];
    (&peer).read_exact(&mut received).expect("four bytes");
    assert_eq!(&received, b"abcd");
}

#[test]
fn a_write_to_a_closed_peer_is_an_error_and_no_signal() {
    let (mut socket, peer) = pair();
    drop(peer);
    match write(&mut socket, b"ab") {
        Poll::Ready(Err(error)) => assert_eq!(error.kind(), io::ErrorKind::BrokenPipe),
        other => panic!("an error, not {other:?}"),
    }
}

#[test]
fn a_connect_in_progress_waits_for_the_kernel() {
    let (mut socket, peer) = pair();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(socket.poll_writable(&mut cx).is_ready());
    (&peer).write_all(b"ab").expect("room for two bytes");
    socket.expect_blocked();
    assert!(socket.poll_writable(&mut cx).is_pending() && read(&mut socket, 4).is_pending());
    assert_eq!(waits(), [Direction::Write, Direction::Read]);
    report(&socket, WRITE_READY);
    assert!(socket.poll_writable(&mut cx).is_ready());
}

#[test]
fn what_was_known_of_the_readiness_does_not_outlive_an_attach() {
    let (mut socket, peer) = pair();
    assert!(read(&mut socket, 4).is_pending());
    (&peer).write_all(b"ab").expect("room for two bytes");
    socket.attach(None).expect("no registration");
    assert_eq!(read(&mut socket, 4), ready(b"ab"));
}

#[test]
fn a_shutdown_ends_both_directions() {
    let (mut socket, peer) = pair();
    let source = socket.downgrade().upgrade().expect("a socket that is open");
    assert!(!socket.is_readable() && socket.is_current());
    source.shutdown();
    assert!(socket.is_readable());
    assert_eq!(read(&mut socket, 4), ready(b""));
    assert!(matches!(write(&mut socket, b"ab"), Poll::Ready(Err(_))));
    assert_eq!((&peer).read(&mut [0; 4]).expect("the end of the stream"), 0);
}

#[test]
fn each_direction_wakes_what_waits_for_it() {
    let marks = [Arc::<WakeMark>::default(), Arc::<WakeMark>::default()];
    let is_woken = || marks.each_ref().map(|mark| mark.0.swap(false, Ordering::SeqCst));
    let (socket, _peer) = pair();
    let register = || {
        socket.source.register(Direction::Read, &Waker::from(Arc::clone(&marks[0])));
        socket.source.register(Direction::Write, &Waker::from(Arc::clone(&marks[1])));
    };
    register();
    report(&socket, READ_READY);
    assert_eq!(is_woken(), [true, false]);
    report(&socket, READ_READY);
    assert_eq!(is_woken(), [false, false], "a waker is woken once");
    report(&socket, WRITE_READY);
    assert_eq!(is_woken(), [false, true]);
    register();
    report(&socket, Readiness { read_closed: true, ..Readiness::default() });
    assert_eq!(is_woken(), [true, false]);
    drop(socket);
    assert_eq!(is_woken(), [false, true], "the socket is gone");
}
