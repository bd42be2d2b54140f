//! Requests through a pool to a server on a Unix domain socket: reuse, retries, bodies, limits and upgrades.

use std::future::poll_fn;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;

use super::*;
use crate::connect::{Connector, Liveness};
use crate::error::{Error, Kind, Result};
use crate::io::socket::Socket;
use crate::io::stream::Stream;
use crate::message::{Content, Request};
use crate::operation::StreamOwner;
use crate::pool::{Limits, Pool, THREADS};
use crate::testing::{Answers, Played, ScriptedPeer, get, origin, request, run};
use crate::tls::{Rules, Tls, TlsConfig, TlsOptions, Trust};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

type Script = Box<dyn FnOnce(UnixStream) -> Played<()> + Send>;

/// A server that plays one script for each connection, in the order in which they are made.
struct Server {
    path: PathBuf,
    accepting: JoinHandle<Vec<Played<()>>>,
}

impl Server {
    fn new(scripts: Vec<Script>) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("httpcore_rs-{}-{}.sock", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        let listener = UnixListener::bind(&path).expect("a socket");
        let accepting = std::thread::spawn(move || {
            let accept = |script: Script| script(listener.accept().expect("a connection").0);
            scripts.into_iter().map(accept).collect()
        });
        Self { path, accepting }
    }

    fn client(&self, max_connections: usize, http2: bool) -> Arc<Client> {
        let options = TlsOptions::new(Trust::Anything, Rules::default());
        let connector = Connector {
            resolver: None,
            policy: None,
            retries: 0,
            local_address: None,
            interface: None,
            uds: Some(self.path.to_str().expect("a path in UTF-8").to_owned()),
            liveness: Liveness::default(),
            socket_options: Vec::new(),
            proxy: None,
            tls: Tls::Rustls(TlsConfig::lazy(options)),
            backend: ArcSwapOption::empty(),
            python_sockets: None,
            http1: !http2,
            http2,
            expect_continue_timeout: None,
            keep_alive: None,
        };
        let limits = Limits {
            max_connections,
            max_connections_per_origin: None,
            max_keepalive_connections: max_connections,
            max_keepalive_connections_per_origin: None,
            keepalive_expiry: None,
        };
        Arc::new(Client {
            pool: Pool::new(limits),
            connector,
            replay: Replay::default(),
            owner: StreamOwner::pool(),
            wait_reports: WaitReports::default(),
        })
    }

