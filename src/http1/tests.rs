//! Exchanges over a socket pair with a scripted server.

mod early_data;

use std::pin::Pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncWrite;

use super::*;
use crate::error::{Error, Kind, Result};
use crate::io::progress::ProgressTimer;
use crate::message::{Content, Request};
use crate::testing::{Answers, Played, ScriptedPeer, get, origin, request, run};

const MILLISECONDS: Duration = Duration::from_millis(1);

/// Plays a server and connects to it.
fn connect<T: Send + 'static>(script: impl FnOnce(&mut ScriptedPeer) -> T + Send + 'static) -> (Http1, Played<T>) {
    let (stream, peer) = ScriptedPeer::play(script);
    (Http1::new(stream, origin()), peer)
}

fn send(
    connection: &mut Http1,
    request: &Request,
    answers: &mut Answers,
) -> std::result::Result<Http1Response, Http1Failure> {
    let effects = answers.effects.clone();
    run(answers, connection.send(request, &effects))
}

/// Reads the rest of a body.
fn read(connection: &mut Http1, response: Http1Response) -> Result<Bytes> {
    let mut body = response.body.expect("a body");
    let mut answers = Answers::default();
    let effects = answers.effects.clone();
    let mut content = BytesMut::new();
    let mut timer = ProgressTimer::default();
    loop {
        let chunk = std::future::poll_fn(|cx| connection.poll_body(cx, &mut body, &mut timer, None, Some(&effects)));
        match run(&mut answers, chunk) {
            Ok(Some(chunk)) => content.extend_from_slice(&chunk),
            Ok(None) => return Ok(content.freeze()),
            Err(BodyFault::Broken(error)) => return Err(connection.fault(Some(&error))),
            Err(BodyFault::MalformedTrailers) => return Err(Error::remote("malformed trailers")),
            Err(BodyFault::TimedOut) => return Err(Error::new(Kind::ReadTimeout, "timed out")),
        }
    }
}

/// Sends a request and reads its response to the end.
fn exchange(connection: &mut Http1, request: &Request) -> Result<(u16, Bytes)> {
    let mut answers = Answers::default();
    let response = send(connection, request, &mut answers).map_err(|failure| failure.error)?;
    let status = response.head.status;
    Ok((status, read(connection, response)?))
}

fn is_stale(connection: &Http1) -> bool {
    let mut answers = Answers::default();
    let effects = answers.effects.clone();
    run(&mut answers, connection.is_stale(&effects)).expect("no effect")
}

fn post(content: &'static str) -> Request {
    let length = content.len().to_string();
    request("POST", "/", &[("Content-Length", &length)], Content::Inline(content.into()))
}

#[test]
fn one_connection_serves_several_exchanges() {
    let (mut connection, peer) = connect(|peer| {
        peer.expect("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n");
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst");
        peer.expect("POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 4\r\n\r\nbody");
        peer.send("HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nsecond\r\n0\r\n\r\n");
        peer.expect("HEAD / HTTP/1.1\r\nHost: example.com\r\n\r\n");
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
        peer.expect("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n");
        peer.send("HTTP/1.1 204 No Content\r\n\r\n");
    });
    assert_eq!(exchange(&mut connection, &get()).expect("a response"), (200, "first".into()));
    assert!(connection.finish() && !is_stale(&connection));
    assert_eq!(exchange(&mut connection, &post("body")).expect("a response"), (201, "second".into()));
    assert!(connection.finish() && !is_stale(&connection));
    let head = request("HEAD", "/", &[], Content::Inline(Bytes::new()));
    assert_eq!(exchange(&mut connection, &head).expect("a response"), (200, Bytes::new()));
    assert!(connection.finish() && !is_stale(&connection));
    assert_eq!(exchange(&mut connection, &get()).expect("a response"), (204, Bytes::new()));
    peer.finish();
}

