//! The history of a pool in numbers: a row of counters for each origin, and the requests that are under way.
//!
//! All of it is changed under the pool's lock, which a request takes at its beginning and its end anyway. So a snapshot is consistent:
//! the requests that were started are those that have ended and those that are under way.
//!
//! Memory is bounded: of the origins without requests under way, no more than [`MAX_ORIGINS`] have a row of their own. The counters of
//! those that were not used for longest are added to one row for all [others](Metrics::other).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::{HashMap, HashMapExt};
use slab::Slab;

use crate::error::Kind;
use crate::origin::Origin;
use crate::timings::{Mark, Span, Timings};

/// The number of origins that have counters of their own.
pub const MAX_ORIGINS: usize = 256;

/// The upper bounds of the buckets of a histogram, in microseconds. Those from 5 ms on are the ones that OpenTelemetry recommends for
/// the durations of HTTP requests.
pub const BOUNDS: [u64; 16] = [
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 75_000, 100_000, 250_000, 500_000, 750_000, 1_000_000, 2_500_000,
    5_000_000, 7_500_000, 10_000_000,
];

/// The same for the lifetimes of connections, which are longer. Those up to 5 minutes are the ones that OpenTelemetry recommends, but for
/// the smallest.
pub const LIFETIME_BOUNDS: [u64; 16] = [
    10_000,
    50_000,
    100_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    120_000_000,
    300_000_000,
    900_000_000,
    1_800_000_000,
    3_600_000_000,
    7_200_000_000,
];

/// The durations that histograms are kept of.
pub const MEASURED: [Span; 6] = [Span::Waiting, Span::Dns, Span::Connect, Span::Tls, Span::ToFirstByte, Span::Total];

/// Durations by size.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    /// The number of durations up to each of the bounds and above the one before it; at the end those above all of them.
    pub buckets: [u64; BOUNDS.len() + 1],
    /// The sum of all durations, in nanoseconds.
    pub sum: u64,
}

impl Histogram {
    /// Adds a duration in nanoseconds.
    fn add(&mut self, nanos: u64, bounds: &[u64; BOUNDS.len()]) {
        if nanos == 0 {
            // Most requests do not wait in the pool.
            self.buckets[0] += 1;
            return;
        }
        // A bound belongs to its bucket.
        let micros = nanos.div_ceil(1000);
        self.buckets[bounds.partition_point(|bound| *bound < micros)] += 1;
        self.sum = self.sum.saturating_add(nanos);
    }

    fn merge(&mut self, other: &Self) {
        for (bucket, more) in self.buckets.iter_mut().zip(other.buckets) {
            *bucket += more;
        }
        self.sum = self.sum.saturating_add(other.sum);
    }
}

/// Why a connection was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// It was idle for longer than `keepalive_expiry`.
    Expired,
    /// It was idle, and its slot was needed for another origin.
    Evicted,
    /// There were more idle connections than `max_keepalive_connections`.
    Surplus,
    /// The pool was closed.
    PoolClosed,
    /// The program has closed this connection.
    Requested,
    /// The peer had closed it while it was idle.
    PeerClosed,
    /// The peer takes no more requests on it (HTTP/2 GOAWAY), or it has failed under the last one.
    Draining,
    /// It cannot be used again after a complete response: `Connection: close`, an upgrade, surplus bytes.
    NotReusable,
    /// Its exchange has failed.
    Failed,
    /// Its request was cancelled, or the response closed before its end.
    Cancelled,
}

impl CloseReason {
    /// Returns why a connection was closed with the request on it, which has ended like this.
    pub fn after(outcome: RequestOutcome) -> Self {
        match outcome {
            RequestOutcome::Finished => Self::NotReusable,
            RequestOutcome::Cancelled => Self::Cancelled,
            RequestOutcome::Failed(_) => Self::Failed,
        }
    }
}

/// All reasons with their names, in the order of their numbers.
pub const CLOSE_REASONS: [(CloseReason, &str); 10] = [
    (CloseReason::Expired, "expired"),
    (CloseReason::Evicted, "evicted"),
    (CloseReason::Surplus, "surplus"),
    (CloseReason::PoolClosed, "pool_closed"),
    (CloseReason::Requested, "requested"),
    (CloseReason::PeerClosed, "peer_closed"),
    (CloseReason::Draining, "draining"),
    (CloseReason::NotReusable, "not_reusable"),
    (CloseReason::Failed, "failed"),
    (CloseReason::Cancelled, "cancelled"),
];

