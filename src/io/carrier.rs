//! A stream that is not ours: the caller's `network_backend` carries the bytes.
//!
//! Nothing here moves a byte. A poll notes what the protocol wants, a read or a write; that becomes an [`Ask`] only when the
//! exchange really waits for it, so that nothing is read ahead of what somebody needs: a scripted stream has no "not yet".

use std::any::Any;
use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::ask::{Answer, Ask, Asker};
use crate::error::{Error, Kind};
use crate::fork::Generation;

/// The caller's stream, as far as the engine knows it.
pub trait Carrier: Any + Send + Sync {
    /// Whether a read would return at once, for all that the stream can tell.
    fn is_readable(&self) -> bool;

    /// Whether its methods have to be awaited.
    fn is_async(&self) -> bool;

    /// Whether its TLS has chosen HTTP/2.
    fn has_chosen_http2(&self) -> bool;
}

/// A share in the caller's stream.
pub struct Handle {
    carrier: Arc<dyn Carrier>,
    /// Whether somebody closes it, or has closed it. It is closed once.
    closing: Arc<AtomicBool>,
}

impl Clone for Handle {
    fn clone(&self) -> Self {
        Self { carrier: Arc::clone(&self.carrier), closing: Arc::clone(&self.closing) }
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Handle")
    }
}

impl Handle {
    pub fn new(carrier: Arc<dyn Carrier>) -> Self {
        Self { carrier, closing: Arc::default() }
    }

    pub fn carrier(&self) -> &dyn Carrier {
        &*self.carrier
    }

    /// Leaves the stream to be closed by the driver that runs on this thread: closing takes Python, and may have to be awaited.
    pub fn forsake(&self) {
        if !self.closing.swap(true, Ordering::AcqRel) {
            FORSAKEN.with_borrow_mut(|forsaken| forsaken.push(self.clone()));
        }
    }
}

thread_local! {
    static FORSAKEN: RefCell<Vec<Handle>> = const { RefCell::new(Vec::new()) };
}

/// The streams that this thread has to close, those whose methods are awaited or the others.
pub fn take_forsaken(is_async: bool) -> Vec<Handle> {
    FORSAKEN.with_borrow_mut(|forsaken| {
        if forsaken.is_empty() {
            return Vec::new();
        }
        forsaken.extract_if(.., |handle| handle.carrier.is_async() == is_async).collect()
    })
}

/// How much is asked for at a time: as much as httpcore asks for.
const READ: usize = 64 * 1024;

/// What an exchange has asked of a stream and got no answer to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Asked {
    #[default]
    Nothing,
    Read,
    Write,
}

/// A connection's use of a stream of the caller's. Dropping it leaves the stream to be closed.
///
/// It reads and writes independently, each at the hands of one exchange at a time.
pub struct Carried {
    handle: Handle,
    generation: Generation,
    moved: u64,

    wants_read: bool,
    is_reading: bool,
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

impl Carried {
    pub fn new(handle: Handle) -> Self {
        Self {
            handle,
            generation: Generation::current(),
            moved: 0,
            wants_read: false,
            is_reading: false,
            incoming: Bytes::new(),
            has_ended: false,
            read_failed: None,
            wants_write: None,
            is_writing: None,
            sent: None,
            write_failed: None,
        }
    }

    pub fn handle(&self) -> &Handle {
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
    pub fn ask(&mut self, asker: &Asker, pending: &mut Asked, read: Option<Duration>, write: Option<Duration>) {
        if *pending != Asked::Nothing {
            return;
        }
        let stream = self.handle.clone();
        if self.is_writing.is_none()
            && let Some(bytes) = self.wants_write.take()
        {
            self.is_writing = Some(bytes.len());
            *pending = Asked::Write;
            asker.post(Ask::Write { stream, bytes, timeout: write });
        } else if self.wants_read && !self.is_reading {
            self.wants_read = false;
            self.is_reading = true;
            *pending = Asked::Read;
            asker.post(Ask::Read { stream, max_bytes: READ, timeout: read });
        }
    }

    /// Whether somebody writes.
    pub fn is_writing(&self) -> bool {
        self.is_writing.is_some()
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

    /// Takes the answer, if there is one. A read that took too long is returned: it says nothing of the stream, only that the one
    /// who asked has waited long enough.
    pub fn hear(&mut self, asker: &Asker, pending: &mut Asked) -> Option<Error> {
        if *pending == Asked::Nothing {
            return None;
        }
        let answer = asker.take_answer()?;
        match std::mem::take(pending) {
            Asked::Nothing => {}
            Asked::Read => {
                self.is_reading = false;
                match answer {
                    Answer::Data(bytes) => {
                        self.moved += bytes.len() as u64;
                        self.has_ended = bytes.is_empty();
                        self.incoming = bytes;
                    }
                    Answer::Failed(error) if error.kind() == Kind::ReadTimeout => return Some(error),
                    Answer::Failed(error) => self.read_failed = Some(error),
                    _ => self.read_failed = Some(crate::ask::mismatch()),
                }
            }
            Asked::Write => {
                let sending = self.is_writing.take().unwrap_or_default();
                match answer {
                    Answer::Done => {
                        self.moved += sending as u64;
                        self.sent = Some(sending);
                    }
                    Answer::Failed(error) => self.write_failed = Some(error),
                    _ => self.write_failed = Some(crate::ask::mismatch()),
                }
            }
        }
        None
    }

    /// The exchange does not wait for the answer any more. What was read is not lost: nothing was. What was to be written may have
    /// gone out in part, so that nothing can follow it.
    pub fn abandon(&mut self, asked: Asked) {
        match asked {
            Asked::Nothing => {}
            Asked::Read => self.is_reading = false,
            Asked::Write => {
                self.is_writing = None;
                let message = "a request was cancelled while its bytes were being written";
                self.write_failed = Some(Error::new(Kind::WriteError, message));
            }
        }
    }

    /// The stream has become part of another one, which is closed in its place.
    pub fn release(self) {
        self.handle.closing.store(true, Ordering::Release);
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        // In a forked child the stream is its parent's as well.
        if self.generation.is_current() {
            self.handle.forsake();
        }
    }
}

impl AsyncRead for Carried {
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

impl AsyncWrite for Carried {
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
