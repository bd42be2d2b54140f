//! The stream under a response: its addresses, and its bytes after `101 Switching Protocols` or CONNECT.
//!
//! 1. A view does not keep the connection alive: a response that is still referred to holds no descriptor open.
//! 2. A view moves bytes only while its own exchange has left HTTP. It never touches the exchanges that follow on the connection.

use std::any::Any;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use socket2::SockAddr;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::error::{Error, Kind, Result};
use crate::io::socket::Socket;
use crate::io::stream::Stream;
use crate::io::wait_set::{deadline_in, timeout_at};
use crate::lock::RankedMutex;
use crate::operation::ExternalHandle;
use crate::origin::Origin;
use crate::tls::failed;
use crate::{http1, http2};

/// The most that one read returns, in bytes.
const MAX_READ: usize = 256 * 1024;

/// A view of the stream under a response.
#[derive(Clone)]
pub struct StreamView {
    wire: ViewedWire,
    origin: Arc<Origin>,
    external: Option<Box<ExternalView>>,
    session: Option<Arc<dyn Any + Send + Sync>>,
}

#[derive(Clone)]
enum ViewedWire {
    /// With the number of the exchange.
    Http1(Weak<RankedMutex<http1::Http1Wire>>, u64),
    /// HTTP/2 is never left: its stream can only be looked at.
    Http2(Weak<RankedMutex<http2::Http2Wire>>),
}

/// The external stream under a response.
#[derive(Clone)]
pub struct ExternalView {
    pub stream: ExternalHandle,
    /// If the connection has left HTTP: the bytes that followed the response head.
    pub trailing: Option<Bytes>,
}

impl StreamView {
    /// Returns a view of the exchange that is under way.
    pub fn http1(handle: &http1::Http1WireHandle) -> Self {
        let mut wire = handle.lock();
        let stream = wire.stream().external().map(|stream| stream.handle().clone());
        let external = stream.map(|stream| {
            Box::new(ExternalView { stream, trailing: wire.trailing().map(|trailing| trailing.split().freeze()) })
        });
        let origin = Arc::clone(wire.origin());
        let session = wire.stream().session();
        Self { wire: ViewedWire::Http1(handle.downgrade(), wire.exchange()), origin, external, session }
    }

    /// Returns a view of the connection of an exchange.
    pub fn http2(connection: &http2::Http2) -> Self {
        let external = connection.external().map(|stream| Box::new(ExternalView { stream, trailing: None }));
        let wire = ViewedWire::Http2(connection.wire().downgrade());
        Self { wire, origin: Arc::clone(connection.origin()), external, session: connection.session() }
    }

    /// Returns the external stream, if there is one. Then the view has no bytes and no addresses of its own.
    pub fn external(&self) -> Option<&ExternalView> {
        self.external.as_deref()
    }

    /// Returns the TLS session, for those who ask about it.
    pub fn session(&self) -> Option<&Arc<dyn Any + Send + Sync>> {
        self.session.as_ref()
    }

