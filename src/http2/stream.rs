//! One exchange on a shared connection: a stream (RFC 9113, 5), its request on the way out and its response on the way in.

use std::mem::ManuallyDrop;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{Reason, RecvStream};
use http::HeaderMap;

use super::access::ExchangeIo;
use super::body::Http2Body;
use super::connection::Http2;
use super::deferred_reset::defer_reset;
use super::upload::{Needs, Upload, took_nothing};
use super::upload_task::UploadTask;
use crate::error::{Error, Kind, Result};
use crate::fork::Generation;
use crate::io::progress::ProgressTimer;
use crate::io::wait_set;
use crate::message::{Http2Head, Request, ResponseHead, http2_request, http2_trailers};
use crate::operation::{EffectChannel, Event, ExchangeKind, Outcome, YieldBudget};
use crate::timeout::Seconds;

/// Informational responses that are passed over before a server is taken to have no other.
const MAX_INFORMATIONAL: usize = 100;

/// How an exchange failed, and whether that leaves it open to send the request again elsewhere.
#[derive(Debug)]
pub struct Http2Failure {
    pub error: Error,
    /// The peer said that it has not processed the request (RFC 9113, 8.7).
    pub is_unprocessed: bool,
    /// The connection ended before any of the response came.
    pub is_cut_off: bool,
    /// The caller's body has been asked for chunks, which cannot be asked for again.
    pub has_begun_body: bool,
}

/// The parts of a response, its body still on the wire.
pub struct Http2Response {
    pub head: Http2Head,
    pub body: Http2Body,
    pub stream_id: u32,
}

/// A stream of a connection. Dropping it resets the stream unless it is complete.
pub struct Http2Stream {
    io: ExchangeIo,
    // Left as it is in a forked child.
    halves: ManuallyDrop<Halves>,
    generation: Generation,
}

/// h2's handles.
#[derive(Default)]
struct Halves {
    response: Option<ResponseFuture>,
    body: Option<RecvStream>,
    /// `None` when the request is out, or the peer wants no more of it.
    upload: Option<Uploading>,
    /// Why the upload failed, and the exchange with it.
    failure: Option<Error>,
    informational: usize,
    /// Bytes of the request body that the peer has taken, or will.
    sent: u64,
}

/// Who sees to the rest of the request.
enum Uploading {
    /// The exchange, as it is polled.
    Here(Upload),
    /// A task of its own.
    UploadTask(Arc<UploadTask>),
}

/// What a poll of an exchange came to.
enum Http2Step {
    Needs(Needs),
    /// The request is out. Only a traced exchange stops here.
    Sent,
    Response(http::Response<RecvStream>),
    Failed(h2::Error),
    TooManyInformational,
    /// A stream of the caller's has failed the exchange, and no other.
    Broken(Error),
    TimedOut,
}

impl Http2 {
    /// Sends a request and waits for the head of its response.
    pub async fn send(
        self: &Arc<Self>,
        request: &Request,
        effects: &EffectChannel,
    ) -> std::result::Result<Http2Response, Http2Failure> {
        let mut failure =
            Http2Failure { error: disowned(), is_unprocessed: false, is_cut_off: false, has_begun_body: false };
        let exchanged = pin!(self.exchange(request, effects, &mut failure)).await;
        match exchanged {
            Ok(response) => Ok(response),
            Err(error) => Err(Http2Failure { error, ..failure }),
        }
    }

    async fn exchange(
        self: &Arc<Self>,
        request: &Request,
        effects: &EffectChannel,
        failure: &mut Http2Failure,
    ) -> Result<Http2Response> {
        if !self.is_reported.swap(true, Ordering::AcqRel) {
            effects.span(|| Event::SendConnectionInit, |()| Outcome::Nothing, async { Ok(()) }).await?;
        }
        let mut phase = None;
        let result = effects.interruptible(pin!(self.exchange_in_phases(request, effects, failure, &mut phase))).await;
        match result {
            Err(error) if effects.is_traced() => {
                let Some((phase, stream_id)) = phase else { return Err(error) };
                let error = effects.failed(&phase, error).await;
                let closed = || Event::ResponseClosed(ExchangeKind::Http2(stream_id));
                effects.span(closed, |()| Outcome::Nothing, async { Ok(()) }).await?;
                Err(error)
            }
            result => result,
        }
    }

