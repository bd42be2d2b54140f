//! Reporting trace events: a span is a piece of work with a `started` event and one of `complete` or `failed`.
//!
//! [`EffectChannel::span`] reports one piece of work, [`PhaseTracer`] the phases of an exchange, which follow each other. An operation
//! that is not traced passes each of these places with one test of a flag.
//!
//! Cancelling: an operation that is dropped reports nothing. A traced operation is interrupted instead (see
//! [`EffectChannel::interruptible`]), so that the span it is in ends with `failed`.

use std::future::Future;
use std::pin::pin;

use super::{Effect, EffectChannel, Event, ExchangeKind, Outcome, SpanStage, TraceEvent};
use crate::error::{Error, Kind, Result};

impl EffectChannel {
    async fn started(&self, event: &Event) -> Result<()> {
        self.report(event, SpanStage::Started).await
    }

    async fn complete(&self, event: &Event, outcome: Outcome) -> Result<()> {
        self.report(event, SpanStage::Complete(outcome)).await
    }

    /// Reports a failure and returns the error, as the exception object that the tracer saw.
    async fn failed(&self, event: &Event, error: Error) -> Error {
        if !self.is_traced() {
            return error;
        }
        match self.report(event, SpanStage::Failed(error)).await {
            Err(error) => error,
            Ok(()) => Error::new(Kind::Internal, "a failure was reported without its error"),
        }
    }

    /// Does `work` and reports its beginning and its end.
    pub async fn span<T>(
        &self,
        event: impl FnOnce() -> Event,
        outcome: impl FnOnce(&T) -> Outcome,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        if !self.is_traced() {
            return work.await;
        }
        let event = event();
        self.started(&event).await?;
        match self.interruptible(pin!(work)).await {
            Ok(value) => {
                self.complete(&event, outcome(&value)).await?;
                Ok(value)
            }
            Err(error) => Err(self.failed(&event, error).await),
        }
    }

    async fn report(&self, event: &Event, stage: SpanStage) -> Result<()> {
        if !self.is_traced() {
            return Ok(());
        }
        let trace_event = Box::new(TraceEvent { event: event.clone(), stage });
        self.request(|reply| Effect::Trace { trace_event, reply }).await?.map_or(Ok(()), Err)
    }
}

/// A part of an exchange that is reported as one span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    RequestHeaders,
    RequestBody,
    ResponseHeaders,
}

impl Phase {
    fn event(self, kind: ExchangeKind) -> Event {
        match self {
            Self::RequestHeaders => Event::SendRequestHeaders(kind),
            Self::RequestBody => Event::SendRequestBody(kind),
            Self::ResponseHeaders => Event::ReceiveResponseHeaders(kind),
        }
    }
}

/// Reports the phases of one exchange, up to the head of its response.
///
/// 1. At most one phase is open: entering a phase completes the one before it.
/// 2. A phase is open while any of its events is being reported. So an error that the trace callback raises is reported as a failure
///    of the phase that the callback was called for.
/// 3. An error of the exchange ends the open phase with `failed`, and `response_closed` follows. After a success nothing follows
///    the last phase here, because the response body has yet to be read.
pub struct PhaseTracer<'a> {
    effects: &'a EffectChannel,
    kind: ExchangeKind,
    open: Option<Phase>,
}

impl<'a> PhaseTracer<'a> {
    pub fn new(effects: &'a EffectChannel, kind: ExchangeKind) -> Self {
        Self { effects, kind, open: None }
    }

    pub fn is_traced(&self) -> bool {
        self.effects.is_traced()
    }

    /// Completes the open phase, if there is one, and starts `phase`. Does nothing if `phase` is open already.
    pub async fn enter(&mut self, phase: Phase) -> Result<()> {
        if self.open == Some(phase) || !self.is_traced() {
            return Ok(());
        }
        // Boxed, as in the other methods: most exchanges are not traced, and their futures stay small.
        Box::pin(async {
            self.complete(Outcome::Nothing).await?;
            self.open = Some(phase);
            self.effects.started(&phase.event(self.kind)).await
        })
        .await
    }

    /// Completes the open phase.
    pub async fn complete(&mut self, outcome: Outcome) -> Result<()> {
        if let Some(phase) = self.open {
            Box::pin(self.effects.complete(&phase.event(self.kind), outcome)).await?;
            self.open = None;
        }
        Ok(())
    }

    /// Ends the open phase with `failed` and returns the error, as the exception object that the tracer saw.
    pub async fn fail(&mut self, error: Error) -> Error {
        let Some(phase) = self.open else { return error };
        let error = Box::pin(self.effects.failed(&phase.event(self.kind), error)).await;
        self.open = None;
        error
    }

