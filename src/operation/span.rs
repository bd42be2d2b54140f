//! Reporting trace events: a span is a piece of work with a `started` event and one of `complete` or `failed`.
//!
//! An operation that is not traced passes each of these places with one test of a flag.

use std::future::Future;
use std::pin::pin;

use super::{Effect, EffectChannel, Event, Outcome, SpanStage, TraceEvent};
use crate::error::{Error, Kind, Result};

impl EffectChannel {
    pub async fn started(&self, event: &Event) -> Result<()> {
        self.report(event, SpanStage::Started).await
    }

    pub async fn complete(&self, event: &Event, outcome: Outcome) -> Result<()> {
        self.report(event, SpanStage::Complete(outcome)).await
    }

    /// Reports a failure and gives the error back: as the very exception that the listener saw.
    pub async fn failed(&self, event: &Event, error: Error) -> Error {
        if !self.is_traced() {
            return error;
        }
        match self.report(event, SpanStage::Failed(error)).await {
            Err(error) => error,
            Ok(()) => Error::new(Kind::Internal, "a failure was reported without its error"),
        }
    }

    /// Does `work`, with its beginning and its end reported.
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