#[test]
fn a_response_that_arrives_whole_needs_no_hyper() {
    const RESPONSES: [(&str, &str, bool); 8] = [
        ("Content-Length: 3\r\n\r\nabc", "abc", true),
        ("Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "abc", false),
        ("content-length: 3\r\nConnection: Keep-Alive\r\n\r\nabc", "abc", true),
        ("Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", "abc", false),
        ("Content-Length: 3, 3\r\n\r\nabc", "abc", false),
        ("Content-Length: 0\r\n\r\n", "", true),
        ("Content-Length: 3\r\n\r\nabc", "abc", true),
        ("Content-Length: 3\r\nConnection: close\r\n\r\nabc", "abc", false),
    ];
    let (mut connection, peer) = connect(move |peer| {
        for (fields, _, _) in RESPONSES {
            peer.expect("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n");
            peer.send(format!("HTTP/1.1 200 OK\r\n{fields}"));
        }
        peer.receive_rest();
    });
    for (fields, body, is_whole) in RESPONSES {
        let response = send(&mut connection, &get(), &mut Answers::default()).expect("a response");
        assert_eq!(matches!(response.body, Some(Http1Incoming::Whole(_))), is_whole, "{fields}");
        assert_eq!(read(&mut connection, response).expect("a body"), body, "{fields}");
        assert_eq!(connection.finish(), !fields.contains("close"), "{fields}");
    }
    drop(connection);
    peer.finish();
}

#[test]
fn a_connection_that_was_at_rest_serves_more_exchanges() {
    let (mut connection, peer) = connect(|peer| {
        for _ in 0..3 {
            peer.expect("POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 4\r\n\r\nbody");
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
        peer.receive_head();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and more");
        peer.receive_rest();
    });
    connection.rest();
    for _ in 0..3 {
        assert_eq!(exchange(&mut connection, &post("body")).expect("a response"), (200, "ok".into()));
        assert!(connection.finish() && !is_stale(&connection));
        connection.rest();
    }
    // What ends the connection is not forgotten.
    assert_eq!(exchange(&mut connection, &get()).expect("a response"), (200, "ok".into()));
    connection.rest();
    assert!(!connection.finish());
    drop(connection);
    peer.finish();
}

#[test]
fn a_response_is_the_same_wherever_its_bytes_are_cut() {
    let (mut connection, peer) = connect(|peer| {
        for body in
            ["Content-Length: 3\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nA: b\r\n\r\n"]
        {
            peer.receive_head();
            peer.send_slowly(format!("\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n{body}"));
        }
        peer.receive_rest();
    });
    for trailers in [vec![], vec![(Bytes::from("a"), Bytes::from("b"))]] {
        assert_eq!(exchange(&mut connection, &get()).expect("a response"), (200, "abc".into()));
        assert_eq!(connection.take_trailers(), trailers);
        assert!(connection.finish());
    }
    drop(connection);
    peer.finish();
}

#[test]
fn a_connection_that_the_server_will_close_is_not_used_again() {
    for (head, body) in [
        ("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\n", "x"),
        ("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n", "x"),
        ("HTTP/1.1 200 OK\r\n\r\n", "until the end of the stream"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n0\r\n\r\n"),
    ] {
        let (mut connection, peer) = connect(move |peer| {
            peer.receive_head();
            peer.send(head);
            peer.send(body);
        });
        let (_, content) = exchange(&mut connection, &get()).expect("a response");
        assert!(!content.is_empty() && !connection.finish(), "{head}");
        peer.finish();
    }
}

#[test]
fn bytes_behind_a_response_end_the_connection() {
    for rest in ["HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "\r\n", "x"] {
        let (mut connection, peer) = connect(move |peer| {
            peer.receive_head();
            peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok{rest}"));
            peer.receive_rest();
        });
        assert_eq!(exchange(&mut connection, &get()).expect("a response"), (200, "ok".into()));
        assert!(!connection.finish() || is_stale(&connection), "{rest:?}");
        drop(connection);
        peer.finish();
    }
}

#[test]
fn an_idle_connection_is_stale_once_anything_arrives() {
    for end in [Some("HTTP/1.1 200 OK\r\n"), None] {
        let (mut connection, peer) = connect(move |peer| {
            peer.receive_head();
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            peer.expect("POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 1\r\n\r\nx");
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            match end {
                Some(bytes) => peer.send(bytes),
                None => peer.end(),
            }
            peer.receive_rest();
        });
        exchange(&mut connection, &get()).expect("a response");
        assert!(connection.finish() && !is_stale(&connection));
        exchange(&mut connection, &post("x")).expect("a response");
        if connection.finish() {
            while !is_stale(&connection) {
                std::thread::sleep(MILLISECONDS);
            }
        }
        drop(connection);
        peer.finish();
    }
}

#[test]
fn informational_responses_come_before_the_final_one() {
    let (mut connection, peer) = connect(|peer| {
        peer.receive_head();
        peer.send("HTTP/1.1 100 Continue\r\n\r\n");
        peer.expect("body");
        peer.send("HTTP/1.1 102 Processing\r\nX: y\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        peer.receive_rest();
    });
    let fields = [("Expect", "100-continue"), ("Content-Length", "4")];
    let posted = request("POST", "/", &fields, Content::Inline("body".into()));
    assert_eq!(exchange(&mut connection, &posted).expect("a response"), (200, "ok".into()));
    assert!(connection.finish());
    drop(connection);
    peer.finish();
}

#[test]
fn endless_informational_responses_are_an_error() {
    let (mut connection, peer) = connect(|peer| {
        peer.receive_head();
        // More than a head may hold, and little enough for the buffers of the socket.
        peer.send("HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n".repeat(2000));
        peer.receive_rest();
    });
    let error = exchange(&mut connection, &get()).expect_err("too much");
    assert_eq!(error.kind(), Kind::RemoteProtocolError);
    assert!(error.message().contains("longer than 102400 bytes"), "{error}");
    drop(connection);
    peer.finish();
}

#[test]
fn a_response_may_come_before_the_end_of_the_request() {
    let (mut connection, peer) = connect(|peer| {
        peer.receive_head();
        peer.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 8\r\nConnection: close\r\n\r\ntoo much");
        // Closed with most of the request unread.
    });
    let content = Bytes::from(vec![b'x'; 8 * 1024 * 1024]);
    let length = content.len().to_string();
    let large = request("POST", "/", &[("Content-Length", &length)], Content::Inline(content));
    assert_eq!(exchange(&mut connection, &large).expect("a response"), (413, "too much".into()));
    assert!(!connection.finish());
    peer.finish();
}

#[test]
fn a_streamed_body_is_framed_as_declared() {
    let (mut connection, peer) = connect(|peer| {
        let head = peer.receive_head();
        assert!(head.contains("\r\nTransfer-Encoding: chunked\r\n"), "{head}");
        peer.expect("3\r\none\r\n3\r\ntwo\r\n0\r\nx-sum: 6\r\n\r\n");
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        peer.receive_head();
        peer.expect("onetwo");
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    });
    let mut answers = Answers::with_chunks(&["one", "", "two"]);
    answers.trailers = vec![("X-Sum".into(), "6".into())];
    let fields = [("Transfer-Encoding", "chunked"), ("Trailer", "X-Sum")];
    let chunked = Request { has_trailers: true, ..request("POST", "/", &fields, Content::Streamed) };
    let response = send(&mut connection, &chunked, &mut answers).expect("a response");
    read(&mut connection, response).expect("an empty body");
    assert!(connection.finish());
    let mut answers = Answers::with_chunks(&["one", "two"]);
    let sized = request("POST", "/", &[("Content-Length", "6")], Content::Streamed);
    send(&mut connection, &sized, &mut answers).expect("a response");
    assert!(answers.chunks.is_empty());
    peer.finish();
}

#[test]
fn a_chunked_body_may_be_there_at_once() {
    let (mut connection, peer) = connect(|peer| {
        peer.receive_head();
        peer.expect("4\r\nbody\r\n0\r\n\r\n");
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    });
    let chunked = request("POST", "/", &[("Transfer-Encoding", "chunked")], Content::Inline("body".into()));
    assert_eq!(exchange(&mut connection, &chunked).expect("a response"), (200, Bytes::new()));
    peer.finish();
}

#[test]
fn a_body_of_another_length_than_declared_never_looks_complete() {
    for (chunks, message) in [
        (["ab", "cde"], "Too much data for declared Content-Length"),
        (["a", "b"], "Too little data for declared Content-Length"),
    ] {
        let (mut connection, peer) = connect(|peer| {
            peer.receive_head();
            peer.receive_rest()
        });
        let mut answers = Answers::with_chunks(&chunks);
        let sized = request("POST", "/", &[("Content-Length", "4")], Content::Streamed);
        let failure = send(&mut connection, &sized, &mut answers).err().expect("another length");
        assert_eq!((failure.error.kind(), failure.error.message()), (Kind::LocalProtocolError, message));
        drop(connection);
        assert!(peer.finish().len() < 4);
    }
}

#[test]
fn an_upgrade_hands_over_the_stream() {
    let (mut connection, peer) = connect(|peer| {
        peer.receive_head();
        peer.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\nhello");
        peer.receive_rest()
    });
    let upgrade = request("GET", "/", &[("Connection", "upgrade"), ("Upgrade", "echo")], Content::Inline(Bytes::new()));
    let response = send(&mut connection, &upgrade, &mut Answers::default()).expect("a response");
    assert_eq!((response.head.status, response.body.is_none()), (101, true));
    assert!(connection.is_upgraded());
    let (mut stream, early) = connection.into_stream().expect("a stream that has left HTTP");
    assert_eq!(early, "hello");
    let sending = std::future::poll_fn(|cx| Pin::new(&mut stream).poll_write(cx, b"bye"));
    assert_eq!(run(&mut Answers::default(), sending).expect("an open stream"), 3);
    drop(stream);
    assert_eq!(peer.finish(), b"bye");
}

#[test]
fn a_tunnel_is_open_after_any_success() {
    let (mut connection, peer) = connect(|peer| {
        peer.expect("CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n");
        peer.send("HTTP/1.1 200 Connection established\r\nContent-Length: 5\r\n\r\nearly");
        peer.receive_rest();
    });
    let connect = request("CONNECT", "example.com:443", &[], Content::Inline(Bytes::new()));
    let response = send(&mut connection, &connect, &mut Answers::default()).expect("a response");
    assert!(response.body.is_none(), "its length means nothing");
    drop(response);
    let (stream, early) = connection.into_stream().expect("a stream that has left HTTP");
    assert_eq!(early, "early");
    drop(stream);
    peer.finish();
}

#[test]
fn a_switch_of_protocols_that_was_not_asked_for_is_an_error() {
    let (mut connection, peer) = connect(|peer| {
        peer.receive_head();
        peer.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\n\r\n");
        peer.receive_rest();
    });
    let failure = send(&mut connection, &get(), &mut Answers::default()).err().expect("not asked for");
    assert_eq!(failure.error.kind(), Kind::RemoteProtocolError);
    drop(connection);
    peer.finish();
}

#[test]
fn a_server_that_says_nothing_runs_into_the_read_timeout() {
    for head in ["", "HTTP/1.1 200", "HTTP/1.1 100 Continue\r\n\r\n"] {
        let (mut connection, peer) = connect(move |peer| {
            peer.receive_head();
            peer.send(head);
            peer.receive_rest();
        });
        let mut request = get();
        // Long enough for the server to send what it does send.
        request.timeouts.read = Some(500 * MILLISECONDS);
        let failure = send(&mut connection, &request, &mut Answers::default()).err().expect("nothing comes");
        assert_eq!(failure.error.kind(), Kind::ReadTimeout, "{}", failure.error);
        assert!(failure.received <= head.len() as u64);
        drop(connection);
        peer.finish();
    }
}

#[test]
fn a_server_that_takes_nothing_runs_into_the_write_timeout() {
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let (mut connection, peer) = connect(move |peer| {
        peer.receive_head();
        gone.recv().expect_err("the test is over");
    });
    let content = Bytes::from(vec![b'x'; 8 * 1024 * 1024]);
    let length = content.len().to_string();
    let mut large = request("POST", "/", &[("Content-Length", &length)], Content::Inline(content));
    large.timeouts.write = Some(20 * MILLISECONDS);
    let failure = send(&mut connection, &large, &mut Answers::default()).err().expect("nothing is read");
    assert_eq!(failure.error.kind(), Kind::WriteTimeout, "{}", failure.error);
    assert!(failure.written > 0 && failure.received == 0);
    drop(go);
    peer.finish();
}

#[test]
fn a_server_that_stops_in_the_middle_is_an_error() {
    for (sent, message) in [
        ("", "Server disconnected without sending a response."),
        ("HTTP/1.1 200 OK\r\nContent-Le", "the server closed the connection in the middle of it"),
        ("220 mail.example.com ESMTP\r\n", "it is not HTTP/1"),
        ("HTTP/1.1 200 OK\r\nBad Name: 1\r\n\r\n", "invalid header name"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "Only Transfer-Encoding: chunked is supported"),
        ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "invalid response"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "Server disconnected"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "invalid response"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\n\r\n\r\n", "malformed trailers"),
    ] {
        let (mut connection, peer) = connect(move |peer| {
            peer.receive_head();
            peer.send(sent);
        });
        let error = exchange(&mut connection, &get()).expect_err("an invalid response");
        assert_eq!(error.kind(), Kind::RemoteProtocolError, "{sent}");
        assert!(error.message().contains(message), "{sent}: {error}");
        drop(connection);
        peer.finish();
    }
}

#[test]
fn a_traced_exchange_reports_its_phases() {
    let (mut connection, peer) = connect(|peer| {
        peer.receive_head();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        peer.receive_head();
    });
    let mut answers = Answers::traced();
    let response = send(&mut connection, &get(), &mut answers).expect("a response");
    read(&mut connection, response).expect("an empty body");
    let mut expected: Vec<String> = ["send_request_headers", "send_request_body", "receive_response_headers"]
        .iter()
        .flat_map(|event| ["started", "complete"].map(|stage| format!("http11.{event}.{stage}")))
        .collect();
    assert_eq!(answers.events, expected);
    assert!(connection.finish());
    answers.events.clear();
    send(&mut connection, &get(), &mut answers).err().expect("the server has closed the connection");
    expected[5] = "http11.receive_response_headers.failed".to_owned();
    expected.extend(["started", "complete"].map(|stage| format!("http11.response_closed.{stage}")));
    assert_eq!(answers.events, expected);
    peer.finish();
}
