//! Between hyper and the stream: what goes out and comes in is what the caller and the server wrote.
//!
//! On the way out the head that hyper wrote is replaced by the caller's, byte for byte. On the way in heads are read here and
//! hyper gets its own short version (see [`Http1Head`]). hyper keeps what it is best at: framing, limits, and
//! whether the connection can be used again.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use hyper::rt::ReadBufCursor;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::chunks::Chunks;
use crate::error::{Error, Kind, Result};
use crate::io::external::PendingIo;
use crate::io::stream::Stream;
use crate::io::wait_set;
use crate::lock::{Guard, Rank, RankedMutex};
use crate::message::{BLANK_LINE, Http1Head, MAX_HEAD};
use crate::operation::EffectChannel;
use crate::origin::Origin;
use crate::tls::failed;

const HEAD_READ: usize = 8 * 1024;
/// What may come of a body without a byte of content among it. hyper bounds chunk extensions and trailers, but not the zeros and
/// spaces of a chunk's size; and it may read ahead less than half of this.
const MAX_FRAMING: u64 = 1024 * 1024;
/// Slices that hyper passes in one call, the caller's head included.
const MAX_SLICES: usize = 64;

/// Where the inbound side stands.
enum Inbound {
    /// Reading a head.
    Head,
    /// hyper reads: first what we have for it, then from the stream.
    Body,
    /// The connection has left HTTP: hyper reads no more.
    Upgraded,
}

/// Where the outbound side stands.
enum Writing {
    Flowing,
    /// A write has to wait for the peer.
    Blocked,
    /// From here on writes go nowhere, so that hyper goes on to read the response (a 413 sent early).
    Failed(Option<Error>),
}

/// The stream and the state of the exchange on it.
#[expect(clippy::struct_excessive_bools, reason = "each says one thing of the exchange")]
pub struct Http1Wire {
    origin: Arc<Origin>,
    stream: Stream,
    /// Wakes the exchange, not hyper: readiness has to reach whoever drives this connection.
    waker: Waker,

    /// Counts the exchanges on this connection.
    exchange: u64,
    /// What the exchange has asked of a stream of the caller's.
    asked: PendingIo,

    /// What is left to send of the caller's head; hyper's is dropped when it is out.
    head_out: Option<Bytes>,
    writing: Writing,
    written: u64,

    /// Closed while nobody waits for bytes: then hyper cannot read ahead.
    reads_allowed: bool,
    inbound: Inbound,
    head_in: BytesMut,
    scanned: usize,
    informational: usize,
    is_connect: bool,
    is_head: bool,
    head: Option<Http1Head>,
    chunks: Chunks,
    for_hyper: BytesMut,
    received: u64,
    /// What `received` was when the last of the content came.
    received_with_content: u64,
    end_of_stream: bool,
    /// Why the exchange cannot go on.
    fault: Option<Error>,
}

/// A handle on the wire: hyper has one, the connection the other.
#[derive(Clone)]
pub struct Http1WireHandle(Arc<RankedMutex<Http1Wire>>);

impl Http1WireHandle {
    pub fn new(stream: Stream, origin: Arc<Origin>) -> Self {
        Self(Arc::new(RankedMutex::new(
            Rank::Wire,
            Http1Wire {
                origin,
                stream,
                waker: Waker::noop().clone(),
                exchange: 0,
                asked: PendingIo::Nothing,
                head_out: None,
                writing: Writing::Flowing,
                written: 0,
                reads_allowed: false,
                inbound: Inbound::Head,
                head_in: BytesMut::new(),
                scanned: 0,
                informational: 0,
                is_connect: false,
                is_head: false,
                head: None,
                chunks: Chunks::None,
                for_hyper: BytesMut::new(),
                received: 0,
                received_with_content: 0,
                end_of_stream: false,
                fault: None,
            },
        )))
    }

    pub fn downgrade(&self) -> Weak<RankedMutex<Http1Wire>> {
        Arc::downgrade(&self.0)
    }

    pub fn lock(&self) -> Guard<'_, Http1Wire> {
        self.0.lock()
    }

    /// The stream, once it has left HTTP and this is the only handle, and what came behind the head with which it did.
    pub fn into_stream(self) -> Option<(Stream, BytesMut)> {
        let wire = Arc::into_inner(self.0)?.into_inner();
        wire.is_upgraded().then_some((wire.stream, wire.head_in))
    }
}

