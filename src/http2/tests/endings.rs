//! Streams and connections that end early: by the server, by cancelling, by what is illegal.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};

use super::peer::{CANCEL, INTERNAL_ERROR, NO_ERROR, PREFACE, REFUSED_STREAM};
use super::*;

/// Polls a future once; it is dropped afterwards.
fn poll_once<T>(future: impl Future<Output = T>) {
    let poll = pin!(future).poll(&mut Context::from_waker(Waker::noop()));
    assert!(poll.is_pending());
    crate::io::wait_set::clear();
}

#[test]
fn a_stream_that_is_reset_fails_alone() {
    let (connection, peer) = connect(|peer| {
        peer.open(&[]);
        let stream = peer.expect_request();
        peer.reset(stream, INTERNAL_ERROR);
        let stream = peer.expect_request();
        peer.reset(stream, REFUSED_STREAM);
        let stream = peer.expect_request();
        peer.head(stream, 200);
        peer.data(stream, "part");
        peer.reset(stream, INTERNAL_ERROR);
        let stream = peer.expect_request();
        peer.respond(stream, "whole");
    });
    let failure = send(&connection, &get()).err().expect("a reset");
    assert_eq!((failure.error.kind(), failure.cause), (Kind::RemoteProtocolError, FailureCause::Other));
    assert!(failure.error.message().contains("reset the stream: INTERNAL_ERROR"), "{}", failure.error);
    let failure = send(&connection, &get()).err().expect("a refusal");
    assert_eq!((failure.cause, failure.has_begun_body), (FailureCause::Unprocessed, false));
    let error = exchange(&connection, &get()).expect_err("a reset in the middle of the body");
    assert!(error.message().contains("reset the stream"), "{error}");
    assert!(connection.is_open());
    assert_eq!(exchange(&connection, &get()).expect("a response"), (200, "whole".into()));
    finish(connection, peer);
}

#[test]
fn a_goaway_leaves_the_streams_before_it() {
    let (connection, peer) = connect(|peer| {
        peer.open(&[]);
        let first = peer.expect_request();
        peer.head(first, 200);
        let second = peer.expect_request();
        peer.goaway(first, NO_ERROR, "maintenance");
        assert_eq!(second, 3);
        peer.last_data(first, "first");
    });
    let reports = Reports::of(&connection);
    let mut first = send(&connection, &get()).expect("a head");
    assert!(connection.is_open());
    let failure = send(&connection, &get()).err().expect("it was not processed");
    assert_eq!(failure.cause, FailureCause::Unprocessed);
    assert!(failure.error.message().contains("maintenance"), "{}", failure.error);
    assert!(!connection.is_open(), "it is draining");
    assert!(reports.all().contains(&"retired".to_owned()), "{:?}", reports.all());
    assert_eq!(read(&mut first.body).expect("the first goes on"), "first");
    let failure = send(&connection, &get()).err().expect("it takes no more requests");
    assert_eq!(failure.cause, FailureCause::Unprocessed);
    drop(first);
    finish(connection, peer);
}

#[test]
fn a_connection_that_ends_fails_its_exchanges() {
    let (connection, peer) = connect(|peer| {
        peer.open(&[]);
        let first = peer.expect_request();
        peer.head(first, 200);
        peer.expect_request();
        peer.peer.end();
    });
    let mut first = send(&connection, &get()).expect("a head");
    let failure = send(&connection, &get()).err().expect("the end of the stream");
    assert_eq!((failure.cause, failure.error.kind()), (FailureCause::CutOff, Kind::RemoteProtocolError));
    assert!(failure.error.message().contains("Server disconnected"), "{}", failure.error);
    assert!(!connection.is_open());
    assert!(read(&mut first.body).is_err(), "the body is cut off");
    let refused = send(&connection, &get()).err().expect("the connection has ended");
    assert_eq!(refused.cause, FailureCause::Unprocessed, "nothing of it was sent");
    drop(first);
    finish(connection, peer);
}

