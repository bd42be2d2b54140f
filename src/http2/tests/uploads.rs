//! Requests with bodies.

use std::net::Shutdown;
use std::sync::mpsc;
use std::thread;

use super::peer::{CANCEL, END_STREAM, INITIAL_WINDOW_SIZE, NO_ERROR, REFUSED_STREAM};
use super::*;
use crate::io::block_on::block_on;
use crate::operation::Effect;

#[test]
fn a_body_is_sent_as_far_as_the_windows_allow() {
    const LENGTH: usize = 150_000;
    let content: Vec<u8> = (0..=250).cycle().take(LENGTH).collect();
    let (connection, peer) = connect(move |peer| {
        peer.open(&[(INITIAL_WINDOW_SIZE, 1000)]);
        let stream = peer.expect_head();
        let mut body = Vec::new();
        while body.len() < LENGTH {
            // Before the settings arrived the client believed in 65535 bytes; the connection's window is as large in any case.
            let frame = peer.next();
            assert_eq!((frame.kind, frame.stream), (kind::DATA, stream));
            let length = u32::try_from(frame.payload.len()).expect("a short frame");
            body.extend_from_slice(&frame.payload);
            if length > 0 {
                peer.window_update(0, length);
                peer.window_update(stream, length);
            }
            if frame.flags & END_STREAM != 0 {
                break;
            }
        }
        peer.empty_response(stream, 200);
        body
    });
    assert_eq!(
        exchange(&connection, &post(Content::Inline(content.clone().into()), LENGTH)).expect("a response").0,
        200
    );
    assert!(finish(connection, peer) == content, "another body arrived");
}

#[test]
fn a_body_of_chunks_ends_with_its_trailers() {
    let (connection, peer) = connect(|peer| {
        peer.open(&[]);
        let stream = peer.expect_head();
        let body = peer.receive_body(stream, 6);
        let trailers = peer.next();
        assert_eq!((trailers.kind, trailers.flags & END_STREAM), (kind::HEADERS, END_STREAM));
        peer.empty_response(stream, 200);
        body
    });
    let mut streamed = post(Content::Streamed, 6);
    streamed.has_trailers = true;
    let mut answers = Answers::with_chunks(&["one", "two"]);
    answers.trailers = vec![("checksum".into(), "1234".into())];
    send_with(&mut answers, &connection, &streamed).expect("a response");
    assert_eq!(finish(connection, peer), b"onetwo");
}

#[test]
fn a_body_without_trailers_ends_the_stream() {
    for has_trailers in [false, true] {
        let (connection, peer) = connect(|peer| {
            peer.open(&[]);
            let stream = peer.expect_head();
            let body = peer.receive_body(stream, 3);
            peer.expect_end(stream);
            peer.empty_response(stream, 200);
            body
        });
        let mut streamed = post(Content::Streamed, 3);
        streamed.has_trailers = has_trailers;
        send_with(&mut Answers::with_chunks(&["one"]), &connection, &streamed).expect("a response");
        assert_eq!(finish(connection, peer), b"one");
    }
}

#[test]
fn an_early_response_ends_the_upload() {
    let (sent, is_sent) = std::sync::mpsc::channel();
    let (connection, peer) = connect(move |peer| {
        peer.open(&[]);
        let stream = peer.expect_head();
        peer.head(stream, 413);
        peer.last_data(stream, "too large");
        peer.reset(stream, NO_ERROR);
        sent.send(()).expect("the test waits");
    });
    let large = post(Content::Inline(vec![0; 1_000_000].into()), 1_000_000);
    assert_eq!(exchange(&connection, &large).expect("a response"), (413, "too large".into()));
    // The response is complete before the reset has been sent.
    is_sent.recv().expect("the script sends a reset");
    assert!(connection.is_open());
    finish(connection, peer);
}

#[test]
fn a_server_that_takes_nothing_is_a_write_timeout() {
    let (connection, peer) = connect(|peer| {
        peer.open(&[(INITIAL_WINDOW_SIZE, 0)]);
        let stream = peer.expect_request();
        peer.respond(stream, "ready");
        let stream = peer.expect_head();
        loop {
            let frame = peer.next();
            assert_eq!(frame.stream, stream);
            if frame.kind == kind::RST_STREAM {
                break frame.number();
            }
        }
    });
    // The server has read the preface before the limit begins.
    assert_eq!(exchange(&connection, &get()).expect("a response"), (200, "ready".into()));
    let mut large = post(Content::Inline(vec![0; 1_000_000].into()), 1_000_000);
    large.timeouts.write = Some(30 * MILLISECONDS);
    let failure = send(&connection, &large).err().expect("the window is full");
    assert_eq!(failure.error.kind(), Kind::WriteTimeout, "{}", failure.error);
    assert!(failure.error.message().contains("took no data"), "{}", failure.error);
    assert_eq!(finish(connection, peer), CANCEL);
}

