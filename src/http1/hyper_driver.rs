//! hyper's connection, polled in turn with a request or a response body on it.
//!
//! hyper splits a connection into the connection itself and a future of the response, or a body, which wake each other. Both are
//! polled by the same thread, one after the other. So they get a waker that only sets a [`WakeFlag`], and "woken" means "poll again".

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use super::upload::OutgoingBody;
use super::wire::Http1WireHandle;
use crate::io::reactor::Reactor;
use crate::message::trailer_pairs;
use crate::operation::Fields;

/// hyper's connection, and what polls it.
pub struct HyperDriver {
    /// `None` while the connection is at rest: hyper's half is made anew for the next exchange.
    hyper: Option<HyperConnection>,
    has_ended: bool,
    pub wire: Http1WireHandle,
    flag: Arc<WakeFlag>,
    /// The waker of the connection and of its response or body: it sets `flag`.
    waker: Waker,
    /// The fields that came behind the body that was read last.
    pub trailers: Fields,
}

/// hyper's two halves of a connection. They hold buffers of 16 KiB.
struct HyperConnection {
    sender: http1::SendRequest<OutgoingBody>,
    connection: http1::Connection<TokioIo<Http1WireHandle>, OutgoingBody>,
}

impl HyperDriver {
    pub fn new(wire: Http1WireHandle) -> Self {
        let flag = Arc::new(WakeFlag::default());
        let waker = Waker::from(Arc::clone(&flag));
        Self { hyper: None, has_ended: false, wire, flag, waker, trailers: Vec::new() }
    }

    /// Returns what requests are sent with. Makes hyper's half of a connection that is new or at rest.
    pub async fn sender(&mut self) -> hyper::Result<&mut http1::SendRequest<OutgoingBody>> {
        let hyper = if let Some(hyper) = self.hyper.take() {
            hyper
        } else {
            let (sender, connection) = http1::handshake(TokioIo::new(self.wire.clone())).await?;
            HyperConnection { sender, connection }
        };
        Ok(&mut self.hyper.insert(hyper).sender)
    }

    /// Returns whether another request can be sent.
    pub fn is_ready(&self) -> bool {
        !self.has_ended && self.hyper.as_ref().is_none_or(|hyper| hyper.sender.is_ready())
    }

    /// Frees the buffers of an idle connection.
    pub fn rest(&mut self) {
        if self.is_ready() {
            self.hyper = None;
            self.wire.lock().free_buffer();
        }
    }

    /// Drops hyper's connection and returns the wire.
    pub fn into_wire(self) -> Http1WireHandle {
        self.wire
    }

    /// Lets hyper do what it can. Returns whether its other half has to be polled again.
    pub fn poll_connection(&mut self) -> bool {
        let Some(hyper) = self.hyper.as_mut().filter(|_| !self.has_ended) else { return false };
        self.flag.0.store(false, Ordering::Relaxed);
        // Errors reach the response or the body.
        self.has_ended = Pin::new(&mut hyper.connection).poll(&mut Context::from_waker(&self.waker)).is_ready();
        self.has_ended || self.flag.0.load(Ordering::Relaxed)
    }

    /// Lets hyper write what it has got. A job of the reactor sends what the stream does not accept at once.
    pub fn write_with_job(&mut self, waker: &Waker, reactor: &Arc<Reactor>) {
        let wire = self.wire.clone();
        wire.lock().begin_poll(waker);
        wire.write_with_job(reactor, || while self.poll_connection() {});
    }

    pub fn poll_response<F: Future>(&self, response: Pin<&mut F>) -> Poll<F::Output> {
        response.poll(&mut Context::from_waker(&self.waker))
    }

    /// Polls for the next chunk of a response body, and keeps the trailers behind it.
    pub fn poll_body(&mut self, body: &mut Incoming) -> Poll<Option<hyper::Result<Bytes>>> {
        let mut cx = Context::from_waker(&self.waker);
        loop {
            match Pin::new(&mut *body).poll_frame(&mut cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(chunk) => return Poll::Ready(Some(Ok(chunk))),
                    Err(frame) => {
                        if let Ok(trailers) = frame.into_trailers() {
                            self.trailers = trailer_pairs(&trailers);
                        }
                    }
                },
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

/// A waker that only remembers that it was used.
#[derive(Default)]
struct WakeFlag(AtomicBool);

impl Wake for WakeFlag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}
