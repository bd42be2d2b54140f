//! A stream (RFC 9113, 5): its request on the way out and its response on the way in.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::RecvStream;
use h2::client::ResponseFuture;
use http::{HeaderMap, Response};

use super::access::{Activity, ExchangeIo, IoRequest};
use super::connection::Http2;
use super::deferred_reset::defer_reset;
use super::upload::{Input, Upload, UploadPoll};
use super::upload_task::UploadTask;
use crate::error::Error;
use crate::fork::DropIfCurrent;
use crate::io::wait_set;
use crate::message::{Http2Head, Request};
use crate::operation::EffectChannel;
use crate::timeout::Timeouts;

/// The number of informational responses after which the peer is assumed to send no other.
const MAX_INFORMATIONAL: usize = 100;

/// A stream of a connection. Dropping it resets the stream (`CANCEL`), unless both sides are complete.
pub struct Http2Stream {
    io: ExchangeIo,
    handles: DropIfCurrent<Handles>,
    id: u32,
    /// More than a head was sent, or begun to be sent.
    has_upload: bool,
    /// Data was taken since the last poll, which would have sent the credit for it.
    has_taken_ahead: bool,
}

/// h2's handles on the stream.
#[derive(Default)]
struct Handles {
    response: ResponseSide,
    request: RequestSide,
    informational: usize,
    /// Informational responses are passed to the caller.
    reports_informational: bool,
    /// The time until which the body waits for `100 Continue`, if it does.
    continue_until: Option<Instant>,
    /// The final response came before the body was begun, which is not sent.
    is_withheld: bool,
    /// Bytes of the request body that h2 has accepted.
    sent: u64,
}

#[derive(Default)]
enum ResponseSide {
    Head(ResponseFuture),
    Body(RecvStream),
    #[default]
    Dropped,
}

/// The sender of the rest of the request.
#[derive(Default)]
enum RequestSide {
    /// The exchange, when it is polled.
    Here(Upload),
    Task(Arc<UploadTask>),
    /// The task has failed, and the exchange fails with its error.
    Failed(Error),
    /// Nothing is left to send, or the peer wants no more of it.
    #[default]
    Done,
}

/// The outcome of a poll for the head of a response.
pub enum Http2Step {
    Needs(Input),
    /// The request is sent. Only a traced exchange stops here.
    Sent,
    Response(Response<RecvStream>),
    Informational(Http2Head),
    Failed(h2::Error),
    TooManyInformational,
    /// The exchange fails, and no other: over an external stream, or with its upload.
    Broken(Error),
    TimedOut,
}

/// The outcome of a poll for the body of a response.
pub enum BodyPoll {
    Chunk(Bytes),
    End,
    Failed(h2::Error),
    /// There is nothing to read, and the rest of the request needs something.
    Needs(Input),
}

impl Handles {
    /// Returns whether both sides have sent all that they had to send.
    fn is_complete(&self) -> bool {
        !self.request.is_sending()
            && !self.is_withheld
            && matches!(&self.response, ResponseSide::Body(body) if body.is_end_stream())
    }

    fn poll_head(&mut self, cx: &mut Context<'_>, stops_when_sent: &mut bool) -> Poll<Http2Step> {
        if let Some(step) = self.poll_informational(cx) {
            return Poll::Ready(step);
        }
        let upload = if self.awaits_continue() { UploadPoll::Blocked } else { self.poll_upload(cx) };
        if matches!(self.request, RequestSide::Failed(_)) {
            return Poll::Pending;
        }
        if upload == UploadPoll::Done && std::mem::take(stops_when_sent) {
            return Poll::Ready(Http2Step::Sent);
        }
        let ResponseSide::Head(response) = &mut self.response else { return Poll::Pending };
        match (Pin::new(response).poll(cx), upload) {
            (Poll::Ready(Ok(response)), _) => {
                if self.continue_until.take().is_some() {
                    // The stream is reset when the response has been read.
                    self.request = RequestSide::Done;
                    self.is_withheld = true;
                }
                Poll::Ready(Http2Step::Response(response))
            }
            (Poll::Ready(Err(error)), _) => Poll::Ready(Http2Step::Failed(error)),
            (Poll::Pending, UploadPoll::Needs(input)) => Poll::Ready(Http2Step::Needs(input)),
            (Poll::Pending, UploadPoll::Done | UploadPoll::Blocked) => Poll::Pending,
        }
    }

    /// Takes the informational responses that have arrived, up to one that is reported.
    fn poll_informational(&mut self, cx: &mut Context<'_>) -> Option<Http2Step> {
        let ResponseSide::Head(response) = &mut self.response else { return None };
        while let Poll::Ready(Some(Ok(informational))) = response.poll_informational(cx) {
            self.informational += 1;
            if self.informational > MAX_INFORMATIONAL {
                return Some(Http2Step::TooManyInformational);
            }
            let (parts, ()) = informational.into_parts();
            let status = parts.status.as_u16();
            if status == 100 {
                self.continue_until = None;
            }
            if self.reports_informational {
                return Some(Http2Step::Informational(Http2Head { status, headers: parts.headers }));
            }
        }
        None
    }

