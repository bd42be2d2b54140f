//! The stream under h2.
//!
//! 1. What h2 writes before the first request waits for that request, so that opening a connection takes no I/O.
//! 2. A failed write does not fail h2: the peer may have answered before it closed, and the answer is still to be read.
//! 3. No poll reads without end: after [`READ_BUDGET`] bytes or [`FRAME_BUDGET`] frames, exchanges take what has arrived.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frames::FrameCounter;
use super::read_ahead::ReadAhead;
use crate::error::{Error, Kind};
use crate::io::stream::Stream;
use crate::lock::{Guard, Rank, RankedMutex};
use crate::origin::Origin;
use crate::tls::failed;

/// Bytes that are read in one go.
const READ_BUDGET: usize = 512 * 1024;
/// Frames that are read in one go: the smallest have 9 bytes, and take as much time as large ones. One read of h2 may exceed this by
/// a thousand.
const FRAME_BUDGET: u32 = 500;
/// Slices that are passed to the stream in one call, the preamble included.
const MAX_SLICES: usize = 64;

pub struct Http2Wire {
    origin: Arc<Origin>,
    stream: Stream,
    /// Bytes that have to be sent before all others.
    preamble: BytesMut,
    writing: Outgoing,
    read_error: Option<Error>,
    /// Bytes and frames that were read so far, in all and in this go.
    received: u64,
    budget: usize,
    frames_in_go: u32,
    /// Frames that were read since they were taken.
    new_frames: u32,
    frames: FrameCounter,
    ahead: ReadAhead,
}

/// The use that is made of the bytes that h2 writes.
enum Outgoing {
    /// It is added to the preamble: there was no request yet.
    Opening,
    /// The stream accepts it.
    Flowing,
    /// It has to wait for the peer.
    Blocked,
    /// It is discarded since a write has failed.
    Failed(Error),
}

/// A handle on the wire: h2 has one, the connection another.
#[derive(Clone)]
pub struct Http2WireHandle(Arc<RankedMutex<Http2Wire>>);

impl Http2WireHandle {
    pub fn new(stream: Stream, origin: Arc<Origin>) -> Self {
        Self(Arc::new(RankedMutex::new(
            Rank::Wire,
            Http2Wire {
                origin,
                stream,
                preamble: BytesMut::new(),
                writing: Outgoing::Opening,
                read_error: None,
                received: 0,
                budget: 0,
                frames_in_go: 0,
                new_frames: 0,
                frames: FrameCounter::default(),
                ahead: ReadAhead::default(),
            },
        )))
    }

    pub fn downgrade(&self) -> Weak<RankedMutex<Http2Wire>> {
        Arc::downgrade(&self.0)
    }

    pub fn lock(&self) -> Guard<'_, Http2Wire> {
        self.0.lock()
    }

    /// Returns the wire, unless it is locked.
    pub fn try_lock(&self) -> Option<Guard<'_, Http2Wire>> {
        self.0.try_lock()
    }
}

impl Http2Wire {
    /// From now on what h2 writes is sent, after the preamble.
    pub fn open(&mut self) {
        self.writing = Outgoing::Flowing;
    }

    pub fn stream(&mut self) -> &mut Stream {
        &mut self.stream
    }

    /// Returns the bytes that the stream has moved so far, those of TLS included.
    pub fn moved(&self) -> u64 {
        self.stream.moved()
    }

    /// Returns the bytes that h2 has received so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Begins another go of reading.
    pub fn refill(&mut self) {
        self.budget = READ_BUDGET;
        self.frames_in_go = 0;
    }

    /// Returns how many frames have begun to arrive since the last call.
    pub fn take_frames(&mut self) -> u32 {
        std::mem::take(&mut self.new_frames)
    }

    /// Returns whether this go of reading has used up its budget.
    pub fn is_exhausted(&self) -> bool {
        self.budget == 0 || self.frames_in_go >= FRAME_BUDGET
    }

    /// Returns whether there is something to send that has to wait for the peer.
    pub fn is_write_blocked(&self) -> bool {
        matches!(self.writing, Outgoing::Blocked)
    }

    pub fn has_write_failed(&self) -> bool {
        matches!(self.writing, Outgoing::Failed(_))
    }

