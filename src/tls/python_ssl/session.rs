//! The state of a session: what its stream, its drivers and its responses share.

use std::any::Any;
use std::collections::VecDeque;
use std::error::Error as StdError;
use std::fmt;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::records::Records;
use super::steps::needs_step;
use crate::fork::Generation;
use crate::io::reactor::Job;
use crate::io::stream::Stream;
use crate::io::{strand, wait_set};
use crate::lock::{Guard, Rank, RankedMutex};

/// Ciphertext that is read ahead of its decryption, in bytes.
const READ_AHEAD: usize = 128 * 1024;
/// The size of a read, until a read has filled it, in bytes. It goes to the stack.
const FIRST_READ: usize = 8 * 1024;
/// The size of a read from then on, in bytes.
const LARGE_READ: usize = 128 * 1024;
/// The number of parts that are sent together.
const MAX_SLICES: usize = 8;
/// The capacity that an empty buffer may keep, in bytes.
const KEPT: usize = 4 * 1024;

/// The state of one TLS session, shared by its stream, the drivers and the responses over it.
pub struct SslSession {
    buffers: RankedMutex<Buffers>,
    engine: Arc<dyn Any + Send + Sync>,
    /// The job that polls the stream for several exchanges; it runs after each step.
    owner: OnceLock<Weak<dyn Job>>,
    generation: Generation,
}

#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "facts that do not depend on each other")]
pub(super) struct Buffers {
    pub(super) ciphertext_in: BytesMut,
    pub(super) records: Records,
    pub(super) plaintext_in: BytesMut,
    pub(super) plaintext_out: BytesMut,
    /// In the parts that steps have made; none is empty.
    pub(super) ciphertext_out: VecDeque<Bytes>,
    pub(super) handshake: Handshake,
    /// The protocol that ALPN has chosen.
    pub(super) protocol: Option<Bytes>,
    /// The stream below has ended.
    pub(super) is_eof: bool,
    /// The handshake has been told of that.
    pub(super) is_eof_told: bool,
    /// The peer has sent `close_notify`.
    pub(super) is_closed: bool,
    /// Python's session holds plaintext that it cannot encrypt before it has read something (a renegotiation of TLS 1.2).
    pub(super) is_holding: bool,
    pub(super) is_stepping: bool,
    /// The thread that takes the step.
    stepper: u64,
    /// The stream is gone.
    pub(super) is_dropped: bool,
    pub(super) is_large: bool,
    pub(super) fault: Option<SessionFault>,
    pub(super) write_error: Option<io::Error>,
    pub(super) has_write_failed: bool,
    pub(super) wakers: Vec<Waker>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Handshake {
    #[default]
    Unbegun,
    UnderWay,
    Done,
}

/// Why a session has failed: the text of Python's exception. The exception itself is the source of the first error only.
pub struct SessionFault {
    text: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl SessionFault {
    pub fn new(text: String, source: Option<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { text, source }
    }

    fn interrupted() -> Self {
        Self::new("the TLS session was interrupted".to_owned(), None)
    }

    pub(super) fn error(&mut self) -> io::Error {
        io::Error::other(Self { text: self.text.clone(), source: self.source.take() })
    }

    /// Returns Python's exception.
    pub fn into_source(self) -> Option<Box<dyn StdError + Send + Sync>> {
        self.source
    }
}

impl fmt::Debug for SessionFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Fault").field(&self.text).finish()
    }
}

impl fmt::Display for SessionFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl StdError for SessionFault {}

/// The input of a step.
#[derive(Debug, PartialEq, Eq)]
pub enum StepInput {
    /// The handshake begins, or continues with the ciphertext that has arrived.
    Handshake { ciphertext: BytesMut, is_eof: bool },
    /// Bytes are decrypted and encrypted.
    Data(StepBuffers),
}

