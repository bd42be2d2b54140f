//! Reservations, slot guards and requests that wait, on a pool whose connections are counters.

use std::sync::LazyLock;
use std::sync::atomic::AtomicUsize;
use std::task::Wake;

use super::super::types::Limits;
use super::super::{Pool, ProcessState, SlotGuard};
use super::*;
use crate::fork::Generation;
use crate::lock::{Rank, RankedMutex};
use crate::origin::{Origin, Scheme};

/// A connection that counts how many handles on it there are.
struct CountedConnection {
    is_shared: bool,
    handles: Arc<AtomicUsize>,
}

impl CountedConnection {
    fn new(is_shared: bool) -> (Self, Arc<AtomicUsize>) {
        let handles = Arc::new(AtomicUsize::new(1));
        (Self { is_shared, handles: Arc::clone(&handles) }, handles)
    }
}

impl Poolable for CountedConnection {
    fn share(&self) -> Option<Self> {
        self.is_shared.then(|| {
            self.handles.fetch_add(1, Ordering::SeqCst);
            Self { is_shared: true, handles: Arc::clone(&self.handles) }
        })
    }

    fn rest(&mut self) {}
}

impl Drop for CountedConnection {
    fn drop(&mut self) {
        self.handles.fetch_sub(1, Ordering::SeqCst);
    }
}

#[derive(Default)]
struct WakeCount(AtomicUsize);

impl Wake for WakeCount {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

type CountedPool = Pool<CountedConnection>;
type Queued<'a> = QueuedRequest<'a, CountedConnection>;

fn limits(max_connections: usize) -> Limits {
    Limits {
        max_connections,
        max_connections_per_origin: None,
        max_keepalive_connections: max_connections,
        max_keepalive_connections_per_origin: None,
        keepalive_expiry: None,
    }
}

fn to(host: &str, multiplexing: bool) -> Destination {
    let origin =
        Origin { scheme: Scheme::Https, host: host.to_owned(), port: 443, server_name: None, tunnel_headers: None };
    Destination { origin: Arc::new(origin), loop_id: THREADS, multiplexing, only: None }
}

/// Asks for a reservation, for a request that is not counted any further.
fn checkout<'a>(pool: &CountedPool, destination: &'a Destination) -> Result<Checkout<'a, CountedConnection>> {
    static TIMINGS: LazyLock<Arc<Timings>> = LazyLock::new(Arc::default);

    pool.checkout(destination, &mut None, &TIMINGS)
}

fn reserved(pool: &CountedPool, destination: &Destination) -> Reservation<CountedConnection> {
    match checkout(pool, destination).expect("a place for the request") {
        Checkout::Ready(reservation) => reservation,
        Checkout::QueuedRequest(_) => panic!("the request waits"),
    }
}

fn queued<'a>(pool: &CountedPool, destination: &'a Destination) -> Queued<'a> {
    match checkout(pool, destination).expect("a place for the request") {
        Checkout::Ready(_) => panic!("the request does not wait"),
        Checkout::QueuedRequest(queued) => queued,
    }
}

fn poll(queued: &mut Queued<'_>) -> Poll<Result<Reservation<CountedConnection>>> {
    queued.poll(&mut Context::from_waker(Waker::noop()), |_, _| {})
}

fn served(queued: &mut Queued<'_>) -> Reservation<CountedConnection> {
    match poll(queued) {
        Poll::Ready(Ok(reservation)) => reservation,
        Poll::Ready(Err(error)) => panic!("{error}"),
        Poll::Pending => panic!("the request still waits"),
    }
}

fn slot(reservation: Reservation<CountedConnection>) -> SlotGuard<CountedConnection> {
    reservation.take().expect("a slot").0
}

