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
use crate::message::trailer_pairs;
use crate::operation::Fields;

/// hyper's connection, and what polls it.
pub struct HyperDriver {
    connection: http1::Connection<TokioIo<Http1WireHandle>, OutgoingBody>,
    has_ended: bool,
    pub wire: Http1WireHandle,
    flag: Arc<WakeFlag>,
    /// The waker of the connection and of its response or body: it sets `flag`.
    waker: Waker,
    /// The fields that came behind the body that was read last.
    pub trailers: Fields,
}

impl HyperDriver {
    pub fn new(connection: http1::Connection<TokioIo<Http1WireHandle>, OutgoingBody>, wire: Http1WireHandle) -> Self {
        let flag = Arc::new(WakeFlag::default());
        let waker = Waker::from(Arc::clone(&flag));
        Self { connection, has_ended: false, wire, flag, waker, trailers: Vec::new() }
    }

    /// Drops hyper's connection and returns the wire.
    pub fn into_wire(self) -> Http1WireHandle {
        self.wire
    }

    /// Returns whether hyper serves no more requests on this connection.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Lets hyper do what it can. Returns whether its other half has to be polled again.
    pub fn poll_connection(&mut self) -> bool {
        if self.has_ended {
            return false;
        }
        self.flag.0.store(false, Ordering::Relaxed);
        // Errors reach the response or the body.
        self.has_ended = Pin::new(&mut self.connection).poll(&mut Context::from_waker(&self.waker)).is_ready();
        self.has_ended || self.flag.0.load(Ordering::Relaxed)
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
