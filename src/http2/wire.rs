//! Between h2 and the stream.
//!
//! What h2 writes before the first request waits for it, so that making a connection takes no I/O. A failed write is kept to
//! itself: the peer may have answered before it closed. And no poll reads without end: whoever waits for what has arrived has
//! his turn in between.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::error::{Error, Kind};
use crate::io::socket::Socket;
use crate::io::stream::Stream;
use crate::lock::{Guard, Rank, RankedMutex};
use crate::origin::Origin;
use crate::tls::failed;

/// Read in one go, in bytes.
const READ_BUDGET: usize = 512 * 1024;
/// Read in one go, in frames: the smallest have 9 bytes, and cost as much time as large ones. What h2 reads at a time may be a thousand
/// more.
const FRAME_BUDGET: u32 = 500;
/// What a frame begins with (RFC 9113, 4.1): three bytes of these are the length of what follows.
const FRAME_HEAD: usize = 9;
/// What is asked of a plain socket at a time once it gives more than h2 asks for, in bytes.
const READ_AHEAD: usize = 128 * 1024;
/// Slices that are passed to the stream in one call, the preamble included.
const MAX_SLICES: usize = 64;

pub struct Http2Wire {
    origin: Arc<Origin>,
    stream: Stream,
    /// What is to go out in front of all that follows.
    preamble: BytesMut,
    /// Whether what is written goes into the preamble.
    is_opening: bool,
    budget: usize,
    frames: Frames,
    /// Frames that were read in this go, and since they were asked for.
    frames_read: u32,
    frames_untold: u32,
    received: u64,
    ahead: ReadAhead,
    read_error: Option<Error>,
    write_error: Option<Error>,
    has_write_failed: bool,
    is_write_blocked: bool,
}

/// What was read from a socket and h2 has not asked for yet. It asks for a few kilobytes at a time, and each of them would be a system
/// call.
#[derive(Default)]
struct ReadAhead {
    /// None are allocated before there was use for them.
    buffer: Box<[u8]>,
    unread: Range<usize>,
    /// Whether the last read gave all that was asked for: then there is probably more.
    is_worthwhile: bool,
}

impl ReadAhead {
    fn poll_read(&mut self, socket: &mut Socket, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let asked = buf.remaining();
        if self.unread.is_empty() {
            if !self.is_worthwhile {
                self.buffer = Box::default();
                ready!(Pin::new(socket).poll_read(cx, buf))?;
                self.is_worthwhile = buf.remaining() == 0;
                return Poll::Ready(Ok(()));
            }
            if self.buffer.is_empty() {
                self.buffer = vec![0; READ_AHEAD].into_boxed_slice();
            }
            let mut ahead = ReadBuf::new(&mut self.buffer);
            ready!(Pin::new(socket).poll_read(cx, &mut ahead))?;
            self.unread = 0..ahead.filled().len();
            self.is_worthwhile = self.unread.len() >= asked;
        }
        let length = asked.min(self.unread.len());
        buf.put_slice(&self.buffer[self.unread.start..][..length]);
        self.unread.start += length;
        Poll::Ready(Ok(()))
    }
}

/// Counts the frames in what arrives.
#[derive(Default)]
struct Frames {
    /// Bytes of the head that is under way.
    head: usize,
    length: usize,
    /// Bytes that are still to come of the frame behind it.
    payload: usize,
}

impl Frames {
    /// How many heads are complete with these bytes.
    fn count(&mut self, mut bytes: &[u8]) -> u32 {
        let mut count = 0;
        loop {
            let of_payload = self.payload.min(bytes.len());
            self.payload -= of_payload;
            bytes = &bytes[of_payload..];
            if bytes.is_empty() {
                return count;
            }
            let of_head = (FRAME_HEAD - self.head).min(bytes.len());
            for (index, &byte) in bytes[..of_head].iter().enumerate().take(3_usize.saturating_sub(self.head)) {
                let shift = 8 * (2 - self.head - index);
                self.length |= usize::from(byte) << shift;
            }
            self.head += of_head;
            bytes = &bytes[of_head..];
            if self.head == FRAME_HEAD {
                count += 1;
                *self = Self { head: 0, length: 0, payload: self.length };
            }
        }
    }
}

/// A handle on the wire: h2 has one, the connection the other.
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
                is_opening: true,
                budget: 0,
                frames: Frames::default(),
                frames_read: 0,
                frames_untold: 0,
                received: 0,
                ahead: ReadAhead::default(),
                read_error: None,
                write_error: None,
                has_write_failed: false,
                is_write_blocked: false,
            },
        )))
    }

    pub fn downgrade(&self) -> Weak<RankedMutex<Http2Wire>> {
        Arc::downgrade(&self.0)
    }

    pub fn lock(&self) -> Guard<'_, Http2Wire> {
        self.0.lock()
    }

    /// The wire, unless somebody is at it.
    pub fn try_lock(&self) -> Option<Guard<'_, Http2Wire>> {
        self.0.try_lock()
    }
}

