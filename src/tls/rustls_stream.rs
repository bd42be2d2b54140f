//! A session of rustls, as a layer on a stream.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client::TlsStream;

use crate::io::stream::{Stream, TlsLayer};

/// Bytes that are encrypted and then written together: all chunks that HTTP/1.1 passes on at once, and their framing. At the default of rustls,
/// 64 KiB, a chunk of that size and its framing would take two writes.
const WRITE_BUFFER: usize = 320 * 1024;

/// TLS by rustls on another stream. Dropping it closes that one, without `close_notify`.
pub struct RustlsStream(TlsStream<Stream>);

impl RustlsStream {
    pub fn new(mut stream: TlsStream<Stream>) -> Self {
        stream.get_mut().1.set_buffer_limit(Some(WRITE_BUFFER));
        Self(stream)
    }
}

impl TlsLayer for RustlsStream {
    fn below(&self) -> &Stream {
        self.0.get_ref().0
    }

    fn below_mut(&mut self) -> &mut Stream {
        self.0.get_mut().0
    }

    fn has_chosen(&self, protocol: &[u8]) -> bool {
        self.0.get_ref().1.alpn_protocol() == Some(protocol)
    }
}

impl AsyncRead for RustlsStream {
    /// Treats an end without `close_notify` as the end of the stream, as for Python's `ssl`. Framing tells whether it ended too early.
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.get_mut().0).poll_read(cx, buf) {
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
            poll => poll,
        }
    }
}

impl AsyncWrite for RustlsStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }
}