    /// Sends the request and waits for the head of the response. `phase` is where it stands, once there is a stream.
    async fn exchange_in_phases(
        self: &Arc<Self>,
        request: &Request,
        effects: &EffectChannel,
        failure: &mut Http2Failure,
        phase: &mut Option<(Event, u32)>,
    ) -> Result<Http2Response> {
        let mut stream = self.open(request, failure)?;
        let stream_id = stream.id();
        let tracing = effects.is_traced();
        if tracing {
            let event = Event::SendRequestHeaders(ExchangeKind::Http2(stream_id));
            *phase = Some((event.clone(), stream_id));
            effects.started(&event).await?;
            next_phase(effects, phase, Event::SendRequestBody(ExchangeKind::Http2(stream_id))).await?;
        }
        let mut sending = Http2Exchange { reports_sent: tracing, progress_timer: ProgressTimer::default() };
        let mut yield_budget = YieldBudget::default();
        loop {
            match std::future::poll_fn(|cx| sending.poll(cx, &mut stream, request, effects)).await {
                Http2Step::Needs(Needs::Chunk) if self.is_job() => {
                    failure.has_begun_body = true;
                    if let Some(upload_task) = stream.hand_over(request.timeouts.write) {
                        effects.spawn(upload_task).await?;
                    }
                }
                Http2Step::Needs(Needs::Trailers) => {
                    let fields = effects.trailers().await?;
                    stream.set_trailers(http2_trailers(&fields)?);
                }
                Http2Step::Needs(_) => {
                    failure.has_begun_body = true;
                    let chunk = effects.chunk().await?;
                    let length = chunk.as_ref().map_or(0, Bytes::len);
                    stream.push(chunk);
                    yield_budget.spend(length, effects).await?;
                    sending.progress_timer = ProgressTimer::default();
                }
                Http2Step::Sent => {
                    next_phase(effects, phase, Event::ReceiveResponseHeaders(ExchangeKind::Http2(stream_id))).await?;
                }
                Http2Step::Response(response) => {
                    if sending.reports_sent {
                        // It came before all of the request was out.
                        next_phase(effects, phase, Event::ReceiveResponseHeaders(ExchangeKind::Http2(stream_id)))
                            .await?;
                    }
                    let (parts, body) = response.into_parts();
                    stream.halves.response = None;
                    stream.halves.body = Some(body);
                    let head = Http2Head { status: parts.status.as_u16(), headers: parts.headers };
                    if let Some((event, _)) = phase {
                        let head = ResponseHead::Http2(head.clone());
                        effects.complete(event, Outcome::Head(head)).await?;
                    }
                    let body = Http2Body::new(stream, head.status);
                    return Ok(Http2Response { head, body, stream_id });
                }
                Http2Step::Failed(error) => return Err(self.failed(&error, failure)),
                Http2Step::TooManyInformational => {
                    let message = format!("{} sent only informational responses (1xx)", self.origin);
                    return Err(Error::remote(message));
                }
                Http2Step::Broken(error) => return Err(error),
                Http2Step::TimedOut => return Err(timed_out(&stream, request)),
            }
        }
    }

    fn open(self: &Arc<Self>, request: &Request, failure: &mut Http2Failure) -> Result<Http2Stream> {
        let has_upload = Upload::is_needed(request);
        // A sender of its own: it would otherwise remember what another exchange waits for.
        let mut sender = self.sender.lock().clone();
        let (response, send) =
            sender.send_request(http2_request(request)?, !has_upload).map_err(|error| self.failed(&error, failure))?;
        self.exchanges.fetch_add(1, Ordering::AcqRel);
        let upload = has_upload.then(|| Uploading::Here(Upload::new(send, request)));
        Ok(Http2Stream {
            io: ExchangeIo::new(self),
            halves: ManuallyDrop::new(Halves { response: Some(response), upload, ..Halves::default() }),
            generation: Generation::current(),
        })
    }

    /// The error of an exchange that got no response.
    fn failed(&self, error: &h2::Error, failure: &mut Http2Failure) -> Error {
        let is_refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
        failure.is_unprocessed = error.is_remote() && (error.is_go_away() || is_refused);
        failure.is_cut_off = error.is_io();
        self.explain(error)
    }
}

