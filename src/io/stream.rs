//! The byte stream under an HTTP connection: a socket with layers of TLS on it, or an external stream.
//!
//! One owner reads and writes a stream. Others know it by a [`StreamLink`], with which the pool can end it or look whether it is readable.
//! Dropping a stream closes its socket, or leaves an external stream to its owner to be closed.

use std::any::Any;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::external::ExternalIo;
use super::reactor::{Job, Reactor};
use super::socket::Socket;
use super::source::Source;
use crate::operation::{ExternalHandle, Traffic};

/// A byte stream that a protocol reads from and writes to.
pub enum Stream {
    Plain(Socket),
    /// The stream below may have a TLS session as well: that with a proxy.
    Tls(Box<dyn TlsLayer>),
    External(Box<ExternalIo>),
}

/// A TLS session on another stream.
pub trait TlsLayer: AsyncRead + AsyncWrite + Send + Unpin {
    /// Returns the stream that carries the ciphertext.
    fn below(&self) -> &Stream;

    fn below_mut(&mut self) -> &mut Stream;

    /// Returns whether ALPN has chosen this protocol.
    fn has_chosen(&self, protocol: &[u8]) -> bool;

    /// Returns the session, for those who ask about it.
    fn session(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        None
    }

    /// Notes in the session what there is to tell, for the time after this stream.
    fn note_facts(&self) {}

    /// Takes the bytes that the peer has accepted before the handshake was complete. They are not sent again.
    fn take_early_data(&mut self) -> Option<Bytes> {
        None
    }

    /// Returns whether a driver takes the steps of the session.
    fn takes_steps(&self) -> bool {
        false
    }

    /// Sets the job that polls the stream from now on. It is run after each step of the session.
    fn set_owner(&self, _: &Weak<dyn Job>) {}

    /// Completes when the session needs no step for what has arrived or is to be sent.
    fn poll_settled(&self, _: &Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

/// A handle on a stream that is in use elsewhere. It does not keep a socket open, and dropping it has no effect.
pub enum StreamLink {
    Socket { source: Weak<Source>, traffic: Arc<Traffic> },
    External(ExternalHandle),
}

impl StreamLink {
    /// Ends the stream under the exchanges that use it.
    pub fn shutdown(&self) {
        match self {
            Self::Socket { source, .. } => {
                if let Some(source) = source.upgrade() {
                    source.shutdown();
                }
            }
            Self::External(handle) => handle.close_later(),
        }
    }

    /// Returns whether a read would return at once; `false` for an external stream, which only Python can ask.
    pub fn is_readable(&self) -> bool {
        match self {
            Self::Socket { source, .. } => source.upgrade().is_some_and(|source| source.is_readable()),
            Self::External(_) => false,
        }
    }

    /// Returns the numbers of bytes sent and received so far, counted below TLS. They can be read after the end of the stream.
    pub fn moved(&self) -> (u64, u64) {
        match self {
            Self::Socket { traffic, .. } => traffic.moved(),
            Self::External(handle) => handle.traffic().moved(),
        }
    }
}

impl Stream {
    /// Returns the socket, if the stream has one.
    pub fn socket(&self) -> Option<&Socket> {
        match self {
            Self::Plain(socket) => Some(socket),
            Self::Tls(layer) => layer.below().socket(),
            Self::External(_) => None,
        }
    }

    /// Returns the external stream, if the stream is one. The backend does TLS on it, so that no layer of TLS can be above.
    pub fn external(&mut self) -> Option<&mut ExternalIo> {
        match self {
            Self::Plain(_) | Self::Tls(_) => None,
            Self::External(stream) => Some(stream),
        }
    }

    /// Returns the reactor of the socket, if a job of it can write to the stream. External streams, and sessions whose steps a driver
    /// takes, are used by operations.
    pub fn reactor(&self) -> Option<Arc<Reactor>> {
        match self {
            Self::Plain(socket) => socket.reactor(),
            Self::Tls(layer) if !layer.takes_steps() => layer.below().reactor(),
            Self::Tls(_) | Self::External(_) => None,
        }
    }

    /// Returns the uppermost TLS session, for those who ask about it.
    pub fn session(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        match self {
            Self::Tls(layer) => layer.session(),
            Self::Plain(_) | Self::External(_) => None,
        }
    }

    /// Notes in the uppermost TLS session what there is to tell.
    pub fn note_facts(&self) {
        if let Self::Tls(layer) = self {
            layer.note_facts();
        }
    }

    /// Takes the bytes that the peer of TLS has accepted before the handshake was complete.
    pub fn take_early_data(&mut self) -> Option<Bytes> {
        match self {
            Self::Tls(layer) => layer.take_early_data(),
            Self::Plain(_) | Self::External(_) => None,
        }
    }

    /// Returns whether polls alone do not move its bytes: a driver has to carry out effects or steps of TLS.
    pub fn needs_driver(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(layer) => layer.takes_steps() || layer.below().needs_driver(),
            Self::External(_) => true,
        }
    }

    /// Returns the number of bytes sent and received so far, counted below TLS.
    pub fn moved(&self) -> u64 {
        match self {
            Self::Plain(socket) => socket.moved(),
            Self::Tls(layer) => layer.below().moved(),
            Self::External(stream) => stream.moved(),
        }
    }

    /// Returns whether TLS has chosen HTTP/2 (ALPN).
    pub fn has_chosen_http2(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(layer) => layer.has_chosen(b"h2"),
            Self::External(stream) => stream.handle().stream().has_chosen_http2(),
        }
    }

