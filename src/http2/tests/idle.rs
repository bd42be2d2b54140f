//! Connections that wait: limits, PINGs, and what arrives while there is no exchange.

use std::sync::mpsc;

use super::peer::{ACK, MAX_CONCURRENT_STREAMS, NO_ERROR};
use super::*;

/// Processes what an idle connection has received.
fn process(connection: &Arc<Http2>) {
    run(&mut Answers::default(), connection.process_idle_frames());
}

/// Plays a server that answers one request, then waits for the test, and does `then`, of which it tells the test.
fn connect_idle(then: impl FnOnce(&mut FramePeer<'_>) + Send + 'static) -> (Arc<Http2>, Played<()>, impl FnOnce()) {
    let (go_on, may_go_on) = mpsc::channel();
    let (done, is_done) = mpsc::channel();
    let (connection, peer) = connect(move |peer| {
        peer.open(&[]);
        let stream = peer.expect_request();
        peer.respond(stream, "first");
        may_go_on.recv().expect("the test goes on");
        then(peer);
        done.send(()).expect("the test waits");
    });
    exchange(&connection, &get()).expect("a response");
    let act = move || {
        go_on.send(()).expect("the server waits");
        is_done.recv().expect("the server acts");
    };
    (connection, peer, act)
}

#[test]
fn limits_of_the_server_are_reported() {
    let (connection, peer) = connect(|peer| {
        peer.open(&[(MAX_CONCURRENT_STREAMS, 3)]);
        let stream = peer.expect_request();
        peer.empty_response(stream, 200);
        let stream = peer.expect_request();
        peer.settings(&[(MAX_CONCURRENT_STREAMS, 0)]);
        peer.empty_response(stream, 200);
    });
    let reports = Reports::of(&connection);
    exchange(&connection, &get()).expect("a response");
    assert_eq!(reports.all(), ["limit 3"]);
    exchange(&connection, &get()).expect("a response");
    assert_eq!(reports.all(), ["limit 3", "limit 0"]);
    finish(connection, peer);
}

#[test]
fn a_server_without_a_limit_is_reported_too() {
    let (connection, peer) = connect(|peer| {
        peer.open(&[]);
        let stream = peer.expect_request();
        peer.empty_response(stream, 200);
    });
    let reports = Reports::of(&connection);
    exchange(&connection, &get()).expect("a response");
    assert_eq!(reports.all(), ["no limit"]);
    finish(connection, peer);
}

#[test]
fn a_goaway_to_an_idle_connection_is_found() {
    let (connection, peer, act) = connect_idle(|peer| peer.goaway(1, NO_ERROR, ""));
    let reports = Reports::of(&connection);
    process(&connection);
    assert!(connection.is_open() && reports.all().is_empty(), "{:?}", reports.all());
    act();
    process(&connection);
    assert!(!connection.is_open());
    assert_eq!(reports.all(), ["retired"]);
    connection.report_draining();
    assert_eq!(reports.all(), ["retired"; 2]);
    finish(connection, peer);
}

#[test]
fn the_end_of_an_idle_connection_is_found() {
    let (connection, peer, act) = connect_idle(|peer| peer.peer.end());
    act();
    process(&connection);
    assert!(!connection.is_open());
    finish(connection, peer);
}

#[test]
fn pings_to_an_idle_connection_are_answered() {
    let (sent, is_sent) = mpsc::channel();
    let (connection, peer) = connect(move |peer| {
        peer.open(&[]);
        let stream = peer.expect_request();
        peer.respond(stream, "first");
        peer.send(kind::PING, 0, 0, b"whatever");
        sent.send(()).expect("the test waits");
        let frame = peer.next();
        assert_eq!((frame.kind, frame.flags, &frame.payload[..]), (kind::PING, ACK, &b"whatever"[..]));
    });
    exchange(&connection, &get()).expect("a response");
    is_sent.recv().expect("the server sends");
    process(&connection);
    assert!(connection.is_open());
    finish(connection, peer);
}

#[test]
fn a_flood_of_frames_ends_an_idle_connection() {
    let (sent, is_sent) = mpsc::channel();
    let (connection, peer) = connect(move |peer| {
        peer.open(&[]);
        let stream = peer.expect_request();
        peer.respond(stream, "first");
        for _ in 0..40 {
            // 300 frames of 9 bytes, of an unknown type.
            peer.peer.send([0, 0, 0, 0xee, 0, 0, 0, 0, 0].repeat(300));
        }
        sent.send(()).expect("the test waits");
    });
    exchange(&connection, &get()).expect("a response");
    is_sent.recv().expect("the server sends");
    for _ in 0..100 {
        process(&connection);
    }
    assert!(!connection.is_open(), "12000 frames are too many");
    let failure = send(&connection, &get()).err().expect("it takes no more requests");
    assert!(failure.error.message().contains("floods"), "{}", failure.error);
    finish(connection, peer);
}

#[test]
fn a_server_that_does_not_answer_a_ping_is_gone() {
    let keep_alive = KeepAlive { interval: 10 * MILLISECONDS, timeout: 500 * MILLISECONDS };
    let (connection, peer) = connect_with(Some(keep_alive), |peer| {
        peer.open(&[]);
        peer.expect_request();
        assert_eq!(peer.next().kind, kind::PING);
    });
    let failure = send(&connection, &get()).err().expect("no answer");
    assert_eq!((failure.error.kind(), failure.cause), (Kind::ReadError, FailureCause::CutOff));
    assert!(failure.error.message().contains("did not answer a PING"), "{}", failure.error);
    assert!(!connection.is_open());
    finish(connection, peer);
}

#[test]
fn a_server_that_answers_pings_may_take_its_time() {
    let keep_alive = KeepAlive { interval: 10 * MILLISECONDS, timeout: Duration::from_secs(20) };
    let (connection, peer) = connect_with(Some(keep_alive), |peer| {
        peer.open(&[]);
        let stream = peer.expect_request();
        for _ in 0..3 {
            let ping = peer.next();
            assert_eq!((ping.kind, ping.flags), (kind::PING, 0));
            peer.send(kind::PING, ACK, 0, &ping.payload);
        }
        peer.respond(stream, "late");
    });
    assert_eq!(exchange(&connection, &get()).expect("a response"), (200, "late".into()));
    finish(connection, peer);
}
