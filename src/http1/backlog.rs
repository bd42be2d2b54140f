//! The bytes of a request that go out while its exchange waits for the body's iterator.
//!
//! Chunks of a body that are at hand are written together. If the iterator has to be awaited after them, the task of the exchange is
//! suspended in it, and cannot send what the socket has not accepted. These bytes are moved into the [`Backlog`], and a job of the
//! reactor sends them. When the exchange is polled again, what is left of them goes first.
//!
//! Cancelling: the job does not keep the wire alive. What has not been sent is dropped with it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker, ready};

use bytes::{Buf, BytesMut};
use tokio::io::AsyncWrite;

use super::wire::Http1Wire;
use crate::io::reactor::{Job, Reactor};
use crate::io::stream::Stream;
use crate::lock::RankedMutex;

/// Bytes that hyper counts as written, and the stream has not accepted.
#[derive(Default)]
pub struct Backlog {
    bytes: BytesMut,
    /// The stream accepted bytes that it has still to flush.
    is_unflushed: bool,
    /// Bytes and flushes that the stream does not accept are added.
    is_open: bool,
}

impl Backlog {
    pub fn set_open(&mut self, is_open: bool) {
        self.is_open = is_open;
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty() && !self.is_unflushed
    }

    /// Adds bytes. Returns `false` if the exchange itself waits for the stream.
    pub fn add(&mut self, bufs: &[IoSlice<'_>]) -> bool {
        if self.is_open {
            for buf in bufs {
                self.bytes.extend_from_slice(buf);
            }
            self.is_unflushed = true;
        }
        self.is_open
    }

    /// Sends all that was added.
    pub fn poll_send(&mut self, cx: &mut Context<'_>, stream: &mut Stream) -> Poll<io::Result<()>> {
        while !self.bytes.is_empty() {
            match ready!(Pin::new(&mut *stream).poll_write(cx, &self.bytes))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.bytes.advance(sent),
            }
        }
        if self.is_unflushed {
            ready!(Pin::new(stream).poll_flush(cx))?;
            *self = Self { is_open: self.is_open, ..Self::default() };
        }
        Poll::Ready(Ok(()))
    }
}

/// The job that sends the backlog of a wire when its socket accepts more.
pub struct BacklogJob {
    wire: Weak<RankedMutex<Http1Wire>>,
    reactor: Weak<Reactor>,
}

impl BacklogJob {
    pub fn waker(wire: Weak<RankedMutex<Http1Wire>>, reactor: &Arc<Reactor>) -> Waker {
        Waker::from(Arc::new(Self { wire, reactor: Arc::downgrade(reactor) }))
    }
}

impl Wake for BacklogJob {
    fn wake(self: Arc<Self>) {
        if let Some(reactor) = self.reactor.upgrade() {
            reactor.schedule(self);
        }
    }
}

impl Job for BacklogJob {
    fn run(self: Arc<Self>) {
        if let Some(wire) = self.wire.upgrade() {
            wire.lock().send_backlog(&Waker::from(self));
        }
    }

    fn is_urgent(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests;
