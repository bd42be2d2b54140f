//! Exchanges over socket pairs, with a scripted server at the other end.

mod endings;
mod exchanges;
mod external;
mod idle;
mod jobs;
mod peer;
mod threads;
mod uploads;

use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use self::peer::{FramePeer, kind};
use super::{ConnectionObserver, FailureCause, Http2, Http2Body, Http2Failure, Http2Response, KeepAlive};
use crate::error::{Kind, Result};
use crate::lock::lock;
use crate::message::{Content, Request};
use crate::operation::EffectChannel;
use crate::testing::{Answers, Played, ScriptedPeer, get, origin, request, run, stream_pair};

const MILLISECONDS: Duration = Duration::from_millis(1);

/// Plays a server and connects to it.
fn connect<T: Send + 'static>(
    script: impl FnOnce(&mut FramePeer<'_>) -> T + Send + 'static,
) -> (Arc<Http2>, Played<T>) {
    connect_with(None, script)
}

fn connect_with<T: Send + 'static>(
    keep_alive: Option<KeepAlive>,
    script: impl FnOnce(&mut FramePeer<'_>) -> T + Send + 'static,
) -> (Arc<Http2>, Played<T>) {
    let (stream, peer) = ScriptedPeer::play(|peer| {
        let mut peer = FramePeer::new(peer);
        let value = script(&mut peer);
        // A peer that closes with bytes unread resets the stream, and what it has sent is lost.
        peer.rest();
        value
    });
    let connection = Http2::new(stream, origin(), keep_alive).expect("no I/O takes place");
    connection.attach(None).expect("threads use the connection");
    (connection, peer)
}

/// Closes the connection and returns what the script has. No exchange may be left.
fn finish<T>(connection: Arc<Http2>, peer: Played<T>) -> T {
    assert_eq!(Arc::strong_count(&connection), 1);
    drop(connection);
    peer.finish()
}

/// Sends a request and receives the head of its response.
fn send(connection: &Arc<Http2>, request: &Request) -> std::result::Result<Http2Response, Http2Failure> {
    send_with(&mut Answers::default(), connection, request)
}

fn send_with(
    answers: &mut Answers,
    connection: &Arc<Http2>,
    request: &Request,
) -> std::result::Result<Http2Response, Http2Failure> {
    let effects = answers.effects.clone();
    run(answers, connection.send(request, &effects))
}

/// Reads a body to its end.
fn read(body: &mut Http2Body) -> Result<Bytes> {
    read_with(&mut Answers::default(), body, None)
}

fn read_with(answers: &mut Answers, body: &mut Http2Body, timeout: Option<Duration>) -> Result<Bytes> {
    let effects = answers.effects.clone();
    let mut content = BytesMut::new();
    while let Some(chunk) = run(answers, poll_fn(|cx| body.poll_chunk(cx, timeout, &effects)))? {
        content.extend_from_slice(&chunk);
    }
    Ok(content.freeze())
}

/// Sends a request and reads its response to the end.
fn exchange(connection: &Arc<Http2>, request: &Request) -> Result<(u16, Bytes)> {
    let Http2Response { head, mut body, .. } = send(connection, request).map_err(|failure| failure.error)?;
    Ok((head.status, read(&mut body)?))
}

fn post(content: Content, length: usize) -> Request {
    request("POST", "/", &[("Content-Length", &length.to_string())], content)
}

/// The reports of a connection.
#[derive(Clone, Default)]
struct Reports(Arc<Mutex<Vec<String>>>);

impl Reports {
    fn of(connection: &Http2) -> Self {
        let reports = Self::default();
        connection.observe(Box::new(reports.clone()));
        reports
    }

    fn all(&self) -> Vec<String> {
        lock(&self.0).clone()
    }
}

impl ConnectionObserver for Reports {
    fn limit_changed(&self, limit: Option<usize>) {
        lock(&self.0).push(limit.map_or_else(|| "no limit".to_owned(), |limit| format!("limit {limit}")));
    }

    fn retired(&self) {
        lock(&self.0).push("retired".to_owned());
    }
}