/// The end of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestOutcome {
    /// Its response was read to the end.
    Finished,
    Failed(Kind),
    /// It was dropped, or its response was closed before the end.
    Cancelled,
}

/// The counters of one origin, or of several.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    pub started: u64,
    pub finished: u64,
    pub cancelled: u64,
    /// Requests that failed, by the kind of the error.
    pub failed: [u64; Kind::ALL.len()],
    /// The number of times that a request was sent once more.
    pub replayed: u64,
    /// The number of times that a retry policy has repeated a request.
    pub retried: u64,
    pub sent: u64,
    pub received: u64,
    pub opened: u64,
    /// Requests that were sent on a connection that had served another one.
    pub reused: u64,
    /// Attempts to connect that failed.
    pub connect_failed: u64,
    pub closed: [u64; CLOSE_REASONS.len()],
    pub histograms: [Histogram; MEASURED.len()],
    /// The lifetimes of connections that are closed by now.
    pub lifetimes: Histogram,
}

impl Counters {
    /// Adds the counters of another origin.
    pub fn merge(&mut self, other: &Self) {
        self.started += other.started;
        self.finished += other.finished;
        self.cancelled += other.cancelled;
        self.replayed += other.replayed;
        self.retried += other.retried;
        self.sent += other.sent;
        self.received += other.received;
        self.opened += other.opened;
        self.reused += other.reused;
        self.connect_failed += other.connect_failed;
        let more = self.failed.iter_mut().chain(&mut self.closed);
        for (counter, more) in more.zip(other.failed.iter().chain(&other.closed)) {
            *counter += more;
        }
        for (histogram, more) in self.histograms.iter_mut().zip(&other.histograms) {
            histogram.merge(more);
        }
        self.lifetimes.merge(&other.lifetimes);
    }

    fn measure(&mut self, spans: std::ops::Range<usize>, timings: &Timings) {
        for (histogram, span) in self.histograms[spans.clone()].iter_mut().zip(&MEASURED[spans]) {
            if let Some(nanos) = timings.nanos(*span) {
                histogram.add(nanos, &BOUNDS);
            }
        }
    }
}

/// The counters of one origin.
struct Row {
    origin: Arc<Origin>,
    counters: Counters,
    /// The number of requests under way. As long as there are any the row stays.
    in_flight: usize,
    /// The row was used since the oldest one was searched for.
    is_recent: bool,
}

/// A request under way.
struct InFlight {
    row: usize,
    timings: Arc<Timings>,
}

/// The key of a request under way.
pub type RequestKey = usize;

/// The counters of a pool.
pub struct Metrics {
    rows: Slab<Row>,
    keys: HashMap<Arc<Origin>, usize>,
    /// The rows, roughly in the order in which they were used last.
    order: VecDeque<usize>,
    /// The counters of origins that have no row any more.
    other: Option<Box<Counters>>,
    in_flight: Slab<InFlight>,
    /// The row that was used last.
    last: usize,
}

/// A copy of a request under way.
pub struct RequestInFlight {
    pub origin: Arc<Origin>,
    pub timings: Arc<Timings>,
}

impl Metrics {
    pub fn new() -> Self {
        Self {
            rows: Slab::new(),
            keys: HashMap::new(),
            order: VecDeque::new(),
            other: None,
            in_flight: Slab::new(),
            last: 0,
        }
    }

    // Requests.

    /// A request begins.
    pub fn begin(&mut self, origin: &Arc<Origin>, timings: &Arc<Timings>) -> RequestKey {
        let key = self.row(origin);
        let row = &mut self.rows[key];
        row.in_flight += 1;
        row.counters.started += 1;
        self.in_flight.insert(InFlight { row: key, timings: Arc::clone(timings) })
    }

