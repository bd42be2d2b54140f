//! The body of a response, over either protocol.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;

use super::connection::HttpConnection;
use super::http1_body::{Http1Body, InUse};
use super::send::{closed, closed_by_pool, foreign};
use crate::error::{Error, Kind, Result};
use crate::http2;
use crate::io::deadline::in_time;
use crate::io::wait_set;
use crate::operation::EffectChannel;
use crate::origin::Origin;
use crate::pool::{RequestOutcome, SlotGuard, Status};
use crate::timeout::Deadline;

/// A body, with the slot of the connection that it arrives on.
///
/// A body that was read to its end returns its connection to the pool. Closing or dropping one that was not closes the connection
/// over HTTP/1.1, and resets the stream over HTTP/2.
pub struct ResponseBody {
    source: BodySource,
    effects: EffectChannel,
}

/// The size that the chunks of [`ResponseBody::poll_large_chunk`] are filled up to, in bytes. One piece may be larger.
const CHUNK: usize = 64 * 1024;

/// A part of a body, in the pieces in which it arrived.
pub struct Chunk {
    pub first: Bytes,
    pub more: Vec<Bytes>,
}

impl Chunk {
    pub fn len(&self) -> usize {
        self.pieces().map(Bytes::len).sum()
    }

    pub fn pieces(&self) -> impl Iterator<Item = &Bytes> + Clone {
        std::iter::once(&self.first).chain(&self.more)
    }
}

pub enum BodySource {
    Http1(Http1Body),
    Http2 {
        // Dropped in this order: the stream is over before the slot is given to another request.
        body: Box<http2::Http2Body>,
        slot: SlotGuard<HttpConnection>,
        timeout: Option<Duration>,
    },
    /// True if it was read to its end; and its trailers.
    Closed(bool, Vec<(Bytes, Bytes)>),
}

impl ResponseBody {
    pub fn new(source: BodySource, effects: EffectChannel) -> Self {
        Self { source, effects }
    }

    /// Returns the channel through which the body requests its effects.
    pub fn effects(&self) -> &EffectChannel {
        &self.effects
    }

    /// Returns whether the request is still being sent: reading the body may request chunks of it.
    pub fn is_uploading(&self) -> bool {
        matches!(&self.source, BodySource::Http2 { body, .. } if body.stream().is_uploading())
    }

    /// Returns whether the last chunk has been read: the next poll reports the end of the body without waiting.
    pub fn is_at_end(&mut self) -> bool {
        match &mut self.source {
            BodySource::Http1(body) => body.is_at_end(),
            BodySource::Http2 { body, .. } => body.is_at_end(),
            BodySource::Closed(is_complete, _) => *is_complete,
        }
    }

    /// Returns the trailers (RFC 9110, 6.5), once the body was read to its end.
    pub fn take_trailers(&mut self) -> Vec<(Bytes, Bytes)> {
        match &mut self.source {
            BodySource::Http1(body) => body.take_trailers(),
            BodySource::Http2 { body, .. } => body.take_trailers(),
            BodySource::Closed(_, trailers) => std::mem::take(trailers),
        }
    }

    /// Polls for the next chunk, `None` at the end. A failed body stays failed: it is closed.
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        let Some(deadline) = self.effects.deadline().copied() else { return self.poll_source(cx) };
        if let Some(status) = self.awaited_from().filter(|_| deadline.has_passed()) {
            let error = not_read(&deadline, &status.origin);
            self.set_outcome(RequestOutcome::Failed(error.kind()));
            self.close();
            return Poll::Ready(Err(error));
        }
        let status = self.awaited_from().cloned();
        let poll = self.poll_source(cx);
        if poll.is_pending() {
            wait_set::wake_at(deadline.at());
        }
        poll.map_err(|error| match status {
            Some(status) => in_time(&self.effects, error, |deadline| not_read(deadline, &status.origin)),
            None => error,
        })
    }

    /// Returns the status of the connection that the rest of the body is to come from; `None` if all of it is here, or it was closed.
    fn awaited_from(&self) -> Option<&Arc<Status>> {
        match &self.source {
            BodySource::Http1(body) => body.awaited_from(),
            BodySource::Http2 { body, slot, .. } => (!body.is_complete()).then(|| slot.status()),
            BodySource::Closed(..) => None,
        }
    }

    fn set_outcome(&mut self, outcome: RequestOutcome) {
        match &mut self.source {
            BodySource::Http1(body) => body.set_outcome(outcome),
            BodySource::Http2 { slot, .. } => slot.set_outcome(outcome),
            BodySource::Closed(..) => {}
        }
    }

    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        match &mut self.source {
            BodySource::Http1(body) => body.poll_chunk(cx, &self.effects),
            BodySource::Closed(true, _) => Poll::Ready(Ok(None)),
            BodySource::Closed(false, _) => Poll::Ready(Err(closed())),
            BodySource::Http2 { body, slot, timeout } => {
                if !body.stream().is_current() {
                    return Poll::Ready(Err(foreign()));
                }
                let poll = body.poll_chunk(cx, *timeout, &self.effects);
                match poll {
                    Poll::Ready(Err(error)) => {
                        let error = closed_by_pool(slot).unwrap_or(error);
                        slot.set_outcome(RequestOutcome::Failed(error.kind()));
                        self.source = BodySource::Closed(false, Vec::new());
                        Poll::Ready(Err(error))
                    }
                    // The stream is over, unless the request is still being sent on it.
                    Poll::Ready(Ok(None)) if !body.stream().is_uploading() && !body.stream().has_upload_task() => {
                        slot.set_outcome(RequestOutcome::Finished);
                        self.source = BodySource::Closed(true, body.take_trailers());
                        Poll::Ready(Ok(None))
                    }
                    poll => poll,
                }
            }
        }
    }

    /// Polls for the next chunk, joined with what has arrived behind it, up to a limit: small pieces cost as much as large ones.
    pub fn poll_large_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Chunk>>> {
        self.poll_chunk(cx).map_ok(|first| {
            let first = first?;
            let more = match &mut self.source {
                BodySource::Http2 { body, .. } => body.take_arrived(CHUNK.saturating_sub(first.len())),
                BodySource::Http1(_) | BodySource::Closed(..) => Vec::new(),
            };
            Some(Chunk { first, more })
        })
    }

    /// Returns a connection that has ended. It may hold an exception, and is to be dropped without a lock.
    pub fn take_ended(&mut self) -> Option<InUse> {
        match &mut self.source {
            BodySource::Http1(body) => body.take_ended(),
            BodySource::Http2 { .. } | BodySource::Closed(..) => None,
        }
    }

    /// Gives the connection back. Idempotent. A task or thread that waits for a chunk gets a `ReadError`.
    pub fn close(&mut self) {
        match &mut self.source {
            BodySource::Http1(body) => body.close(),
            BodySource::Http2 { body, slot, .. } => {
                let (is_complete, trailers, reader) = (body.is_complete(), body.take_trailers(), body.take_reader());
                if is_complete {
                    slot.set_outcome(RequestOutcome::Finished);
                }
                self.source = BodySource::Closed(is_complete, trailers);
                if let Some(reader) = reader {
                    Waker::wake(reader);
                }
            }
            BodySource::Closed(..) => {}
        }
    }
}

/// Returns the error of a body that the deadline of its request has ended.
fn not_read(deadline: &Deadline, origin: &Origin) -> Error {
    deadline.error(Kind::ReadTimeout, format_args!("the response body from {origin} was not read"))
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        self.close();
    }
}
