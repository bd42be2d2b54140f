//! A report of all metrics of a pool.

use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::{HashMap, HashMapExt};

use super::metrics::{Counters, RequestInFlight};
use super::slots::SlotStage;
use super::state::PoolState;
use super::types::{Limits, Poolable, Waiter};
use crate::origin::Origin;
use crate::timings::Mark;

/// The connections and requests of an origin at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Connections that carry requests.
    pub active: usize,
    pub idle: usize,
    /// Connections that are being made.
    pub connecting: usize,
    /// Requests that have a connection, or make one.
    pub requests: usize,
    /// Requests that wait in the pool.
    pub waiting: usize,
}

impl Gauges {
    pub fn add(&mut self, other: &Self) {
        self.active += other.active;
        self.idle += other.idle;
        self.connecting += other.connecting;
        self.requests += other.requests;
        self.waiting += other.waiting;
    }
}

/// The metrics of a pool, all of the same moment.
pub struct Report {
    pub limits: Limits,
    /// The origins in no particular order.
    pub origins: Vec<(Arc<Origin>, Counters, Gauges)>,
    /// The sum of the counters of origins that have none of their own any more.
    pub other: Option<Counters>,
    /// The oldest first.
    pub in_flight: Vec<RequestInFlight>,
    pub now: Instant,
}

/// The reasons why requests wait in a pool.
pub struct WaitReport {
    pub limits: Limits,
    pub waiting: usize,
    pub holders: Vec<Holder>,
}

/// The requests of one origin that use connections of a pool.
pub struct Holder {
    pub origin: Arc<Origin>,
    pub requests: usize,
    /// The time since the first of them got its connection, or the right to make one.
    pub oldest: Duration,
}

impl<C: Poolable, W: Waiter> PoolState<C, W> {
    /// Returns a report. The bytes of connections that are open are counted until now.
    pub fn report(&mut self, now: Instant) -> Report {
        let mut gauges: HashMap<Arc<Origin>, Gauges> = HashMap::new();
        for slot in self.slots.values() {
            let status = &slot.status;
            self.metrics.moved(&status.origin, status.take_moved());
            let gauges = gauges.entry(Arc::clone(&status.origin)).or_default();
            match slot.stage {
                SlotStage::Idle(_) => gauges.idle += 1,
                _ if status.is_connecting() => gauges.connecting += 1,
                _ => gauges.active += 1,
            }
        }
        let mut in_flight: Vec<_> = self.metrics.in_flight().collect();
        in_flight.sort_by_key(|request| std::cmp::Reverse(request.timings.ago(Mark::Started, now)));
        for request in &in_flight {
            let gauges = gauges.entry(Arc::clone(&request.origin)).or_default();
            if request.timings.has(Mark::Acquired) {
                gauges.requests += 1;
            } else {
                gauges.waiting += 1;
            }
        }
        let mut origins: Vec<_> = self
            .metrics
            .rows()
            .map(|(origin, counters)| (Arc::clone(origin), counters.clone(), gauges.remove(origin).unwrap_or_default()))
            .collect();
        // The connections of an origin whose counters were added to the others.
        origins.extend(gauges.into_iter().map(|(origin, gauges)| (origin, Counters::default(), gauges)));
        Report { limits: self.limits, origins, other: self.metrics.other().cloned(), in_flight, now }
    }

    /// Returns what the requests that wait wait for. Returns `None` if that was asked within the last `interval`.
    pub fn report_wait(&mut self, interval: Duration, now: Instant) -> Option<WaitReport> {
        if self.last_report.is_some_and(|last| now.saturating_duration_since(last) < interval) {
            return None;
        }
        self.last_report = Some(now);
        let waiting = self.metrics.in_flight().filter(|request| !request.timings.has(Mark::Acquired)).count();
        Some(WaitReport { limits: self.limits, waiting, holders: self.holders(now) })
    }

    /// Returns the origins whose requests use connections, the one with most of them first.
    pub fn holders(&self, now: Instant) -> Vec<Holder> {
        let mut holders: HashMap<Arc<Origin>, (usize, Duration)> = HashMap::new();
        for RequestInFlight { origin, timings } in self.metrics.in_flight() {
            if let Some(age) = timings.ago(Mark::Acquired, now) {
                let (requests, oldest) = holders.entry(origin).or_default();
                *requests += 1;
                *oldest = age.max(*oldest);
            }
        }
        let mut holders: Vec<_> =
            holders.into_iter().map(|(origin, (requests, oldest))| Holder { origin, requests, oldest }).collect();
        holders.sort_by_key(|holder| std::cmp::Reverse((holder.requests, holder.oldest)));
        holders
    }
}
