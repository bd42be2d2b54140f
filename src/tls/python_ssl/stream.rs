//! The stream of a session: it moves ciphertext, and is pending while a step is needed.

use std::any::Any;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::session::{Buffers, Handshake, SslSession, shrink};
use crate::io::reactor::Job;
use crate::io::stream::{Stream, TlsLayer};

/// Plaintext that is accepted ahead of its encryption, in bytes.
const WRITE_AHEAD: usize = 256 * 1024;

/// TLS by Python's `ssl` on another stream. Dropping it closes that one, without `close_notify`.
pub struct SslStream {
    session: Arc<SslSession>,
    inner: Stream,
}

impl SslStream {
    /// A stream whose handshake has not begun. `engine` is what [`SslEngine::session`] made.
    pub fn new(inner: Stream, engine: Arc<dyn Any + Send + Sync>) -> Self {
        Self { session: Arc::new(SslSession::new(engine)), inner }
    }

    #[cfg(test)]
    pub fn session(&self) -> &Arc<SslSession> {
        &self.session
    }

    /// Returns the protocol that ALPN has chosen.
    pub fn protocol(&self) -> Option<Bytes> {
        self.session.buffers().protocol.clone()
    }

    /// Performs the handshake.
    pub async fn handshake(&mut self) -> io::Result<()> {
        std::future::poll_fn(|cx| self.poll_handshake(cx)).await
    }

    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { session, inner } = self;
        let mut buffers = session.buffers();
        loop {
            let sent = buffers.send(inner, cx);
            if let Some(fault) = &mut buffers.fault {
                return Poll::Ready(Err(fault.error()));
            }
            if buffers.handshake == Handshake::Done {
                ready!(sent);
                return Poll::Ready(buffers.write_error.take().map_or(Ok(()), Err));
            }
            if buffers.is_stepping || buffers.needs_step() {
                session.await_step(&mut buffers, cx);
                return Poll::Pending;
            }
            if buffers.is_eof {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            ready!(buffers.fill(inner, cx))?;
        }
    }
}

impl TlsLayer for SslStream {
    fn below(&self) -> &Stream {
        &self.inner
    }

    fn below_mut(&mut self) -> &mut Stream {
        &mut self.inner
    }

    fn has_chosen(&self, protocol: &[u8]) -> bool {
        self.session.buffers().protocol.as_deref() == Some(protocol)
    }

    fn session(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        Some(Arc::<SslSession>::clone(&self.session))
    }

    fn takes_steps(&self) -> bool {
        true
    }

    fn set_owner(&self, owner: &Weak<dyn Job>) {
        self.session.set_owner(Weak::clone(owner));
    }

    fn poll_settled(&self, cx: &Context<'_>) -> Poll<()> {
        let mut buffers = self.session.buffers();
        if !buffers.is_stepping && !buffers.needs_step() {
            return Poll::Ready(());
        }
        // Registered also if this exchange does not poll the stream.
        buffers.register(cx.waker());
        self.session.await_step(&mut buffers, cx);
        Poll::Pending
    }
}

impl Drop for SslStream {
    fn drop(&mut self) {
        if self.session.is_current() {
            self.session.buffers().is_dropped = true;
        }
    }
}

impl AsyncRead for SslStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { session, inner } = &mut *self.get_mut();
        let mut buffers = session.buffers();
        // Reading may have produced ciphertext (an answer to a KeyUpdate, an alert).
        let _: Poll<()> = buffers.send(inner, cx);
        loop {
            if !buffers.plaintext_in.is_empty() {
                let length = buffers.plaintext_in.len().min(buf.remaining());
                buf.put_slice(&buffers.plaintext_in[..length]);
                buffers.plaintext_in.advance(length);
                shrink(&mut buffers.plaintext_in);
                return Poll::Ready(Ok(()));
            }
            if let Some(fault) = &mut buffers.fault {
                return Poll::Ready(Err(fault.error()));
            }
            if buffers.is_closed {
                return Poll::Ready(Ok(()));
            }
            if buffers.is_stepping || buffers.has_records() {
                session.await_step(&mut buffers, cx);
                return Poll::Pending;
            }
            if buffers.is_eof {
                // An end without `close_notify` is an end of the stream. Framing tells whether it came too early.
                return Poll::Ready(Ok(()));
            }
            ready!(buffers.fill(inner, cx))?;
        }
    }
}

impl AsyncWrite for SslStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { session, inner } = &mut *self.get_mut();
        let mut buffers = session.buffers();
        if let Some(error) = buffers.write_failure() {
            return Poll::Ready(Err(error));
        }
        let mut room = WRITE_AHEAD.saturating_sub(buffers.plaintext_out.len());
        if room == 0 || buffers.is_holding {
            ready!(poll_encrypted(session, &mut buffers, inner, cx))?;
            room = WRITE_AHEAD;
        }
        let mut accepted = 0;
        for buf in bufs {
            let length = buf.len().min(room - accepted);
            buffers.plaintext_out.extend_from_slice(&buf[..length]);
            accepted += length;
        }
        Poll::Ready(Ok(accepted))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { session, inner } = &mut *self.get_mut();
        poll_encrypted(session, &mut session.buffers(), inner, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

/// Completes when all plaintext is encrypted and sent.
fn poll_encrypted(
    session: &Arc<SslSession>,
    buffers: &mut Buffers,
    inner: &mut Stream,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    let sent = buffers.send(inner, cx);
    if let Some(error) = buffers.write_failure() {
        return Poll::Ready(Err(error));
    }
    // Nothing more is encrypted before this is sent.
    ready!(sent);
    if buffers.is_holding && !buffers.is_stepping {
        ready!(buffers.fill(inner, cx))?;
        if buffers.is_eof && !buffers.has_records() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
    }
    if buffers.is_stepping || buffers.is_holding || !buffers.plaintext_out.is_empty() {
        session.await_step(buffers, cx);
        return Poll::Pending;
    }
    Poll::Ready(Ok(()))
}
