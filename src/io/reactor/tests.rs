//! The reactor with socket pairs; the host loop's look at the descriptor is a `poll(2)` that does not wait.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::atomic::AtomicUsize;
use std::task::{Context, Poll, Wake};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};

use super::super::socket::Socket;
use super::super::wait_set;
use super::*;
use crate::testing::socket_pair;

/// Counts how often it is woken.
#[derive(Default)]
struct WakeCounter(AtomicUsize);

impl WakeCounter {
    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for WakeCounter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A job that counts its runs, and schedules itself again as often as it is told.
struct CountedJob {
    reactor: Arc<Reactor>,
    is_urgent: bool,
    runs: AtomicUsize,
    again: AtomicUsize,
}

impl CountedJob {
    fn new(reactor: &Arc<Reactor>, is_urgent: bool, again: usize) -> Arc<Self> {
        let (runs, again) = (AtomicUsize::new(0), AtomicUsize::new(again));
        Arc::new(Self { reactor: Arc::clone(reactor), is_urgent, runs, again })
    }

    fn runs(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }
}

impl Job for CountedJob {
    fn run(self: Arc<Self>) {
        self.runs.fetch_add(1, Ordering::SeqCst);
        if self.again.load(Ordering::SeqCst) > 0 {
            self.again.fetch_sub(1, Ordering::SeqCst);
            let reactor = Arc::clone(&self.reactor);
            reactor.schedule(self);
        }
    }