impl Http1Wire {
    /// Prepares for one exchange.
    pub fn begin(&mut self, head: Bytes, is_connect: bool) {
        self.exchange += 1;
        self.is_head = head.starts_with(b"HEAD ");
        self.chunks = Chunks::None;
        self.head_out = Some(head);
        self.inbound = Inbound::Head;
        self.is_connect = is_connect;
        self.informational = 0;
        self.head = None;
        self.written = 0;
        self.received = 0;
        self.received_with_content = 0;
    }

    /// There was content among what came of the body.
    pub fn note_content(&mut self) {
        self.received_with_content = self.received;
    }

    pub fn set_waker(&mut self, waker: &Waker) {
        if !self.waker.will_wake(waker) {
            self.waker.clone_from(waker);
        }
    }

    pub fn allow_reads(&mut self) {
        self.reads_allowed = true;
    }

    pub fn stop_reads(&mut self) {
        self.reads_allowed = false;
    }

    pub fn stream(&mut self) -> &mut Stream {
        &mut self.stream
    }

    pub fn is_write_blocked(&self) -> bool {
        matches!(self.writing, Writing::Blocked)
    }

    pub fn has_write_failed(&self) -> bool {
        matches!(self.writing, Writing::Failed(_))
    }

    pub fn origin(&self) -> &Arc<Origin> {
        &self.origin
    }

    pub fn exchange(&self) -> u64 {
        self.exchange
    }

    /// What arrived behind the head with which the connection left HTTP.
    pub fn trailing(&mut self) -> &mut BytesMut {
        &mut self.head_in
    }

    pub fn is_upgraded(&self) -> bool {
        matches!(self.inbound, Inbound::Upgraded)
    }

    /// Bytes sent and received in this exchange.
    pub fn progress(&self) -> (u64, u64) {
        (self.written, self.received)
    }

    /// Bytes that the stream has moved so far, those of TLS included: as long as it grows, nothing stalls.
    pub fn moved(&self) -> u64 {
        self.stream.moved()
    }

    /// For a stream of the caller's: asks for what the exchange is waiting for.
    pub fn ask(&mut self, effects: &EffectChannel, read: Option<Duration>, write: Option<Duration>) {
        if let Some(stream) = self.stream.external() {
            stream.ask(effects, &mut self.asked, read, write);
        }
    }

    /// For an external stream: takes the reply.
    pub fn hear(&mut self) {
        if let Some(stream) = self.stream.external()
            && let Some(timeout) = stream.hear(&mut self.asked)
        {
            stream.fail_read(timeout);
        }
    }

    pub fn take_head(&mut self) -> Option<Http1Head> {
        self.head.take()
    }

    pub fn has_fault(&self) -> bool {
        self.fault.is_some()
    }

    pub fn take_fault(&mut self) -> Option<Error> {
        self.fault.take()
    }

    /// Why writing failed.
    pub fn take_write_error(&mut self) -> Option<Error> {
        match &mut self.writing {
            Writing::Failed(error) => error.take(),
            Writing::Flowing | Writing::Blocked => None,
        }
    }

    /// Whether an idle connection is dead: closed by the server, or with bytes on it that nobody asked for.
    pub fn poll_stale(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if let Some(socket) = self.stream.socket() {
            socket.expect_readable();
        }
        let mut byte = [0];
        let mut buf = ReadBuf::new(&mut byte);
        // TLS reads what is no data (session tickets) and goes on waiting.
        let is_stale = Pin::new(&mut self.stream).poll_read(cx, &mut buf).is_ready();
        // This was a question: nothing waits for what the stream may give later.
        wait_set::clear();
        if !is_stale && self.stream.poll_settled(cx).is_pending() {
            // Python's TLS has still to say whether what came is data.
            return Poll::Pending;
        }
        Poll::Ready(is_stale)
    }

    fn poll_write(&mut self, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let offered: usize = bufs.iter().map(|buf| buf.len()).sum();
        if self.has_write_failed() {
            return Poll::Ready(Ok(offered));
        }
        let poll = self.poll_write_stream(bufs);
        self.record_write(poll, offered)
    }

