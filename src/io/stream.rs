//! The byte stream under an HTTP connection: a socket, plain or in TLS, or a stream that the caller brought.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client::TlsStream;

use super::carrier::{Carried, Handle};
use super::reactor::Reactor;
use super::socket::{Shared, Socket};

pub enum Stream {
    Plain(Socket),
    Tls(Box<TlsStream<Socket>>),
    /// Through a proxy that is itself spoken to over TLS.
    TlsInTls(Box<TlsStream<TlsStream<Socket>>>),
    Carried(Box<Carried>),
}

/// What the pool holds of a stream that somebody else uses.
#[derive(Clone, Default)]
pub enum Link {
    #[default]
    None,
    Socket(Weak<Shared>),
    Carried(Handle),
}

impl Link {
    /// Ends the stream under whoever uses it.
    pub fn shutdown(&self) {
        match self {
            Self::None => {}
            Self::Socket(socket) => {
                if let Some(socket) = socket.upgrade() {
                    socket.shutdown();
                }
            }
            Self::Carried(handle) => handle.forsake(),
        }
    }

    pub fn is_readable(&self) -> bool {
        match self {
            Self::None => false,
            Self::Socket(socket) => socket.upgrade().is_some_and(|socket| socket.is_readable()),
            // Only Python can ask it.
            Self::Carried(_) => false,
        }
    }
}

impl Stream {
    /// The socket, if it is ours.
    pub fn socket(&self) -> Option<&Socket> {
        match self {
            Self::Plain(socket) => Some(socket),
            Self::Tls(stream) => Some(stream.get_ref().0),
            Self::TlsInTls(stream) => Some(stream.get_ref().0.get_ref().0),
            Self::Carried(_) => None,
        }
    }

    pub fn carried(&mut self) -> Option<&mut Carried> {
        match self {
            Self::Plain(_) | Self::Tls(_) | Self::TlsInTls(_) => None,
            Self::Carried(stream) => Some(stream),
        }
    }

    /// Bytes that were moved so far, those of TLS included.
    pub fn moved(&self) -> u64 {
        match self {
            Self::Plain(socket) => socket.moved(),
            Self::Tls(stream) => stream.get_ref().0.moved(),
            Self::TlsInTls(stream) => stream.get_ref().0.get_ref().0.moved(),
            Self::Carried(stream) => stream.moved(),
        }
    }

    /// Whether TLS has chosen HTTP/2 (ALPN).
    pub fn has_chosen_http2(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(stream) => stream.get_ref().1.alpn_protocol() == Some(b"h2"),
            Self::TlsInTls(stream) => stream.get_ref().1.alpn_protocol() == Some(b"h2"),
            Self::Carried(stream) => stream.handle().carrier().has_chosen_http2(),
        }
    }

    pub fn attach(&mut self, reactor: Option<&Arc<Reactor>>) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.attach(reactor),
            Self::Tls(stream) => stream.get_mut().0.attach(reactor),
            Self::TlsInTls(stream) => stream.get_mut().0.get_mut().0.attach(reactor),
            Self::Carried(_) => Ok(()),
        }
    }

    /// By what the pool can shut the stream down from outside.
    pub fn link(&self) -> Link {
        match self {
            Self::Plain(socket) => Link::Socket(socket.downgrade()),
            Self::Tls(stream) => Link::Socket(stream.get_ref().0.downgrade()),
            Self::TlsInTls(stream) => Link::Socket(stream.get_ref().0.get_ref().0.downgrade()),
            Self::Carried(stream) => Link::Carried(stream.handle().clone()),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Self::Tls(stream) => without_goodbye(Pin::new(stream).poll_read(cx, buf)),
            Self::TlsInTls(stream) => without_goodbye(Pin::new(stream).poll_read(cx, buf)),
            Self::Carried(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::TlsInTls(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Carried(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::TlsInTls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Carried(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Self::TlsInTls(stream) => Pin::new(stream).poll_flush(cx),
            Self::Carried(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::TlsInTls(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Carried(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// Closed without TLS's goodbye: an end of stream, as for Python's `ssl`. Framing tells whether it came too early.
fn without_goodbye(poll: Poll<io::Result<()>>) -> Poll<io::Result<()>> {
    match poll {
        Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
        poll => poll,
    }
}