fn disowned() -> Error {
    Error::new(Kind::Internal, "an exchange failed for no reason")
}

async fn next_phase(effects: &EffectChannel, phase: &mut Option<(Event, u32)>, next: Event) -> Result<()> {
    let Some((phase, _)) = phase else { return Ok(()) };
    effects.complete(phase, Outcome::Nothing).await?;
    *phase = next;
    effects.started(phase).await
}

/// Sending a request and waiting for its response.
struct Http2Exchange {
    /// Stop when the request is out, to report it.
    reports_sent: bool,
    progress_timer: ProgressTimer,
}

impl Http2Exchange {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Http2Stream,
        request: &Request,
        effects: &EffectChannel,
    ) -> Poll<Http2Step> {
        let Http2Stream { io, halves, .. } = stream;
        let (read, write) = (request.timeouts.read, request.timeouts.write);
        io.waits_for_stream = matches!(halves.upload, Some(Uploading::Here(_)));
        let step = io.poll(cx, effects, read, write, |cx| halves.poll_response(cx, &mut self.reports_sent));
        if let Some(error) = io.timed_out.take().or_else(|| halves.failure.take()) {
            return Poll::Ready(Http2Step::Broken(error));
        }
        if step.is_pending() {
            let timeout = match &halves.upload {
                Some(Uploading::Here(_)) => write,
                // It has its own, for as long as it does not wait for the caller.
                Some(Uploading::UploadTask(_)) => None,
                None => read,
            };
            if self.progress_timer.is_over(stream.progress(), timeout) {
                return Poll::Ready(Http2Step::TimedOut);
            }
        }
        step
    }
}

fn timed_out(stream: &Http2Stream, request: &Request) -> Error {
    let origin = &stream.io.connection.origin;
    if stream.halves.upload.is_some() {
        return took_nothing(origin, request.timeouts.write);
    }
    let limit = Seconds(request.timeouts.read.unwrap_or_default());
    Error::new(Kind::ReadTimeout, format!("no response from {origin} within {limit} (read timeout)"))
}

impl Halves {
    /// Whether both sides have said all that they had to say.
    fn is_complete(&self) -> bool {
        self.upload.is_none() && self.body.as_ref().is_some_and(RecvStream::is_end_stream)
    }

