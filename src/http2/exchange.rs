//! Sending a request and receiving the head of its response.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::Reason;

use super::body::Http2Body;
use super::connection::Http2;
use super::stream::{Http2Step, Http2Stream};
use super::upload::{Input, Upload, took_nothing};
use crate::error::{Error, Kind, Result};
use crate::io::deadline::{until_deadline, within_total};
use crate::io::progress::ProgressTimer;
use crate::message::{Http2Head, Request, ResponseHead, http2_request, http2_trailers};
use crate::operation::{EffectChannel, Event, ExchangeKind, Outcome, Phase, PhaseTracer, YieldBudget};
use crate::timeout::Seconds;
use crate::timings::Mark;

/// The failure of an exchange, and all that decides whether the request can be sent again on another connection.
#[derive(Debug)]
pub struct Http2Failure {
    pub error: Error,
    pub cause: FailureCause,
    /// The iterator of the request body was asked for chunks, which it does not yield again.
    pub has_begun_body: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailureCause {
    /// The peer has said that it did not process the request: `GOAWAY` or `REFUSED_STREAM` (RFC 9113, 8.7).
    Unprocessed,
    /// The connection ended before any of the response arrived.
    CutOff,
    #[default]
    Other,
}

/// The head of a response, and its body, which is still to be read.
pub struct Http2Response {
    pub head: Http2Head,
    pub body: Http2Body,
    pub stream_id: u32,
}

impl Http2 {
    /// Sends a request and receives the head of its response. Dropping the future resets the stream (`CANCEL`).
    pub async fn send(
        self: &Arc<Self>,
        request: &Request,
        effects: &EffectChannel,
    ) -> std::result::Result<Http2Response, Http2Failure> {
        let mut exchange = Http2Exchange {
            connection: self,
            request,
            effects,
            stops_when_sent: effects.is_traced(),
            progress_timer: ProgressTimer::default(),
            yield_budget: YieldBudget::default(),
            cause: FailureCause::default(),
            has_begun_body: false,
            is_sending: true,
        };
        let result = pin!(exchange.run()).await;
        result.map_err(|error| Http2Failure { error, cause: exchange.cause, has_begun_body: exchange.has_begun_body })
    }
}

/// A request that is being sent.
struct Http2Exchange<'a> {
    connection: &'a Arc<Http2>,
    request: &'a Request,
    effects: &'a EffectChannel,
    /// The poll that has sent the request stops there, so that the tracer is told.
    stops_when_sent: bool,
    progress_timer: ProgressTimer,
    yield_budget: YieldBudget,
    cause: FailureCause,
    has_begun_body: bool,
    /// Parts of the request are still to be sent.
    is_sending: bool,
}