#[test]
fn a_reset_of_the_socket_is_a_read_error() {
    let (stream, mut server) = stream_pair();
    let connection = Http2::new(stream, origin(), None).expect("no I/O takes place");
    connection.attach(None).expect("threads use the connection");
    let server = std::thread::spawn(move || {
        std::io::Read::read_exact(&mut server, &mut [0; 24]).expect("the preface");
        // It closes with bytes unread.
    });
    let failure = send(&connection, &get()).err().expect("a reset");
    server.join().expect("the server ends");
    assert_eq!(failure.cause, FailureCause::CutOff);
    assert!(failure.error.message().contains("example.com"), "{}", failure.error);
    let failure = send(&connection, &get()).err().expect("the connection has ended");
    assert!(failure.error.message().contains("example.com"), "each exchange gets the text: {}", failure.error);
}

#[test]
fn a_server_that_violates_the_protocol_is_told_and_left() {
    for illegal in [
        (kind::DATA, 0, 0, &b"on the connection"[..]),
        (kind::HEADERS, 4, 2, b"\x88"),
        (kind::WINDOW_UPDATE, 0, 0, b"\0\0\0\0"),
        (kind::SETTINGS, 0, 0, b"odd length"),
    ] {
        let (connection, peer) = connect(move |peer| {
            peer.open(&[]);
            peer.expect_request();
            let (kind, flags, stream, payload) = illegal;
            peer.send(kind, flags, stream, payload);
            let rest = peer.rest();
            assert!(rest.iter().any(|frame| frame.kind == kind::GOAWAY), "{illegal:?}: {rest:?}");
        });
        let error = exchange(&connection, &get()).expect_err("a violation");
        assert_eq!(error.kind(), Kind::RemoteProtocolError, "{illegal:?}");
        assert!(error.message().contains("violated HTTP/2"), "{illegal:?}: {error}");
        assert!(!connection.is_open());
        finish(connection, peer);
    }
}

#[test]
fn a_server_of_http_1_is_an_error() {
    let (connection, peer) = connect(|peer| {
        peer.peer.expect(PREFACE);
        peer.peer.send("HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    let error = exchange(&connection, &get()).expect_err("it is not HTTP/2");
    assert_eq!(error.kind(), Kind::RemoteProtocolError, "{error}");
    finish(connection, peer);
}

#[test]
fn dropping_a_body_cancels_its_stream() {
    let (connection, peer) = connect(|peer| {
        peer.open(&[]);
        let cancelled = peer.expect_request();
        peer.head(cancelled, 200);
        peer.data(cancelled, "part");
        peer.expect_reset(cancelled, CANCEL);
        // The server has not seen the reset yet.
        peer.data(cancelled, "more");
        let stream = peer.expect_request();
        peer.respond(stream, "next");
        let rest = peer.rest();
        assert!(rest.is_empty(), "{rest:?}");
    });
    drop(send(&connection, &get()).expect("a head"));
    assert_eq!(exchange(&connection, &get()).expect("a response"), (200, "next".into()));
    finish(connection, peer);
}

#[test]
fn dropping_a_request_cancels_its_stream() {
    let (connection, peer) = connect(|peer| {
        peer.open(&[]);
        let cancelled = peer.expect_request();
        peer.expect_reset(cancelled, CANCEL);
        let stream = peer.expect_request();
        peer.respond(stream, "next");
    });
    let effects = EffectChannel::default();
    let cancelled = get();
    poll_once(connection.send(&cancelled, &effects));
    assert_eq!(exchange(&connection, &get()).expect("a response"), (200, "next".into()));
    finish(connection, peer);
}

#[test]
fn dropping_a_body_that_is_complete_sends_nothing() {
    let (connection, peer) = connect(|peer| {
        peer.open(&[]);
        let stream = peer.expect_request();
        peer.respond(stream, "whole");
        let rest = peer.rest();
        assert!(rest.is_empty(), "{rest:?}");
    });
    exchange(&connection, &get()).expect("a response");
    finish(connection, peer);
}