    /// Keeps a failed write to itself: for hyper all went well.
    fn record_write<T>(&mut self, poll: Poll<io::Result<T>>, success: T) -> Poll<io::Result<T>> {
        match poll {
            Poll::Ready(Err(error)) => {
                let error = failed(error, Kind::WriteError, "writing to", &self.origin);
                self.writing = if error.kind() == Kind::WriteError {
                    Writing::Failed(Some(error))
                } else {
                    self.fault = Some(error);
                    Writing::Failed(None)
                };
                Poll::Ready(Ok(success))
            }
            Poll::Ready(Ok(done)) => {
                self.writing = Writing::Flowing;
                Poll::Ready(Ok(done))
            }
            Poll::Pending => {
                self.writing = Writing::Blocked;
                Poll::Pending
            }
        }
    }

    fn poll_write_stream(&mut self, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut cx = Context::from_waker(&self.waker);
        let stream = &mut self.stream;
        // hyper offers its head alone in the first slice, and what follows of the body behind it.
        while let Some(head) = &mut self.head_out {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            slices[0] = IoSlice::new(head);
            let following = bufs.len().min(MAX_SLICES).saturating_sub(1);
            slices[1..=following].copy_from_slice(&bufs[1..=following]);
            let sent = match Pin::new(&mut *stream).poll_write_vectored(&mut cx, &slices[..=following]) {
                Poll::Ready(Ok(sent)) => sent,
                other => return other,
            };
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += sent as u64;
            if sent >= head.len() {
                let beyond = sent - head.len();
                self.head_out = None;
                return Poll::Ready(Ok(bufs.first().map_or(0, |written_by_hyper| written_by_hyper.len()) + beyond));
            }
            head.advance(sent);
        }
        let poll = Pin::new(stream).poll_write_vectored(&mut cx, bufs);
        if let Poll::Ready(Ok(sent)) = poll {
            self.written += sent as u64;
        }
        poll
    }

    fn poll_flush(&mut self) -> Poll<io::Result<()>> {
        if self.has_write_failed() {
            return Poll::Ready(Ok(()));
        }
        let mut cx = Context::from_waker(&self.waker);
        let poll = Pin::new(&mut self.stream).poll_flush(&mut cx);
        self.record_write(poll, ())
    }

    fn poll_read(&mut self, cursor: &mut ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        if !self.reads_allowed {
            return Poll::Pending;
        }
        loop {
            match self.inbound {
                Inbound::Upgraded => return Poll::Pending,
                Inbound::Body if !self.for_hyper.is_empty() => {
                    let length = cursor.remaining().min(self.for_hyper.len());
                    cursor.put_slice(&self.for_hyper.split_to(length));
                    return Poll::Ready(Ok(()));
                }
                Inbound::Body => return self.poll_read_body(cursor),
                Inbound::Head => match self.advance_head() {
                    Ok(true) => {}
                    Ok(false) => match self.poll_read_head() {
                        // hyper sees the end of the stream, and the exchange what was wrong with it.
                        Poll::Ready(Ok(0)) => {
                            if !self.head_in.is_empty() {
                                self.fault = Some(Http1Head::cut_short(&self.head_in));
                            }
                            return Poll::Ready(Ok(()));
                        }
                        Poll::Ready(Ok(_)) => {}
                        Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                        Poll::Pending => return Poll::Pending,
                    },
                    Err(fault) => {
                        self.fault = Some(fault);
                        return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
                    }
                },
            }
        }
    }

