//! Informational responses (RFC 9110, 15.2), and requests that wait for one of them before they send their body (RFC 9110, 10.1.1).
//!
//! A request with `Expect: 100-continue` sends its head, as in [`super::direct`], and reads. The body goes out after `100 Continue`, or
//! when the time for the wait has passed: a server may not know the expectation. If the final response comes first, the body is not
//! sent. hyper is then told of a request without a body, and that the connection ends with it: the server may still wait for the body.
//!
//! Over an external stream nothing is waited for: a read of such a stream cannot be ended early.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::connection::Http1;
use super::exchange::Http1Exchange;
use super::wire::{Http1Wire, Http1WireHandle};
use crate::error::Result;
use crate::io::progress::ProgressTimer;
use crate::io::wait_set;
use crate::message::{Framing, Http1Head, Request, RequestHead, ResponseHead};
use crate::operation::EffectChannel;

/// The informational responses to one request.
#[derive(Default)]
pub struct InformationalHeads {
    /// Those that are still to be reported.
    waiting: Vec<Http1Head>,
    is_reported: bool,
    has_continue: bool,
}

impl InformationalHeads {
    pub fn new(is_reported: bool) -> Self {
        Self { is_reported, ..Self::default() }
    }

    /// Takes one that has arrived.
    pub fn push(&mut self, head: Http1Head) {
        self.has_continue |= head.status == 100;
        if self.is_reported {
            self.waiting.push(head);
        }
    }
}

impl Http1Wire {
    /// Lets heads be read while the body waits for them.
    fn read_heads(&mut self) {
        self.inbound.allow_reads(false);
    }

    /// Lets the body go out. The rest of a head that has arrived is read again after it.
    fn pause_reads(&mut self) {
        self.inbound.pause_reads();
    }

    /// Returns whether informational responses are to be reported.
    pub fn has_informational(&self) -> bool {
        !self.informational.waiting.is_empty()
    }
}

/// The end of a wait for `100 Continue`.
enum ContinueStep {
    /// Informational responses are to be reported before the wait goes on.
    Report,
    /// The body is sent.
    Send,
    /// The final response has arrived, or the exchange has failed: the body is not sent.
    Withhold,
    TimedOut,
}

/// A wait for `100 Continue`.
struct ContinueWait {
    timeout: Duration,
    /// Set when the head is out.
    until: Option<Instant>,
}

impl Http1 {
    /// Sends the head of a request that expects `100 Continue`, and waits for it. Returns whether the body is withheld.
    pub(super) async fn withholds_body(
        &mut self,
        exchange: &mut Http1Exchange,
        request: &Request,
        effects: &EffectChannel,
    ) -> Result<bool> {
        let has_body = matches!(request.head.framing, Framing::Chunked | Framing::Length(1..));
        let Some(timeout) = request.expect_continue.filter(|_| has_body && self.wire().lock().takes_direct()) else {
            return Ok(false);
        };
        let mut wait = ContinueWait { timeout, until: None };
        loop {
            match poll_fn(|cx| exchange.poll_continue(cx, &self.driver.wire, &mut wait)).await {
                ContinueStep::Report => self.report_informational(effects).await?,
                ContinueStep::Send => return Ok(false),
                ContinueStep::Withhold => {
                    exchange.withhold_body();
                    return Ok(true);
                }
                ContinueStep::TimedOut => return Err(exchange.timed_out(&self.origin)),
            }
        }
    }

    /// Has the caller's callback called with the informational responses that have arrived.
    pub(super) async fn report_informational(&self, effects: &EffectChannel) -> Result<()> {
        let heads = std::mem::take(&mut self.wire().lock().informational.waiting);
        for head in heads {
            effects.informational(ResponseHead::Http1(head)).await?;
        }
        Ok(())
    }
}

impl Http1Exchange {
    fn poll_continue(
        &mut self,
        cx: &Context<'_>,
        wire: &Http1WireHandle,
        wait: &mut ContinueWait,
    ) -> Poll<ContinueStep> {
        let mut wire = wire.lock();
        wire.begin_poll(cx.waker());
        let until = if let Some(until) = wait.until {
            until
        } else {
            if wire.poll_send_head().is_pending() {
                let is_over = self.progress_timer.is_over(wire.moved(), self.write_timeout);
                return if is_over { Poll::Ready(ContinueStep::TimedOut) } else { Poll::Pending };
            }
            if wire.has_write_failed() || wire.has_fault() {
                return Poll::Ready(ContinueStep::Withhold);
            }
            self.progress_timer = ProgressTimer::default();
            wire.read_heads();
            *wait.until.insert(Instant::now() + wait.timeout)
        };
        let awaits_head = wire.awaits_head();
        if wire.has_informational() {
            return Poll::Ready(ContinueStep::Report);
        }
        if !awaits_head {
            return Poll::Ready(ContinueStep::Withhold);
        }
        if wire.informational.has_continue || Instant::now() >= until {
            wire.pause_reads();
            return Poll::Ready(ContinueStep::Send);
        }
        wait_set::wake_at(until);
        Poll::Pending
    }
}

/// Returns the head of a request as hyper needs it whose body is withheld.
pub fn without_body(head: &RequestHead) -> RequestHead {
    RequestHead { framing: Framing::None, close: true, ..head.clone() }
}