    /// Returns the fault of the connection for one exchange: the first gets the error with its cause, all others the same text.
    pub fn fault(&mut self) -> Option<Error> {
        let ((Some(fault), _) | (None, Outgoing::Failed(fault))) = (&mut self.read_error, &mut self.writing) else {
            return None;
        };
        let copy = Error::new(fault.kind(), fault.message().to_owned());
        Some(std::mem::replace(fault, copy))
    }

    /// Sets the fault of a connection that is given up.
    pub fn fail(&mut self, kind: Kind, message: impl FnOnce(&Origin) -> String) {
        self.read_error = Some(Error::new(kind, message(&self.origin)));
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let offered: usize = bufs.iter().map(|buf| buf.len()).sum();
        match self.writing {
            Outgoing::Failed(_) => return Poll::Ready(Ok(offered)),
            Outgoing::Opening => {
                for buf in bufs {
                    self.preamble.extend_from_slice(buf);
                }
                return Poll::Ready(Ok(offered));
            }
            Outgoing::Flowing | Outgoing::Blocked => {}
        }
        let poll = self.poll_write_stream(cx, bufs);
        self.record_write(poll, offered)
    }

    fn poll_write_stream(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let stream = Pin::new(&mut self.stream);
        if self.preamble.is_empty() {
            return stream.poll_write_vectored(cx, bufs);
        }
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        slices[0] = IoSlice::new(&self.preamble);
        let following = bufs.len().min(MAX_SLICES - 1);
        slices[1..=following].copy_from_slice(&bufs[..following]);
        let Poll::Ready(sent) = stream.poll_write_vectored(cx, &slices[..=following])? else { return Poll::Pending };
        let of_preamble = sent.min(self.preamble.len());
        self.preamble.advance(of_preamble);
        if sent > of_preamble {
            return Poll::Ready(Ok(sent - of_preamble));
        }
        // Only the preamble was sent. h2 would take a count of 0 for the end of the stream.
        if sent == 0 { Poll::Ready(Err(io::ErrorKind::WriteZero.into())) } else { self.poll_write_stream(cx, bufs) }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if matches!(self.writing, Outgoing::Opening | Outgoing::Failed(_)) {
            return Poll::Ready(Ok(()));
        }
        let poll = self.poll_flush_stream(cx);
        self.record_write(poll, ())
    }

    fn poll_flush_stream(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.preamble.is_empty() {
            match Pin::new(&mut self.stream).poll_write(cx, &self.preamble)? {
                Poll::Ready(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(sent) => self.preamble.advance(sent),
                Poll::Pending => return Poll::Pending,
            }
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Records the outcome of a write or a flush. A failure is kept here; h2 gets `if_failed` as a success.
    fn record_write<T>(&mut self, poll: Poll<io::Result<T>>, if_failed: T) -> Poll<io::Result<T>> {
        match poll {
            Poll::Ready(Ok(done)) => {
                self.writing = Outgoing::Flowing;
                Poll::Ready(Ok(done))
            }
            Poll::Ready(Err(error)) => {
                self.writing = Outgoing::Failed(failed(error, Kind::WriteError, "writing to", &self.origin));
                Poll::Ready(Ok(if_failed))
            }
            // A flush as well: what TLS has accepted may wait behind it.
            Poll::Pending => {
                self.writing = Outgoing::Blocked;
                Poll::Pending
            }
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.is_exhausted() {
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let poll = match &mut self.stream {
            Stream::Plain(socket) => self.ahead.poll_read(socket, cx, buf),
            stream => Pin::new(stream).poll_read(cx, buf),
        };
        match poll {
            Poll::Ready(Ok(())) => {
                let length = buf.filled().len() - before;
                self.received += length as u64;
                self.budget = self.budget.saturating_sub(length);
                let frames = self.frames.count(&buf.filled()[before..]);
                self.frames_in_go = self.frames_in_go.saturating_add(frames);
                self.new_frames = self.new_frames.saturating_add(frames);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => {
                let kind = error.kind();
                self.read_error = Some(failed(error, Kind::ReadError, "reading from", &self.origin));
                Poll::Ready(Err(kind.into()))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Http2WireHandle {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.lock().poll_read(cx, buf)
    }
}

impl AsyncWrite for Http2WireHandle {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.lock().poll_write(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.lock().poll_write(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lock().poll_flush(cx)
    }

    /// Flushes only: the descriptor is closed when the connection is dropped.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lock().poll_flush(cx)
    }
}
