//! Counting requests, connections and durations by origin, with a bound on the number of origins.

use super::*;
use crate::origin::Scheme;

fn origin(number: usize) -> Arc<Origin> {
    Arc::new(Origin {
        scheme: Scheme::Http,
        host: format!("host{number}"),
        port: 80,
        server_name: None,
        tunnel_headers: None,
    })
}

fn timings(now: Instant) -> Arc<Timings> {
    let timings = Arc::<Timings>::default();
    timings.begin(now);
    timings
}

fn total(metrics: &Metrics) -> Counters {
    let mut total = metrics.other().cloned().unwrap_or_default();
    for (_, counters) in metrics.rows() {
        total.merge(counters);
    }
    total
}

#[test]
fn a_duration_is_counted_in_the_bucket_whose_bound_it_does_not_exceed() {
    let mut histogram = Histogram::default();
    for micros in [0, 1_000, 1_001, 10_000_000, 10_000_001] {
        histogram.add(micros * 1000, &BOUNDS);
    }
    histogram.add(1_000_001, &BOUNDS);
    assert_eq!((histogram.buckets[0], histogram.buckets[1]), (2, 2));
    assert_eq!(histogram.buckets[15..], [1, 1]);
    assert_eq!(histogram.sum, 20_002_002_000 + 1_000_001);
    assert!(BOUNDS.is_sorted() && LIFETIME_BOUNDS.is_sorted());
}

#[test]
fn requests_are_counted_by_how_they_ended() {
    let (mut metrics, now) = (Metrics::new(), Instant::now());
    let outcomes = [
        RequestOutcome::Finished,
        RequestOutcome::Cancelled,
        RequestOutcome::Failed(Kind::ReadError),
        RequestOutcome::Failed(Kind::PoolTimeout),
    ];
    let keys = outcomes.map(|outcome| (metrics.begin(&origin(1), &timings(now)), outcome));
    assert_eq!(metrics.in_flight().count(), 4);
    for (key, outcome) in keys {
        metrics.end(key, outcome, now + Duration::from_millis(3));
        metrics.end(key, outcome, now);
    }
    let counters = total(&metrics);
    assert_eq!((counters.started, counters.finished, counters.cancelled), (4, 1, 1));
    assert_eq!(counters.failed.iter().sum::<u64>(), 2);
    assert_eq!(counters.failed[Kind::ReadError as usize], 1);
    assert_eq!(counters.histograms[5].buckets[2], 4);
    assert_eq!(metrics.in_flight().count(), 0);
}

#[test]
fn a_request_that_was_sent_twice_counts_as_replayed_once() {
    let (mut metrics, now) = (Metrics::new(), Instant::now());
    let timings = timings(now);
    let key = metrics.begin(&origin(1), &timings);
    timings.begin_attempt(true);
    timings.begin_attempt(false);
    metrics.end(key, RequestOutcome::Finished, now);
    let counters = total(&metrics);
    assert_eq!((counters.replayed, counters.reused), (1, 0));
}

#[test]
fn rows_are_bounded_and_no_count_is_lost() {
    let (mut metrics, now) = (Metrics::new(), Instant::now());
    let open = metrics.begin(&origin(0), &timings(now));
    for number in 1..=MAX_ORIGINS * 3 {
        // Used again and again, it stays.
        metrics.closed(&origin(1), CloseReason::Expired, Duration::from_secs(1));
        let key = metrics.begin(&origin(number), &timings(now));
        metrics.end(key, RequestOutcome::Finished, now);
    }
    assert_eq!(metrics.rows().count(), MAX_ORIGINS);
    for kept in [origin(0), origin(1), origin(MAX_ORIGINS * 3)] {
        assert!(metrics.rows().any(|(origin, _)| *origin == kept), "{kept}");
    }
    assert!(metrics.rows().all(|(row, _)| *row != origin(2)));
    let counters = total(&metrics);
    assert_eq!((counters.started, counters.finished), (MAX_ORIGINS as u64 * 3 + 1, MAX_ORIGINS as u64 * 3));
    assert_eq!(counters.closed[CloseReason::Expired as usize], MAX_ORIGINS as u64 * 3);
    assert_eq!(counters.lifetimes.buckets[4], MAX_ORIGINS as u64 * 3);
    metrics.end(open, RequestOutcome::Cancelled, now);
    assert_eq!(total(&metrics).cancelled, 1);
}

#[test]
fn rows_of_requests_under_way_exceed_the_bound() {
    let (mut metrics, now) = (Metrics::new(), Instant::now());
    let keys: Vec<_> = (0..MAX_ORIGINS + 10).map(|number| metrics.begin(&origin(number), &timings(now))).collect();
    assert_eq!(metrics.rows().count(), MAX_ORIGINS + 10);
    for key in keys {
        metrics.end(key, RequestOutcome::Finished, now);
    }
    assert_eq!(total(&metrics).finished, MAX_ORIGINS as u64 + 10);
}

#[test]
fn each_reason_and_kind_has_its_place() {
    for (index, (reason, _)) in CLOSE_REASONS.iter().enumerate() {
        assert_eq!(*reason as usize, index);
    }
    for (index, kind) in Kind::ALL.iter().enumerate() {
        assert_eq!(*kind as usize, index);
    }
}
