//! A session of rustls, as a layer on a stream.

use std::any::Any;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client::TlsStream;

use super::session::RustlsSession;
use crate::io::stream::{Stream, TlsLayer};

/// Bytes that are encrypted and then written together: all chunks that HTTP/1.1 passes on at once, and their framing. At the default of rustls,
/// 64 KiB, a chunk of that size and its framing would take two writes.
const WRITE_BUFFER: usize = 320 * 1024;

const CUT_OFF: &str = "[UNEXPECTED_EOF_WHILE_READING] unexpected eof while reading: the connection ended without close_notify of TLS, so \
                       that what came last may be missing (TLSConfig(require_close_notify=True))";

/// TLS by rustls on another stream. Dropping it closes that one, without `close_notify`.
pub struct RustlsStream {
    stream: TlsStream<Stream>,
    session: Arc<RustlsSession>,
    /// An end without `close_notify` is an error.
    needs_close_notify: bool,
    /// The bytes that the server has accepted before the handshake was complete.
    early_data: Option<Bytes>,
}

impl RustlsStream {
    pub fn new(mut stream: TlsStream<Stream>, session: RustlsSession, needs_close_notify: bool) -> Self {
        stream.get_mut().1.set_buffer_limit(Some(WRITE_BUFFER));
        Self { stream, session: Arc::new(session), needs_close_notify, early_data: None }
    }

    /// The stream begins behind these bytes.
    pub(super) fn after_early_data(mut self, early_data: Option<Bytes>) -> Self {
        self.early_data = early_data;
        self
    }
}

impl Drop for RustlsStream {
    /// Leaves what rustls knows to the responses that still refer to the session. While the stream exists, nothing is copied unless it
    /// is asked for.
    fn drop(&mut self) {
        if Arc::strong_count(&self.session) > 1 {
            self.note_facts();
        }
    }
}

impl TlsLayer for RustlsStream {
    fn below(&self) -> &Stream {
        self.stream.get_ref().0
    }

    fn below_mut(&mut self) -> &mut Stream {
        self.stream.get_mut().0
    }

    fn has_chosen(&self, protocol: &[u8]) -> bool {
        self.stream.get_ref().1.alpn_protocol() == Some(protocol)
    }

    fn session(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        Some(Arc::<RustlsSession>::clone(&self.session))
    }

    fn take_early_data(&mut self) -> Option<Bytes> {
        self.early_data.take()
    }

    fn note_facts(&self) {
        self.session.note_facts(self.stream.get_ref().1);
    }
}

impl AsyncRead for RustlsStream {
    /// Treats an end without `close_notify` as the end of the stream, as for Python's `ssl`, unless the configuration wants an error.
    /// Framing tells whether it ended too early; where only the end frames a body, nothing does.
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match Pin::new(&mut this.stream).poll_read(cx, buf) {
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                let error = io::Error::new(error.kind(), CUT_OFF);
                Poll::Ready(if this.needs_close_notify { Err(error) } else { Ok(()) })
            }
            poll => poll,
        }
    }
}

impl AsyncWrite for RustlsStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
