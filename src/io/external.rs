//! The engine's side of an external stream: one that a user's `network_backend` made and only a driver can use.
//!
//! Nothing here moves a byte. A poll of the protocol notes what it wants, a read or a write. That becomes an [`Effect`] when an exchange
//! has to wait for it, and not before: an external stream has no non-blocking read, so that a read nothing depends on might never end.
//!
//! Rules:
//! * At most one read and one write are in flight, each requested by one exchange, which keeps the [`PendingIo`].
//! * An exchange that stops waiting calls [`ExternalIo::abandon`] with it.
//! * After a failed or abandoned write no byte may follow: a part of the write may have gone out.
//!
//! Dropping an [`ExternalIo`] leaves the stream to its owner to be closed; in a forked child it does nothing.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::strand;
use crate::error::{Error, Kind};
use crate::fork::Generation;
use crate::operation::{Effect, EffectChannel, ExternalHandle, PartTimeout, Reply};

/// The size of a read, in bytes: that of httpcore.
const READ: usize = 64 * 1024;

/// The effect that an exchange has requested for an external stream and got no reply to.
#[derive(Default)]
pub enum PendingIo {
    #[default]
    Nothing,
    Read(Reply<Bytes>, PartTimeout),
    Write(Reply<()>, PartTimeout),
}

impl PendingIo {
    pub fn is_nothing(&self) -> bool {
        matches!(self, Self::Nothing)
    }
}

/// The reading half.
#[derive(Default)]
enum ReadState {
    #[default]
    Idle,
    /// The protocol waits for a read that no exchange has requested.
    Wanted,
    /// An exchange on this thread has requested a read.
    InFlight { thread: u64 },
    /// The next poll gets the error.
    Failed(Error),
    /// The peer has closed its side.
    Ended,
}

impl ReadState {
    fn take_failure(&mut self) -> Option<Error> {
        match std::mem::take(self) {
            Self::Failed(error) => Some(error),
            other => {
                *self = other;
                None
            }
        }
    }
}

/// The writing half.
#[derive(Default)]
enum WriteState {
    #[default]
    Idle,
    /// The protocol waits for a write that no exchange has requested.
    Wanted(Bytes),
    /// An exchange on this thread has requested a write of so many bytes.
    InFlight { thread: u64, length: usize },
    /// So many bytes were written. The protocol, which polls again with the same bytes, is told next.
    Sent(usize),
    /// The next poll gets the error.
    Failed(Error),
}

/// A connection's use of an external stream. It reads and writes independently.
pub struct ExternalIo {
    handle: ExternalHandle,
    generation: Generation,
    reading: ReadState,
    /// Bytes that have arrived and are not read yet: a stream may return more than the protocol has room for.
    incoming: Bytes,
    writing: WriteState,
}

impl ExternalIo {
    pub fn new(handle: ExternalHandle) -> Self {
        Self {
            handle,
            generation: Generation::current(),
            reading: ReadState::Idle,
            incoming: Bytes::new(),
            writing: WriteState::Idle,
        }
    }

    pub fn handle(&self) -> &ExternalHandle {
        &self.handle
    }

    /// Puts back bytes that were read from the stream and belong to what reads it next.
    pub fn unread(&mut self, bytes: Bytes) {
        self.incoming = bytes;
    }

    /// Returns the number of bytes sent and received so far.
    pub fn moved(&self) -> u64 {
        let (sent, received) = self.handle.traffic().moved();
        sent + received
    }

    /// Requests what the protocol wants and no exchange has requested: a write, or else a read. The exchange that calls this waits for
    /// the reply, and has no other one pending.
    pub fn request(
        &mut self,
        effects: &EffectChannel,
        pending: &mut PendingIo,
        read: Option<Duration>,
        write: Option<Duration>,
    ) {
        if !pending.is_nothing() {
            return;
        }
        let (stream, thread) = (self.handle.clone(), strand::thread());
        if let WriteState::Wanted(bytes) = &mut self.writing {
            let bytes = std::mem::take(bytes);
            self.writing = WriteState::InFlight { thread, length: bytes.len() };
            let timeout = effects.limited(write);
            let reply = effects.post(|reply| Effect::Write { stream, bytes, timeout: timeout.limit, reply });
            *pending = PendingIo::Write(reply, timeout);
        } else if let ReadState::Wanted = self.reading {
            self.reading = ReadState::InFlight { thread };
            let timeout = effects.limited(read);
            let reading = |reply| Effect::Read { stream, max_bytes: READ, timeout: timeout.limit, reply };
            *pending = PendingIo::Read(effects.post(reading), timeout);
        }
    }

