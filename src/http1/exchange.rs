//! Sending a request and waiting for the head of its response.
//!
//! The request goes out first: while it does, nothing is read (see [`super::inbound`]). The response is read when the request is out,
//! or when a write has failed: the server may have answered before it closed.
//!
//! Cancelling: a dropped exchange leaves the connection in the middle of a request. The connection has to be dropped as well, which
//! closes its socket.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;

use super::connection::{Http1, Http1Response};
use super::direct::Http1Incoming;
use super::expect::without_body;
use super::hyper_driver::HyperDriver;
use super::inbound::Inbound;
use super::outbound::framing_request;
use super::upload::Uploader;
use super::wire::{Http1Wire, Http1WireHandle};
use crate::error::{Error, Kind, Result};
use crate::io::deadline::{until_deadline, within_total};
use crate::io::progress::ProgressTimer;
use crate::io::reactor::Reactor;
use crate::message::{Http1Head, Request, ResponseHead};
use crate::operation::{EffectChannel, Outcome, Phase, PhaseTracer, ReadyChunks, YieldBudget};
use crate::origin::Origin;
use crate::timings::{Mark, Timings};

/// The error of an exchange. The counts decide whether the request may be sent again on another connection.
#[derive(Debug)]
pub struct Http1Failure {
    pub error: Error,
    /// Bytes of the request that may have reached the server.
    pub written: u64,
    /// Bytes of the response that arrived.
    pub received: u64,
}

impl Http1 {
    /// Sends a request and waits for the head of its response.
    pub async fn send(
        &mut self,
        request: &Request,
        effects: &EffectChannel,
    ) -> std::result::Result<Http1Response, Http1Failure> {
        let exchanged = pin!(self.exchange(request, effects)).await;
        exchanged.map_err(|error| {
            let (written, received) = self.wire().lock().progress();
            Http1Failure { error, written, received }
        })
    }

    async fn exchange(&mut self, request: &Request, effects: &EffectChannel) -> Result<Http1Response> {
        let mut tracer = PhaseTracer::new(effects, self.kind);
        let work = self.exchange_in_phases(request, effects, &mut tracer);
        let result = until_deadline(effects, pin!(effects.interruptible(pin!(work)))).await;
        match result {
            Some(Ok(response)) => Ok(response),
            result => {
                let is_sending = matches!(self.wire().lock().inbound, Inbound::Sending(_));
                let error = within_total(effects, result.and_then(Result::err), is_sending, &self.origin);
                Err(Box::pin(tracer.close(error)).await)
            }
        }
    }

    async fn exchange_in_phases(
        &mut self,
        request: &Request,
        effects: &EffectChannel,
        tracer: &mut PhaseTracer<'_>,
    ) -> Result<Http1Response> {
        tracer.enter(Phase::RequestHeaders).await?;
        let head = &request.head;
        let uploader = Uploader::begin(request, effects).await?;
        self.begin(request)?;
        let mut exchange = Http1Exchange::new(uploader, request, effects);
        let is_withheld =
            request.expect_continue.is_some() && Box::pin(self.withholds_body(&mut exchange, request, effects)).await?;
        let is_plain = !(head.close || effects.is_traced() || request.has_informational || is_withheld);
        if is_plain && exchange.uploader.is_empty() {
            match std::future::poll_fn(|cx| exchange.poll_direct(cx, &self.driver.wire)).await {
                DirectStep::Whole(head, body) => {
                    return Ok(Http1Response { head, body: Some(Http1Incoming::whole(body)) });
                }
                DirectStep::TimedOut => return Err(exchange.timed_out(&self.origin)),
                DirectStep::ForHyper => {}
            }
        }
        // Boxed: the future is large, and most exchanges end before.
        Box::pin(self.exchange_by_hyper(exchange, request, is_withheld, effects, tracer)).await
    }

