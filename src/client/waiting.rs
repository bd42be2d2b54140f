//! Waiting in the pool for a connection: taking part in reading shared ones meanwhile, and reporting a wait that is long.

use std::pin::pin;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use super::connection::{HttpConnection, WaitReports};
use super::send::Exchange;
use crate::error::Result;
use crate::http2::StreamWaiter;
use crate::io::deadline::until_deadline;
use crate::io::wait_set::timeout_at;
use crate::operation::{EffectChannel, PoolWait};
use crate::pool::{QueuedRequest, Reservation, WaitReport};

/// Lets a thread that waits for a connection read the shared ones of its route: the frame that frees a stream (`SETTINGS`, `END_STREAM`)
/// may arrive while no other thread reads.
#[derive(Default)]
pub struct StreamWaiters {
    list: Vec<StreamWaiter>,
    has_looked: bool,
}

impl StreamWaiters {
    /// Polls the connections. `is_changed` says that the route may have others than before.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        is_changed: bool,
        effects: &EffectChannel,
        connections: impl FnOnce() -> Vec<HttpConnection>,
    ) {
        if is_changed || !std::mem::replace(&mut self.has_looked, true) {
            for connection in connections() {
                if let HttpConnection::Http2(connection) = &connection
                    && !self.list.iter().any(|stream_waiter| stream_waiter.is_on(connection))
                {
                    self.list.extend(StreamWaiter::new(connection));
                }
            }
        }
        self.list.retain_mut(|stream_waiter| stream_waiter.poll(cx, effects));
    }
}

impl Exchange<'_> {
    /// Waits in the pool's queue, for no longer than the `pool` timeout, and until the deadline of the request. A wait that
    /// is long is reported.
    pub async fn wait(
        &self,
        mut waiting: QueuedRequest<'_, HttpConnection>,
        mut attend: impl FnMut(&mut Context<'_>, bool),
    ) -> Result<Reservation<HttpConnection>> {
        let (timeout, WaitReports { after, callback }) = (self.request.timeouts.pool, &self.client.wait_reports);
        let deadline = waiting.deadline(timeout);
        let mut report_at = waiting.deadline(*after).filter(|at| deadline.is_none_or(|deadline| *at < deadline));
        loop {
            let polling = std::future::poll_fn(|cx| waiting.poll(cx, &mut attend));
            let polling = timeout_at(report_at.or(deadline), polling);
            let waited = until_deadline(self.effects, pin!(polling)).await;
            if let (None | Some(Err(_)), Some(total)) = (&waited, self.effects.passed_deadline()) {
                return Err(waiting.timed_out(total.total(), "total"));
            }
            match (waited, report_at.take()) {
                (Some(Ok(result)), _) => return result,
                (_, Some(_)) => {
                    if let Some((waited, report)) = waiting.report(after.unwrap_or_default()) {
                        let wait = self.pool_wait(waited, report);
                        self.effects.report_wait(wait, callback.clone()).await?;
                    }
                }
                (_, None) => return Err(waiting.timed_out(timeout.unwrap_or_default(), "pool")),
            }
        }
    }

    fn pool_wait(&self, waited: Duration, report: WaitReport) -> PoolWait {
        let WaitReport { limits, waiting, holders } = report;
        let limit = limits.max_connections;
        PoolWait {
            origin: Arc::clone(&self.request.origin),
            waited,
            max_connections: (limit != usize::MAX).then_some(limit),
            waiting,
            holders: holders.into_iter().map(|holder| (holder.origin, holder.requests, holder.oldest)).collect(),
        }
    }
}