    fn is_urgent(&self) -> bool {
        self.is_urgent
    }
}

fn reactor() -> Arc<Reactor> {
    Arc::new(Reactor::new().expect("a poller"))
}

/// Returns whether the host loop would call `turn`.
fn wants_turn(reactor: &Reactor) -> bool {
    use std::os::fd::BorrowedFd;
    // SAFETY: the reactor holds the descriptor open.
    let descriptor = unsafe { BorrowedFd::borrow_raw(reactor.poller().descriptor()) };
    let mut descriptors = [rustix::event::PollFd::from_borrowed_fd(descriptor, rustix::event::PollFlags::IN)];
    let zero = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::event::poll(&mut descriptors, Some(&zero)).expect("poll(2) works") == 1
}

fn registered(reactor: &Arc<Reactor>) -> (Socket, UnixStream) {
    let (mut socket, peer) = socket_pair();
    socket.attach(Some(reactor)).expect("a registration");
    (socket, peer)
}

fn poll_byte(socket: &mut Socket, waker: &Waker) -> Poll<u8> {
    let mut byte = [0];
    let mut buf = ReadBuf::new(&mut byte);
    match Pin::new(socket).poll_read(&mut Context::from_waker(waker), &mut buf) {
        Poll::Ready(result) => {
            result.expect("a read without an error");
            Poll::Ready(buf.filled().first().copied().unwrap_or_default())
        }
        Poll::Pending => Poll::Pending,
    }
}

#[test]
fn a_turn_wakes_what_waits_for_a_socket() {
    let reactor = reactor();
    let (mut socket, peer) = registered(&reactor);
    let counter = Arc::<WakeCounter>::default();
    let waker = Waker::from(Arc::clone(&counter));
    wait_set::clear();
    assert!(poll_byte(&mut socket, &waker).is_pending());
    assert!(wait_set::take().interests.is_empty(), "the reactor watches it, not the thread");
    reactor.turn().expect("a turn without events for the reader");
    assert_eq!(counter.count(), 0);

    (&peer).write_all(b"x").expect("room for a byte");
    assert!(wants_turn(&reactor));
    reactor.turn().expect("a turn");
    assert_eq!(counter.count(), 1);
    assert_eq!(poll_byte(&mut socket, &waker), Poll::Ready(b'x'));
    assert!(!wants_turn(&reactor), "edge-triggered: an event is reported once");
}

#[test]
fn a_socket_that_is_dropped_is_watched_no_more() {
    let reactor = reactor();
    let (mut socket, peer) = registered(&reactor);
    let counter = Arc::<WakeCounter>::default();
    assert!(poll_byte(&mut socket, &Waker::from(Arc::clone(&counter))).is_pending());
    drop(socket);
    assert_eq!(counter.count(), 1, "what waits for the socket finds it gone");
    assert!(lock(&reactor.sockets).is_empty());
    drop(peer);
    assert!(!wants_turn(&reactor));
}

#[test]
fn an_attached_socket_moves_to_the_other_reactor() {
    let (first, second) = (reactor(), reactor());
    let (mut socket, peer) = registered(&first);
    let counter = Arc::<WakeCounter>::default();
    let waker = Waker::from(Arc::clone(&counter));
    assert!(poll_byte(&mut socket, &waker).is_pending());
    socket.attach(Some(&second)).expect("a registration");
    assert!(poll_byte(&mut socket, &waker).is_pending());
    second.turn().expect("a turn: the socket is writable");
    (&peer).write_all(b"x").expect("room for a byte");
    first.turn().expect("a turn without events");
    assert_eq!(counter.count(), 0);
    second.turn().expect("a turn");
    assert_eq!(counter.count(), 1);
    socket.attach(None).expect("no registration");
    assert!(lock(&first.sockets).is_empty() && lock(&second.sockets).is_empty());
}

#[test]
fn a_notification_lasts_until_the_next_turn() {
    let reactor = reactor();
    assert!(!wants_turn(&reactor));
    let other = Arc::clone(&reactor);
    std::thread::spawn(move || other.notify()).join().expect("a thread that ends");
    assert!(wants_turn(&reactor));
    reactor.turn().expect("a turn");
    assert!(!wants_turn(&reactor));
}

#[test]
fn a_job_is_run_in_the_next_turn() {
    let reactor = reactor();
    let job = CountedJob::new(&reactor, true, 0);
    reactor.schedule(Arc::<CountedJob>::clone(&job));
    assert!(wants_turn(&reactor), "scheduled outside of the engine's work");
    reactor.turn().expect("a turn");
    assert_eq!(job.runs(), 1);
    reactor.turn().expect("a turn");
    assert_eq!(job.runs(), 1);
}

#[test]
fn urgent_jobs_are_run_before_the_host_loop_goes_on() {
    let reactor = reactor();
    let (urgent, patient) = (CountedJob::new(&reactor, true, 0), CountedJob::new(&reactor, false, 0));
    let running = reactor.enter();
    reactor.schedule(Arc::<CountedJob>::clone(&urgent));
    reactor.schedule(Arc::<CountedJob>::clone(&patient));
    assert!(!wants_turn(&reactor), "the end of the work runs them");
    reactor.run_jobs(false);
    drop(running);
    assert_eq!((urgent.runs(), patient.runs()), (1, 0));
    assert!(wants_turn(&reactor));
    reactor.turn().expect("a turn");
    assert_eq!((urgent.runs(), patient.runs()), (1, 1));
}

#[test]
fn a_job_that_is_scheduled_by_itself_waits_for_the_next_turn() {
    let reactor = reactor();
    let job = CountedJob::new(&reactor, true, 1);
    let running = reactor.enter();
    reactor.schedule(Arc::<CountedJob>::clone(&job));
    reactor.run_jobs(true);
    drop(running);
    assert_eq!(job.runs(), 1);
    assert!(wants_turn(&reactor));
    reactor.turn().expect("a turn");
    assert_eq!(job.runs(), 2);
}

#[test]
fn the_engine_runs_here_from_enter_to_the_drop() {
    let reactor = reactor();
    assert!(!reactor.is_running_here());
    let outer = reactor.enter();
    let inner = reactor.enter();
    drop(inner);
    assert!(reactor.is_running_here(), "the outer work goes on");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let elsewhere = reactor.enter();
            assert!(!reactor.is_running_here(), "on the loop's thread only");
            drop(elsewhere);
        });
    });
    assert!(reactor.is_running_here());
    drop(outer);
    assert!(!reactor.is_running_here());
}

#[test]
fn deadlines_that_have_passed_wake_their_tasks() {
    let reactor = reactor();
    let counter = Arc::<WakeCounter>::default();
    let waker = Waker::from(Arc::clone(&counter));
    let start = Instant::now();
    let second = Duration::from_secs(1);
    reactor.add_timer(start + second, waker.clone());
    let removed = reactor.add_timer(start + second, waker.clone());
    reactor.remove_timer(removed);
    assert_eq!(reactor.take_new_deadline(), None, "the task itself has told the host loop");
    reactor.add_job_timer(start + 2 * second, waker);
    assert_eq!(reactor.take_new_deadline(), Some(start + second), "the earliest of all");
    assert_eq!(reactor.take_new_deadline(), None);
    assert_eq!(reactor.expire(start + second), Some(start + 2 * second));
    assert_eq!(counter.count(), 1);
    assert_eq!(reactor.expire(start + 2 * second), None);
    assert_eq!(counter.count(), 2);
}