    /// Reads up to `max_bytes`; nothing at the end of the stream. Bytes that arrived together with the response head come first.
    pub async fn read(self, max_bytes: usize, timeout: Option<Duration>) -> Result<Bytes> {
        let reading = std::future::poll_fn(|cx| self.poll(cx, |wire, cx| poll_read(wire, cx, max_bytes)));
        match timeout_at(deadline_in(timeout), reading).await {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(error)) => Err(self.failed(Kind::ReadError, "reading from", error)),
            Err(_) => Err(Error::sent_no_data(&self.origin, timeout)),
        }
    }

    /// Writes all of `bytes`.
    pub async fn write(self, mut bytes: Bytes, timeout: Option<Duration>) -> Result<()> {
        let writing = std::future::poll_fn(|cx| self.poll(cx, |wire, cx| poll_write(wire, cx, &mut bytes)));
        match timeout_at(deadline_in(timeout), writing).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.failed(Kind::WriteError, "writing to", error)),
            Err(_) => Err(Error::took_no_data(&self.origin, timeout)),
        }
    }

    /// Calls `look` with the socket, while the connection has it.
    pub fn with_socket<T>(&self, look: impl FnOnce(&socket2::Socket) -> T) -> Option<T> {
        self.with_stream(|stream| stream.socket().map(|socket| look(socket.socket())))?
    }

    fn with_stream<T>(&self, look: impl FnOnce(&mut Stream) -> T) -> Option<T> {
        match &self.wire {
            ViewedWire::Http1(wire, _) => wire.upgrade().map(|wire| look(wire.lock().stream())),
            ViewedWire::Http2(wire) => wire.upgrade().map(|wire| look(wire.lock().stream())),
        }
    }

    /// Notes in the TLS session what there is to tell. It was done when the connection was closed, if it was.
    pub fn note_facts(&self) {
        self.with_stream(|stream| stream.note_facts());
    }

    pub fn local_address(&self) -> Option<SockAddr> {
        self.with_socket(|socket| socket.local_addr().ok())?
    }

    pub fn peer_address(&self) -> Option<SockAddr> {
        self.with_socket(|socket| socket.peer_addr().ok())?
    }

    /// Shuts down both directions of a stream that has left HTTP.
    pub fn shutdown(&self) {
        if let ViewedWire::Http1(wire, exchange) = &self.wire
            && let Some(wire) = wire.upgrade()
        {
            let mut wire = wire.lock();
            if wire.exchange() == *exchange && wire.is_upgraded() {
                wire.stream().link().shutdown();
            }
        }
    }

    /// Returns whether a read would return at once.
    pub fn is_readable(&self) -> Option<bool> {
        self.with_stream(|stream| stream.socket().map(Socket::is_readable))?
    }

    fn poll<T>(
        &self,
        cx: &mut Context<'_>,
        operation: impl FnOnce(&mut http1::Http1Wire, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let (wire, exchange) = match &self.wire {
            ViewedWire::Http1(wire, exchange) => (wire.upgrade(), *exchange),
            ViewedWire::Http2(_) => {
                return Poll::Ready(Err(io::Error::other("the connection speaks HTTP/2, which is never left")));
            }
        };
        let mut wire = wire.as_deref().map(RankedMutex::lock);
        let Some(wire) = wire.as_deref_mut().filter(|wire| wire.exchange() == exchange) else {
            return Poll::Ready(Err(io::Error::other("the response that the stream belongs to is closed")));
        };
        if !wire.stream().socket().is_some_and(Socket::is_current) {
            return Poll::Ready(Err(io::Error::other("the stream belongs to the process that opened it")));
        }
        if !wire.is_upgraded() {
            return Poll::Ready(Err(io::Error::other(
                "the connection still speaks HTTP; its stream can be used after an upgrade or CONNECT",
            )));
        }
        operation(wire, cx)
    }

    fn failed(&self, kind: Kind, what: &str, error: io::Error) -> Error {
        failed(error, kind, what, &self.origin)
    }
}

fn poll_read(wire: &mut http1::Http1Wire, cx: &mut Context<'_>, max_bytes: usize) -> Poll<io::Result<Bytes>> {
    if let Some(trailing) = wire.trailing()
        && !trailing.is_empty()
    {
        let length = trailing.len().min(max_bytes);
        return Poll::Ready(Ok(trailing.split_to(length).freeze()));
    }
    let mut buffer = BytesMut::zeroed(max_bytes.min(MAX_READ));
    let mut filled = ReadBuf::new(&mut buffer);
    match Pin::new(wire.stream()).poll_read(cx, &mut filled) {
        Poll::Ready(Ok(())) => {
            let length = filled.filled().len();
            buffer.truncate(length);
            Poll::Ready(Ok(buffer.freeze()))
        }
        Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        Poll::Pending => Poll::Pending,
    }
}

fn poll_write(wire: &mut http1::Http1Wire, cx: &mut Context<'_>, bytes: &mut Bytes) -> Poll<io::Result<()>> {
    while !bytes.is_empty() {
        match Pin::new(wire.stream()).poll_write(cx, bytes) {
            Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Poll::Ready(Ok(sent)) => drop(bytes.split_to(sent)),
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => return Poll::Pending,
        }
    }
    Pin::new(wire.stream()).poll_flush(cx)
}
