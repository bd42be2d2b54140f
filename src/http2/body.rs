//! The body of a response on its stream.

use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;

use super::stream::{BodyPoll, Http2Stream};
use super::upload::Input;
use crate::error::{Error, Kind, Result};
use crate::io::progress::ProgressTimer;
use crate::message::{http2_trailers, trailer_pairs};
use crate::operation::{Effect, EffectChannel, Fields, Reply};
use crate::timeout::Seconds;

/// A response body. What is read is credited to the peer's window. Dropping it resets the stream (`CANCEL`), unless the response is
/// complete.
pub struct Http2Body {
    stream: Http2Stream,
    status: u16,
    progress_timer: ProgressTimer,
    /// The last frame of data was read; trailers may follow.
    has_data_ended: bool,
    is_complete: bool,
    /// The reply that the rest of the request waits for.
    pending_input: Option<PendingInput>,
    trailers: Fields,
    /// Wakes what waits for the next chunk, when the response is closed meanwhile.
    reader: Option<Waker>,
}

/// The reply to an effect that the rest of the request needs.
enum PendingInput {
    Chunk(Reply<Option<Bytes>>),
    Trailers(Reply<Fields>),
}

impl Http2Body {
    /// Returns the body of a response with this status.
    pub fn new(stream: Http2Stream, status: u16) -> Self {
        Self {
            stream,
            status,
            progress_timer: ProgressTimer::default(),
            has_data_ended: false,
            is_complete: false,
            pending_input: None,
            trailers: Vec::new(),
            reader: None,
        }
    }

    pub fn stream(&self) -> &Http2Stream {
        &self.stream
    }

    /// Takes the fields that followed the body.
    pub fn take_trailers(&mut self) -> Fields {
        std::mem::take(&mut self.trailers)
    }

    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Returns whether the whole response has been read and the whole request sent: the next poll reports the end.
    pub fn is_at_end(&mut self) -> bool {
        let is_sent = !self.stream.is_uploading() && !self.stream.has_upload_task();
        self.is_complete
            || (is_sent && self.stream.is_current() && self.stream.body().is_some_and(|body| body.is_end_stream()))
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

    /// Takes chunks that have arrived already, until they have `limit` bytes. The end and errors are left to the next poll.
    pub fn take_arrived(&mut self, limit: usize) -> Vec<Bytes> {
        let mut arrived = Vec::new();
        let mut cx = Context::from_waker(Waker::noop());
        let mut left = limit;
        while left > 0
            && let Some(Poll::Ready(Some(Ok(chunk)))) = self.stream.take_ahead().map(|body| receive(body, &mut cx))
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
            Poll::Ready(BodyPoll::Chunk(_)) if matches!(self.status, 204 | 304) => {
                let (origin, status) = (&self.stream.connection().origin, self.status);
                Poll::Ready(Err(Error::remote(format!("{origin} sent content with status {status}, which has none"))))
            }
            Poll::Ready(BodyPoll::Chunk(chunk)) => {
                self.stream.connection().note_read(chunk.len());
                self.progress_timer = ProgressTimer::default();
                Poll::Ready(Ok(Some(chunk)))
            }
            Poll::Ready(BodyPoll::End) => {
                self.is_complete = true;
                Poll::Ready(Ok(None))
            }
            Poll::Ready(BodyPoll::Failed(error)) => Poll::Ready(Err(self.stream.connection().explain(&error))),
            Poll::Ready(BodyPoll::Needs(input)) => {
                self.pending_input = Some(match input {
                    Input::Chunk => PendingInput::Chunk(effects.post(Effect::NextChunk)),
                    Input::Trailers => PendingInput::Trailers(effects.post(Effect::Trailers)),
                });
                Poll::Pending
            }
            Poll::Pending => self.poll_timeout(timeout),
        }
    }

    /// Fails the body if nothing has moved for too long.
    fn poll_timeout(&mut self, timeout: Option<Duration>) -> Poll<Result<Option<Bytes>>> {
        // An upload task has its own timeout, which does not run while it waits for the iterator.
        let timeout = timeout.filter(|_| !self.stream.has_upload_task());
        if !self.progress_timer.is_over(self.stream.progress(), timeout) {
            return Poll::Pending;
        }
        let origin = &self.stream.connection().origin;
        let limit = Seconds(timeout.unwrap_or_default());
        let message = format!("no more of the response body from {origin} within {limit} (read timeout)");
        Poll::Ready(Err(Error::new(Kind::ReadTimeout, message)))
    }

    /// Passes the reply to the pending effect on to the upload. Ready if no effect is pending any more.
    fn take_reply(&mut self) -> Poll<Result<()>> {
        let result = match &self.pending_input {
            None => return Poll::Ready(Ok(())),
            Some(PendingInput::Chunk(reply)) => match reply.take() {
                None => return Poll::Pending,
                Some(chunk) => chunk.map(|chunk| self.stream.push(chunk)),
            },
            Some(PendingInput::Trailers(reply)) => match reply.take() {
                None => return Poll::Pending,
                Some(fields) => {
                    fields.and_then(|fields| http2_trailers(&fields)).map(|trailers| self.stream.set_trailers(trailers))
                }
            },
        };
        self.pending_input = None;
        Poll::Ready(result)
    }

    fn poll_data(
        &mut self,
        cx: &mut Context<'_>,
        timeout: Option<Duration>,
        effects: &EffectChannel,
    ) -> Poll<BodyPoll> {
        let Self { stream, has_data_ended, trailers, .. } = self;
        stream.poll_body(cx, effects, timeout, |body, cx| {
            while !*has_data_ended {
                match receive(body, cx) {
                    // A frame may be empty, or have nothing but padding.
                    Poll::Ready(Some(Ok(chunk))) if chunk.is_empty() => {}
                    Poll::Ready(Some(Ok(chunk))) => return Poll::Ready(BodyPoll::Chunk(chunk)),
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(BodyPoll::Failed(error)),
                    Poll::Ready(None) => *has_data_ended = true,
                    Poll::Pending => return Poll::Pending,
                }
            }
            body.poll_trailers(cx).map(|result| match result {
                Ok(fields) => {
                    if let Some(fields) = fields {
                        *trailers = trailer_pairs(&fields);
                    }
                    BodyPoll::End
                }
                Err(error) => BodyPoll::Failed(error),
            })
        })
    }
}

/// Takes the content of one frame, and credits it to the peer's window.
fn receive(body: &mut RecvStream, cx: &mut Context<'_>) -> Poll<Option<std::result::Result<Bytes, h2::Error>>> {
    let poll = body.poll_data(cx);
    if let Poll::Ready(Some(Ok(chunk))) = &poll {
        // It fails only on a closed stream, which needs no credit.
        let _ = body.flow_control().release_capacity(chunk.len());
    }
    poll
}
