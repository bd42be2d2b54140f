//! A non-blocking stream socket that remembers its readiness.
//!
//! The kernel is asked only when there is reason to believe in an answer: after `EAGAIN` or a short read the socket counts as
//! drained until `poll(2)` or the reactor says otherwise, so that waiting for a response costs no failing system call.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::park;
use super::reactor::{Reactor, Registration};
use crate::fork::Generation;
use crate::lock::lock;

/// Neither side of a socket that the peer has closed may raise `SIGPIPE` in the user's process.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
const SEND_FLAGS: i32 = libc::MSG_NOSIGNAL;
/// Here socket2 sets `SO_NOSIGPIPE` when it makes the socket.
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
const SEND_FLAGS: i32 = 0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Read,
    Write,
}

const READABLE: u8 = 1;
const WRITABLE: u8 = 2;
/// The peer has closed its side: reads never block again.
const READ_CLOSED: u8 = 4;

/// The socket itself, shared with whoever watches it: the reactor, a sleeping thread, the pool that may shut it down.
pub struct Shared {
    socket: socket2::Socket,
    flags: AtomicU8,
    wakers: Mutex<Wakers>,
    generation: Generation,
}

#[derive(Default)]
struct Wakers {
    read: Option<Waker>,
    write: Option<Waker>,
}

impl Wakers {
    fn slot(&mut self, direction: Direction) -> &mut Option<Waker> {
        match direction {
            Direction::Read => &mut self.read,
            Direction::Write => &mut self.write,
        }
    }
}

impl Shared {
    /// Records what the kernel said, and wakes those who wait for it.
    pub fn set_ready(&self, readable: bool, writable: bool, read_closed: bool) {
        let mut flags = 0;
        if readable {
            flags |= READABLE;
        }
        if writable {
            flags |= WRITABLE;
        }
        if read_closed {
            flags |= READABLE | READ_CLOSED;
        }
        self.flags.fetch_or(flags, Ordering::AcqRel);
        let (reader, writer) = {
            let mut wakers = self.wakers();
            (
                if flags & READABLE != 0 { wakers.read.take() } else { None },
                if flags & WRITABLE != 0 { wakers.write.take() } else { None },
            )
        };
        if let Some(waker) = reader {
            waker.wake();
        }
        if let Some(waker) = writer {
            waker.wake();
        }
    }

    /// Whether this process made the socket, and not one that it was forked from.
    pub fn is_current(&self) -> bool {
        self.generation.is_current()
    }

    /// Ends both directions: everybody who waits for this socket wakes up and finds it closed.
    pub fn shutdown(&self) {
        if !self.generation.is_current() {
            // The stream is the parent's, too.
            return;
        }
        // An error means that it was not connected (any more), which is just as well.
        let _ = self.socket.shutdown(Shutdown::Both);
    }

    /// Whether a read would return at once: with data, end of stream or an error.
    pub fn is_readable(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        match self.socket.peek(&mut byte) {
            Ok(_) => true,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }

    fn wakers(&self) -> MutexGuard<'_, Wakers> {
        lock(&self.wakers)
    }
}

impl AsFd for Shared {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Shared {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// A socket and its place in a reactor, if it has one. Dropping it closes the descriptor, with no goodbye.
pub struct Socket {
    // Dropped before `shared`: the reactor lets go of the descriptor while it is still open.
    registration: Option<Registration>,
    shared: Arc<Shared>,
    moved: u64,
}

impl Socket {
    /// Wraps a socket that has been made non-blocking.
    pub fn new(socket: socket2::Socket, reactor: Option<&Arc<Reactor>>) -> io::Result<Self> {
        let (flags, wakers) = (AtomicU8::new(0), Mutex::default());
        let shared = Arc::new(Shared { socket, flags, wakers, generation: Generation::current() });
        let mut this = Self { registration: None, shared, moved: 0 };
        this.attach(reactor)?;
        Ok(this)
    }