    /// Moves the socket to the event loop of its next user, or to none.
    pub fn attach(&mut self, reactor: Option<&Arc<Reactor>>) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.attach(reactor),
            Self::Tls(layer) => layer.below_mut().attach(reactor),
            Self::External(_) => Ok(()),
        }
    }

    /// Returns a handle that does not keep the stream alive.
    pub fn link(&self) -> StreamLink {
        match self {
            Self::Plain(socket) => {
                StreamLink::Socket { source: socket.downgrade(), traffic: Arc::clone(socket.traffic()) }
            }
            Self::Tls(layer) => layer.below().link(),
            Self::External(stream) => StreamLink::External(stream.handle().clone()),
        }
    }

    /// Sets the job that polls the stream from now on. It is run after each step of a TLS session.
    pub fn set_owner(&self, owner: &Weak<dyn Job>) {
        if let Self::Tls(layer) = self {
            layer.set_owner(owner);
            layer.below().set_owner(owner);
        }
    }

    /// Completes when no TLS session needs a step for what has arrived or is to be sent.
    pub fn poll_settled(&self, cx: &Context<'_>) -> Poll<()> {
        let Self::Tls(layer) = self else { return Poll::Ready(()) };
        ready!(layer.poll_settled(cx));
        layer.below().poll_settled(cx)
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Self::Tls(layer) => Pin::new(&mut **layer).poll_read(cx, buf),
            Self::External(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, buf),
            Self::Tls(layer) => Pin::new(&mut **layer).poll_write(cx, buf),
            Self::External(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            Self::Tls(layer) => Pin::new(&mut **layer).poll_write_vectored(cx, bufs),
            Self::External(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(layer) => Pin::new(&mut **layer).poll_flush(cx),
            Self::External(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(layer) => Pin::new(&mut **layer).poll_shutdown(cx),
            Self::External(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::operation::StreamOwner;
    use crate::testing::{ExternalStub, stream_pair};

    fn external() -> (Stream, Arc<StreamOwner>) {
        let owner = StreamOwner::pool();
        let handle = ExternalHandle::new(Arc::new(ExternalStub { is_async: true, has_chosen_http2: true }), &owner);
        (Stream::External(Box::new(ExternalIo::new(handle))), owner)
    }

    fn has_ended(mut peer: &UnixStream) -> bool {
        peer.read(&mut [0]).expect("the end of the stream") == 0
    }

    #[test]
    fn a_link_sees_and_ends_the_stream() {
        let (stream, peer) = stream_pair();
        let link = stream.link();
        assert!(!link.is_readable());
        (&peer).write_all(b"x").expect("room for a byte");
        assert!(link.is_readable());
        link.shutdown();
        assert!(has_ended(&peer));
    }

    #[test]
    fn a_link_does_not_keep_the_socket_open() {
        let (stream, peer) = stream_pair();
        let link = stream.link();
        drop(stream);
        assert!(has_ended(&peer));
        assert!(!link.is_readable());
        link.shutdown();
    }

    #[test]
    fn a_link_to_an_external_stream_leaves_it_to_its_owner() {
        let (stream, owner) = external();
        let link = stream.link();
        assert!(!link.is_readable() && owner.is_empty());
        link.shutdown();
        drop(stream);
        assert_eq!(owner.take(true).streams.len(), 1, "it is closed once");
    }

    #[test]
    fn a_backend_tells_the_protocol_of_its_stream() {
        let (mut external, _owner) = external();
        assert!(external.has_chosen_http2() && external.socket().is_none() && external.external().is_some());
        let (mut plain, _peer) = stream_pair();
        assert!(!plain.has_chosen_http2() && plain.socket().is_some() && plain.external().is_none());
        assert!(plain.session().is_none() && external.session().is_none());
        assert!(plain.poll_settled(&Context::from_waker(std::task::Waker::noop())).is_ready());
    }

    #[test]
    fn bytes_pass_through_a_plain_stream() {
        let (mut stream, peer) = stream_pair();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let slices = [IoSlice::new(b"ab"), IoSlice::new(b"c")];
        assert!(stream.is_write_vectored());
        assert!(matches!(Pin::new(&mut stream).poll_write_vectored(&mut cx, &slices), Poll::Ready(Ok(3))));
        assert!(matches!(Pin::new(&mut stream).poll_write(&mut cx, b"d"), Poll::Ready(Ok(1))));
        assert!(matches!(Pin::new(&mut stream).poll_flush(&mut cx), Poll::Ready(Ok(()))));
        (&peer).write_all(b"xy").expect("room for two bytes");
        let mut bytes = [0; 4];
        let mut buf = ReadBuf::new(&mut bytes);
        assert!(matches!(Pin::new(&mut stream).poll_read(&mut cx, &mut buf), Poll::Ready(Ok(()))));
        assert_eq!((buf.filled(), stream.moved()), (&b"xy"[..], 6));
    }
}
