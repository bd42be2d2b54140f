//! The state of a session: what its stream, its drivers and its responses share.

use std::any::Any;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::steps::needs_step;
use crate::fork::Generation;
use crate::io::reactor::Job;
use crate::io::stream::Stream;
use crate::io::{strand, wait_set};
use crate::lock::{Guard, Rank, RankedMutex};

/// Ciphertext that is read ahead of its decryption, in bytes.
const READ_AHEAD: usize = 256 * 1024;
/// The size of a read, until a read has filled it, in bytes.
const FIRST_READ: usize = 8 * 1024;
/// The size of a read from then on, in bytes.
const LARGE_READ: usize = 64 * 1024;

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
    pub(super) plaintext_in: BytesMut,
    pub(super) plaintext_out: BytesMut,
    pub(super) ciphertext_out: BytesMut,
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
    Handshake { ciphertext: Bytes, is_eof: bool },
    /// `ciphertext` has arrived and is decrypted; `plaintext` is encrypted.
    Data { ciphertext: Bytes, plaintext: Bytes },
}

/// The output of a step.
#[derive(Default)]
pub struct StepOutput<'a> {
    pub plaintext: &'a [u8],
    pub ciphertext: &'a [u8],
    pub is_handshaken: bool,
    /// The protocol that ALPN has chosen, when the handshake is complete.
    pub protocol: Option<&'a [u8]>,
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
        let ciphertext = buffers.ciphertext_in.split().freeze();
        if buffers.handshake != Handshake::Done {
            buffers.handshake = Handshake::UnderWay;
            buffers.is_eof_told |= buffers.is_eof;
            return Some(StepInput::Handshake { ciphertext, is_eof: buffers.is_eof });
        }
        let plaintext = if buffers.is_holding { Bytes::new() } else { buffers.plaintext_out.split().freeze() };
        Some(StepInput::Data { ciphertext, plaintext })
    }

    /// Ends a step.
    pub fn finish_step(&self, output: StepOutput<'_>) {
        let wakers = {
            let mut buffers = self.buffers();
            buffers.is_stepping = false;
            buffers.plaintext_in.extend_from_slice(output.plaintext);
            buffers.ciphertext_out.extend_from_slice(output.ciphertext);
            if output.is_handshaken && buffers.handshake != Handshake::Done {
                buffers.handshake = Handshake::Done;
                buffers.protocol = output.protocol.map(Bytes::copy_from_slice);
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
            Handshake::UnderWay => !self.ciphertext_in.is_empty() || (self.is_eof && !self.is_eof_told),
            Handshake::Done => !self.ciphertext_in.is_empty() || (!self.plaintext_out.is_empty() && !self.is_holding),
        }
    }

    pub(super) fn register(&mut self, waker: &Waker) {
        if !self.wakers.iter().any(|known| known.will_wake(waker)) {
            self.wakers.push(waker.clone());
        }
    }

    /// Reads ciphertext until there is no more, or enough. Ready when there is some, or the end.
    pub(super) fn fill(&mut self, inner: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.is_eof && self.ciphertext_in.len() < READ_AHEAD {
            let wanted = if self.is_large { LARGE_READ } else { FIRST_READ };
            self.ciphertext_in.reserve(wanted);
            let spare = self.ciphertext_in.spare_capacity_mut();
            let room = spare.len();
            let mut buf = ReadBuf::uninit(spare);
            let poll = Pin::new(&mut *inner).poll_read(cx, &mut buf);
            let length = buf.filled().len();
            // SAFETY: `ReadBuf` vouches that the stream initialised this many bytes of the spare capacity, from its start.
            unsafe { self.ciphertext_in.set_len(self.ciphertext_in.len() + length) };
            match poll {
                Poll::Pending if self.ciphertext_in.is_empty() => return Poll::Pending,
                Poll::Pending => break,
                Poll::Ready(result) => result?,
            }
            self.is_eof = length == 0;
            self.is_large |= length == room;
            if length < room {
                // The rest is read after the step.
                break;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Sends ciphertext. A failure is kept for the next write: a read may still find the reason that the peer gave.
    pub(super) fn send(&mut self, inner: &mut Stream, cx: &mut Context<'_>) -> Poll<()> {
        while !self.ciphertext_out.is_empty() {
            match Pin::new(&mut *inner).poll_write(cx, &self.ciphertext_out) {
                Poll::Ready(Ok(sent)) if sent > 0 => self.ciphertext_out.advance(sent),
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
        shrink(&mut self.ciphertext_out);
        Poll::Ready(())
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

/// Frees the memory that a large transfer needed, once the buffer is empty.
pub(super) fn shrink(buffer: &mut BytesMut) {
    if buffer.is_empty() && buffer.capacity() > LARGE_READ {
        *buffer = BytesMut::new();
    }
}