    /// Moves the socket to the loop of the caller, or to no loop: an idle connection outlives the loop that made it.
    pub fn attach(&mut self, reactor: Option<&Arc<Reactor>>) -> io::Result<()> {
        if let (Some(registration), Some(reactor)) = (&self.registration, reactor)
            && registration.belongs_to(reactor)
        {
            return Ok(());
        }
        self.registration = None;
        // What an old watcher knew is worth nothing to the new one.
        self.shared.flags.fetch_or(READABLE | WRITABLE, Ordering::AcqRel);
        if let Some(reactor) = reactor {
            self.registration = Some(reactor.register(&self.shared)?);
        }
        Ok(())
    }

    pub fn socket(&self) -> &socket2::Socket {
        &self.shared.socket
    }

    pub fn is_readable(&self) -> bool {
        self.shared.is_readable()
    }

    pub fn is_current(&self) -> bool {
        self.shared.is_current()
    }

    /// Bytes sent and received so far.
    pub fn moved(&self) -> u64 {
        self.moved
    }

    pub fn shutdown(&self) {
        self.shared.shutdown();
    }

    pub fn downgrade(&self) -> Weak<Shared> {
        Arc::downgrade(&self.shared)
    }

    /// Makes the next read ask the kernel, even if the socket was drained when it was last looked at.
    pub fn expect_readable(&self) {
        self.shared.flags.fetch_or(READABLE, Ordering::AcqRel);
    }

    /// Makes the next write wait for the kernel's word: what a connect in progress needs.
    pub fn expect_blocked(&self) {
        self.shared.flags.fetch_and(!(READABLE | WRITABLE), Ordering::AcqRel);
    }

    /// Completes when the socket can be written to: when a connect in progress has ended, well or not.
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is(WRITABLE) { Poll::Ready(()) } else { self.wait(cx, Direction::Write) }
    }

    /// Notes that somebody waits for something to read.
    pub fn wait_to_read(&self, cx: &Context<'_>) {
        let _: Poll<()> = self.wait(cx, Direction::Read);
    }

    /// Takes that back: another thread sees to it.
    pub fn leave_reading_to_others(&self) {
        park::leave_reading_to_others(&self.shared);
    }

    fn is(&self, flag: u8) -> bool {
        self.shared.flags.load(Ordering::Acquire) & flag != 0
    }

    fn clear(&self, flag: u8) {
        self.shared.flags.fetch_and(!flag, Ordering::AcqRel);
    }

    fn wait<T>(&self, cx: &Context<'_>, direction: Direction) -> Poll<T> {
        if self.registration.is_none() {
            park::wait_for(&self.shared, direction);
            return Poll::Pending;
        }
        let mut wakers = self.shared.wakers();
        let slot = wakers.slot(direction);
        if !slot.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *slot = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    fn poll_send(
        &mut self,
        cx: &Context<'_>,
        mut send: impl FnMut(&socket2::Socket) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            if !self.is(WRITABLE) {
                return self.wait(cx, Direction::Write);
            }
            match send(&self.shared.socket) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.clear(WRITABLE),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => {
                    self.moved += *result.as_ref().unwrap_or(&0) as u64;
                    return Poll::Ready(result);
                }
            }
        }
    }
}

impl Drop for Socket {
    /// Whoever still waits for the socket finds it gone.
    fn drop(&mut self) {
        let Wakers { read, write } = std::mem::take(&mut *self.shared.wakers());
        for waker in [read, write].into_iter().flatten() {
            waker.wake();
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            if !self.is(READABLE | READ_CLOSED) {
                return self.wait(cx, Direction::Read);
            }
            // SAFETY: socket2 writes received bytes into the slice and never de-initialises any of it.
            let unfilled = unsafe { buf.unfilled_mut() };
            let wanted = unfilled.len();
            match self.shared.socket.recv(unfilled) {
                Ok(received) => {
                    if received < wanted && !self.is(READ_CLOSED) {
                        // The kernel had no more. Edge-triggered watchers report whatever comes after this.
                        self.clear(READABLE);
                    }
                    // SAFETY: `recv` has just initialised that many bytes from the start of the slice.
                    unsafe { buf.assume_init(received) };
                    buf.advance(received);
                    self.moved += received as u64;
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.clear(READABLE),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_send(cx, |socket| socket.send_with_flags(buf, SEND_FLAGS))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(cx, |socket| socket.send_vectored_with_flags(bufs, SEND_FLAGS))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