/// The buffers that a step works on.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct StepBuffers {
    /// The ciphertext that is decrypted: whole records, if it is records at all.
    pub ciphertext_in: BytesMut,
    /// Takes what was decrypted. Empty before the step.
    pub plaintext_in: BytesMut,
    /// The plaintext that is encrypted. The step leaves here what could not be.
    pub plaintext_out: BytesMut,
    /// Takes what was encrypted, in parts that are not empty. Empty before the step.
    pub ciphertext_out: VecDeque<Bytes>,
}

/// The output of a step.
#[derive(Default)]
pub struct StepOutput {
    pub buffers: StepBuffers,
    pub is_handshaken: bool,
    /// The protocol that ALPN has chosen, when the handshake is complete.
    pub protocol: Option<Bytes>,
    /// The peer has sent `close_notify`.
    pub is_closed: bool,
    /// Plaintext is left that waits for a read.
    pub is_holding: bool,
    pub fault: Option<SessionFault>,
}

impl SslSession {
    /// A session whose handshake has not begun.
    pub(super) fn new(engine: Arc<dyn Any + Send + Sync>) -> Self {
        let buffers = RankedMutex::new(Rank::TlsBuffers, Buffers::default());
        Self { buffers, engine, owner: OnceLock::new(), generation: Generation::current() }
    }

    /// Sets the job that runs after each step.
    pub(super) fn set_owner(&self, owner: Weak<dyn Job>) {
        // Set once, when the connection is made.
        let _ = self.owner.set(owner);
    }

    /// Returns whether this process made the session. In a forked child another thread of the parent may have held the lock.
    pub(super) fn is_current(&self) -> bool {
        self.generation.is_current()
    }

    /// Returns the part of the session that the drivers know.
    pub fn engine(&self) -> &(dyn Any + Send + Sync) {
        &*self.engine
    }

    /// Takes the input of the next step. `None` if none is needed, or another driver takes one.
    pub fn begin_step(&self) -> Option<StepInput> {
        if !self.generation.is_current() {
            return None;
        }
        let mut buffers = self.buffers();
        if buffers.is_dropped || !buffers.needs_step() {
            return None;
        }
        buffers.is_stepping = true;
        buffers.stepper = strand::thread();
        if buffers.handshake != Handshake::Done {
            buffers.handshake = Handshake::UnderWay;
            buffers.is_eof_told |= buffers.is_eof;
            let is_eof = buffers.is_eof;
            return Some(StepInput::Handshake { ciphertext: buffers.take_records(), is_eof });
        }
        let mut step = StepBuffers {
            ciphertext_in: buffers.take_records(),
            plaintext_in: take_if_empty(&mut buffers.plaintext_in),
            ..StepBuffers::default()
        };
        if buffers.can_encrypt() {
            step.plaintext_out = std::mem::take(&mut buffers.plaintext_out);
            step.ciphertext_out = std::mem::take(&mut buffers.ciphertext_out);
        }
        Some(StepInput::Data(step))
    }

    /// Ends a step.
    pub fn finish_step(&self, output: StepOutput) {
        let wakers = {
            let mut buffers = self.buffers();
            buffers.is_stepping = false;
            buffers.take_back(output.buffers);
            if output.is_handshaken && buffers.handshake != Handshake::Done {
                buffers.handshake = Handshake::Done;
                buffers.protocol = output.protocol;
            }
            buffers.is_closed |= output.is_closed;
            buffers.is_holding = output.is_holding;
            if buffers.fault.is_none() {
                buffers.fault = output.fault;
            }
            std::mem::take(&mut buffers.wakers)
        };
        for waker in wakers {
            waker.wake();
        }
    }

    /// Fails a step that was interrupted: what became of its bytes is not known.
    pub fn fail_step(&self) {
        if self.generation.is_current() {
            self.finish_step(StepOutput { fault: Some(SessionFault::interrupted()), ..StepOutput::default() });
        }
    }

    /// Runs the job that polls the stream, if there is one.
    pub fn resume(&self) {
        if let Some(owner) = self.owner.get().and_then(Weak::upgrade) {
            owner.run();
        }
    }

