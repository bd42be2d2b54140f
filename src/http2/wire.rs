//! The stream under h2.
//!
//! 1. What h2 writes before the first request waits for that request, so that opening a connection takes no I/O.
//! 2. A failed write does not fail h2: the peer may have answered before it closed, and the answer is still to be read.
//! 3. No poll reads without end: after [`READ_BUDGET`] bytes or [`FRAME_BUDGET`] frames, exchanges take what has arrived.
//! 4. Over TLS, the frames of one poll are written together. h2 writes each DATA frame by itself; with its header it is larger than a
//!    record of TLS, and would take a full one and one of nine bytes. They are collected, and [`Http2Wire::poll_send`] writes them
//!    when h2 has been polled. Without TLS this would only be a copy.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};

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
/// Slices that are passed to the stream in one call, the queue included.
const MAX_SLICES: usize = 64;
/// Bytes that are collected before they are written: 16 frames of the usual size.
const COLLECTED: usize = 256 * 1024;
/// The capacity that an empty queue keeps: enough for the frames of a small request.
const KEPT: usize = 1024;

pub struct Http2Wire {
    origin: Arc<Origin>,
    stream: Stream,
    /// The bytes that h2 has written and the stream has not accepted yet.
    queue: BytesMut,
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
    status: Arc<WireStatus>,
}

/// The part of a wire's state that is read without its lock, which is held during system calls.
pub struct WireStatus {
    is_exhausted: AtomicBool,
    is_write_blocked: AtomicBool,
}

/// The use that is made of the bytes that h2 writes.
enum Outgoing {
    /// It stays in the queue: there was no request yet.
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
pub struct Http2WireHandle {
    wire: Arc<RankedMutex<Http2Wire>>,
    status: Arc<WireStatus>,
}

impl Http2WireHandle {
    pub fn new(stream: Stream, origin: Arc<Origin>) -> Self {
        // Nothing is read before the first go of reading begins.
        let status =
            Arc::new(WireStatus { is_exhausted: AtomicBool::new(true), is_write_blocked: AtomicBool::new(false) });
        let wire = Http2Wire {
            origin,
            stream,
            queue: BytesMut::new(),
            writing: Outgoing::Opening,
            read_error: None,
            received: 0,
            budget: 0,
            frames_in_go: 0,
            new_frames: 0,
            frames: FrameCounter::default(),
            ahead: ReadAhead::default(),
            status: Arc::clone(&status),
        };
        Self { wire: Arc::new(RankedMutex::new(Rank::Wire, wire)), status }
    }

    pub fn downgrade(&self) -> Weak<RankedMutex<Http2Wire>> {
        Arc::downgrade(&self.wire)
    }

    pub fn lock(&self) -> Guard<'_, Http2Wire> {
        self.wire.lock()
    }

    /// Returns whether the last go of reading has used up its budget.
    pub fn is_exhausted(&self) -> bool {
        self.status.is_exhausted.load(Ordering::Acquire)
    }

    /// Returns whether there is something to send that has to wait for the peer.
    pub fn is_write_blocked(&self) -> bool {
        self.status.is_write_blocked.load(Ordering::Acquire)
    }

    /// Returns the wire, unless it is locked.
    pub fn try_lock(&self) -> Option<Guard<'_, Http2Wire>> {
        self.wire.try_lock()
    }
}

impl Http2Wire {
    /// From now on what h2 has written is sent.
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
        self.status.is_exhausted.store(false, Ordering::Release);
    }

    /// Returns how many frames have begun to arrive since the last call.
    pub fn take_frames(&mut self) -> u32 {
        std::mem::take(&mut self.new_frames)
    }

    /// Returns whether this go of reading has used up its budget.
    pub fn is_exhausted(&self) -> bool {
        self.budget == 0 || self.frames_in_go >= FRAME_BUDGET
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
        match (&self.writing, &self.stream) {
            (Outgoing::Failed(_), _) => return Poll::Ready(Ok(offered)),
            (Outgoing::Opening, _) => {}
            (Outgoing::Flowing | Outgoing::Blocked, Stream::Tls(_)) if self.queue.len() < COLLECTED => {}
            (Outgoing::Flowing | Outgoing::Blocked, _) => {
                let poll = self.poll_write_stream(cx, bufs);
                return self.record_write(poll, offered);
            }
        }
        if offered > KEPT {
            self.queue.reserve(COLLECTED);
        }
        for buf in bufs {
            self.queue.extend_from_slice(buf);
        }
        Poll::Ready(Ok(offered))
    }

    /// Writes the queue, and what follows it.
    fn poll_write_stream(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        loop {
            let stream = Pin::new(&mut self.stream);
            if self.queue.is_empty() {
                return stream.poll_write_vectored(cx, bufs);
            }
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            slices[0] = IoSlice::new(&self.queue);
            let following = bufs.len().min(MAX_SLICES - 1);
            slices[1..=following].copy_from_slice(&bufs[..following]);
            let sent = ready!(stream.poll_write_vectored(cx, &slices[..=following]))?;
            let of_queue = sent.min(self.queue.len());
            self.queue.advance(of_queue);
            match (sent, sent - of_queue) {
                (0, _) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                // Only the queue was sent. h2 would take a count of 0 for the end of the stream.
                (_, 0) => {}
                (_, taken) => return Poll::Ready(Ok(taken)),
            }
        }
    }

    /// Sends what h2 has written so far.
    pub fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let is_buffered = !self.queue.is_empty() || matches!(self.stream, Stream::Tls(_));
        if !is_buffered || matches!(self.writing, Outgoing::Opening | Outgoing::Failed(_)) {
            return Poll::Ready(Ok(()));
        }
        if self.queue.is_empty() && self.queue.capacity() > KEPT {
            // Nothing was written since the last call: no body is being sent.
            self.queue = BytesMut::new();
        }
        let was_blocked = matches!(self.writing, Outgoing::Blocked);
        let poll = self.poll_send_queue(cx);
        if was_blocked && poll.is_ready() {
            // h2 may wait for the stream as well, which wakes nothing now.
            cx.waker().wake_by_ref();
        }
        self.record_write(poll, ())
    }

    fn poll_send_queue(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.queue.is_empty() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.queue))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.queue.advance(sent),
            }
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Records the outcome of a write or a flush. A failure is kept here; h2 gets `if_failed` as a success.
    fn record_write<T>(&mut self, poll: Poll<io::Result<T>>, if_failed: T) -> Poll<io::Result<T>> {
        self.status.is_write_blocked.store(poll.is_pending(), Ordering::Release);
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
                self.status.is_exhausted.store(self.is_exhausted(), Ordering::Release);
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

    /// Does nothing: what h2 has written is sent when its poll has ended.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Sends what h2 has written: the descriptor is closed when the connection is dropped.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lock().poll_send(cx)
    }
}

#[cfg(test)]
mod tests;
