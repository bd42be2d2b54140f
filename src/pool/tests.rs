//! The pool's decisions, one test for each.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::slots::MAX_OVERTAKES;
use super::state::{Changes, Decision, Grant, PoolState};
use super::types::{Destination, Limits, LoopId, Poolable, Waiter, WaiterId};
use crate::origin::{Origin, Scheme};

type TestConnection = &'static str;

/// Connections whose name says so can be shared.
impl Poolable for TestConnection {
    fn share(&self) -> Option<Self> {
        self.starts_with("h2").then_some(*self)
    }

    fn rest(&mut self) {}
}

/// A waiter with a name, which is also its notice.
impl Waiter for &'static str {
    type Notice = &'static str;

    fn notice(&self) -> Option<Self::Notice> {
        Some(self)
    }
}

type TestPool = PoolState<TestConnection, &'static str>;

fn origin(host: &str) -> Arc<Origin> {
    Arc::new(Origin { scheme: Scheme::Http, host: host.to_owned(), port: 80, server_name: None, tunnel_headers: None })
}

fn limits(max_connections: usize, max_keepalive_connections: usize) -> Limits {
    Limits {
        max_connections,
        max_connections_per_origin: None,
        max_keepalive_connections,
        max_keepalive_connections_per_origin: None,
        keepalive_expiry: Some(Duration::from_secs(5)),
    }
}

fn pool(max_connections: usize, max_keepalive_connections: usize) -> TestPool {
    PoolState::new(limits(max_connections, max_keepalive_connections))
}

fn to(origin: &Arc<Origin>) -> Destination {
    Destination { origin: Arc::clone(origin), loop_id: 0, multiplexing: false, only: None }
}

fn to_shared(origin: &Arc<Origin>, loop_id: LoopId) -> Destination {
    Destination { origin: Arc::clone(origin), loop_id, multiplexing: true, only: None }
}

fn granted(pool: &mut TestPool, destination: &Destination, now: Instant) -> Grant<TestConnection> {
    match pool.acquire(destination, now, || "unexpected").0 {
        Decision::Granted(grant) => grant,
        Decision::Wait(_) | Decision::Never => panic!("there should have been room"),
    }
}

fn waiting(pool: &mut TestPool, destination: &Destination, name: &'static str, now: Instant) -> WaiterId {
    match pool.acquire(destination, now, || name).0 {
        Decision::Granted(_) | Decision::Never => panic!("there should have been no room"),
        Decision::Wait(waiter) => waiter,
    }
}