    /// A request has ended.
    pub fn end(&mut self, key: RequestKey, outcome: RequestOutcome, now: Instant) {
        let Some(InFlight { row, timings }) = self.in_flight.try_remove(key) else { return };
        let Some(row) = self.rows.get_mut(row) else { return };
        timings.mark(Mark::Ended, now);
        row.in_flight -= 1;
        let counters = &mut row.counters;
        match outcome {
            RequestOutcome::Finished => counters.finished += 1,
            RequestOutcome::Failed(kind) => counters.failed[kind as usize] += 1,
            RequestOutcome::Cancelled => counters.cancelled += 1,
        }
        counters.replayed += u64::from(timings.attempts().saturating_sub(1));
        counters.reused += u64::from(timings.is_reused());
        counters.measure(0..1, &timings);
        counters.measure(4..6, &timings);
    }

    /// A retry policy repeats a request.
    pub fn retried(&mut self, origin: &Arc<Origin>) {
        self.counters(origin).retried += 1;
    }

    // Connections.

    /// An attempt to connect has ended.
    pub fn connected(&mut self, origin: &Arc<Origin>, timings: &Timings, is_open: bool) {
        let counters = self.counters(origin);
        counters.opened += u64::from(is_open);
        counters.connect_failed += u64::from(!is_open);
        counters.measure(1..4, timings);
    }

    /// A connection was closed that had been open for `lifetime`.
    pub fn closed(&mut self, origin: &Arc<Origin>, reason: CloseReason, lifetime: Duration) {
        let counters = self.counters(origin);
        counters.closed[reason as usize] += 1;
        let nanos = u64::try_from(lifetime.as_nanos()).unwrap_or(u64::MAX);
        counters.lifetimes.add(nanos, &LIFETIME_BOUNDS);
    }

    /// Adds bytes that a connection has sent and received.
    pub fn moved(&mut self, origin: &Arc<Origin>, (sent, received): (u64, u64)) {
        if sent + received > 0 {
            let counters = self.counters(origin);
            counters.sent += sent;
            counters.received += received;
        }
    }

    // Queries.

    pub fn rows(&self) -> impl Iterator<Item = (&Arc<Origin>, &Counters)> {
        self.rows.iter().map(|(_, row)| (&row.origin, &row.counters))
    }

    /// Returns the sum of the counters of origins that have no row any more, if there are any.
    pub fn other(&self) -> Option<&Counters> {
        self.other.as_deref()
    }

    /// Returns the requests under way.
    pub fn in_flight(&self) -> impl Iterator<Item = RequestInFlight> {
        self.in_flight.iter().filter_map(|(_, request)| {
            let origin = Arc::clone(&self.rows.get(request.row)?.origin);
            Some(RequestInFlight { origin, timings: Arc::clone(&request.timings) })
        })
    }

    fn counters(&mut self, origin: &Arc<Origin>) -> &mut Counters {
        let key = self.row(origin);
        &mut self.rows[key].counters
    }

    /// Returns the key of an origin's row, which is made if there is none.
    fn row(&mut self, origin: &Arc<Origin>) -> usize {
        // Requests in a row mostly share their origin.
        if let Some(row) = self.rows.get(self.last)
            && Arc::ptr_eq(&row.origin, origin)
        {
            return self.last;
        }
        if let Some(key) = self.keys.get(origin) {
            self.rows[*key].is_recent = true;
            self.last = *key;
            return *key;
        }
        if let Some(row) = self.rows.get_mut(self.last) {
            row.is_recent = true;
        }
        if self.rows.len() >= MAX_ORIGINS {
            self.remove_oldest();
        }
        let row = Row { origin: Arc::clone(origin), counters: Counters::default(), in_flight: 0, is_recent: false };
        let key = self.rows.insert(row);
        self.keys.insert(Arc::clone(origin), key);
        self.order.push_back(key);
        self.last = key;
        key
    }

    /// Removes the row that was not used for longest, roughly: a row that was used since the last search gets a second chance. Rows
    /// of requests under way stay.
    fn remove_oldest(&mut self) {
        for _ in 0..2 * self.order.len() {
            let Some(key) = self.order.pop_front() else { return };
            let row = &mut self.rows[key];
            if row.in_flight == 0 && !std::mem::take(&mut row.is_recent) {
                let Row { origin, counters, .. } = self.rows.remove(key);
                self.keys.remove(&origin);
                self.other.get_or_insert_default().merge(&counters);
                return;
            }
            self.order.push_back(key);
        }
    }
}

#[cfg(test)]
mod tests;
