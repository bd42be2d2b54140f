//! Requests without bodies, and the responses to them.

use super::peer::{ACK, CANCEL, END_STREAM, INITIAL_WINDOW_SIZE, INTERNAL_ERROR};
use super::*;
use crate::http2::windows;

#[test]
fn exchanges_that_overlap_end_in_any_order() {
    let (connection, peer) = connect(|peer| {
        peer.open(&[]);
        let first = peer.expect_request();
        peer.head(first, 200);
        let second = peer.expect_request();
        peer.respond(second, "second");
        peer.data(first, "fir");
        peer.last_data(first, "st");
        assert_eq!((first, second), (1, 3));
        assert!(peer.rest().is_empty(), "nothing is sent for streams that are complete");
    });
    let mut first = send(&connection, &get()).expect("a head");
    assert_eq!(exchange(&connection, &get()).expect("a response"), (200, "second".into()));
    assert_eq!(read(&mut first.body).expect("the rest of the first"), "first");
    assert!(first.body.is_complete() && first.stream_id == 1);
    drop(first);
    finish(connection, peer);
}

#[test]
fn informational_responses_are_skipped() {
    let (connection, peer) = connect(|peer| {
        peer.open(&[]);
        let stream = peer.expect_request();
        peer.head(stream, 103);
        peer.head(stream, 100);
        peer.empty_response(stream, 204);
        let stream = peer.expect_request();
        for _ in 0..=100 {
            peer.head(stream, 103);
        }
        peer.expect_reset(stream, CANCEL);
    });
    assert_eq!(exchange(&connection, &get()).expect("a response"), (204, Bytes::new()));
    let error = exchange(&connection, &get()).expect_err("there are too many");
    assert!(error.message().contains("only informational responses"), "{}", error.message());
    finish(connection, peer);
}

#[test]
fn trailers_follow_the_body() {
    let (connection, peer) = connect(|peer| {
        peer.open(&[]);
        let stream = peer.expect_request();
        peer.head(stream, 200);
        peer.data(stream, "");
        peer.data(stream, "body");
        peer.trailer(stream, "checksum", "1234");
    });
    let mut response = send(&connection, &get()).expect("a head");
    assert_eq!(read(&mut response.body).expect("a body"), "body");
    assert_eq!(response.body.take_trailers(), [("checksum".into(), "1234".into())]);
    drop(response);
    finish(connection, peer);
}

#[test]
fn content_is_refused_where_the_status_excludes_it() {
    for status in [204, 304] {
        let (connection, peer) = connect(move |peer| {
            peer.open(&[]);
            let stream = peer.expect_request();
            peer.head(stream, status);
            peer.last_data(stream, "content");
        });
        let error = exchange(&connection, &get()).expect_err("content");
        assert_eq!(error.kind(), Kind::RemoteProtocolError);
        assert!(error.message().contains(&format!("status {status}")), "{}", error.message());
        finish(connection, peer);
    }
}

#[test]
fn what_has_arrived_is_taken_without_waiting() {
    let (connection, peer) = connect(|peer| {
        peer.open(&[]);
        let stream = peer.expect_request();
        peer.head(stream, 200);
        for content in ["one", "two", "three"] {
            peer.data(stream, content);
        }
        peer.last_data(stream, "");
    });
    let mut response = send(&connection, &get()).expect("a head");
    let mut answers = Answers::default();
    let effects = answers.effects.clone();
    let first = run(&mut answers, poll_fn(|cx| response.body.poll_chunk(cx, None, &effects)));
    assert_eq!(first.expect("no error"), Some("one".into()));
    // The frames may have arrived one by one; all that is there is taken, up to the limit.
    let mut arrived = response.body.take_arrived(3);
    assert!(arrived.len() <= 1, "{arrived:?}");
    arrived.extend(response.body.take_arrived(usize::MAX));
    let rest = read(&mut response.body).expect("the rest");
    assert_eq!([arrived.concat(), rest.to_vec()].concat(), b"twothree");
    drop(response);
    finish(connection, peer);
}