    /// Returns whether the body still waits for `100 Continue`.
    fn awaits_continue(&mut self) -> bool {
        let Some(until) = self.continue_until else { return false };
        if Instant::now() >= until {
            self.continue_until = None;
            return false;
        }
        wait_set::wake_at(until);
        true
    }

    /// Sends what there is of the request body, as far as the peer accepts it.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> UploadPoll {
        let upload = match &mut self.request {
            RequestSide::Here(upload) => upload.poll(cx, &mut self.sent),
            RequestSide::Task(upload_task) => match upload_task.poll_done(cx) {
                Poll::Pending => UploadPoll::Blocked,
                Poll::Ready(Ok(())) => UploadPoll::Done,
                Poll::Ready(Err(error)) => {
                    self.request = RequestSide::Failed(error);
                    return UploadPoll::Done;
                }
            },
            RequestSide::Failed(_) | RequestSide::Done => return UploadPoll::Done,
        };
        if upload == UploadPoll::Done {
            self.request = RequestSide::Done;
        }
        upload
    }
}

impl RequestSide {
    fn is_sending(&self) -> bool {
        matches!(self, Self::Here(_) | Self::Task(_))
    }

    fn take_failure(&mut self) -> Option<Error> {
        if !matches!(self, Self::Failed(_)) {
            return None;
        }
        match std::mem::take(self) {
            Self::Failed(error) => Some(error),
            Self::Here(_) | Self::Task(_) | Self::Done => None,
        }
    }
}

impl Http2Stream {
    /// Makes the stream of a request that h2 has accepted. `upload` is what follows its head.
    pub fn new(connection: &Arc<Http2>, response: ResponseFuture, upload: Option<Upload>) -> Self {
        connection.exchanges.fetch_add(1, Ordering::AcqRel);
        let (id, has_upload) = (response.stream_id().as_u32(), upload.is_some());
        let handles = Handles {
            response: ResponseSide::Head(response),
            request: upload.map_or(RequestSide::Done, RequestSide::Here),
            ..Handles::default()
        };
        Self {
            io: ExchangeIo::new(connection),
            handles: DropIfCurrent::new(handles),
            id,
            has_upload,
            has_taken_ahead: false,
        }
    }

    /// Sets what the request wants of informational responses.
    pub fn expect_informational(&mut self, request: &Request) {
        let waits = self.has_upload && !self.io.connection.is_external;
        self.handles.reports_informational = request.has_informational;
        self.handles.continue_until = request.expect_continue.filter(|_| waits).map(|timeout| Instant::now() + timeout);
    }

    /// Goes on to the body, after the head of the response.
    pub fn receive_body(&mut self, body: RecvStream) {
        self.handles.response = ResponseSide::Body(body);
    }

    pub fn id(&self) -> u32 {
        self.id
    }

    pub fn connection(&self) -> &Arc<Http2> {
        &self.io.connection
    }

    /// Returns h2's handle on the response body, for data that is taken without a poll.
    pub fn take_ahead(&mut self) -> Option<&mut RecvStream> {
        self.has_taken_ahead = true;
        self.body()
    }

    /// Returns h2's handle on the response body.
    pub fn body(&mut self) -> Option<&mut RecvStream> {
        match &mut self.handles.response {
            ResponseSide::Body(body) => Some(body),
            ResponseSide::Head(_) | ResponseSide::Dropped => None,
        }
    }

    /// Returns whether this process opened the stream, and not one that it was forked from.
    pub fn is_current(&self) -> bool {
        self.handles.is_current()
    }

    /// Takes the error of this exchange, after which the connection can still be used.
    pub fn take_failure(&mut self) -> Option<Error> {
        self.io.timed_out.take().or_else(|| self.handles.request.take_failure())
    }

    /// Leaves the rest of the upload to a task, which is returned. Returns `None` if there is nothing to leave.
    pub fn hand_over(&mut self, write_timeout: Option<Duration>) -> Option<Arc<UploadTask>> {
        match std::mem::take(&mut self.handles.request) {
            RequestSide::Here(upload) => {
                let upload_task = UploadTask::new(upload, &self.io.connection, write_timeout);
                self.handles.request = RequestSide::Task(Arc::clone(&upload_task));
                Some(upload_task)
            }
            other => {
                self.handles.request = other;
                None
            }
        }
    }

    /// Returns a number that grows as long as the exchange makes progress.
    pub fn progress(&self) -> u64 {
        self.io.connection.progress(self.handles.sent)
    }

