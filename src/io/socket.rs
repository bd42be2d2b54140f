//! A non-blocking stream socket that remembers its readiness.
//!
//! After `EAGAIN` or a short read the socket counts as drained: no further call is made until `poll(2)` or the reactor has reported
//! it ready. So waiting for a response costs no system call that fails.
//!
//! A poll that has to wait says so in one of two places: a socket with a reactor registers the waker of the poll, one without adds
//! itself to the wait set of the thread.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::reactor::{Reactor, Registration};
use super::source::{Direction, READ_CLOSED, READABLE, Source, WRITABLE};
use super::sys::SEND_FLAGS;
use super::wait_set;
use crate::operation::Traffic;

/// A socket, and its registration with a reactor if it has one. Dropping it closes the descriptor, without `close_notify`, and wakes
/// what waits for it.
pub struct Socket {
    // Dropped before `source`: the reactor lets go of the descriptor while it is still open.
    registration: Option<Registration>,
    source: Arc<Source>,
    traffic: Arc<Traffic>,
}

impl Socket {
    /// Wraps a socket that has been made non-blocking.
    pub fn new(socket: socket2::Socket, reactor: Option<&Arc<Reactor>>) -> io::Result<Self> {
        let mut this = Self { registration: None, source: Arc::new(Source::new(socket)), traffic: Arc::default() };
        this.attach(reactor)?;
        Ok(this)
    }

    /// Moves the socket to the event loop of its next user, or to none: an idle connection outlives the loop that made it.
    pub fn attach(&mut self, reactor: Option<&Arc<Reactor>>) -> io::Result<()> {
        if let (Some(registration), Some(reactor)) = (&self.registration, reactor)
            && registration.belongs_to(reactor)
        {
            return Ok(());
        }
        self.registration = None;
        // What was seen by the reactor before is not known to the next one.
        self.source.set(READABLE | WRITABLE);
        if let Some(reactor) = reactor {
            self.registration = Some(reactor.register(&self.source)?);
        }
        Ok(())
    }

    /// Returns the reactor that watches the socket.
    pub fn reactor(&self) -> Option<Arc<Reactor>> {
        self.registration.as_ref().and_then(Registration::reactor)
    }

    pub fn socket(&self) -> &socket2::Socket {
        self.source.socket()
    }

    /// Returns whether a read would return at once.
    pub fn is_readable(&self) -> bool {
        self.source.is_readable()
    }

    /// Returns whether this process made the socket, and not one that it was forked from.
    pub fn is_current(&self) -> bool {
        self.source.is_current()
    }

    /// Returns the number of bytes sent and received so far.
    pub fn moved(&self) -> u64 {
        let (sent, received) = self.traffic.moved();
        sent + received
    }

    /// Returns the counters of bytes, which outlive the socket.
    pub fn traffic(&self) -> &Arc<Traffic> {
        &self.traffic
    }

    /// Ends both directions.
    pub fn shutdown(&self) {
        self.source.shutdown();
    }

    pub fn source(&self) -> &Arc<Source> {
        &self.source
    }

    pub fn downgrade(&self) -> Weak<Source> {
        Arc::downgrade(&self.source)
    }

    /// Makes the next read ask the kernel, even if the socket counts as drained.
    pub fn expect_readable(&self) {
        self.source.expect_readable();
    }

    /// Makes the next read and write wait until the kernel reports the socket ready, as a connect in progress needs it.
    pub fn expect_blocked(&self) {
        self.source.clear(READABLE | WRITABLE);
    }

    /// Completes when the socket can be written to. A connect in progress has then ended, with success or an error.
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.source.is(WRITABLE) { Poll::Ready(()) } else { self.wait(cx, Direction::Write) }
    }

    fn wait<T>(&self, cx: &Context<'_>, direction: Direction) -> Poll<T> {
        match &self.registration {
            Some(registration) => {
                let interests = self.source.register(direction, cx.waker());
                registration.arm(&self.source, interests);
            }
            None => wait_set::wait_for(&self.source, direction),
        }
        Poll::Pending
    }

    fn poll_send(
        &mut self,
        cx: &Context<'_>,
        mut send: impl FnMut(&socket2::Socket) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            if !self.source.is(WRITABLE) {
                return self.wait(cx, Direction::Write);
            }
            match send(self.source.socket()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.source.clear(WRITABLE),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => {
                    self.traffic.add_sent(*result.as_ref().unwrap_or(&0));
                    return Poll::Ready(result);
                }
            }
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.source.wake_all();
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            if !self.source.is(READABLE | READ_CLOSED) {
                return self.wait(cx, Direction::Read);
            }
            // SAFETY: socket2 writes received bytes into the slice and never de-initialises any of it.
            let unfilled = unsafe { buf.unfilled_mut() };
            let wanted = unfilled.len();
            match self.source.socket().recv(unfilled) {
                Ok(received) => {
                    if received < wanted && !self.source.is(READ_CLOSED) {
                        // The kernel had no more. An edge-triggered poller reports what comes after this.
                        self.source.clear(READABLE);
                    }
                    // SAFETY: `recv` has just initialised that many bytes from the start of the slice.
                    unsafe { buf.assume_init(received) };
                    buf.advance(received);
                    self.traffic.add_received(received);
                    return Poll::Ready(Ok(()));
                }
                // The end of the stream had been reported for a socket that was closed before, and had the same key.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.source.clear(READABLE | READ_CLOSED),
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

#[cfg(test)]
mod tests;
