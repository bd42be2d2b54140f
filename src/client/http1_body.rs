//! The body of a response over HTTP/1.1.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;

use super::connection::HttpConnection;
use super::send::{closed, closed_by_pool, foreign};
use crate::error::{Error, Kind, Result};
use crate::http1::{BodyFault, Http1, Http1Incoming};
use crate::io::progress::ProgressTimer;
use crate::io::wait_set;
use crate::operation::EffectChannel;
use crate::pool::{RequestOutcome, SlotGuard, Status};

/// A connection with the slot that it has in its pool.
pub struct InUse {
    // Dropped in this order: the descriptor is closed before the slot is given to another request.
    connection: Box<Http1>,
    slot: SlotGuard<HttpConnection>,
}

/// A body and the connection that it arrives on.
///
/// A body that was read to its end returns the connection to the pool. Closing or dropping one that was not closes the connection.
pub struct Http1Body {
    in_use: Option<InUse>,
    /// A connection that cannot be used again. It may hold an exception, so the owner of the body drops it when no lock is held.
    ended: Option<InUse>,
    /// `None` when the body is complete.
    incoming: Option<Http1Incoming>,
    /// Wakes the task or thread that waits for the next chunk, when the response is closed meanwhile.
    reader: Option<Waker>,
    expected: Option<u64>,
    received: u64,
    progress_timer: ProgressTimer,
    timeout: Option<Duration>,
    trailers: Vec<(Bytes, Bytes)>,
}

impl Http1Body {
    pub fn new(
        incoming: Option<Http1Incoming>,
        expected: Option<u64>,
        timeout: Option<Duration>,
        connection: Box<Http1>,
        slot: SlotGuard<HttpConnection>,
    ) -> Self {
        Self {
            in_use: Some(InUse { connection, slot }),
            ended: None,
            incoming,
            reader: None,
            expected,
            received: 0,
            progress_timer: ProgressTimer::default(),
            timeout,
            trailers: Vec::new(),
        }
    }

    /// Returns whether all bytes of a body with a known length have been read.
    pub fn is_at_end(&self) -> bool {
        self.incoming.as_ref().is_none_or(Http1Incoming::is_at_end)
    }

    /// Returns the status of the connection that the rest of the body is to come from; `None` if all of it is here, or it was closed.
    pub fn awaited_from(&self) -> Option<&Arc<Status>> {
        let is_here = self.incoming.as_ref().is_none_or(Http1Incoming::is_whole);
        self.in_use.as_ref().filter(|_| !is_here).map(|in_use| in_use.slot.status())
    }

    /// Sets the outcome of the request, should its body not be read to the end.
    pub fn set_outcome(&mut self, outcome: RequestOutcome) {
        if let Some(in_use) = &mut self.in_use {
            in_use.slot.set_outcome(outcome);
        }
    }

    /// Returns the trailers.
    pub fn take_trailers(&mut self) -> Vec<(Bytes, Bytes)> {
        std::mem::take(&mut self.trailers)
    }