    async fn exchange_by_hyper(
        &mut self,
        mut exchange: Http1Exchange,
        request: &Request,
        is_withheld: bool,
        effects: &EffectChannel,
        tracer: &mut PhaseTracer<'_>,
    ) -> Result<Http1Response> {
        let head = &request.head;
        let uploader = &exchange.uploader;
        let without_body = is_withheld.then(|| without_body(head));
        let for_hyper = framing_request(without_body.as_ref().unwrap_or(head), uploader.body(), uploader.announced());
        let sender = self.driver.sender().await.map_err(|error| {
            Error::new(Kind::Internal, format!("{}: a request cannot be sent: {error}", self.origin))
        })?;
        let mut response = pin!(sender.send_request(for_hyper));
        let mut yield_budget = YieldBudget::default();
        let body = loop {
            let polling = |cx: &mut Context<'_>| exchange.poll(cx, &mut self.driver, response.as_mut(), effects);
            match std::future::poll_fn(polling).await {
                Http1Step::NeedsChunk => {
                    tracer.enter(Phase::RequestBody).await?;
                    let length = exchange.supply(&mut self.driver, effects).await?;
                    yield_budget.spend(length, effects).await?;
                    exchange.progress_timer = ProgressTimer::default();
                }
                Http1Step::Informational => self.report_informational(effects).await?,
                Http1Step::Sent => self.report_sent(tracer).await?,
                Http1Step::Response(response) => break Some(Http1Incoming::Hyper(response.into_body())),
                Http1Step::Upgraded => break None,
                Http1Step::Failed(error) => return Err(self.fault(error.as_ref())),
                Http1Step::TimedOut => return Err(exchange.timed_out(&self.origin)),
            }
        };
        self.report_informational(effects).await?;
        let Some(head) = self.wire().lock().take_head() else {
            return Err(Error::new(Kind::Internal, "hyper answered before the response head was read"));
        };
        if head.status == 101 && !request.head.upgrade {
            let message = format!("{} switched protocols (101) without having been asked to", self.origin);
            return Err(Error::remote(message));
        }
        if tracer.is_traced() {
            tracer.complete(Outcome::Head(ResponseHead::Http1(head.clone()))).await?;
        }
        Ok(Http1Response { head, body })
    }

    /// Reports that the request is out, or that it could not be sent in full.
    async fn report_sent(&self, tracer: &mut PhaseTracer<'_>) -> Result<()> {
        tracer.enter(Phase::RequestBody).await?;
        let failure = self.wire().lock().take_write_error();
        if let Some(error) = failure {
            // Reported, and then suppressed: the server may have answered before it closed.
            drop(tracer.fail(error).await);
        }
        tracer.enter(Phase::ResponseHeaders).await
    }
}

/// The result of a poll: what has to be done before the next one, or how the exchange ended.
enum Http1Step {
    NeedsChunk,
    /// Informational responses have arrived.
    Informational,
    /// The request is out. Only a traced exchange stops here.
    Sent,
    Response(http::Response<Incoming>),
    Upgraded,
    /// With hyper's error, unless the fault is one that hyper does not see.
    Failed(Option<hyper::Error>),
    TimedOut,
}

/// The result of an exchange without hyper.
enum DirectStep {
    Whole(Http1Head, Bytes),
    /// hyper is needed from here on.
    ForHyper,
    TimedOut,
}

/// A request on its way out, and the wait for its response.
pub struct Http1Exchange {
    uploader: Uploader,
    /// The request is out, or cannot go out any further.
    is_sent: bool,
    reports_sent: bool,
    /// The iterator of the body may have several chunks at hand.
    takes_ready: bool,
    pub(super) progress_timer: ProgressTimer,
    pub(super) write_timeout: Option<Duration>,
    read_timeout: Option<Duration>,
    timings: Arc<Timings>,
}

impl Http1Exchange {
    fn new(uploader: Uploader, request: &Request, effects: &EffectChannel) -> Self {
        Self {
            uploader,
            is_sent: false,
            reports_sent: effects.is_traced(),
            takes_ready: true,
            progress_timer: ProgressTimer::default(),
            write_timeout: request.timeouts.write,
            read_timeout: request.timeouts.read,
            timings: Arc::clone(&request.timings),
        }
    }

    /// Sends no body, if it has not been begun.
    pub(super) fn withhold_body(&mut self) {
        self.uploader = Uploader::empty();
    }

    /// Passes on what the body's iterator has at hand, or else its next chunk. Returns the number of bytes.
    async fn supply(&mut self, driver: &mut HyperDriver, effects: &EffectChannel) -> Result<usize> {
        let Some(reactor) = self.reactor(driver) else { return self.uploader.supply(effects).await };
        match effects.ready_chunks(self.uploader.limit_at_once()).await? {
            ReadyChunks::Unknown => self.takes_ready = false,
            ReadyChunks::End => {
                self.uploader.end(effects).await?;
                return Ok(0);
            }
            ReadyChunks::Some { chunks, is_awaited } => {
                let length = self.uploader.supply_ready(chunks)?;
                if !is_awaited {
                    return Ok(length);
                }
                if length > 0 {
                    // Before the wait. This must not wait for the socket: the iterator is in the middle of its own wait.
                    std::future::poll_fn(|cx| {
                        driver.write_with_job(cx.waker(), &reactor);
                        Poll::Ready(())
                    })
                    .await;
                }
            }
        }
        self.uploader.supply(effects).await
    }