    /// Waits for the end of all scripts.
    fn finish(self) {
        for played in self.accepting.join().expect("all connections are made") {
            played.finish();
        }
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A script of HTTP/1.1.
fn plays(script: impl FnOnce(&mut ScriptedPeer) + Send + 'static) -> Script {
    Box::new(|stream| ScriptedPeer::play_on(stream, script))
}

fn send(client: &Arc<Client>, request: Request) -> Result<Response> {
    send_over(client, request, ConnectionChoice::Any)
}

fn send_over(client: &Arc<Client>, request: Request, choice: ConnectionChoice) -> Result<Response> {
    let mut answers = Answers::default();
    let effects = answers.effects.clone();
    run(&mut answers, start(Arc::clone(client), Box::new(request), choice, None, effects))
}

fn read(response: &mut Response) -> Result<String> {
    let mut answers = Answers { effects: response.body.effects().clone(), ..Answers::default() };
    let mut text = Vec::new();
    while let Some(chunk) = run(&mut answers, poll_fn(|cx| response.body.poll_large_chunk(cx)))? {
        assert_eq!(chunk.len(), chunk.pieces().map(Bytes::len).sum::<usize>());
        chunk.pieces().for_each(|piece| text.extend_from_slice(piece));
    }
    Ok(String::from_utf8(text).expect("a text"))
}

/// Returns for each connection of the pool whether it is idle.
fn idle(client: &Client) -> Vec<bool> {
    client.pool.statuses().iter().map(|status| status.is_idle()).collect()
}

fn failure(result: Result<Response>) -> Error {
    result.err().expect("a failure")
}

#[test]
fn a_connection_is_used_again_when_the_body_has_been_read() {
    let server = Server::new(vec![plays(|peer| {
        for _ in 0..2 {
            assert!(peer.receive_head().starts_with("GET / HTTP/1.1\r\n"));
            peer.send(OK);
        }
        assert!(peer.receive_rest().is_empty());
    })]);
    let client = server.client(1, false);
    for _ in 0..2 {
        let mut response = send(&client, get()).expect("a response");
        assert_eq!(response.head.status(), 200);
        assert_eq!(idle(&client), [false]);
        assert_eq!(read(&mut response).expect("a body"), "hello");
        assert_eq!(idle(&client), [true]);
        response.body.close();
    }
    assert_eq!(client.pool.close(), 1);
    server.finish();
}

#[derive(Default)]
struct Collected(Vec<u8>);

impl Collect for Collected {
    fn push(&mut self, piece: Bytes) -> Result<()> {
        self.0.extend_from_slice(&piece);
        Ok(())
    }
}

#[test]
fn a_body_is_collected_in_one_operation() {
    let server = Server::new(vec![plays(|peer| {
        peer.receive_head();
        let body = "b".repeat(3 * 1024 * 1024);
        peer.send(format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\nX: 1\r\n\r\n",
            body.len()
        ));
    })]);
    let client = server.client(1, false);
    let mut answers = Answers::default();
    let effects = answers.effects.clone();
    let fetching = fetch::<Collected>(Arc::clone(&client), Box::new(get()), None, effects);
    let mut fetched = run(&mut answers, fetching).expect("a response");
    assert_eq!(fetched.content.0.len(), 3 * 1024 * 1024);
    assert_eq!(fetched.response.body.take_trailers(), [(Bytes::from("x"), Bytes::from("1"))]);
    server.finish();
}

#[test]
fn a_response_that_is_dropped_unread_closes_its_connection() {
    let server = Server::new(vec![plays(|peer| {
        peer.receive_head();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
        assert!(peer.receive_rest().is_empty());
    })]);
    let client = server.client(1, false);
    drop(send(&client, get()).expect("a response"));
    assert!(idle(&client).is_empty());
    server.finish();
}

#[test]
fn an_idle_connection_that_was_closed_is_replaced() {
    let (close, closing) = std::sync::mpsc::channel();
    let server = Server::new(vec![
        plays(move |peer| {
            peer.receive_head();
            peer.send(OK);
            closing.recv().expect("a sign to close");
        }),
        plays(|peer| {
            peer.receive_head();
            peer.send(OK);
        }),
    ]);
    let client = server.client(1, false);
    assert_eq!(read(&mut send(&client, get()).expect("a response")).expect("a body"), "hello");
    let status = client.pool.statuses().remove(0);
    assert!(!status.has_expired());
    close.send(()).expect("the script waits");
    while !status.has_expired() {
        std::thread::yield_now();
    }
    assert_eq!(read(&mut send(&client, get()).expect("a response")).expect("a body"), "hello");
    server.finish();
}

#[test]
fn only_a_request_that_may_be_repeated_is_sent_again() {
    let closes_at_the_second = || {
        plays(|peer| {
            peer.receive_head();
            peer.send(OK);
            peer.receive_head();
        })
    };
    let server = Server::new(vec![
        closes_at_the_second(),
        plays(|peer| {
            peer.receive_head();
            peer.send(OK);
            peer.receive_head();
            peer.receive(2);
        }),
    ]);
    let client = server.client(1, false);
    for _ in 0..2 {
        assert_eq!(read(&mut send(&client, get()).expect("a response")).expect("a body"), "hello");
    }
    let post = request("POST", "/", &[("Content-Length", "2")], Content::Inline("ab".into()));
    let error = failure(send(&client, post));
    assert_eq!(error.kind(), Kind::RemoteProtocolError);
    assert_eq!(error.to_string(), "Server disconnected without sending a response.");
    server.finish();
}

#[test]
fn a_request_waits_for_a_slot_until_its_timeout() {
    let server = Server::new(vec![plays(|peer| {
        peer.receive_head();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
        peer.receive_rest();
    })]);
    let client = server.client(1, false);
    let response = send(&client, get()).expect("a response");
    let mut waiting = get();
    waiting.timeouts.pool = Some(Duration::from_millis(1));
    let error = failure(send(&client, waiting));
    assert_eq!(error.kind(), Kind::PoolTimeout);
    assert!(error.to_string().contains("the pool has 1 connection, which is in use"), "{error}");
    drop(response);
    server.finish();
}

#[test]
fn a_pool_that_is_closed_ends_its_responses() {
    let server = Server::new(vec![plays(|peer| {
        peer.receive_head();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nh");
        peer.receive_rest();
    })]);
    let client = server.client(1, false);
    let mut response = send(&client, get()).expect("a response");
    client.pool.close();
    let error = read(&mut response).expect_err("a failure");
    assert_eq!(error.kind(), Kind::ReadError);
    assert!(error.to_string().contains("was closed by its pool"), "{error}");
    let error = read(&mut response).expect_err("a failure");
    assert!(error.to_string().contains("the response was closed"), "{error}");
    server.finish();
}

#[test]
fn a_body_that_is_cut_short_says_so() {
    let server = Server::new(vec![
        plays(|peer| {
            peer.receive_head();
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel");
        }),
        plays(|peer| {
            peer.receive_head();
            peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n");
        }),
        plays(|peer| {
            peer.receive_head();
            peer.receive_rest();
        }),
    ]);
    let client = server.client(1, false);
    for part in ["received 3 bytes, expected 5", "incomplete chunked read"] {
        let error = read(&mut send(&client, get()).expect("a response")).expect_err("a failure");
        let text = format!("peer closed connection without sending complete message body ({part}) (from http://");
        assert!(error.to_string().starts_with(&text), "{error}");
    }
    let mut late = get();
    late.timeouts.read = Some(Duration::from_millis(1));
    assert_eq!(failure(send(&client, late)).kind(), Kind::ReadTimeout);
    server.finish();
}

#[test]
fn an_upgraded_stream_carries_bytes() {
    let server = Server::new(vec![plays(|peer| {
        peer.receive_head();
        peer.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\nearly");
        peer.expect("ping");
        peer.send("pong");
        assert!(peer.receive_rest().is_empty());
    })]);
    let client = server.client(1, false);
    let upgrade = request("GET", "/", &[("Connection", "upgrade"), ("Upgrade", "echo")], Content::Inline(Bytes::new()));
    let response = send(&client, upgrade).expect("a response");
    assert_eq!(response.head.status(), 101);
    let view = &response.stream_view;
    assert!(view.external().is_none() && view.session().is_none());
    assert!(view.local_address().is_some() && view.peer_address().is_some());
    let mut answers = Answers::default();
    let mut read = |length, timeout| run(&mut answers, view.clone().read(length, timeout));
    assert_eq!(read(3, None).expect("bytes"), "ear");
    assert_eq!(read(100, None).expect("bytes"), "ly");
    assert_eq!(read(1, Some(Duration::ZERO)).expect_err("nothing has arrived").kind(), Kind::ReadTimeout);
    run(&mut Answers::default(), view.clone().write("ping".into(), None)).expect("an open stream");
    assert_eq!(read(4, None).expect("bytes"), "pong");
    assert_eq!(view.is_readable(), Some(false));
    view.shutdown();
    let view = view.clone();
    drop(response);
    let error = run(&mut Answers::default(), view.read(1, None)).expect_err("the response is gone");
    assert!(error.to_string().contains("the response that the stream belongs to is closed"), "{error}");
    server.finish();
}

/// A script of HTTP/2: `requests` responses, then nothing until the engine closes the connection.
fn speaks_http2(requests: usize) -> Script {
    Box::new(move |stream| {
        ScriptedPeer::play_on(stream.try_clone().expect("a descriptor"), move |_| {
            stream.set_nonblocking(true).expect("a non-blocking socket");
            let socket = Socket::new(std::os::fd::OwnedFd::from(stream).into(), None).expect("a socket");
            let mut answers = Answers::default();
            let handshake = h2::server::handshake(Stream::Plain(socket));
            let mut connection = run(&mut answers, handshake).expect("a preface");
            for _ in 0..requests {
                let accepted = run(&mut answers, connection.accept()).expect("a request");
                let (_, mut respond) = accepted.expect("a legal request");
                let mut body = respond.send_response(http::Response::new(()), false).expect("an open stream");
                body.send_data("hello".into(), true).expect("an open stream");
            }
            assert!(
                run(&mut answers, connection.accept()).is_none_or(|accepted| accepted.is_err()),
                "no more requests"
            );
        })
    })
}

#[test]
fn requests_share_a_connection_of_http2() {
    let server = Server::new(vec![speaks_http2(3)]);
    let client = server.client(1, true);
    let mut first = send(&client, get()).expect("a response");
    let mut second = send(&client, get()).expect("a response");
    assert_eq!((first.stream_id, second.stream_id), (Some(1), Some(3)));
    assert!(first.stream_view.peer_address().is_some());
    for response in [&mut second, &mut first] {
        assert_eq!(read(response).expect("a body"), "hello");
        response.body.close();
    }
    assert_eq!(idle(&client), [true]);
    let view = first.stream_view.clone();
    let error = run(&mut Answers::default(), view.read(1, None)).expect_err("HTTP/2 is never left");
    assert!(error.to_string().contains("HTTP/2"), "{error}");

    // The same connection, by its number.
    let status = client.pool.statuses().remove(0);
    let mut third = send_over(&client, get(), ConnectionChoice::QueueFor(status.id)).expect("a response");
    assert_eq!(read(&mut third).expect("a body"), "hello");
    drop((first, second, third));
    assert_eq!(client.pool.close(), 1);
    server.finish();
}

#[test]
fn a_certain_connection_serves_requests_until_it_is_closed() {
    let server = Server::new(vec![plays(|peer| {
        for _ in 0..2 {
            peer.receive_head();
            peer.send(OK);
        }
    })]);
    let client = server.client(1, false);
    let reservation = client.pool.place(&origin());
    let status = Arc::clone(reservation.status().expect("a slot"));
    let mut response = send_over(&client, get(), ConnectionChoice::This(reservation)).expect("a response");
    assert!(client.pool.take(&status, THREADS).is_none(), "the connection is in use");
    assert_eq!(read(&mut response).expect("a body"), "hello");
    drop(response);
    let reservation = client.pool.take(&status, THREADS).expect("an idle connection");
    let mut response = send_over(&client, get(), ConnectionChoice::This(reservation)).expect("a response");
    assert_eq!(read(&mut response).expect("a body"), "hello");
    drop(response);
    client.pool.close_one(&status);
    assert!(client.pool.take(&status, THREADS).is_none());
    server.finish();
}

#[test]
fn a_connect_that_fails_gives_its_slot_back() {
    let server = Server::new(Vec::new());
    let client = server.client(1, false);
    server.finish();
    for _ in 0..2 {
        let error = failure(send(&client, get()));
        assert_eq!(error.kind(), Kind::ConnectError);
    }
    assert_eq!(client.pool.snapshot().queued, 0);
}
