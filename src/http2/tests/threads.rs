//! Threads that share a connection: each leads in its turn, and none sleeps while its response lies unread.

use std::sync::mpsc;
use std::task::Poll;
use std::thread::{self, JoinHandle};

use super::peer::{CANCEL, MAX_CONCURRENT_STREAMS, NO_ERROR};
use super::*;
use crate::http2::StreamWaiter;

/// Begins an exchange on another thread.
fn exchange_elsewhere(connection: &Arc<Http2>) -> JoinHandle<Result<(u16, Bytes)>> {
    let connection = Arc::clone(connection);
    thread::spawn(move || exchange(&connection, &get()))
}

fn content(exchange: JoinHandle<Result<(u16, Bytes)>>) -> Bytes {
    exchange.join().expect("no panic").expect("a response").1
}

/// Each thread gets its response, whichever of them leads when it arrives.
fn responses_arrive(is_leaders_first: bool) {
    let (got, is_got) = mpsc::channel();
    let (connection, peer) = connect(move |peer| {
        peer.open(&[]);
        let leader = peer.expect_request();
        let follower = peer.expect_request();
        let (first, second) = if is_leaders_first { (leader, follower) } else { (follower, leader) };
        peer.respond(first, "first");
        is_got.recv().expect("the first response is read");
        peer.respond(second, "second");
    });
    let leader = exchange_elsewhere(&connection);
    while connection.leader_followers.lock().leader().is_none() {
        thread::yield_now();
    }
    let follower = exchange_elsewhere(&connection);
    let (first, second) = if is_leaders_first { (leader, follower) } else { (follower, leader) };
    assert_eq!(content(first), "first");
    got.send(()).expect("the server waits");
    assert_eq!(content(second), "second");
    finish(connection, peer);
}

#[test]
fn the_follower_leads_after_the_leader() {
    responses_arrive(true);
}

#[test]
fn the_leader_reads_the_response_of_a_follower() {
    responses_arrive(false);
}

/// A thread that finds the protocol locked sleeps as a follower. Its request is sent nevertheless: the owner of the lock passes it on.
#[test]
fn a_request_that_is_left_to_another_thread_is_sent() {
    let (connection, peer) = connect(|peer| {
        peer.open(&[]);
        let first = peer.expect_request();
        let second = peer.expect_request();
        peer.respond(second, "second");
        peer.respond(first, "first");
    });
    let leader = exchange_elsewhere(&connection);
    while connection.leader_followers.lock().leader().is_none() {
        thread::yield_now();
    }
    let state = connection.protocol.state.lock();
    let follower = exchange_elsewhere(&connection);
    while !connection.leader_followers.lock().has_followers() {
        thread::yield_now();
    }
    drop(state);
    assert!(connection.is_open(), "this takes the lock, and wakes the leader when it has released it");
    assert_eq!(content(follower), "second");
    assert_eq!(content(leader), "first");
    finish(connection, peer);
}

#[test]
fn many_threads_share_a_connection() {
    const REQUESTS: usize = 20;
    let (connection, peer) = connect(|peer| {
        peer.open(&[]);
        for _ in 0..8 * REQUESTS {
            let stream = peer.expect_request();
            peer.respond(stream, vec![b'x'; 1000]);
        }
    });
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let connection = Arc::clone(&connection);
            thread::spawn(move || (0..REQUESTS).try_for_each(|_| exchange(&connection, &get()).map(drop)))
        })
        .collect();
    for thread in threads {
        thread.join().expect("no panic").expect("a response");
    }
    finish(connection, peer);
}

