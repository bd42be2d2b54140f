//! A request under way, as the pool's metrics count it.

use std::sync::Arc;
use std::time::Instant;

use super::metrics::{RequestKey, RequestOutcome};
use super::types::Poolable;
use super::{Process, ProcessState};
use crate::error::Error;
use crate::origin::Origin;
use crate::timings::Timings;

/// A request under way. Dropping it ends the request, with the outcome that was set last: at first it counts as cancelled.
///
/// The slot of its connection takes it over with the response, so that both end under one lock.
pub struct RequestGuard<C: Poolable> {
    process: Arc<Process<C>>,
    key: Option<RequestKey>,
    outcome: RequestOutcome,
}

impl<C: Poolable> RequestGuard<C> {
    pub(super) fn new(
        process: &Arc<Process<C>>,
        state: &mut ProcessState<C>,
        origin: &Arc<Origin>,
        timings: &Arc<Timings>,
    ) -> Self {
        let key = Some(state.metrics.begin(origin, timings));
        Self { process: Arc::clone(process), key, outcome: RequestOutcome::Cancelled }
    }

    /// Sets how the request has ended.
    pub fn set_outcome(&mut self, outcome: RequestOutcome) {
        self.outcome = outcome;
    }

    pub fn outcome(&self) -> RequestOutcome {
        self.outcome
    }

    /// The request has failed.
    pub fn fail(&mut self, error: &Error) {
        self.outcome = RequestOutcome::Failed(error.kind());
    }

    /// Ends the request under the lock that the caller holds.
    pub(super) fn end(mut self, state: &mut ProcessState<C>, now: Instant) {
        if let Some(key) = self.key.take()
            && self.process.generation.is_current()
        {
            state.metrics.end(key, self.outcome, now);
        }
    }
}

impl<C: Poolable> Drop for RequestGuard<C> {
    fn drop(&mut self) {
        if let Some(key) = self.key.take()
            && self.process.generation.is_current()
        {
            self.process.state().metrics.end(key, self.outcome, Instant::now());
        }
    }
}