    /// Returns the timeout that is running: that of the request's direction or that of the response's.
    pub fn timeout(&self, timeouts: &Timeouts) -> Option<Duration> {
        match self.handles.request {
            RequestSide::Here(_) if self.handles.continue_until.is_some() => None,
            RequestSide::Here(_) => timeouts.write,
            // The task has its own, which does not run while the task waits for the iterator.
            RequestSide::Task(_) => None,
            RequestSide::Failed(_) | RequestSide::Done => timeouts.read,
        }
    }

    /// Sets the next chunk of the request body; `None` ends it.
    pub fn push(&mut self, chunk: Option<Bytes>) {
        if let RequestSide::Here(upload) = &mut self.handles.request {
            upload.push(chunk);
        }
        // A thread that sends without having to wait is not told what has arrived: its next poll reads the socket.
        if !self.io.connection.is_job() {
            self.io.connection.expect_readable();
        }
    }

    pub fn set_trailers(&mut self, trailers: HeaderMap) {
        if let RequestSide::Here(upload) = &mut self.handles.request {
            upload.set_trailers(trailers);
        }
    }

    /// Returns whether dropping the stream gives the connection nothing to send or to report, among threads: no reset, and no credit
    /// for data that was read.
    fn has_nothing_to_send(&self) -> bool {
        let connection = &self.io.connection;
        connection.may_delegate
            && !self.has_upload
            && connection.is_steady()
            && !self.has_taken_ahead
            && self.handles.is_complete()
    }

    /// Returns whether parts of the request are still to be sent.
    pub fn is_sending(&self) -> bool {
        self.handles.request.is_sending()
    }

    /// Returns whether the exchange itself has still to send parts of the request.
    pub fn is_uploading(&self) -> bool {
        matches!(self.handles.request, RequestSide::Here(_)) && self.handles.continue_until.is_none()
    }

    /// Returns whether a task has.
    pub fn has_upload_task(&self) -> bool {
        matches!(self.handles.request, RequestSide::Task(_))
    }

    /// Polls for the head of the response, and sends what there is of the request.
    pub fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        effects: &EffectChannel,
        timeouts: &Timeouts,
        stops_when_sent: &mut bool,
    ) -> Poll<Http2Step> {
        let activity = if self.is_uploading() { Activity::Sending } else { Activity::Waiting };
        let (read_timeout, write_timeout) = (timeouts.read, timeouts.write);
        let request = IoRequest { effects, activity, read_timeout, write_timeout };
        let handles = &mut self.handles;
        let step = self.io.poll(cx, request, |cx| handles.poll_head(cx, stops_when_sent));
        match self.take_failure() {
            Some(error) => Poll::Ready(Http2Step::Broken(error)),
            None => step,
        }
    }

    /// Polls the response body with `receive`. If there is nothing to read, goes on with the request's body; if that needs something, the
    /// response has to wait for it.
    pub fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        effects: &EffectChannel,
        read_timeout: Option<Duration>,
        mut receive: impl FnMut(&mut RecvStream, &mut Context<'_>) -> Poll<BodyPoll>,
    ) -> Poll<BodyPoll> {
        let activity = match self.handles.request {
            RequestSide::Here(_) => Activity::Sending,
            // What the iterator waits for may depend on what is still to be read.
            RequestSide::Task(_) => Activity::Waiting,
            RequestSide::Failed(_) | RequestSide::Done => Activity::Receiving,
        };
        let request = IoRequest { effects, activity, read_timeout, write_timeout: None };
        let handles = &mut self.handles;
        let poll = self.io.poll(cx, request, |cx| {
            let ResponseSide::Body(body) = &mut handles.response else { return Poll::Pending };
            if let Poll::Ready(received) = receive(body, cx) {
                return Poll::Ready(received);
            }
            match handles.poll_upload(cx) {
                UploadPoll::Needs(input) => Poll::Ready(BodyPoll::Needs(input)),
                UploadPoll::Done | UploadPoll::Blocked => Poll::Pending,
            }
        });
        self.has_taken_ahead &= poll.is_pending();
        poll
    }
}

impl Drop for Http2Stream {
    fn drop(&mut self) {
        if !self.is_current() {
            return;
        }
        if let RequestSide::Task(upload_task) = &self.handles.request {
            upload_task.cancel();
        }
        let connection = &self.io.connection;
        let has_nothing_to_send = self.has_nothing_to_send();
        let is_reset = connection.is_external && !self.handles.is_complete();
        // h2 resets the stream when its handles are dropped.
        *self.handles = Handles::default();
        connection.exchanges.fetch_sub(1, Ordering::AcqRel);
        if !connection.is_job() && !has_nothing_to_send {
            // The reset is sent now: the connection may not be polled again for a long time. This thread does not wait for it.
            connection.drive();
            connection.complete_reports();
            connection.wake_leader();
            wait_set::clear();
            if is_reset {
                defer_reset(connection);
            }
        }
    }
}