#[test]
fn a_connection_that_is_given_back_serves_the_next_request() {
    let (pool, to_a) = (CountedPool::new(limits(1)), to("a", false));
    let reservation = reserved(&pool, &to_a);
    assert!(!reservation.has_connection());
    let slot = slot(reservation);
    let (connection, handles) = CountedConnection::new(false);
    slot.keep(connection);
    assert!(pool.statuses()[0].is_idle());
    let next = reserved(&pool, &to_a);
    assert!(next.has_connection());
    assert_eq!(handles.load(Ordering::SeqCst), 1);
}

#[test]
fn dropping_a_guard_frees_the_slot() {
    let (pool, to_a) = (CountedPool::new(limits(1)), to("a", false));
    let slot = slot(reserved(&pool, &to_a));
    let status = Arc::clone(slot.status());
    drop(slot);
    assert!(status.has_failed() && pool.statuses().is_empty());
}

#[test]
fn a_reservation_that_is_not_used_goes_to_the_next_waiter() {
    let (pool, to_a) = (CountedPool::new(limits(1)), to("a", false));
    let mut reservation = reserved(&pool, &to_a);
    reservation.fill(CountedConnection::new(false).0);
    let mut waiter = queued(&pool, &to_a);
    let count = Arc::<WakeCount>::default();
    let waker = Waker::from(Arc::clone(&count));
    assert!(waiter.poll(&mut Context::from_waker(&waker), |_, _| {}).is_pending());
    drop(reservation);
    assert_eq!(count.0.load(Ordering::SeqCst), 1);
    assert!(served(&mut waiter).has_connection());
}

#[test]
fn a_waiter_that_leaves_is_not_served() {
    let (pool, to_a) = (CountedPool::new(limits(1)), to("a", false));
    let slot = slot(reserved(&pool, &to_a));
    let (first, mut second) = (queued(&pool, &to_a), queued(&pool, &to_a));
    assert_eq!(pool.snapshot().queued, 2);
    drop(first);
    assert_eq!(pool.snapshot().queued, 1);
    slot.keep(CountedConnection::new(false).0);
    assert!(served(&mut second).has_connection());
}

#[test]
fn what_a_waiter_has_not_taken_when_it_leaves_goes_to_the_next() {
    let (pool, to_a) = (CountedPool::new(limits(1)), to("a", false));
    let slot = slot(reserved(&pool, &to_a));
    let (first, mut second) = (queued(&pool, &to_a), queued(&pool, &to_a));
    slot.keep(CountedConnection::new(false).0);
    assert!(poll(&mut second).is_pending(), "it was sent to the first one");
    drop(first);
    assert!(served(&mut second).has_connection());
}

#[test]
fn a_failed_connection_releases_its_waiters() {
    let (pool, to_a) = (CountedPool::new(limits(3)), to("a", true));
    let mut slot = slot(reserved(&pool, &to_a));
    let (mut second, mut third) = (queued(&pool, &to_a), queued(&pool, &to_a));
    slot.mark_failed();
    drop(slot);
    assert!(!served(&mut second).has_connection() && !served(&mut third).has_connection());
}

#[test]
fn a_shared_connection_serves_its_waiters_and_ends_with_the_last_request() {
    let (pool, to_a) = (CountedPool::new(limits(1)), to("a", true));
    let mut slot = slot(reserved(&pool, &to_a));
    let mut waiter = queued(&pool, &to_a);
    let (connection, handles) = CountedConnection::new(true);
    slot.status().set_max_requests(2);
    slot.share(connection, THREADS);
    let joined = served(&mut waiter);
    assert_eq!((handles.load(Ordering::SeqCst), pool.snapshot().active), (2, 2));
    assert_eq!(pool.shared(&to_a).len(), 1);
    let observer = slot.watch().upgrade().expect("the pool");
    observer.retired(slot.status());
    drop((joined, waiter));
    assert_eq!(handles.load(Ordering::SeqCst), 1, "a request is left");
    drop(slot);
    assert_eq!(handles.load(Ordering::SeqCst), 0);
    assert!(pool.statuses().is_empty());
}

