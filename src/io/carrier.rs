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
use crate::error::Error;
use crate::fork::Generation;

/// The caller's stream, as far as the engine knows it.
pub trait Carrier: Any + Send + Sync {
    /// Whether a read would return at once, for all that the stream can tell.
    fn is_readable(&self) -> bool;

    /// Whether its methods have to be awaited.
    fn is_async(&self) -> bool;
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

#[derive(Default)]
enum Want {
    #[default]
    Nothing,
    Read,
    Write(Bytes),
}

/// A connection's use of a stream of the caller's. Dropping it leaves the stream to be closed.
pub struct Carried {
    handle: Handle,
    want: Want,
    /// What has been asked for and is not answered yet.
    asked: bool,
    /// What arrived and is not read yet: a stream may give more than it was asked for.
    incoming: Bytes,
    ended: bool,
    /// Bytes of the write that has succeeded, until it is told.
    sent: Option<usize>,
    sending: usize,
    failed: Option<Error>,
    moved: u64,
    generation: Generation,
}

impl Carried {
    pub fn new(handle: Handle) -> Self {
        Self {
            handle,
            want: Want::Nothing,
            asked: false,
            incoming: Bytes::new(),
            ended: false,
            sent: None,
            sending: 0,
            failed: None,
            moved: 0,
            generation: Generation::current(),
        }
    }

    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Bytes sent and received so far.
    pub fn moved(&self) -> u64 {
        self.moved
    }

    /// The exchange waits: what is wanted is asked for.
    pub fn ask(&mut self, asker: &Asker, read: Option<Duration>, write: Option<Duration>) {
        if self.asked {
            return;
        }
        let stream = self.handle.clone();
        let ask = match std::mem::take(&mut self.want) {
            Want::Nothing => return,
            Want::Read => Ask::Read { stream, max_bytes: READ, timeout: read },
            Want::Write(bytes) => {
                self.sending = bytes.len();
                Ask::Write { stream, bytes, timeout: write }
            }
        };
        self.asked = true;
        asker.post(ask);
    }

    /// Takes the answer, if there is one.
    pub fn hear(&mut self, asker: &Asker) {
        if !self.asked {
            return;
        }
        let Some(answer) = asker.take_answer() else { return };
        self.asked = false;
        match answer {
            Answer::Data(bytes) => {
                self.moved += bytes.len() as u64;
                self.ended = bytes.is_empty();
                self.incoming = bytes;
            }
            Answer::Done => {
                self.moved += self.sending as u64;
                self.sent = Some(self.sending);
            }
            Answer::Failed(error) => self.failed = Some(error),
            _ => self.failed = Some(crate::ask::mismatch()),
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
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(io::Error::other(error)));
        }
        if self.incoming.is_empty() && !self.ended {
            if !self.asked {
                self.want = Want::Read;
            }
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
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(io::Error::other(error)));
        }
        if let Some(sent) = self.sent.take() {
            return Poll::Ready(Ok(sent));
        }
        if !self.asked && !matches!(self.want, Want::Write(_)) {
            let mut bytes = BytesMut::with_capacity(bufs.iter().map(|buf| buf.len()).sum());
            for buf in bufs {
                bytes.extend_from_slice(buf);
            }
            self.want = Want::Write(bytes.freeze());
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