    /// Polls for the next chunk, `None` at the end. A failed body stays failed: it is closed.
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>, effects: &EffectChannel) -> Poll<Result<Option<Bytes>>> {
        let Some(incoming) = &mut self.incoming else {
            self.give_back_if_reusable();
            return Poll::Ready(Ok(None));
        };
        let Some(in_use) = &mut self.in_use else {
            return Poll::Ready(Err(closed()));
        };
        if !in_use.slot.is_current() {
            // A forked child: what arrives on this connection is for its parent.
            return Poll::Ready(Err(foreign()));
        }
        let poll = in_use.connection.poll_body(cx, incoming, &mut self.progress_timer, self.timeout, Some(effects));
        if poll.is_ready() {
            self.reader = None;
        }
        match poll {
            Poll::Pending => {
                if !self.reader.as_ref().is_some_and(|reader| reader.will_wake(cx.waker())) {
                    self.reader = Some(cx.waker().clone());
                }
                Poll::Pending
            }
            Poll::Ready(Ok(Some(chunk))) => {
                self.received += chunk.len() as u64;
                Poll::Ready(Ok(Some(chunk)))
            }
            Poll::Ready(Ok(None)) => {
                self.incoming = None;
                self.trailers = in_use.connection.take_trailers();
                self.give_back_if_reusable();
                Poll::Ready(Ok(None))
            }
            Poll::Ready(Err(fault)) => {
                let error = self.explain(fault);
                if let Some(in_use) = &mut self.in_use {
                    in_use.slot.set_outcome(RequestOutcome::Failed(error.kind()));
                }
                self.ended = self.in_use.take();
                Poll::Ready(Err(error))
            }
        }
    }

    /// Returns a connection that has ended, to be dropped without a lock.
    pub fn take_ended(&mut self) -> Option<InUse> {
        self.ended.take()
    }

    /// Gives the connection back. Idempotent. A task or thread that waits for a chunk gets a `ReadError`.
    pub fn close(&mut self) {
        let Some(in_use) = self.in_use.take() else { return };
        if let Some(reader) = self.reader.take() {
            // A thread may be asleep on the socket.
            in_use.slot.status().close();
            reader.wake();
        }
        self.ended = self.give_back(in_use);
    }

    /// Gives the connection back at the end of the body, before the response is closed. A connection that cannot be used again, or was
    /// upgraded, stays with the response, whose addresses can still be read.
    fn give_back_if_reusable(&mut self) {
        let Some(mut in_use) = self.in_use.take() else { return };
        let is_ours = in_use.slot.is_current() && !in_use.slot.status().is_closed_by_pool();
        if is_ours && !in_use.connection.is_upgraded() && in_use.connection.finish() {
            let InUse { connection, slot } = in_use;
            slot.keep(HttpConnection::Http1(connection));
        } else {
            in_use.slot.set_outcome(RequestOutcome::Finished);
            self.in_use = Some(in_use);
        }
    }

    /// Gives a connection back to the pool. Returns one that cannot be used again.
    fn give_back(&mut self, mut in_use: InUse) -> Option<InUse> {
        if !in_use.slot.is_current() {
            // A forked child: closing its copy of the descriptor leaves the parent's alone.
            return Some(in_use);
        }
        if let Some(incoming) = &mut self.incoming {
            // The last bytes may have been read, and the end of the body not yet.
            let mut cx = Context::from_waker(Waker::noop());
            let poll = in_use.connection.poll_body(&mut cx, incoming, &mut ProgressTimer::default(), None, None);
            wait_set::clear();
            if !matches!(poll, Poll::Ready(Ok(None))) {
                return Some(in_use);
            }
            self.incoming = None;
        }
        in_use.slot.set_outcome(RequestOutcome::Finished);
        if in_use.connection.is_upgraded() {
            // A thread may be asleep on the upgraded stream.
            in_use.slot.status().close();
        }
        if in_use.slot.status().is_closed_by_pool() || !in_use.connection.finish() {
            return Some(in_use);
        }
        let InUse { connection, slot } = in_use;
        slot.keep(HttpConnection::Http1(connection));
        None
    }

    fn explain(&self, fault: BodyFault) -> Error {
        let Some(InUse { connection, slot }) = &self.in_use else {
            return Error::new(Kind::ReadError, "the response was closed");
        };
        let origin = &slot.status().origin;
        if let Some(error) = closed_by_pool(slot) {
            return error;
        }
        match fault {
            BodyFault::TimedOut => Error::no_more_of_the_body(origin, self.timeout),
            BodyFault::MalformedTrailers => {
                Error::remote(format!("malformed trailers from {origin}: a line ends in LF without CR"))
            }
            BodyFault::Broken(error) => {
                let at_end = connection.is_at_end();
                let error = connection.fault(Some(&error));
                if !at_end || error.kind() != Kind::RemoteProtocolError {
                    return error;
                }
                // The texts are h11's.
                let part = match self.expected {
                    Some(expected) => format!("received {} bytes, expected {expected}", self.received),
                    None => "incomplete chunked read".to_owned(),
                };
                Error::remote(format!("peer closed connection without sending complete message body ({part})"))
                    .sent_by(origin)
            }
        }
    }
}
