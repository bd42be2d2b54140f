//! A stream that is not ours: the caller's `network_backend` carries the bytes.
//!
//! Nothing here moves a byte. A poll notes what the protocol wants, a read or a write; that becomes an [`Effect`] only when the
//! exchange really waits for it, so that nothing is read ahead of what somebody needs: a scripted stream has no "not yet".

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::strand;
use crate::error::{Error, Kind};
use crate::fork::Generation;
use crate::operation::{Effect, EffectChannel, ExternalHandle, Reply};

/// How much is asked for at a time: as much as httpcore asks for.
const READ: usize = 64 * 1024;

/// What an exchange has asked of a stream and got no reply to.
#[derive(Default)]
pub enum PendingIo {
    #[default]
    Nothing,
    Read(Reply<Bytes>),
    Write(Reply<()>),
}

impl PendingIo {
    pub fn is_nothing(&self) -> bool {
        matches!(self, Self::Nothing)
    }
}

/// A connection's use of a stream of the caller's. Dropping it leaves the stream to be closed.
///
/// It reads and writes independently, each at the hands of one exchange at a time.
pub struct ExternalIo {
    handle: ExternalHandle,
    generation: Generation,
    moved: u64,

    wants_read: bool,
    is_reading: bool,
    /// The thread that reads, and the one that writes.
    reader: u64,
    writer: u64,
    /// What arrived and is not read yet: a stream may give more than it was asked for.
    incoming: Bytes,
    has_ended: bool,
    read_failed: Option<Error>,

    wants_write: Option<Bytes>,
    is_writing: Option<usize>,
    /// Bytes of the write that has succeeded, until it is told.
    sent: Option<usize>,
    write_failed: Option<Error>,
}

impl ExternalIo {
    pub fn new(handle: ExternalHandle) -> Self {
        Self {
            handle,
            generation: Generation::current(),
            moved: 0,
            wants_read: false,
            is_reading: false,
            reader: 0,
            writer: 0,
            incoming: Bytes::new(),
            has_ended: false,
            read_failed: None,
            wants_write: None,
            is_writing: None,
            sent: None,
            write_failed: None,
        }
    }

    pub fn handle(&self) -> &ExternalHandle {
        &self.handle
    }

    /// Puts back what was read from the stream and is not to be lost.
    pub fn unread(&mut self, bytes: Bytes) {
        self.incoming = bytes;
    }

    /// Bytes sent and received so far.
    pub fn moved(&self) -> u64 {
        self.moved
    }

    /// The exchange waits: what is wanted is asked for, a write first, unless somebody has asked for it already.
    pub fn ask(
        &mut self,
        effects: &EffectChannel,
        pending: &mut PendingIo,
        read: Option<Duration>,
        write: Option<Duration>,
    ) {
        if !pending.is_nothing() {
            return;
        }
        let stream = self.handle.clone();
        if self.is_writing.is_none()
            && let Some(bytes) = self.wants_write.take()
        {
            self.is_writing = Some(bytes.len());
            self.writer = strand::thread();
            *pending = PendingIo::Write(effects.post(|reply| Effect::Write { stream, bytes, timeout: write, reply }));
        } else if self.wants_read && !self.is_reading {
            self.wants_read = false;
            self.is_reading = true;
            self.reader = strand::thread();
            *pending =
                PendingIo::Read(effects.post(|reply| Effect::Read { stream, max_bytes: READ, timeout: read, reply }));
        }
    }

    /// Whether somebody writes.
    pub fn is_writing(&self) -> bool {
        self.is_writing.is_some()
    }

    /// Whether this thread was interrupted in a read or a write, further down its stack: a request of the handler would wait for its
    /// own thread.
    pub fn is_used_here(&self) -> bool {
        let here = strand::thread();
        let is_used = (self.is_reading && self.reader == here) || (self.is_writing.is_some() && self.writer == here);
        is_used && self.handle.stream().is_for_threads()
    }