impl Http2Wire {
    /// From now on what is written goes out.
    pub fn open(&mut self) {
        self.is_opening = false;
    }

    pub fn stream(&mut self) -> &mut Stream {
        &mut self.stream
    }

    /// Bytes that the stream has moved so far, those of TLS included: as long as it grows, nothing stalls.
    pub fn moved(&self) -> u64 {
        self.stream.moved()
    }

    /// Bytes received so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Begins another go of reading.
    pub fn refill(&mut self) {
        self.budget = READ_BUDGET;
        self.frames_read = 0;
    }

    /// How many frames have begun to arrive since the last time.
    pub fn take_frames(&mut self) -> u32 {
        std::mem::take(&mut self.frames_untold)
    }

    /// Whether the last go of reading ended because it was long enough.
    pub fn is_exhausted(&self) -> bool {
        self.budget == 0 || self.frames_read >= FRAME_BUDGET
    }

    /// Whether there is something to send that has to wait for the peer.
    pub fn is_write_blocked(&self) -> bool {
        self.is_write_blocked
    }

    pub fn has_write_failed(&self) -> bool {
        self.has_write_failed
    }

    /// What went wrong, for one exchange: the error itself for the first that asks, the same words for all others.
    pub fn fault(&mut self) -> Option<Error> {
        let fault = self.read_error.as_mut().or(self.write_error.as_mut())?;
        let copy = Error::new(fault.kind(), fault.message().to_owned());
        Some(std::mem::replace(fault, copy))
    }

    /// Gives the connection up.
    pub fn fail(&mut self, kind: Kind, message: impl FnOnce(&Origin) -> String) {
        self.read_error = Some(Error::new(kind, message(&self.origin)));
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let offered: usize = bufs.iter().map(|buf| buf.len()).sum();
        if self.has_write_failed {
            return Poll::Ready(Ok(offered));
        }
        if self.is_opening {
            for buf in bufs {
                self.preamble.extend_from_slice(buf);
            }
            return Poll::Ready(Ok(offered));
        }
        let poll = self.poll_write_stream(cx, bufs);
        self.is_write_blocked = poll.is_pending();
        match poll {
            Poll::Ready(Err(error)) => {
                self.has_write_failed = true;
                self.write_error = Some(failed(error, Kind::WriteError, "writing to", &self.origin));
                Poll::Ready(Ok(offered))
            }
            poll => poll,
        }
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
        // None of what was offered is out yet, which nobody is to take for the end.
        if sent == 0 { Poll::Ready(Err(io::ErrorKind::WriteZero.into())) } else { self.poll_write_stream(cx, bufs) }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.has_write_failed || self.is_opening {
            return Poll::Ready(Ok(()));
        }
        while !self.preamble.is_empty() {
            match Pin::new(&mut self.stream).poll_write(cx, &self.preamble) {
                Poll::Ready(Ok(sent)) if sent > 0 => self.preamble.advance(sent),
                Poll::Ready(result) => {
                    let error = result.err().unwrap_or_else(|| io::ErrorKind::WriteZero.into());
                    return self.record_flush(Err(error));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        match Pin::new(&mut self.stream).poll_flush(cx) {
            Poll::Ready(result) => self.record_flush(result),
            Poll::Pending => {
                // What TLS accepts may have to wait behind it.
                self.is_write_blocked = true;
                Poll::Pending
            }
        }
    }

    fn record_flush(&mut self, result: io::Result<()>) -> Poll<io::Result<()>> {
        self.is_write_blocked = false;
        if let Err(error) = result {
            self.has_write_failed = true;
            self.write_error = Some(failed(error, Kind::WriteError, "writing to", &self.origin));
        }
        Poll::Ready(Ok(()))
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
                self.frames_read = self.frames_read.saturating_add(frames);
                self.frames_untold = self.frames_untold.saturating_add(frames);
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

    /// The descriptor is closed when the connection is dropped.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lock().poll_flush(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_counted_however_they_arrive() {
        let mut bytes = Vec::new();
        for length in [0, 8, 70_000, 0, 0, 300, 1] {
            let [.., high, middle, low] = u32::to_be_bytes(length);
            bytes.extend_from_slice(&[high, middle, low, 6, 0, 0xff, 0xff, 0xff, 0xff]);
            bytes.resize(bytes.len() + length as usize, 0xff);
        }
        for size in [1, 2, 3, 4, 8, 9, 10, 17, 1000, bytes.len()] {
            let mut frames = Frames::default();
            assert_eq!(bytes.chunks(size).map(|part| frames.count(part)).sum::<u32>(), 7, "{size}");
        }
    }
}