/// A thread that waits for a free stream reads for itself: the exchanges of other threads may not read.
#[test]
fn a_thread_that_waits_for_a_stream_reads() {
    let (connection, peer) = connect(|peer| {
        peer.open(&[(MAX_CONCURRENT_STREAMS, 1)]);
        let stream = peer.expect_request();
        peer.head(stream, 200);
        thread::sleep(20 * MILLISECONDS);
        peer.settings(&[(MAX_CONCURRENT_STREAMS, 2)]);
        peer.expect_reset(stream, CANCEL);
    });
    let reports = Reports::of(&connection);
    let response = send(&connection, &get()).expect("a head");
    let mut waiter = StreamWaiter::new(&connection).expect("threads read the connection");
    assert!(waiter.is_on(&connection));
    let mut answers = Answers::default();
    let effects = answers.effects.clone();
    run(
        &mut answers,
        poll_fn(|cx| {
            assert!(waiter.poll(cx, &effects));
            if reports.all().last().is_some_and(|report| report == "limit 2") { Poll::Ready(()) } else { Poll::Pending }
        }),
    );
    drop((waiter, response));
    finish(connection, peer);
}

/// Holds up the first report of a limit of 5, as a thread that is not scheduled meanwhile.
struct SlowReports {
    reports: Reports,
    begun: Mutex<mpsc::Sender<()>>,
    may_end: Mutex<Option<mpsc::Receiver<()>>>,
}

impl ConnectionObserver for SlowReports {
    fn limit_changed(&self, limit: Option<usize>) {
        let may_end = if limit == Some(5) { lock(&self.may_end).take() } else { None };
        if let Some(may_end) = may_end {
            lock(&self.begun).send(()).expect("the test waits");
            may_end.recv().expect("the test ends");
        }
        self.reports.limit_changed(limit);
    }

    fn retired(&self) {}
}

/// The thread that has read the limit reports it later than an exchange ends that another thread carries out.
#[test]
fn the_limit_is_reported_before_an_exchange_ends() {
    let ((waits, is_waiting), (begun, has_begun), (end, may_end)) = (mpsc::channel(), mpsc::channel(), mpsc::channel());
    let (connection, peer) = connect(move |peer| {
        peer.open(&[]);
        let stream = peer.expect_request();
        peer.head(stream, 200);
        is_waiting.recv().expect("the thread waits");
        // The last frame that the peer sends: the connection may be closed as soon as it has been read.
        peer.settings(&[(MAX_CONCURRENT_STREAMS, 5)]);
    });
    let reports = Reports::default();
    let observer =
        SlowReports { reports: reports.clone(), begun: Mutex::new(begun), may_end: Mutex::new(Some(may_end)) };
    connection.observe(Box::new(observer));
    let response = send(&connection, &get()).expect("a head");
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut waiter = StreamWaiter::new(&connection).expect("threads read the connection");
            let mut answers = Answers::default();
            let effects = answers.effects.clone();
            run(
                &mut answers,
                poll_fn(|cx| {
                    waiter.poll(cx, &effects);
                    let _ = waits.send(());
                    if reports.all().len() > 1 { Poll::Ready(()) } else { Poll::Pending }
                }),
            );
        });
        // Dropped with this closure, so that a failure ends the thread too.
        let end = end;
        has_begun.recv().expect("the thread reads the limit");
        assert_eq!(reports.all(), ["no limit"]);
        drop(response);
        assert_eq!(reports.all(), ["no limit", "limit 5"]);
        end.send(()).expect("the thread reports");
    });
    assert_eq!(reports.all(), ["no limit", "limit 5", "limit 5"]);
    finish(connection, peer);
}

#[test]
fn a_connection_that_is_draining_has_nothing_to_wait_for() {
    let (connection, peer) = connect(|peer| {
        peer.open(&[]);
        peer.expect_request();
        peer.goaway(0, NO_ERROR, "");
    });
    let reports = Reports::of(&connection);
    assert!(exchange(&connection, &get()).is_err());
    let mut waiter = StreamWaiter::new(&connection).expect("threads read the connection");
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let before = reports.all().len();
    assert!(!waiter.poll(&mut cx, &EffectChannel::default()));
    assert_eq!(reports.all().len(), before + 1, "the pool is told at once");
    drop(waiter);
    finish(connection, peer);
}