    /// Returns the reactor whose job can write for the exchange, if the body may have several chunks at hand.
    fn reactor(&mut self, driver: &HyperDriver) -> Option<Arc<Reactor>> {
        let reactor = if self.takes_ready { driver.wire.lock().stream().reactor() } else { None };
        self.takes_ready = reactor.is_some();
        reactor
    }

    fn poll(
        &mut self,
        cx: &Context<'_>,
        driver: &mut HyperDriver,
        mut response: Pin<&mut impl Future<Output = hyper::Result<http::Response<Incoming>>>>,
        effects: &EffectChannel,
    ) -> Poll<Http1Step> {
        let mut awaits_head = {
            let mut wire = driver.wire.lock();
            wire.begin_poll(cx.waker());
            self.is_sent && self.awaits_head(&mut wire)
        };
        while !awaits_head {
            let is_woken = driver.poll_connection();
            let mut wire = driver.wire.lock();
            let (has_write_failed, is_blocked) = (wire.has_write_failed(), wire.is_write_blocked());
            if wire.has_fault() {
                return Poll::Ready(Http1Step::Failed(None));
            }
            if !self.is_sent && (has_write_failed || (self.uploader.is_finished() && !is_blocked)) {
                self.is_sent = true;
                self.timings.mark_now(Mark::Sent);
                self.progress_timer = ProgressTimer::default();
                wire.allow_reads();
                if self.reports_sent {
                    return Poll::Ready(Http1Step::Sent);
                }
                awaits_head = !is_woken && self.awaits_head(&mut wire);
                continue;
            }
            if !self.is_sent && self.uploader.is_wanted() && !is_blocked {
                return Poll::Ready(Http1Step::NeedsChunk);
            }
            if wire.is_upgraded() {
                return Poll::Ready(Http1Step::Upgraded);
            }
            drop(wire);
            match driver.poll_response(response.as_mut()) {
                Poll::Ready(Ok(response)) => return Poll::Ready(Http1Step::Response(response)),
                Poll::Ready(Err(error)) => return Poll::Ready(Http1Step::Failed(Some(error))),
                Poll::Pending if !is_woken => break,
                Poll::Pending => {}
            }
        }
        let timeout = if self.is_sent { self.read_timeout } else { self.write_timeout };
        let mut wire = driver.wire.lock();
        if wire.has_informational() {
            return Poll::Ready(Http1Step::Informational);
        }
        if self.progress_timer.is_over(wire.moved(), timeout) {
            return Poll::Ready(Http1Step::TimedOut);
        }
        wire.request_io(effects, self.read_timeout, self.write_timeout);
        Poll::Pending
    }

    /// Sends a request without a body and waits for the head of its response, see [`super::direct`].
    fn poll_direct(&mut self, cx: &Context<'_>, wire: &Http1WireHandle) -> Poll<DirectStep> {
        let mut wire = wire.lock();
        if !wire.takes_direct() {
            return Poll::Ready(DirectStep::ForHyper);
        }
        wire.begin_poll(cx.waker());
        if !self.is_sent && wire.poll_send_head().is_ready() {
            if wire.has_write_failed() || wire.has_fault() {
                return Poll::Ready(DirectStep::ForHyper);
            }
            self.is_sent = true;
            self.timings.mark_now(Mark::Sent);
            self.progress_timer = ProgressTimer::default();
            wire.allow_reads();
        }
        if !self.is_sent || wire.awaits_head() {
            let timeout = if self.is_sent { self.read_timeout } else { self.write_timeout };
            let is_over = self.progress_timer.is_over(wire.moved(), timeout);
            return if is_over { Poll::Ready(DirectStep::TimedOut) } else { Poll::Pending };
        }
        if let Some(body) = wire.take_whole()
            && let Some(head) = wire.take_head()
        {
            return Poll::Ready(DirectStep::Whole(head, body));
        }
        // hyper sends the request as well, and reads the response after that.
        self.is_sent = false;
        Poll::Ready(DirectStep::ForHyper)
    }

    /// Returns whether there is nothing to do for hyper: the request has no body and is out, and the head of the response has yet to
    /// arrive.
    fn awaits_head(&self, wire: &mut Http1Wire) -> bool {
        self.uploader.is_empty() && wire.awaits_head()
    }

    pub(super) fn timed_out(&self, origin: &Origin) -> Error {
        if self.is_sent {
            Error::no_response(origin, self.read_timeout)
        } else {
            Error::took_no_data(origin, self.write_timeout)
        }
    }
}