    pub(super) fn buffers(&self) -> Guard<'_, Buffers> {
        self.buffers.lock()
    }

    /// Notes that a step is needed. If one is under way, the poll waits for its end.
    pub(super) fn await_step(self: &Arc<Self>, buffers: &mut Buffers, cx: &Context<'_>) {
        if self.owner.get().is_none() {
            buffers.register(cx.waker());
        }
        if buffers.is_stepping {
            wait_set::waits_for_waker();
            if buffers.stepper == strand::thread() {
                wait_set::waits_for_itself();
            }
        } else {
            needs_step(self);
        }
    }
}

impl fmt::Debug for SslSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SslSession")
    }
}

impl Buffers {
    pub(super) fn needs_step(&self) -> bool {
        if self.is_stepping || self.fault.is_some() {
            return false;
        }
        match self.handshake {
            Handshake::Unbegun => true,
            Handshake::UnderWay => self.has_records() || (self.is_eof && !self.is_eof_told),
            Handshake::Done => {
                self.has_records() || (self.can_encrypt() && !self.plaintext_out.is_empty() && !self.is_holding)
            }
        }
    }

    /// Returns whether plaintext may be encrypted: nothing waits to be sent that was encrypted before. Otherwise a peer that sends
    /// without reading could make the answers pile up.
    fn can_encrypt(&self) -> bool {
        self.ciphertext_out.is_empty()
    }

    /// Returns whether something has arrived that a step can process.
    pub(super) fn has_records(&self) -> bool {
        self.records.whole() > 0
    }

    /// Takes the whole records out of the buffer, or at the end of the stream everything.
    fn take_records(&mut self) -> BytesMut {
        let whole = if self.is_eof { self.ciphertext_in.len() } else { self.records.whole() };
        self.records.take();
        // A copy of the rest costs less than a buffer that is shared by two owners.
        let rest = BytesMut::from(&self.ciphertext_in[whole..]);
        let mut records = std::mem::replace(&mut self.ciphertext_in, rest);
        records.truncate(whole);
        records
    }

    /// Takes back the buffers that a step has worked on. What was added to those of the session meanwhile comes after what was taken
    /// out before, or before what the step adds.
    fn take_back(&mut self, mut step: StepBuffers) {
        join(&mut self.plaintext_in, step.plaintext_in);
        if self.ciphertext_out.is_empty() {
            self.ciphertext_out = step.ciphertext_out;
        } else {
            self.ciphertext_out.append(&mut step.ciphertext_out);
        }
        step.ciphertext_in.clear();
        join(&mut step.ciphertext_in, std::mem::take(&mut self.ciphertext_in));
        self.ciphertext_in = step.ciphertext_in;
        join(&mut step.plaintext_out, std::mem::take(&mut self.plaintext_out));
        self.plaintext_out = step.plaintext_out;
        for buffer in [&mut self.ciphertext_in, &mut self.plaintext_in, &mut self.plaintext_out] {
            shrink(buffer);
        }
    }