    fn poll_response(&mut self, cx: &mut Context<'_>, reports_sent: &mut bool) -> Poll<Http2Step> {
        let needs = self.poll_upload(cx);
        if self.failure.is_some() {
            return Poll::Pending;
        }
        if needs == Needs::Nothing && std::mem::take(reports_sent) {
            return Poll::Ready(Http2Step::Sent);
        }
        let Some(response) = &mut self.response else { return Poll::Pending };
        while let Poll::Ready(Some(Ok(_))) = response.poll_informational(cx) {
            self.informational += 1;
            if self.informational > MAX_INFORMATIONAL {
                return Poll::Ready(Http2Step::TooManyInformational);
            }
        }
        match Pin::new(response).poll(cx) {
            Poll::Ready(Ok(response)) => Poll::Ready(Http2Step::Response(response)),
            Poll::Ready(Err(error)) => Poll::Ready(Http2Step::Failed(error)),
            Poll::Pending if matches!(needs, Needs::Chunk | Needs::Trailers) => Poll::Ready(Http2Step::Needs(needs)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Sends what there is of the body, as far as the peer takes it.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Needs {
        let needs = match &mut self.upload {
            None => Needs::Nothing,
            Some(Uploading::Here(upload)) => upload.poll(cx, &mut self.sent),
            Some(Uploading::UploadTask(upload_task)) => match upload_task.poll_done(cx) {
                Poll::Pending => Needs::Room,
                Poll::Ready(done) => {
                    self.failure = done.err();
                    Needs::Nothing
                }
            },
        };
        if needs == Needs::Nothing {
            self.upload = None;
        }
        needs
    }
}

impl Http2Stream {
    pub fn id(&self) -> u32 {
        match (&self.halves.response, &self.halves.body) {
            (Some(response), _) => response.stream_id().as_u32(),
            (None, Some(body)) => body.stream_id().as_u32(),
            (None, None) => 0,
        }
    }

    pub fn connection(&self) -> &Arc<Http2> {
        &self.io.connection
    }

    /// h2's side of the response body.
    pub fn body(&mut self) -> Option<&mut RecvStream> {
        self.halves.body.as_mut()
    }

    /// Whether this process opened it, and not one that it was forked from.
    pub fn is_current(&self) -> bool {
        self.generation.is_current()
    }

    /// Why the exchange ends, though the connection goes on.
    pub fn take_failure(&mut self) -> Option<Error> {
        self.io.timed_out.take().or_else(|| self.halves.failure.take())
    }

    /// Leaves the rest of the upload to somebody else.
    fn hand_over(&mut self, write_timeout: Option<Duration>) -> Option<Arc<UploadTask>> {
        match self.halves.upload.take() {
            Some(Uploading::Here(upload)) => {
                let upload_task = UploadTask::new(upload, &self.io.connection, write_timeout);
                self.halves.upload = Some(Uploading::UploadTask(Arc::clone(&upload_task)));
                Some(upload_task)
            }
            before => {
                self.halves.upload = before;
                None
            }
        }
    }

    /// Grows as long as the exchange moves.
    pub fn progress(&self) -> u64 {
        self.io.connection.progress(self.halves.sent)
    }

    /// The next chunk of the request body; `None` at its end. A thread that sends without ever having to wait does not hear of what
    /// has arrived: it looks.
    pub fn push(&mut self, chunk: Option<Bytes>) {
        if let Some(Uploading::Here(upload)) = &mut self.halves.upload {
            upload.push(chunk);
        }
        if !self.io.connection.is_job()
            && let Some(socket) = self.io.connection.wire.lock().stream().socket()
        {
            socket.expect_readable();
        }
    }

    pub fn set_trailers(&mut self, trailers: HeaderMap) {
        if let Some(Uploading::Here(upload)) = &mut self.halves.upload {
            upload.set_trailers(trailers);
        }
    }

    /// Whether the exchange has still to send parts of the request.
    pub fn is_uploading(&self) -> bool {
        matches!(self.halves.upload, Some(Uploading::Here(_)))
    }

    /// Whether somebody else has.
    pub fn has_upload_task(&self) -> bool {
        matches!(self.halves.upload, Some(Uploading::UploadTask(_)))
    }

    /// Polls the response body with `receive`, and goes on with the request's if there is nothing of the response. If that
    /// needs something of the caller, the response's body has to wait for it.
    pub fn poll_body<T>(
        &mut self,
        cx: &mut Context<'_>,
        effects: &EffectChannel,
        timeout: Option<Duration>,
        mut receive: impl FnMut(&mut RecvStream, &mut Context<'_>) -> Poll<T>,
    ) -> Poll<std::result::Result<T, Needs>> {
        let Self { io, halves, .. } = self;
        io.waits_for_stream = matches!(halves.upload, Some(Uploading::Here(_)));
        // What the caller is asked for may depend on what he is still to read.
        io.polls_before_io = halves.upload.is_none();
        io.poll(cx, effects, timeout, None, |cx| {
            let Some(body) = &mut halves.body else { return Poll::Pending };
            if let Poll::Ready(received) = receive(body, cx) {
                return Poll::Ready(Ok(received));
            }
            match halves.poll_upload(cx) {
                needs @ (Needs::Chunk | Needs::Trailers) => Poll::Ready(Err(needs)),
                Needs::Nothing | Needs::Room => Poll::Pending,
            }
        })
    }
}

impl Drop for Http2Stream {
    fn drop(&mut self) {
        if !self.is_current() {
            return;
        }
        if let Some(Uploading::UploadTask(upload_task)) = &self.halves.upload {
            upload_task.cancel();
        }
        let is_reset = self.io.connection.is_external && !self.halves.is_complete();
        // SAFETY: `halves` is not used after this, and `drop` runs once.
        unsafe { ManuallyDrop::drop(&mut self.halves) };
        let connection = &self.io.connection;
        connection.exchanges.fetch_sub(1, Ordering::AcqRel);
        if !connection.is_job() {
            // The reset goes out now: nobody may poll the connection for a long time. Nobody waits for it either.
            connection.drive();
            connection.wake_leader();
            wait_set::clear();
            if is_reset {
                defer_reset(connection);
            }
        }
    }
}
