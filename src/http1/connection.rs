//! A connection that serves one exchange at a time, and the body of the response on it.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::direct::Http1Incoming;
use super::hyper_driver::HyperDriver;
use super::wire::Http1WireHandle;
use crate::error::{Error, Kind, Result};
use crate::io::progress::ProgressTimer;
use crate::io::reactor::Reactor;
use crate::io::stream::Stream;
use crate::io::wait_set;
use crate::message::{Http1Head, Request};
use crate::operation::{EffectChannel, ExchangeKind, Fields};
use crate::origin::Origin;

/// A connection that speaks HTTP/1.1.
pub struct Http1 {
    pub(super) origin: Arc<Origin>,
    pub(super) driver: HyperDriver,
    /// The kind of exchange that trace events report.
    pub(super) kind: ExchangeKind,
    /// The last poll of a body returned content.
    got_content: bool,
    /// The bytes that were sent before the handshake of TLS was complete, until the exchange begins that they belong to.
    early_data: Option<Bytes>,
}

/// The parts of a response, its body still on the wire.
pub struct Http1Response {
    pub head: Http1Head,
    /// `None` after `101 Switching Protocols` and `2xx` to CONNECT.
    pub body: Option<Http1Incoming>,
}

/// Why a response body could not be read to its end.
pub enum BodyFault {
    Broken(hyper::Error),
    /// hyper has not read all that came behind the last chunk.
    MalformedTrailers,
    TimedOut,
}

impl Http1 {
    pub fn new(mut stream: Stream, origin: Arc<Origin>) -> Self {
        let early_data = stream.take_early_data();
        let driver = HyperDriver::new(Http1WireHandle::new(stream, Arc::clone(&origin)));
        Self { origin, driver, kind: ExchangeKind::Http1, got_content: false, early_data }
    }

    /// Frees the buffers of an idle connection. They are made anew for the next exchange.
    pub fn rest(&mut self) {
        self.driver.rest();
    }

    /// Sets the kind of exchange that trace events report.
    pub fn reporting_as(self, kind: ExchangeKind) -> Self {
        Self { kind, ..self }
    }

    pub fn wire(&self) -> &Http1WireHandle {
        &self.driver.wire
    }

    /// Returns the stream of a connection that has left HTTP, and the bytes that arrived on it behind the response head.
    pub fn into_stream(self) -> Option<(Stream, BytesMut)> {
        self.driver.into_wire().into_stream()
    }

    /// Moves an idle connection to the event loop that is going to use it.
    pub fn attach(&self, reactor: Option<&Arc<Reactor>>) -> io::Result<()> {
        self.wire().lock().stream().attach(reactor)
    }

    /// Returns whether operations of a loop (0: of threads) can use the connection. An external stream may belong to another loop.
    pub fn is_usable_by(&self, id: u64) -> bool {
        self.wire().lock().stream().external().is_none_or(|stream| stream.handle().owner().serves(id))
    }

    /// Returns whether an idle connection cannot be used any more: the server has closed it, or has sent bytes without a request.
    pub async fn is_stale(&self, effects: &EffectChannel) -> Result<bool> {
        let handle = self.wire().lock().stream().external().map(|stream| stream.handle().clone());
        match handle {
            Some(handle) => effects.is_readable(handle).await,
            None => Ok(std::future::poll_fn(|cx| self.wire().lock().poll_stale(cx)).await),
        }
    }

    /// Polls for the next chunk of the response body; `None` at its end. Without `effects`, nothing is read from an external stream.
    pub fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        body: &mut Http1Incoming,
        progress_timer: &mut ProgressTimer,
        timeout: Option<Duration>,
        effects: Option<&EffectChannel>,
    ) -> Poll<std::result::Result<Option<Bytes>, BodyFault>> {
        let body = match body {
            Http1Incoming::Whole(body) => return Poll::Ready(Ok(body.take())),
            Http1Incoming::Hyper(body) => body,
        };
        let driver = &mut self.driver;
        {
            let mut wire = driver.wire.lock();
            if std::mem::take(&mut self.got_content) {
                wire.note_content();
            }
            wire.begin_poll(cx.waker());
        }
        loop {
            match driver.poll_body(body) {
                Poll::Ready(Some(Ok(chunk))) => {
                    *progress_timer = ProgressTimer::default();
                    self.got_content = true;
                    return Poll::Ready(Ok(Some(chunk)));
                }
                Poll::Ready(None) if driver.wire.lock().has_malformed_trailers() => {
                    return Poll::Ready(Err(BodyFault::MalformedTrailers));
                }
                Poll::Ready(None) => return Poll::Ready(Ok(None)),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(BodyFault::Broken(error))),
                Poll::Pending => {}
            }
            if !driver.poll_connection() {
                break;
            }
        }
        let mut wire = driver.wire.lock();
        if progress_timer.is_over(wire.moved(), timeout) {
            return Poll::Ready(Err(BodyFault::TimedOut));
        }
        if let Some(effects) = effects {
            wire.request_io(effects, timeout, None);
        }
        Poll::Pending
    }

    /// Takes the fields that came behind the body that was read last.
    pub fn take_trailers(&mut self) -> Fields {
        std::mem::take(&mut self.driver.trailers)
    }

    /// Returns whether a request was sent before the handshake of TLS was complete, and its exchange has not begun.
    pub fn has_early_data(&self) -> bool {
        self.early_data.is_some()
    }

    /// Begins an exchange.
    pub(super) fn begin(&mut self, request: &Request) -> Result<()> {
        let head = &request.head;
        let mut wire = self.driver.wire.lock();
        wire.begin(head, request.has_informational);
        match self.early_data.take() {
            None => Ok(()),
            Some(sent) if sent == head.bytes => {
                wire.skip_head();
                Ok(())
            }
            Some(_) => Err(Error::new(Kind::Internal, "another request was sent as early data")),
        }
    }

    /// Returns whether the connection has left HTTP.
    pub fn is_upgraded(&self) -> bool {
        self.wire().lock().is_upgraded()
    }

    /// Ends a complete exchange, of which hyper is told if it had a part in it. Returns whether the connection can serve another one.
    pub fn finish(&mut self) -> bool {
        let is_direct = {
            let mut wire = self.wire().lock();
            wire.end_response();
            wire.end_direct()
        };
        if !is_direct {
            while self.driver.poll_connection() {}
        }
        // An idle connection is not waited for.
        wait_set::clear();
        self.driver.is_ready() && self.wire().lock().is_reusable()
    }

    /// Returns the error of an exchange in which hyper could not go on.
    pub fn fault(&self, error: Option<&hyper::Error>) -> Error {
        let origin = &self.origin;
        let mut wire = self.wire().lock();
        if let Some(fault) = wire.take_fault() {
            return fault;
        }
        if wire.is_at_end() {
            let fault = Error::disconnected();
            return match wire.take_write_error() {
                Some(error) => fault.with_source(error),
                None => fault,
            };
        }
        if let Some(error) = wire.take_write_error() {
            return error;
        }
        let Some(error) = error else { return Error::new(Kind::Internal, "an exchange failed without an error") };
        let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
        Error::remote(format!("invalid response from {origin}: {error}{cause}"))
    }

    /// Returns whether the server has ended the stream, for messages.
    pub fn is_at_end(&self) -> bool {
        self.wire().lock().is_at_end()
    }
}