    /// Returns the memory of the buffers, in bytes.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        let waiting: usize = self.ciphertext_out.iter().map(Bytes::len).sum();
        [&self.ciphertext_in, &self.plaintext_in, &self.plaintext_out].map(BytesMut::capacity).iter().sum::<usize>()
            + waiting
    }

    pub(super) fn register(&mut self, waker: &Waker) {
        if !self.wakers.iter().any(|known| known.will_wake(waker)) {
            self.wakers.push(waker.clone());
        }
    }

    /// Reads ciphertext until there is no more, or enough. Ready when there is a whole record, or the end.
    pub(super) fn fill(&mut self, inner: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.is_eof && self.ciphertext_in.len() < READ_AHEAD {
            let (poll, wanted) = if self.is_large { self.read_large(inner, cx) } else { self.read_small(inner, cx) };
            let length = match poll {
                Poll::Pending if !self.has_records() => {
                    shrink(&mut self.ciphertext_in);
                    return Poll::Pending;
                }
                Poll::Pending => break,
                Poll::Ready(length) => length?,
            };
            self.records.update(&self.ciphertext_in);
            self.is_eof = length == 0;
            self.is_large = length >= FIRST_READ;
            if length < wanted && self.has_records() {
                // The rest is read after the step.
                break;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads by way of the stack, so that the buffer is no larger than what is in it. Returns how much was read, and the size of the
    /// read.
    fn read_small(&mut self, inner: &mut Stream, cx: &mut Context<'_>) -> (Poll<io::Result<usize>>, usize) {
        let mut memory = [const { MaybeUninit::uninit() }; FIRST_READ];
        let mut buf = ReadBuf::uninit(&mut memory);
        let poll = Pin::new(inner).poll_read(cx, &mut buf);
        self.ciphertext_in.extend_from_slice(buf.filled());
        (poll.map_ok(|()| buf.filled().len()), FIRST_READ)
    }

    fn read_large(&mut self, inner: &mut Stream, cx: &mut Context<'_>) -> (Poll<io::Result<usize>>, usize) {
        self.ciphertext_in.reserve(LARGE_READ);
        let spare = self.ciphertext_in.spare_capacity_mut();
        let room = spare.len();
        let mut buf = ReadBuf::uninit(spare);
        let poll = Pin::new(inner).poll_read(cx, &mut buf);
        let length = buf.filled().len();
        // SAFETY: `ReadBuf` vouches that the stream initialised this many bytes of the spare capacity, from its start.
        unsafe { self.ciphertext_in.set_len(self.ciphertext_in.len() + length) };
        (poll.map_ok(|()| length), room)
    }

    /// Sends ciphertext. A failure is kept for the next write: a read may still find the reason that the peer gave.
    pub(super) fn send(&mut self, inner: &mut Stream, cx: &mut Context<'_>) -> Poll<()> {
        while !self.ciphertext_out.is_empty() {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let count = slices.len().min(self.ciphertext_out.len());
            for (slice, part) in slices.iter_mut().zip(&self.ciphertext_out) {
                *slice = IoSlice::new(part);
            }
            match Pin::new(&mut *inner).poll_write_vectored(cx, &slices[..count]) {
                Poll::Ready(Ok(sent)) if sent > 0 => self.take_sent(sent),
                Poll::Ready(result) => {
                    self.fail_write(result.err().unwrap_or_else(|| io::ErrorKind::WriteZero.into()));
                    return Poll::Ready(());
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        match Pin::new(inner).poll_flush(cx) {
            Poll::Ready(Err(error)) => self.fail_write(error),
            Poll::Ready(Ok(())) => {}
            Poll::Pending => return Poll::Pending,
        }
        Poll::Ready(())
    }

    /// Drops ciphertext that was sent.
    fn take_sent(&mut self, mut sent: usize) {
        while let Some(part) = self.ciphertext_out.front_mut() {
            if sent < part.len() {
                part.advance(sent);
                return;
            }
            sent -= part.len();
            self.ciphertext_out.pop_front();
        }
    }

    pub(super) fn fail_write(&mut self, error: io::Error) {
        self.ciphertext_out.clear();
        self.has_write_failed = true;
        self.write_error = Some(error);
    }

    /// Returns the error of the next write, if writing has failed.
    pub(super) fn write_failure(&mut self) -> Option<io::Error> {
        if self.has_write_failed {
            return Some(self.write_error.take().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into()));
        }
        self.fault.as_mut().map(SessionFault::error)
    }
}

/// Frees the memory of a buffer that is empty, unless it is little.
pub(super) fn shrink(buffer: &mut BytesMut) {
    if buffer.is_empty() && buffer.capacity() > KEPT {
        *buffer = BytesMut::new();
    }
}

/// Takes a buffer for what follows its content.
fn take_if_empty(buffer: &mut BytesMut) -> BytesMut {
    if buffer.is_empty() { std::mem::take(buffer) } else { BytesMut::new() }
}

/// Appends `more`, without a copy if the buffer is empty and has less room.
fn join(buffer: &mut BytesMut, more: BytesMut) {
    if buffer.is_empty() && buffer.capacity() < more.capacity() {
        *buffer = more;
    } else {
        buffer.extend_from_slice(&more);
    }
}