#[test]
fn a_thread_that_waits_learns_once_of_a_shared_connection() {
    let (pool, to_a) = (CountedPool::new(limits(1)), to("a", true));
    let mut slot = slot(reserved(&pool, &to_a));
    let mut waiter = queued(&pool, &to_a);
    let count = Arc::<WakeCount>::default();
    let waker = Waker::from(Arc::clone(&count));
    let mut notices = Vec::new();
    let mut attend = |waiter: &mut Queued<'_>| {
        let polled = waiter.poll(&mut Context::from_waker(&waker), |_, is_new| notices.push(is_new));
        assert!(polled.is_pending());
    };
    attend(&mut waiter);
    slot.share(CountedConnection::new(true).0, THREADS);
    assert_eq!(count.0.load(Ordering::SeqCst), 1);
    attend(&mut waiter);
    attend(&mut waiter);
    assert_eq!(notices, [false, true, false]);
}

#[test]
fn closing_the_pool_closes_its_connections_and_serves_waiters() {
    let (pool, to_a, to_b) = (CountedPool::new(limits(2)), to("a", false), to("b", false));
    let (first, second) = (slot(reserved(&pool, &to_a)), slot(reserved(&pool, &to_a)));
    first.status().mark_connected();
    let statuses = pool.statuses();
    let (connection, handles) = CountedConnection::new(false);
    first.keep(connection);
    let third = slot(reserved(&pool, &to_b));
    assert_eq!(handles.load(Ordering::SeqCst), 0, "it made room");
    let mut waiter = queued(&pool, &to_b);
    second.status().mark_connected();

    assert_eq!(pool.close(), 1, "the third is not established");
    assert!(statuses[1].is_closed_by_pool() && third.status().is_closed_by_pool());
    drop(served(&mut waiter));
    let (connection, handles) = CountedConnection::new(false);
    second.keep(connection);
    assert_eq!(handles.load(Ordering::SeqCst), 0, "a connection from before is not kept");
    drop(third);
    assert!(pool.statuses().is_empty());
    drop(reserved(&pool, &to_a));
}

#[test]
fn connections_that_make_room_are_counted_once() {
    let (pool, to_a, to_b) = (CountedPool::new(limits(1)), to("a", false), to("b", false));
    slot(reserved(&pool, &to_a)).keep(CountedConnection::new(false).0);
    drop(reserved(&pool, &to_b));
    assert_eq!((pool.take_discarded(), pool.take_discarded()), (1, 0));
}

#[test]
fn a_waiter_for_one_connection_fails_when_that_is_gone() {
    let (pool, mut to_a) = (CountedPool::new(limits(1)), to("a", false));
    let slot = slot(pool.place(&to_a.origin));
    to_a.only = Some(slot.status().id);
    let mut waiter = queued(&pool, &to_a);
    let limit = Duration::from_millis(1500);
    assert_eq!(
        waiter.timed_out(limit, "pool").message(),
        "the connection to https://a:443 took no more requests within 1.5 s (pool timeout)"
    );
    pool.close_one(slot.status());
    match poll(&mut waiter) {
        Poll::Ready(Err(error)) => assert_eq!(error.kind(), Kind::ConnectionNotAvailable),
        _ => panic!("the connection is gone"),
    }
    let error = checkout(&pool, &to_a).err().expect("the connection is gone");
    assert_eq!(error.kind(), Kind::ConnectionNotAvailable);
}

#[test]
fn the_limit_of_a_wait_begins_with_the_request() {
    let (pool, to_a) = (CountedPool::new(limits(1)), to("a", false));
    let _slot = slot(reserved(&pool, &to_a));
    let waiter = queued(&pool, &to_a);
    let hour = Duration::from_secs(3600);
    assert_eq!(waiter.deadline(Some(hour)), Some(waiter.since + hour));
    assert_eq!((waiter.deadline(None), waiter.deadline(Some(Duration::MAX))), (None, None));
}

