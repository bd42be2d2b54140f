//! The byte stream under an HTTP connection: a socket with layers of TLS on it, or a stream that the caller brought.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client::TlsStream;

use super::carrier::{Carried, Handle};
use super::reactor::{Job, Reactor};
use super::socket::{Shared, Socket};
use crate::tls::python_ssl::{SslSession, SslStream};

pub enum Stream {
    Plain(Socket),
    // Boxed: a TLS session is large, and the stream below it may have one, too (a proxy that is itself spoken to over TLS).
    Rustls(Box<TlsStream<Stream>>),
    Python(Box<SslStream>),
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
            Self::Socket(socket) => socket.upgrade().is_some_and(|socket| socket.is_readable()),
            // Only Python can ask an external stream.
            Self::None | Self::Carried(_) => false,
        }
    }
}

impl Stream {
    /// The stream below the uppermost TLS, if there is one.
    fn below(&self) -> Option<&Self> {
        match self {
            Self::Plain(_) | Self::Carried(_) => None,
            Self::Rustls(stream) => Some(stream.get_ref().0),
            Self::Python(stream) => Some(stream.inner()),
        }
    }

    /// The socket, if it is ours.
    pub fn socket(&self) -> Option<&Socket> {
        match self {
            Self::Plain(socket) => Some(socket),
            Self::Carried(_) => None,
            _ => self.below()?.socket(),
        }
    }

    pub fn carried(&mut self) -> Option<&mut Carried> {
        match self {
            Self::Plain(_) | Self::Rustls(_) | Self::Python(_) => None,
            Self::Carried(stream) => Some(stream),
        }
    }

    /// The uppermost TLS session, if it is one of Python's.
    pub fn session(&self) -> Option<&Arc<SslSession>> {
        match self {
            Self::Python(stream) => Some(stream.session()),
            Self::Plain(_) | Self::Rustls(_) | Self::Carried(_) => None,
        }
    }

    /// Bytes that were moved so far, those of TLS included.
    pub fn moved(&self) -> u64 {
        match self {
            Self::Plain(socket) => socket.moved(),
            Self::Carried(stream) => stream.moved(),
            _ => self.below().map_or(0, Self::moved),
        }
    }

    /// Whether TLS has chosen HTTP/2 (ALPN).
    pub fn has_chosen_http2(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Rustls(stream) => stream.get_ref().1.alpn_protocol() == Some(b"h2"),
            Self::Python(stream) => stream.protocol().as_deref() == Some(b"h2"),
            Self::Carried(stream) => stream.handle().carrier().has_chosen_http2(),
        }
    }

    pub fn attach(&mut self, reactor: Option<&Arc<Reactor>>) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.attach(reactor),
            Self::Rustls(stream) => stream.get_mut().0.attach(reactor),
            Self::Python(stream) => stream.inner_mut().attach(reactor),
            Self::Carried(_) => Ok(()),
        }
    }

    /// By what the pool can shut the stream down from outside.
    pub fn link(&self) -> Link {
        match self {
            Self::Plain(socket) => Link::Socket(socket.downgrade()),
            Self::Carried(stream) => Link::Carried(stream.handle().clone()),
            _ => self.below().map_or(Link::None, Self::link),
        }
    }

    /// From now on it is `owner` that polls the stream, and has to after each step of a TLS session.
    pub fn set_owner(&self, owner: &Weak<dyn Job>) {
        if let Self::Python(stream) = self {
            stream.set_owner(Weak::clone(owner));
        }
        if let Some(below) = self.below() {
            below.set_owner(owner);
        }
    }

    /// Completes when no TLS session has to take a step for what has arrived or is to be sent.
    pub fn poll_settled(&self, cx: &Context<'_>) -> Poll<()> {
        if let Self::Python(stream) = self {
            ready!(stream.poll_settled(cx));
        }
        self.below().map_or(Poll::Ready(()), |below| below.poll_settled(cx))
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Self::Rustls(stream) => without_goodbye(Pin::new(stream).poll_read(cx, buf)),
            Self::Python(stream) => Pin::new(&mut **stream).poll_read(cx, buf),
            Self::Carried(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, buf),
            Self::Rustls(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Python(stream) => Pin::new(&mut **stream).poll_write(cx, buf),
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
            Self::Rustls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Python(stream) => Pin::new(&mut **stream).poll_write_vectored(cx, bufs),
            Self::Carried(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::Rustls(stream) => Pin::new(stream).poll_flush(cx),
            Self::Python(stream) => Pin::new(&mut **stream).poll_flush(cx),
            Self::Carried(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Rustls(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Python(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
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