    /// Reads what there is of a head; `false` if more bytes are needed.
    fn advance_head(&mut self) -> Result<bool> {
        if self.scanned == 0 {
            // Blank lines before a status line are skipped (RFC 9112, 2.2).
            while let [b'\r', b'\n', ..] | [b'\n', ..] = *self.head_in {
                let line = if self.head_in[0] == b'\n' { 1 } else { 2 };
                self.informational += line;
                self.head_in.advance(line);
            }
        }
        let Some(end) = Http1Head::find_end(&self.head_in, self.scanned) else {
            Http1Head::check_start(&self.head_in)?;
            // What may become a blank line is looked at again.
            self.scanned = if *self.head_in == *b"\r" { 0 } else { self.head_in.len() };
            if self.informational + self.head_in.len() > MAX_HEAD + BLANK_LINE {
                return Err(Error::remote(format!("response head is longer than {MAX_HEAD} bytes")));
            }
            return Ok(false);
        };
        if self.informational + end > MAX_HEAD + BLANK_LINE {
            return Err(Error::remote(format!("response head is longer than {MAX_HEAD} bytes")));
        }
        self.scanned = 0;
        let head = Http1Head::parse(self.head_in.split_to(end).freeze())?;
        if head.status == 101 || (self.is_connect && (200..300).contains(&head.status)) {
            self.inbound = Inbound::Upgraded;
            self.head = Some(head);
        } else if head.is_informational() {
            // Skipped, but not without bound: together they may be as long as one head.
            self.informational += end;
        } else {
            self.for_hyper = head.framing_head()?;
            if head.is_chunked() && !self.is_head && !matches!(head.status, 204 | 304) {
                self.chunks = Chunks::begin();
                self.chunks.feed(&self.head_in);
            }
            self.for_hyper.extend_from_slice(&self.head_in);
            self.head_in.clear();
            self.inbound = Inbound::Body;
            self.head = Some(head);
        }
        Ok(true)
    }

    fn poll_read_head(&mut self) -> Poll<io::Result<usize>> {
        self.head_in.reserve(HEAD_READ);
        let mut buf = ReadBuf::uninit(self.head_in.spare_capacity_mut());
        let mut cx = Context::from_waker(&self.waker);
        let poll = Pin::new(&mut self.stream).poll_read(&mut cx, &mut buf);
        let length = buf.filled().len();
        // SAFETY: `ReadBuf` vouches that the stream initialised this many bytes of the spare capacity, from its start.
        unsafe { self.head_in.set_len(self.head_in.len() + length) };
        self.record_read(poll, length).map_ok(|()| length)
    }

    fn poll_read_body(&mut self, cursor: &mut ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let mut cx = Context::from_waker(&self.waker);
        // SAFETY: the slice is only handed to `ReadBuf`, which de-initialises nothing.
        let mut buf = ReadBuf::uninit(unsafe { cursor.as_mut() });
        let poll = Pin::new(&mut self.stream).poll_read(&mut cx, &mut buf);
        let length = buf.filled().len();
        self.chunks.feed(buf.filled());
        // SAFETY: `ReadBuf` vouches that the stream initialised this many bytes, from the start.
        unsafe { cursor.advance(length) };
        let poll = self.record_read(poll, length);
        if self.received - self.received_with_content > MAX_FRAMING {
            let message = format!("{MAX_FRAMING} bytes of the response body from {} hold no content", self.origin);
            self.fault = Some(Error::remote(message));
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        poll
    }

    fn record_read(&mut self, poll: Poll<io::Result<()>>, length: usize) -> Poll<io::Result<()>> {
        match poll {
            Poll::Ready(Ok(())) => {
                self.received += length as u64;
                self.end_of_stream |= length == 0;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => {
                let kind = error.kind();
                self.fault = Some(failed(error, Kind::ReadError, "reading from", &self.origin));
                Poll::Ready(Err(kind.into()))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    /// Whether there is something behind the last chunk that hyper passes over.
    pub fn has_malformed_trailers(&self) -> bool {
        self.chunks.is_malformed()
    }

    /// Whether the server has ended the stream.
    pub fn is_at_end(&self) -> bool {
        self.end_of_stream
    }

    /// Whether another exchange may follow: the stream goes on, and nothing came that belongs to no response.
    pub fn is_reusable(&self) -> bool {
        !self.end_of_stream
            && !self.is_upgraded()
            && !self.has_write_failed()
            && self.head_in.is_empty()
            && self.for_hyper.is_empty()
    }
}

impl hyper::rt::Read for Http1WireHandle {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, mut cursor: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        self.lock().poll_read(&mut cursor)
    }
}

impl hyper::rt::Write for Http1WireHandle {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.lock().poll_write(&[IoSlice::new(buf)])
    }

    fn poll_write_vectored(self: Pin<&mut Self>, _: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.lock().poll_write(bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lock().poll_flush()
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