#[test]
fn a_timeout_tells_what_the_connections_do() {
    let (pool, to_a) = (CountedPool::new(limits(3)), to("a", false));
    let is = |expected: &str| {
        let full = CountedPool::new(limits(0));
        let error = queued(&full, &to_a).timed_out(Duration::from_secs(5), "pool");
        assert_eq!(error.kind(), Kind::PoolTimeout);
        let free = "no connection to https://a:443 became free within 5.0 s (pool timeout): the pool has no connections; \
                    max_connections=0, in use by no request";
        assert_eq!(error.message(), free);
        assert_eq!(describe(&pool.snapshot()), expected);
    };
    let idle = |guard: SlotGuard<CountedConnection>| guard.keep(CountedConnection::new(false).0);
    is("the pool has no connections");
    let first = slot(reserved(&pool, &to_a));
    is("the pool has 1 connection, which is still connecting");
    first.status().mark_connected();
    is("the pool has 1 connection, which is in use");
    let second = slot(reserved(&pool, &to_a));
    is("the pool has 2 connections, 1 of them still connecting");
    second.status().mark_connected();
    is("the pool has 2 connections, all of them in use");
    idle(second);
    is("the pool has 2 connections, 1 of them idle");
    let third = reserved(&pool, &to("b", false));
    is("the pool has 3 connections, 1 of them still connecting and 1 idle");
    drop((first, third));
    is("the pool has 1 connection, which is idle");
}

#[test]
fn a_timeout_names_three_origins_that_use_connections() {
    let holder = |host: &str, requests| Holder {
        origin: Arc::clone(&to(host, false).origin),
        requests,
        oldest: Duration::from_millis(1240),
    };
    let mut unlimited = limits(1);
    unlimited.max_connections = usize::MAX;
    let some = [holder("a", 3), holder("b", 1), holder("c", 1), holder("d", 1)];
    assert_eq!(
        describe_use(unlimited, &some[..1]),
        "max_connections=None, in use by https://a:443 (3 requests, the oldest for 1.2 s)"
    );
    let text = describe_use(limits(7), &some);
    assert!(text.starts_with("max_connections=7, in use by https://a:443 (3 requests, the oldest for 1.2 s), "));
    assert!(text.ends_with("https://c:443 (1 request, the oldest for 1.2 s) and 1 more"), "{text}");
}

/// Makes the pool one of a parent, as it is in a forked child.
fn fork(pool: &CountedPool) -> Arc<Process<CountedConnection>> {
    let state = std::mem::replace(&mut *pool.process().state(), ProcessState::new(limits(1)));
    let state = RankedMutex::new(Rank::Pool, state);
    let parent = Arc::new(Process { generation: Generation::of_parent(), state, discarded: AtomicUsize::new(0) });
    pool.process.store(Arc::clone(&parent));
    parent
}

#[test]
fn a_forked_child_begins_with_an_empty_pool() {
    let (pool, to_a) = (CountedPool::new(limits(1)), to("a", false));
    let (connection, handles) = CountedConnection::new(false);
    slot(reserved(&pool, &to_a)).keep(connection);
    let parent = fork(&pool);
    let grant = parent.state().place(&to_a.origin);
    let used = slot(SlotGuard::accept(Arc::clone(&parent), grant));
    assert!(!used.is_current());

    assert!(pool.statuses().is_empty());
    assert_eq!(handles.load(Ordering::SeqCst), 0, "the child's copy of the descriptor is closed");
    let status = Arc::clone(used.status());
    drop(used);
    assert!(!status.is_closed(), "the connection is the parent's");
    drop(reserved(&pool, &to_a));
}

#[test]
fn a_forked_child_leaves_a_pool_as_it_is_that_was_locked() {
    let pool = CountedPool::new(limits(1));
    let (connection, handles) = CountedConnection::new(false);
    slot(reserved(&pool, &to("a", false))).keep(connection);
    let parent = fork(&pool);
    let locked = parent.state();
    drop(pool.process());
    drop(locked);
    drop(parent);
    assert_eq!(handles.load(Ordering::SeqCst), 1, "neither used nor closed");
}