    /// Reports the end of an exchange that has failed, and returns its error, as the exception object that the tracer saw.
    pub async fn close(mut self, error: Error) -> Error {
        if !self.is_traced() {
            return error;
        }
        let error = self.fail(error).await;
        let closed = || Event::ResponseClosed(self.kind);
        match self.effects.span(closed, |()| Outcome::Nothing, async { Ok(()) }).await {
            Ok(()) => error,
            Err(raised) => raised,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;

    /// Runs a traced exchange and returns its result and the events that it reported. The callback raises at `refused`.
    fn traced<T>(
        exchange: impl AsyncFnOnce(&mut PhaseTracer<'_>) -> Result<T>,
        refused: &str,
    ) -> (Result<T>, Vec<String>) {
        let effects = EffectChannel::new(true);
        let mut events = Vec::new();
        let mut work = pin!(async {
            let mut tracer = PhaseTracer::new(&effects, ExchangeKind::Http1);
            match exchange(&mut tracer).await {
                Ok(value) => Ok(value),
                Err(error) => Err(tracer.close(error).await),
            }
        });
        loop {
            if let Poll::Ready(result) = work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                return (result, events);
            }
            let Some(Effect::Trace { trace_event, reply }) = effects.take() else {
                panic!("no trace event is pending")
            };
            let TraceEvent { event, stage } = *trace_event;
            let (stage, error) = match stage {
                SpanStage::Started => ("started", None),
                SpanStage::Complete(_) => ("complete", None),
                SpanStage::Failed(error) => ("failed", Some(error)),
            };
            let name = format!("{}.{stage}", event.name());
            let is_refused = name == refused;
            events.push(name);
            reply.set(if is_refused { Err(Error::new(Kind::Raised, "refused")) } else { Ok(error) });
        }
    }

    async fn all_phases(tracer: &mut PhaseTracer<'_>) -> Result<()> {
        tracer.enter(Phase::RequestHeaders).await?;
        tracer.enter(Phase::RequestBody).await?;
        tracer.enter(Phase::RequestBody).await?;
        tracer.enter(Phase::ResponseHeaders).await?;
        tracer.complete(Outcome::Nothing).await
    }

    #[test]
    fn phases_follow_each_other() {
        let (result, events) = traced(all_phases, "");
        assert!(result.is_ok());
        assert_eq!(
            events,
            [
                "send_request_headers.started",
                "send_request_headers.complete",
                "send_request_body.started",
                "send_request_body.complete",
                "receive_response_headers.started",
                "receive_response_headers.complete",
            ]
        );
    }

    #[test]
    fn an_error_ends_the_open_phase_and_the_response() {
        let exchange = async |tracer: &mut PhaseTracer<'_>| -> Result<()> {
            tracer.enter(Phase::RequestHeaders).await?;
            Err(Error::remote("broken"))
        };
        let (result, events) = traced(exchange, "");
        assert_eq!(result.expect_err("failed").message(), "broken");
        assert_eq!(
            events,
            [
                "send_request_headers.started",
                "send_request_headers.failed",
                "response_closed.started",
                "response_closed.complete",
            ]
        );
    }

    #[test]
    fn a_phase_that_failed_is_not_completed() {
        let exchange = async |tracer: &mut PhaseTracer<'_>| -> Result<()> {
            tracer.enter(Phase::RequestBody).await?;
            tracer.fail(Error::new(Kind::WriteError, "closed")).await;
            tracer.enter(Phase::ResponseHeaders).await
        };
        let (_, events) = traced(exchange, "");
        assert_eq!(
            events,
            ["send_request_body.started", "send_request_body.failed", "receive_response_headers.started"]
        );
    }

    #[test]
    fn an_error_of_the_callback_fails_the_phase_that_it_was_called_for() {
        for (refused, failed) in [
            ("send_request_headers.started", "send_request_headers.failed"),
            ("send_request_headers.complete", "send_request_headers.failed"),
            ("send_request_body.started", "send_request_body.failed"),
            ("receive_response_headers.complete", "receive_response_headers.failed"),
        ] {
            let (result, events) = traced(all_phases, refused);
            assert_eq!(result.expect_err("refused").message(), "refused");
            let position = events.iter().position(|event| event == refused).expect("an event");
            assert_eq!(events[position + 1..], [failed, "response_closed.started", "response_closed.complete"]);
        }
    }

    #[test]
    fn an_exchange_that_is_not_traced_reports_nothing() {
        let effects = EffectChannel::new(false);
        let mut tracer = PhaseTracer::new(&effects, ExchangeKind::Http1);
        let mut work = pin!(all_phases(&mut tracer));
        assert!(work.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
        assert!(effects.take().is_none());
    }
}