impl Http2Exchange<'_> {
    async fn run(&mut self) -> Result<Http2Response> {
        let effects = self.effects;
        if !self.connection.is_traced.swap(true, Ordering::AcqRel) {
            Box::pin(effects.span(|| Event::SendConnectionInit, |()| Outcome::Nothing, async { Ok(()) })).await?;
        }
        let mut stream = self.open()?;
        let mut tracer = PhaseTracer::new(effects, ExchangeKind::Http2(stream.id()));
        let work = self.exchange(&mut stream, &mut tracer);
        let result = until_deadline(effects, pin!(effects.interruptible(pin!(work)))).await;
        match result {
            Some(Ok(head)) => {
                let stream_id = stream.id();
                let body = Http2Body::new(stream, head.status);
                Ok(Http2Response { head, body, stream_id })
            }
            result => {
                let failure = result.and_then(Result::err);
                let error = within_total(effects, failure, self.is_sending, &self.connection.origin);
                Err(Box::pin(tracer.close(error)).await)
            }
        }
    }

    /// Receives the head of the response. Its body is read from the stream then.
    async fn exchange(&mut self, stream: &mut Http2Stream, tracer: &mut PhaseTracer<'_>) -> Result<Http2Head> {
        let effects = self.effects;
        tracer.enter(Phase::RequestHeaders).await?;
        tracer.enter(Phase::RequestBody).await?;
        loop {
            match poll_fn(|cx| self.poll(cx, stream)).await {
                Http2Step::Needs(input) => pin!(self.provide(input, stream)).await?,
                Http2Step::Sent => tracer.enter(Phase::ResponseHeaders).await?,
                Http2Step::Informational(head) => {
                    Box::pin(effects.informational(ResponseHead::Http2(head))).await?;
                }
                Http2Step::Response(response) => {
                    let (parts, body) = response.into_parts();
                    stream.receive_body(body);
                    let head = Http2Head { status: parts.status.as_u16(), headers: parts.headers };
                    if tracer.is_traced() {
                        // It may have arrived before all of the request was sent.
                        tracer.enter(Phase::ResponseHeaders).await?;
                        tracer.complete(Outcome::Head(ResponseHead::Http2(head.clone()))).await?;
                    }
                    return Ok(head);
                }
                Http2Step::Failed(error) => return Err(self.failed(&error)),
                Http2Step::TooManyInformational => {
                    let message = format!("{} sent only informational responses (1xx)", self.connection.origin);
                    return Err(Error::remote(message));
                }
                Http2Step::Broken(error) => return Err(error),
                Http2Step::TimedOut => return Err(self.timed_out(stream)),
            }
        }
    }

    fn open(&mut self) -> Result<Http2Stream> {
        let has_upload = Upload::is_needed(self.request);
        // A clone of its own: a sender remembers one task that waits for it.
        let mut sender = self.connection.protocol.sender.lock().clone();
        let (response, send) =
            sender.send_request(http2_request(self.request)?, !has_upload).map_err(|error| self.refused(&error))?;
        let upload = has_upload.then(|| Upload::new(send, self.request));
        let mut stream = Http2Stream::new(self.connection, response, upload);
        if self.request.has_informational || self.request.expect_continue.is_some() {
            stream.expect_informational(self.request);
        }
        Ok(stream)
    }

    fn poll(&mut self, cx: &mut Context<'_>, stream: &mut Http2Stream) -> Poll<Http2Step> {
        let step = stream.poll_head(cx, self.effects, &self.request.timeouts, &mut self.stops_when_sent);
        if !stream.is_sending() && !self.request.timings.has(Mark::Sent) {
            self.request.timings.mark_now(Mark::Sent);
        }
        if step.is_pending() {
            self.is_sending = stream.is_sending();
            let timeout = stream.timeout(&self.request.timeouts);
            if self.progress_timer.is_over(stream.progress(), timeout) {
                return Poll::Ready(Http2Step::TimedOut);
            }
        }
        step
    }

    /// Provides what the upload needs from the caller, or leaves it to a task of its own that does.
    async fn provide(&mut self, input: Input, stream: &mut Http2Stream) -> Result<()> {
        match input {
            Input::Trailers => {
                let fields = self.effects.trailers().await?;
                stream.set_trailers(http2_trailers(&fields)?);
            }
            Input::Chunk if self.connection.is_job() => {
                self.has_begun_body = true;
                if let Some(upload_task) = stream.hand_over(self.request.timeouts.write) {
                    self.effects.spawn(upload_task).await?;
                }
            }
            Input::Chunk => {
                self.has_begun_body = true;
                let chunk = self.effects.chunk().await?;
                let length = chunk.as_ref().map_or(0, Bytes::len);
                stream.push(chunk);
                self.yield_budget.spend(length, self.effects).await?;
                self.progress_timer = ProgressTimer::default();
            }
        }
        Ok(())
    }

    /// Returns the error of an exchange that h2 has given no stream.
    fn refused(&mut self, error: &h2::Error) -> Error {
        let refused = self.failed(error);
        if self.cause == FailureCause::CutOff {
            self.cause = FailureCause::Unprocessed;
        }
        refused
    }

    /// Returns the error of an exchange whose stream failed before its response.
    fn failed(&mut self, error: &h2::Error) -> Error {
        let is_refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
        self.cause = if error.is_remote() && (error.is_go_away() || is_refused) {
            FailureCause::Unprocessed
        } else if error.is_io() {
            FailureCause::CutOff
        } else {
            FailureCause::Other
        };
        self.connection.explain(error)
    }

    fn timed_out(&self, stream: &Http2Stream) -> Error {
        let (origin, timeouts) = (&self.connection.origin, &self.request.timeouts);
        if stream.is_sending() {
            return took_nothing(origin, timeouts.write);
        }
        let limit = Seconds(timeouts.read.unwrap_or_default());
        Error::new(Kind::ReadTimeout, format!("no response from {origin} within {limit} (read timeout)"))
    }
}
