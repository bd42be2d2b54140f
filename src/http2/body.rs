//! The body of a response on its stream.

use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;

use super::stream::Http2Stream;
use super::upload::Needs;
use crate::error::{Error, Kind, Result};
use crate::io::progress::ProgressTimer;
use crate::message::{http2_trailers, trailer_pairs};
use crate::operation::{Effect, EffectChannel, Fields, Reply};
use crate::timeout::Seconds;

/// Reading it credits the peer with what was read. Dropping it resets the stream unless the response is complete.
pub struct Http2Body {
    stream: Http2Stream,
    status: u16,
    progress_timer: ProgressTimer,
    has_data_ended: bool,
    is_complete: bool,
    /// The effect that the rest of the request waits for.
    asked: Option<PendingEffect>,
    trailers: Fields,
    /// Whoever waits for the next chunk at the moment, to be told when the response is closed meanwhile.
    reader: Option<Waker>,
}

/// What was asked for the rest of the request.
enum PendingEffect {
    Chunk(Reply<Option<Bytes>>),
    Trailers(Reply<Fields>),
}

impl Http2Body {
    /// The body of a response with this status.
    pub fn new(stream: Http2Stream, status: u16) -> Self {
        Self {
            stream,
            status,
            progress_timer: ProgressTimer::default(),
            has_data_ended: false,
            is_complete: false,
            asked: None,
            trailers: Vec::new(),
            reader: None,
        }
    }

    pub fn stream(&self) -> &Http2Stream {
        &self.stream
    }

    /// The fields that came behind the body.
    pub fn take_trailers(&mut self) -> Vec<(Bytes, Bytes)> {
        std::mem::take(&mut self.trailers)
    }

    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    pub fn take_reader(&mut self) -> Option<Waker> {
        self.reader.take()
    }

    /// Polls for the next chunk; `None` at the end.
    pub fn poll_chunk(
        &mut self,
        cx: &mut Context<'_>,
        timeout: Option<Duration>,
        effects: &EffectChannel,
    ) -> Poll<Result<Option<Bytes>>> {
        let poll = self.poll(cx, timeout, effects);
        if poll.is_ready() {
            self.reader = None;
        } else if !self.reader.as_ref().is_some_and(|reader| reader.will_wake(cx.waker())) {
            self.reader = Some(cx.waker().clone());
        }
        poll
    }

    /// What has arrived besides, up to so many bytes.
    pub fn take_arrived(&mut self, limit: usize) -> Vec<Bytes> {
        let mut arrived = Vec::new();
        let mut cx = Context::from_waker(Waker::noop());
        let mut left = limit;
        // The end, and what went wrong, are seen by the next poll.
        while left > 0
            && let Some(Poll::Ready(Some(Ok(chunk)))) = self.stream.body().map(|body| receive(body, &mut cx))
        {
            left = left.saturating_sub(chunk.len());
            self.stream.connection().note_read(chunk.len());
            arrived.push(chunk);
        }
        arrived
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        timeout: Option<Duration>,
        effects: &EffectChannel,
    ) -> Poll<Result<Option<Bytes>>> {
        if self.is_complete {
            return Poll::Ready(Ok(None));
        }
        match self.take_reply() {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => return Poll::Pending,
        }
        let poll = self.poll_data(cx, timeout, effects);
        if let Some(error) = self.stream.take_failure() {
            return Poll::Ready(Err(error));
        }
        match poll {
            Poll::Ready(Ok(Ok(Some(_)))) if matches!(self.status, 204 | 304) => {
                let (origin, status) = (&self.stream.connection().origin, self.status);
                Poll::Ready(Err(Error::remote(format!("{origin} sent content with status {status}, which has none"))))
            }
            Poll::Ready(Ok(Ok(chunk))) => {
                self.stream.connection().note_read(chunk.as_ref().map_or(0, Bytes::len));
                self.progress_timer = ProgressTimer::default();
                self.is_complete = chunk.is_none();
                Poll::Ready(Ok(chunk))
            }
            Poll::Ready(Ok(Err(error))) => Poll::Ready(Err(self.stream.connection().explain(&error))),
            Poll::Ready(Err(needs)) => {
                self.asked = Some(match needs {
                    Needs::Trailers => PendingEffect::Trailers(effects.post(Effect::Trailers)),
                    _ => PendingEffect::Chunk(effects.post(Effect::NextChunk)),
                });
                Poll::Pending
            }
            Poll::Pending => {
                // As long as the request is under way it is that which may stall, unless it waits for the caller.
                let timeout = timeout.filter(|_| !self.stream.has_upload_task());
                if self.progress_timer.is_over(self.stream.progress(), timeout) {
                    let origin = &self.stream.connection().origin;
                    let limit = Seconds(timeout.unwrap_or_default());
                    let message = format!("no more of the response body from {origin} within {limit} (read timeout)");
                    return Poll::Ready(Err(Error::new(Kind::ReadTimeout, message)));
                }
                Poll::Pending
            }
        }
    }

    /// Passes on the reply to what was asked for the rest of the request; ready if nothing is awaited any more.
    fn take_reply(&mut self) -> Poll<Result<()>> {
        let result = match &self.asked {
            None => return Poll::Ready(Ok(())),
            Some(PendingEffect::Chunk(reply)) => match reply.take() {
                None => return Poll::Pending,
                Some(chunk) => chunk.map(|chunk| self.stream.push(chunk)),
            },
            Some(PendingEffect::Trailers(reply)) => match reply.take() {
                None => return Poll::Pending,
                Some(fields) => {
                    fields.and_then(|fields| http2_trailers(&fields)).map(|trailers| self.stream.set_trailers(trailers))
                }
            },
        };
        self.asked = None;
        Poll::Ready(result)
    }

    fn poll_data(
        &mut self,
        cx: &mut Context<'_>,
        timeout: Option<Duration>,
        effects: &EffectChannel,
    ) -> Poll<std::result::Result<std::result::Result<Option<Bytes>, h2::Error>, Needs>> {
        let Self { stream, has_data_ended, trailers, .. } = self;
        stream.poll_body(cx, effects, timeout, |body, cx| {
            while !*has_data_ended {
                match receive(body, cx) {
                    // A frame may be empty, or all padding.
                    Poll::Ready(Some(Ok(chunk))) if chunk.is_empty() => {}
                    Poll::Ready(Some(Ok(chunk))) => return Poll::Ready(Ok(Some(chunk))),
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                    Poll::Ready(None) => *has_data_ended = true,
                    Poll::Pending => return Poll::Pending,
                }
            }
            match body.poll_trailers(cx) {
                Poll::Ready(Ok(fields)) => {
                    if let Some(fields) = fields {
                        *trailers = trailer_pairs(&fields);
                    }
                    Poll::Ready(Ok(None))
                }
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Pending => Poll::Pending,
            }
        })
    }
}

/// Takes what a frame brought, and credits the peer with it.
fn receive(body: &mut RecvStream, cx: &mut Context<'_>) -> Poll<Option<std::result::Result<Bytes, h2::Error>>> {
    let poll = body.poll_data(cx);
    if let Poll::Ready(Some(Ok(chunk))) = &poll {
        // It can only fail on a stream that is closed, where it is of no use any more.
        let _ = body.flow_control().release_capacity(chunk.len());
    }
    poll
}