/// The server sends as much as the windows admit, and they grow while the body is read.
#[test]
fn the_windows_of_a_stream_grow_while_it_is_read() {
    const LENGTH: usize = 3 * 1024 * 1024;
    let (connection, peer) = connect(|peer| {
        peer.open(&[]);
        let stream = peer.expect_request();
        peer.head(stream, 200);
        let (mut window, mut initial, mut sent, mut largest) = (windows::SMALLEST as usize, windows::SMALLEST, 0, 0);
        while sent < LENGTH {
            largest = largest.max(window);
            while window > 0 && sent < LENGTH {
                let length = window.min(16 * 1024).min(LENGTH - sent);
                peer.data(stream, vec![b'x'; length]);
                (sent, window) = (sent + length, window - length);
            }
            if sent == LENGTH {
                break;
            }
            let frame = peer.frame();
            match frame.kind {
                kind::WINDOW_UPDATE if frame.stream == stream => window += frame.number() as usize,
                kind::SETTINGS if frame.flags & ACK == 0 => {
                    for (identifier, value) in frame.settings() {
                        assert_eq!(identifier, INITIAL_WINDOW_SIZE);
                        window += (value - initial) as usize;
                        initial = value;
                    }
                    peer.send(kind::SETTINGS, ACK, 0, &[]);
                }
                _ => {}
            }
        }
        peer.send(kind::DATA, END_STREAM, stream, &[]);
        (initial, largest)
    });
    assert_eq!(exchange(&connection, &get()).expect("a body").1.len(), LENGTH);
    let (initial, largest) = finish(connection, peer);
    assert!(initial > windows::SMALLEST && largest > windows::SMALLEST as usize, "{initial} {largest}");
}

#[test]
fn an_exchange_is_traced_phase_by_phase() {
    let (connection, peer) = connect(|peer| {
        peer.open(&[]);
        let stream = peer.expect_request();
        peer.empty_response(stream, 200);
        let stream = peer.expect_request();
        peer.reset(stream, INTERNAL_ERROR);
    });
    let mut answers = Answers::traced();
    send_with(&mut answers, &connection, &get()).expect("a head");
    let events = |names: &[&str]| names.iter().map(|name| format!("http2.{name}")).collect::<Vec<_>>();
    let sending = [
        "send_request_headers.started",
        "send_request_headers.complete",
        "send_request_body.started",
        "send_request_body.complete",
        "receive_response_headers.started",
    ];
    let opening = ["send_connection_init.started", "send_connection_init.complete"];
    let complete = ["receive_response_headers.complete"];
    assert_eq!(answers.events, events(&[&opening[..], &sending, &complete].concat()));
    let mut answers = Answers::traced();
    assert!(send_with(&mut answers, &connection, &get()).is_err(), "the stream is reset");
    let failed = ["receive_response_headers.failed", "response_closed.started", "response_closed.complete"];
    assert_eq!(answers.events, events(&[&sending[..], &failed].concat()));
    finish(connection, peer);
}

#[test]
fn a_head_and_a_body_that_do_not_come_time_out() {
    let (connection, peer) = connect(|peer| {
        peer.open(&[]);
        let stream = peer.expect_request();
        peer.expect_reset(stream, CANCEL);
        let stream = peer.expect_request();
        peer.head(stream, 200);
        peer.data(stream, "part");
        peer.expect_reset(stream, CANCEL);
    });
    let mut impatient = get();
    impatient.timeouts.read = Some(20 * MILLISECONDS);
    let error = exchange(&connection, &impatient).expect_err("no head");
    assert_eq!((error.kind(), error.message().contains("no response")), (Kind::ReadTimeout, true), "{error}");
    let mut response = send(&connection, &get()).expect("a head");
    let error = read_with(&mut Answers::default(), &mut response.body, Some(20 * MILLISECONDS)).expect_err("no end");
    assert_eq!((error.kind(), error.message().contains("no more")), (Kind::ReadTimeout, true), "{error}");
    drop(response);
    assert!(connection.is_open(), "the timeout of an exchange is not one of the connection");
    finish(connection, peer);
}