    /// Whether there is a read or a write that nobody has asked for yet.
    pub fn is_anything_wanted(&self) -> bool {
        self.is_write_wanted() || (self.wants_read && !self.is_reading)
    }

    /// Whether there is a write that nobody has asked for yet.
    pub fn is_write_wanted(&self) -> bool {
        self.wants_write.is_some() && self.is_writing.is_none()
    }

    /// The stream's read has failed for good.
    pub fn fail_read(&mut self, error: Error) {
        self.read_failed = Some(error);
    }

    /// Takes the reply, if there is one. A read that took too long is returned: it says nothing of the stream, only that the
    /// exchange that asked for it has waited long enough.
    pub fn hear(&mut self, pending: &mut PendingIo) -> Option<Error> {
        match pending {
            PendingIo::Nothing => return None,
            PendingIo::Read(reply) => {
                let read = reply.take()?;
                self.is_reading = false;
                *pending = PendingIo::Nothing;
                match read {
                    Ok(bytes) => {
                        self.moved += bytes.len() as u64;
                        self.has_ended = bytes.is_empty();
                        self.incoming = bytes;
                    }
                    Err(error) if error.kind() == Kind::ReadTimeout => return Some(error),
                    Err(error) => self.read_failed = Some(error),
                }
            }
            PendingIo::Write(reply) => {
                let written = reply.take()?;
                let sending = self.is_writing.take().unwrap_or_default();
                *pending = PendingIo::Nothing;
                match written {
                    Ok(()) => {
                        self.moved += sending as u64;
                        self.sent = Some(sending);
                    }
                    Err(error) => self.write_failed = Some(error),
                }
            }
        }
        None
    }

    /// The exchange does not wait for the answer any more. A read that was cancelled has read nothing; after one of a thread that was
    /// interrupted, bytes may be missing. What was to be written may have gone out in part, so that nothing can follow it.
    pub fn abandon(&mut self, asked: PendingIo) {
        match asked {
            PendingIo::Nothing => {}
            PendingIo::Read(reply) => {
                self.is_reading = false;
                if reply.is_begun() && self.handle.stream().is_for_threads() {
                    self.fail_read(Error::new(Kind::ReadError, "a request was interrupted while it read"));
                }
            }
            PendingIo::Write(_) => {
                self.is_writing = None;
                let message = "a request was cancelled while its bytes were being written";
                self.write_failed = Some(Error::new(Kind::WriteError, message));
            }
        }
    }

    /// The stream has become part of another one, which is closed in its place.
    pub fn release(self) {
        self.handle.release();
    }
}

impl Drop for ExternalIo {
    fn drop(&mut self) {
        // In a forked child the stream is its parent's as well.
        if self.generation.is_current() {
            self.handle.close_later();
        }
    }
}

impl AsyncRead for ExternalIo {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Some(error) = self.read_failed.take() {
            return Poll::Ready(Err(io::Error::other(error)));
        }
        if self.incoming.is_empty() && !self.has_ended {
            self.wants_read = !self.is_reading;
            return Poll::Pending;
        }
        let length = self.incoming.len().min(buf.remaining());
        buf.put_slice(&self.incoming[..length]);
        self.incoming.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ExternalIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    /// Whoever was told to wait comes back with the same bytes, and perhaps more behind them.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(error) = self.write_failed.take() {
            return Poll::Ready(Err(io::Error::other(error)));
        }
        if let Some(sent) = self.sent.take() {
            return Poll::Ready(Ok(sent));
        }
        if self.is_writing.is_none() && self.wants_write.is_none() {
            let mut bytes = BytesMut::with_capacity(bufs.iter().map(|buf| buf.len()).sum());
            for buf in bufs {
                bytes.extend_from_slice(buf);
            }
            self.wants_write = Some(bytes.freeze());
        }
        Poll::Pending
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