/// The iterator of the request may wait for what the server answers: the response is read while parts of the request are still to
/// be sent.
#[test]
fn a_response_is_read_while_its_request_is_sent() {
    let (answered, is_answered) = mpsc::channel();
    let (connection, peer) = connect(move |peer| {
        peer.open(&[]);
        let stream = peer.expect_head();
        let first = peer.receive_body(stream, 3);
        peer.head(stream, 200);
        peer.data(stream, first);
        answered.send(()).expect("the iterator waits");
        let second = peer.receive_body(stream, 3);
        peer.data(stream, second);
        peer.expect_end(stream);
        peer.last_data(stream, "end");
    });
    let streamed = request("POST", "/", &[("Transfer-Encoding", "chunked")], Content::Streamed);
    let mut answers = Answers::default();
    let effects = answers.effects.clone();
    let mut chunks = 0;
    let response = block_on(connection.send(&streamed, &effects), &effects, |effect| {
        let Effect::NextChunk(reply) = effect else { panic!("nothing else is requested") };
        chunks += 1;
        if chunks == 2 {
            is_answered.recv().expect("the server answers");
        }
        reply.set(Ok(Some(if chunks == 1 { "one".into() } else { "two".into() })));
    });
    let mut response = response.expect("no error of the driver").expect("a head");
    assert!(chunks == 2 && response.body.stream().is_uploading());
    assert_eq!(read_with(&mut answers, &mut response.body, None).expect("a body"), "onetwoend");
    drop(response);
    finish(connection, peer);
}

#[test]
fn a_failure_says_whether_the_body_was_begun() {
    let (connection, peer) = connect(|peer| {
        peer.open(&[]);
        let stream = peer.expect_head();
        peer.receive_body(stream, 3);
        peer.reset(stream, REFUSED_STREAM);
    });
    let mut answers = Answers::with_chunks(&["one"]);
    let failure = send_with(&mut answers, &connection, &post(Content::Streamed, 3)).err().expect("a refusal");
    assert_eq!((failure.cause, failure.has_begun_body), (FailureCause::Unprocessed, true));
    finish(connection, peer);
}

/// Plays a server that closes its receiving direction in the middle of an upload, does `then`, and closes the rest when the sender that
/// is returned is dropped.
fn connect_deaf(
    then: impl FnOnce(&mut FramePeer<'_>, u32) + Send + 'static,
) -> (Arc<Http2>, Played<()>, mpsc::Sender<()>) {
    let (stream, server) = stream_pair();
    let (keep_open, is_closed) = mpsc::channel();
    let receiving = server.try_clone().expect("a descriptor");
    let peer = ScriptedPeer::play_on(server, move |peer| {
        let mut peer = FramePeer::new(peer);
        peer.open(&[]);
        let stream = peer.expect_head();
        peer.receive_body(stream, 65_535);
        receiving.shutdown(Shutdown::Read).expect("an open stream");
        peer.window_update(0, 1_000_000);
        peer.window_update(stream, 1_000_000);
        then(&mut peer, stream);
        assert!(is_closed.recv().is_err());
    });
    let connection = Http2::new(stream, origin(), None).expect("no I/O takes place");
    connection.attach(None).expect("threads use the connection");
    (connection, peer, keep_open)
}

#[test]
fn a_response_is_read_after_a_failed_write() {
    let (connection, peer, keep_open) = connect_deaf(|peer, stream| peer.respond(stream, "too large"));
    let reports = Reports::of(&connection);
    let large = post(Content::Inline(vec![0; 1_000_000].into()), 1_000_000);
    assert_eq!(exchange(&connection, &large).expect("a response"), (200, "too large".into()));
    assert!(!connection.is_open(), "nothing can be sent any more");
    assert!(reports.all().contains(&"retired".to_owned()), "{:?}", reports.all());
    drop(keep_open);
    finish(connection, peer);
}

#[test]
fn a_failed_write_is_the_error_if_there_is_no_response() {
    let reports = Reports::default();
    let of_server = reports.clone();
    let (connection, peer, keep_open) = connect_deaf(move |peer, _| {
        while !of_server.all().contains(&"retired".to_owned()) {
            thread::sleep(MILLISECONDS);
        }
        peer.peer.end();
    });
    connection.observe(Box::new(reports));
    let large = post(Content::Inline(vec![0; 1_000_000].into()), 1_000_000);
    let failure = send(&connection, &large).err().expect("the end of the stream");
    assert_eq!((failure.error.kind(), failure.cause), (Kind::WriteError, FailureCause::CutOff), "{}", failure.error);
    assert!(failure.error.message().contains("writing to"), "{}", failure.error);
    drop(keep_open);
    finish(connection, peer);
}