    /// Returns whether a write is in flight.
    pub fn is_writing(&self) -> bool {
        matches!(self.writing, WriteState::InFlight { .. })
    }

    /// Returns whether this thread is in the middle of a read or a write, further down its stack: a signal handler or finalizer that
    /// waited for the stream would wait for its own thread.
    pub fn is_used_here(&self) -> bool {
        let here = strand::thread();
        let reads = matches!(self.reading, ReadState::InFlight { thread } if thread == here);
        let writes = matches!(self.writing, WriteState::InFlight { thread, .. } if thread == here);
        (reads || writes) && self.handle.stream().is_for_threads()
    }

    /// Returns whether the protocol wants a read or a write that no exchange has requested.
    pub fn is_anything_wanted(&self) -> bool {
        self.is_write_wanted() || matches!(self.reading, ReadState::Wanted)
    }

    /// Returns whether the protocol wants a write that no exchange has requested.
    pub fn is_write_wanted(&self) -> bool {
        matches!(self.writing, WriteState::Wanted(_))
    }

    /// Fails the next poll for a read.
    pub fn fail_read(&mut self, error: Error) {
        self.reading = ReadState::Failed(error);
    }

    /// Takes the reply, if there is one. The error of a read that took too long is returned: it says nothing of the stream, only that
    /// the exchange that requested the read has waited long enough.
    pub fn take_reply(&mut self, pending: &mut PendingIo) -> Option<Error> {
        match pending {
            PendingIo::Nothing => None,
            PendingIo::Read(reply, timeout) => {
                let read = reply.take()?.map_err(|error| timeout.attribute(error));
                *pending = PendingIo::Nothing;
                self.end_read(read)
            }
            PendingIo::Write(reply, timeout) => {
                let written = reply.take()?.map_err(|error| timeout.attribute(error));
                *pending = PendingIo::Nothing;
                self.end_write(written);
                None
            }
        }
    }

    fn end_read(&mut self, read: Result<Bytes, Error>) -> Option<Error> {
        let (reading, timeout) = match read {
            Ok(bytes) => {
                self.handle.traffic().add_received(bytes.len());
                let has_ended = bytes.is_empty();
                self.incoming = bytes;
                (if has_ended { ReadState::Ended } else { ReadState::Idle }, None)
            }
            Err(error) if error.kind() == Kind::ReadTimeout => (ReadState::Idle, Some(error)),
            Err(error) => (ReadState::Failed(error), None),
        };
        self.reading = reading;
        timeout
    }

    fn end_write(&mut self, written: Result<(), Error>) {
        let WriteState::InFlight { length, .. } = self.writing else { return };
        self.writing = match written {
            Ok(()) => {
                self.handle.traffic().add_sent(length);
                WriteState::Sent(length)
            }
            Err(error) => WriteState::Failed(error),
        };
    }

    /// Ends the wait for a reply. A read that was cancelled has read nothing. A thread may have been interrupted after bytes were
    /// read: then they are missing, and reading has failed. A write may have gone out in part: nothing can follow it.
    pub fn abandon(&mut self, pending: PendingIo) {
        match pending {
            PendingIo::Nothing => {}
            PendingIo::Read(reply, _) if reply.is_begun() && self.handle.stream().is_for_threads() => {
                self.fail_read(Error::new(Kind::ReadError, "a request was interrupted while it read"));
            }
            PendingIo::Read(..) => self.reading = ReadState::Idle,
            PendingIo::Write(..) => {
                let message = "a request was cancelled while its bytes were being written";
                self.writing = WriteState::Failed(Error::new(Kind::WriteError, message));
            }
        }
    }

    /// Gives the stream up without closing it: it has become part of another one, which is closed in its place.
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
        if let Some(error) = self.reading.take_failure() {
            return Poll::Ready(Err(io::Error::other(error)));
        }
        if self.incoming.is_empty() && !matches!(self.reading, ReadState::Ended) {
            if let ReadState::Idle = self.reading {
                self.reading = ReadState::Wanted;
            }
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

    /// A protocol that was told to wait polls again with the same bytes, and perhaps more behind them.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match std::mem::take(&mut self.writing) {
            WriteState::Failed(error) => return Poll::Ready(Err(io::Error::other(error))),
            WriteState::Sent(length) => return Poll::Ready(Ok(length)),
            WriteState::Idle => {
                let mut bytes = BytesMut::with_capacity(bufs.iter().map(|buf| buf.len()).sum());
                for buf in bufs {
                    bytes.extend_from_slice(buf);
                }
                self.writing = WriteState::Wanted(bytes.freeze());
            }
            waiting @ (WriteState::Wanted(_) | WriteState::InFlight { .. }) => self.writing = waiting,
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

#[cfg(test)]
mod tests;