/// Returns the waiters that were served, in order.
fn names(changes: &Changes<TestConnection, &'static str>) -> Vec<&'static str> {
    changes.served.iter().map(|(waiter, _)| *waiter).collect()
}

/// Returns the grant of the only waiter that was served.
fn only_grant(mut changes: Changes<TestConnection, &'static str>) -> Grant<TestConnection> {
    assert_eq!(changes.served.len(), 1);
    changes.served.pop().and_then(|(_, grant)| grant).expect("a grant")
}

fn count(pool: &TestPool) -> usize {
    pool.snapshot().connections.len()
}

#[test]
fn reuses_the_connection_that_was_used_last() {
    let (mut pool, a, now) = (pool(10, 10), origin("a"), Instant::now());
    let (first, second) = (granted(&mut pool, &to(&a), now), granted(&mut pool, &to(&a), now));
    pool.keep(&first.status, "first", now);
    pool.keep(&second.status, "second", now);

    assert_eq!(granted(&mut pool, &to(&a), now).connection, Some("second"));
    assert_eq!(granted(&mut pool, &to(&a), now).connection, Some("first"));
    assert_eq!(granted(&mut pool, &to(&a), now).connection, None);
    assert_eq!(count(&pool), 3);
}

#[test]
fn evicts_the_connection_that_was_used_longest_ago_for_another_origin() {
    let (mut pool, a, b, now) = (pool(2, 2), origin("a"), origin("b"), Instant::now());
    let (first, second) = (granted(&mut pool, &to(&a), now), granted(&mut pool, &to(&a), now));
    pool.keep(&second.status, "second", now);
    pool.keep(&first.status, "first", now);

    let grant = granted(&mut pool, &to(&b), now);
    assert_eq!((grant.connection, grant.closing), (None, Some("second")));
    assert_eq!(count(&pool), 2);
}

#[test]
fn keeps_no_more_idle_connections_than_allowed() {
    let (mut pool, a, now) = (pool(10, 1), origin("a"), Instant::now());
    let (first, second) = (granted(&mut pool, &to(&a), now), granted(&mut pool, &to(&a), now));
    assert!(pool.keep(&first.status, "first", now).closing.is_empty());
    assert_eq!(pool.keep(&second.status, "second", now).closing, ["first"]);
    assert_eq!(count(&pool), 1);
}

#[test]
fn closes_connections_that_have_been_idle_for_too_long() {
    let (mut pool, a, now) = (pool(10, 10), origin("a"), Instant::now());
    let grant = granted(&mut pool, &to(&a), now);
    pool.keep(&grant.status, "old", now);
    let (decision, changes) = pool.acquire(&to(&a), now + Duration::from_secs(6), || "unexpected");
    assert_eq!(changes.closing, ["old"]);
    assert!(matches!(decision, Decision::Granted(Grant { connection: None, .. })));
}

#[test]
fn waiters_of_one_origin_are_served_in_order() {
    let (mut pool, a, now) = (pool(1, 1), origin("a"), Instant::now());
    let grant = granted(&mut pool, &to(&a), now);
    waiting(&mut pool, &to(&a), "first", now);
    let left = waiting(&mut pool, &to(&a), "left", now);
    waiting(&mut pool, &to(&a), "third", now);
    assert!(pool.leave(&to(&a), left).served.is_empty());

    let changes = pool.keep(&grant.status, "reused", now);
    assert_eq!(names(&changes), ["first"]);
    let grant = only_grant(changes);
    assert_eq!(grant.connection, Some("reused"));
    let changes = pool.free(&grant.status, false);
    assert_eq!(names(&changes), ["third"]);
    assert_eq!(only_grant(changes).connection, None);
    assert_eq!(pool.snapshot().queued, 0);
}

#[test]
fn a_free_slot_goes_to_the_waiter_that_has_waited_longest() {
    let (mut pool, a, b, now) = (pool(1, 1), origin("a"), origin("b"), Instant::now());
    let grant = granted(&mut pool, &to(&a), now);
    waiting(&mut pool, &to(&b), "b", now);
    waiting(&mut pool, &to(&a), "a", now);
    let changes = pool.free(&grant.status, false);
    assert_eq!(names(&changes), ["b"]);
    assert_eq!(names(&pool.free(&only_grant(changes).status, false)), ["a"]);
}

#[test]
fn an_idle_connection_overtakes_a_waiter_for_a_slot_only_so_often() {
    let (mut pool, a, b, now) = (pool(1, 1), origin("a"), origin("b"), Instant::now());
    let mut grant = granted(&mut pool, &to(&a), now);
    waiting(&mut pool, &to(&b), "b", now);
    for _ in 0..MAX_OVERTAKES {
        waiting(&mut pool, &to(&a), "a", now);
        let changes = pool.keep(&grant.status, "to a", now);
        assert_eq!(names(&changes), ["a"]);
        grant = only_grant(changes);
    }
    waiting(&mut pool, &to(&a), "late", now);
    let changes = pool.keep(&grant.status, "to a", now);
    assert_eq!(names(&changes), ["b"]);
    let grant = only_grant(changes);
    assert_eq!((grant.connection, grant.closing), (None, Some("to a")));
    assert_eq!(names(&pool.free(&grant.status, false)), ["late"]);
}

#[test]
fn no_more_connections_to_one_origin_than_allowed() {
    let (a, b, now) = (origin("a"), origin("b"), Instant::now());
    let mut pool = TestPool::new(Limits { max_connections_per_origin: Some(1), ..limits(2, 2) });
    let first = granted(&mut pool, &to(&a), now);
    waiting(&mut pool, &to(&a), "a", now);
    // The first waiter cannot use the free slot: its origin has as many connections as it may have.
    let second = granted(&mut pool, &to(&b), now);
    waiting(&mut pool, &to(&b), "b", now);
    assert_eq!(names(&pool.free(&second.status, false)), ["b"]);
    assert_eq!(names(&pool.free(&first.status, false)), ["a"]);
    assert_eq!(pool.snapshot().queued, 0);
}

#[test]
fn no_more_idle_connections_to_one_origin_than_allowed() {
    let (a, b, now) = (origin("a"), origin("b"), Instant::now());
    let mut pool = TestPool::new(Limits { max_keepalive_connections_per_origin: Some(1), ..limits(9, 9) });
    let [first, second, other] = [&a, &a, &b].map(|origin| granted(&mut pool, &to(origin), now));
    assert!(pool.keep(&first.status, "first", now).closing.is_empty());
    assert!(pool.keep(&other.status, "other", now).closing.is_empty());
    assert_eq!(pool.keep(&second.status, "second", now).closing, ["first"]);
    assert_eq!(granted(&mut pool, &to(&a), now).connection, Some("second"));
    assert_eq!(granted(&mut pool, &to(&b), now).connection, Some("other"));
}

#[test]
fn a_connection_that_is_given_back_after_close_is_not_kept() {
    let (mut pool, a, now) = (pool(1, 1), origin("a"), Instant::now());
    let grant = granted(&mut pool, &to(&a), now);
    let (statuses, changes) = pool.clear();
    assert_eq!((statuses.len(), changes.closing.len()), (1, 0));
    assert_eq!(pool.keep(&grant.status, "late", now).closing, ["late"]);
    assert_eq!(count(&pool), 0);
    assert_eq!(granted(&mut pool, &to(&a), now).connection, None);
}

#[test]
fn close_serves_the_waiters() {
    let (mut pool, a, now) = (pool(1, 1), origin("a"), Instant::now());
    granted(&mut pool, &to_shared(&a, 0), now);
    waiting(&mut pool, &to_shared(&a, 0), "first", now);
    waiting(&mut pool, &to_shared(&a, 0), "second", now);
    let (_, changes) = pool.clear();
    assert_eq!(names(&changes), ["first"]);
    assert_eq!((pool.snapshot().active, pool.snapshot().queued), (2, 0));
}

#[test]
fn one_connection_serves_as_many_as_its_peer_allows() {
    let (mut pool, a, now) = (pool(10, 10), origin("a"), Instant::now());
    let to_a = to_shared(&a, 0);
    let first = granted(&mut pool, &to_a, now);
    // Its protocol is not known yet: requests that come now wait for it and make none of their own.
    waiting(&mut pool, &to_a, "second", now);
    let left = waiting(&mut pool, &to_a, "left", now);
    waiting(&mut pool, &to_a, "third", now);
    assert_eq!((count(&pool), pool.snapshot().queued, pool.snapshot().active), (1, 0, 4));
    pool.leave(&to_a, left);

    // The limit is not known: nothing joins yet, but the waiters are told.
    let changes = pool.share(&first.status, "h2", 0);
    assert!(changes.served.is_empty());
    assert_eq!(changes.notices, ["second", "third"]);

    first.status.set_max_requests(2);
    let mut changes = pool.limit_changed(&first.status);
    assert_eq!(names(&changes), ["second", "third"]);
    let third = changes.served.pop().and_then(|(_, grant)| grant).expect("a slot for a second connection");
    let second = changes.served.pop().and_then(|(_, grant)| grant).expect("room on the first connection");
    assert_eq!((second.connection, second.status.id), (Some("h2"), first.status.id));
    assert_eq!((third.connection, count(&pool)), (None, 2));

    assert!(pool.end_request(&first.status, now).closing.is_empty());
    assert_eq!(granted(&mut pool, &to_a, now).status.id, first.status.id);
}

#[test]
fn waiters_for_a_connection_that_is_not_shared_make_their_own() {
    let (mut pool, a, now) = (pool(10, 10), origin("a"), Instant::now());
    let to_a = to_shared(&a, 0);
    let first = granted(&mut pool, &to_a, now);
    waiting(&mut pool, &to_a, "second", now);
    waiting(&mut pool, &to_a, "third", now);
    let changes = pool.mark_exclusive(&first.status);
    assert_eq!(names(&changes), ["second", "third"]);
    assert!(changes.served.iter().all(|(_, grant)| grant.as_ref().is_some_and(|grant| grant.connection.is_none())));
    assert_eq!(count(&pool), 3);
}

#[test]
fn a_failed_connection_releases_all_its_waiters() {
    let (mut pool, a, now) = (pool(3, 3), origin("a"), Instant::now());
    let to_a = to_shared(&a, 0);
    let first = granted(&mut pool, &to_a, now);
    for name in ["second", "third", "fourth", "fifth"] {
        waiting(&mut pool, &to_a, name, now);
    }
    let changes = pool.free(&first.status, true);
    assert_eq!(names(&changes), ["second", "third", "fourth"], "as many at a time as there are slots");
    assert_eq!((pool.snapshot().active, pool.snapshot().queued), (3, 1));
    // A new request waits for the connections that are being made.
    waiting(&mut pool, &to_a, "late", now);
    assert_eq!((pool.snapshot().active, pool.snapshot().queued), (4, 1));
    let statuses: Vec<_> = changes.served.iter().filter_map(|(_, grant)| grant.as_ref()).collect();
    assert_eq!(names(&pool.free(&statuses[0].status, true)), ["fifth"]);
    // One of them turns out to be shared.
    statuses[1].status.set_max_requests(10);
    assert_eq!(names(&pool.share(&statuses[1].status, "h2", 0)), ["late"]);
}

#[test]
fn a_cancelled_attempt_is_repeated_by_one_waiter() {
    let (mut pool, a, now) = (pool(10, 10), origin("a"), Instant::now());
    let to_a = to_shared(&a, 0);
    let first = granted(&mut pool, &to_a, now);
    waiting(&mut pool, &to_a, "second", now);
    waiting(&mut pool, &to_a, "third", now);
    assert_eq!(names(&pool.free(&first.status, false)), ["second"], "cancelling says nothing about the host");
    assert_eq!((pool.snapshot().queued, pool.snapshot().active), (0, 2));
}

#[test]
fn loops_share_no_connection_but_take_over_idle_ones() {
    let (mut pool, a, now) = (pool(10, 10), origin("a"), Instant::now());
    let first = granted(&mut pool, &to_shared(&a, 1), now);
    first.status.set_max_requests(100);
    pool.share(&first.status, "h2", 1);
    assert_eq!(granted(&mut pool, &to_shared(&a, 2), now).connection, None);
    assert!(pool.end_request(&first.status, now).closing.is_empty());
    assert!(first.status.is_idle());
    assert_eq!(granted(&mut pool, &to_shared(&a, 2), now).status.id, first.status.id);
}

#[test]
fn a_draining_connection_ends_with_its_last_request() {
    let (mut pool, a, now) = (pool(1, 1), origin("a"), Instant::now());
    let to_a = to_shared(&a, 0);
    let first = granted(&mut pool, &to_a, now);
    first.status.set_max_requests(100);
    pool.share(&first.status, "h2", 0);
    let second = granted(&mut pool, &to_a, now);
    assert_eq!(second.status.id, first.status.id);
    assert!(pool.mark_draining(&first.status).closing.is_empty());
    waiting(&mut pool, &to_a, "third", now);
    assert!(pool.end_request(&first.status, now).served.is_empty());
    let changes = pool.end_request(&first.status, now);
    assert_eq!((names(&changes), &changes.closing[..]), (vec!["third"], &["h2"][..]));
}

#[test]
fn a_peer_that_takes_no_requests_for_now_gets_none() {
    let (mut pool, a, now) = (pool(1, 1), origin("a"), Instant::now());
    let to_a = to_shared(&a, 0);
    let first = granted(&mut pool, &to_a, now);
    first.status.set_max_requests(1);
    pool.share(&first.status, "h2", 0);
    first.status.set_max_requests(0);
    pool.limit_changed(&first.status);
    pool.end_request(&first.status, now);
    assert_eq!(pool.snapshot().active, 0);
    let grant = granted(&mut pool, &to_a, now);
    assert_eq!((grant.connection, grant.closing), (None, Some("h2")), "its slot goes to a new connection");
}

#[test]
fn an_open_connection_serves_its_origin_while_another_waits_for_a_slot() {
    let (mut pool, a, b, now) = (pool(1, 1), origin("a"), origin("b"), Instant::now());
    let to_a = to_shared(&a, 0);
    let first = granted(&mut pool, &to_a, now);
    first.status.set_max_requests(2);
    pool.share(&first.status, "h2", 0);
    waiting(&mut pool, &to_shared(&b, 0), "b", now);
    // The waiter for a slot cannot use a free stream.
    assert_eq!(granted(&mut pool, &to_a, now).status.id, first.status.id);
    waiting(&mut pool, &to_a, "a", now);
    assert_eq!(names(&pool.end_request(&first.status, now)), ["a"]);
    assert!(pool.end_request(&first.status, now).served.is_empty());
    let changes = pool.end_request(&first.status, now);
    assert_eq!(names(&changes), ["b"]);
    assert_eq!(only_grant(changes).closing, Some("h2"));
}

#[test]
fn waiters_for_one_connection_are_told_when_it_is_gone() {
    let (mut pool, a, now) = (pool(1, 1), origin("a"), Instant::now());
    let grant = pool.place(&a);
    let only = Destination { only: Some(grant.status.id), ..to_shared(&a, 0) };
    waiting(&mut pool, &only, "first", now);
    waiting(&mut pool, &only, "second", now);
    // The limit is not known: the waiters can read it from the connection.
    let changes = pool.share(&grant.status, "h2", 0);
    assert_eq!((names(&changes), changes.notices), (vec![], vec!["first", "second"]));
    grant.status.set_max_requests(2);
    assert_eq!(names(&pool.limit_changed(&grant.status)), ["first"]);
    let changes = pool.mark_draining(&grant.status);
    assert!(matches!(changes.served[..], [("second", None)]));
}
