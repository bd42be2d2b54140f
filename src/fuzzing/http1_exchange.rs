//! Exchanges of HTTP/1.1 on one connection: each response is where a slow reading of the stream finds it, and what comes while
//! the connection is idle never becomes one.

use std::future::poll_fn;

use super::framing::SlowResponse;
use super::input::FuzzInput;
use super::peer::{TurnPeer, origin, request};
use crate::http1::{Http1, Http1Incoming};
use crate::io::progress::ProgressTimer;
use crate::operation::EffectChannel;
use crate::origin::Scheme;

/// Exchanges that are tried on one connection.
const EXCHANGES: usize = 4;

/// Control bytes: for each of four exchanges its method and whether the server sends something while the connection is idle; then
/// the lengths of the pieces. The rest: what the server sends.
pub fn http1_exchange(data: &[u8]) {
    let mut input = FuzzInput::new(data);
    let choices = [(); EXCHANGES].map(|()| input.choice());
    let raw = input.raw();
    let (stream, mut peer) = TurnPeer::new(input.cut(raw));
    let effects = EffectChannel::default();
    let mut connection = Http1::new(stream, origin(Scheme::Http));
    let mut start = 0;
    for choice in choices {
        let method = ["GET", "HEAD", "POST", "CONNECT"][usize::from(choice & 3)];
        let Some(end) = exchange(&mut connection, &mut peer, &raw[start..], method) else { return };
        start += end;
        let sends_while_idle = choice & 4 != 0 && peer.send();
        if peer.run(&effects, connection.is_stale(&effects)).expect("no effect") {
            return;
        }
        assert!(!sends_while_idle, "what came on an idle connection was not seen");
        assert_eq!(peer.sent, start, "a connection is kept with bytes on it that belong to no response");
    }
}

/// One exchange, and where its response ends in what is left to be sent, if the connection can be used again.
fn exchange(connection: &mut Http1, peer: &mut TurnPeer, raw: &[u8], method: &str) -> Option<usize> {
    let effects = EffectChannel::default();
    let request = request(method, if method == "POST" { 3 } else { 0 });
    let response = peer.run(&effects, connection.send(&request, &effects)).ok()?;
    let slow = SlowResponse::read(raw, method);
    let Some(body) = response.body else {
        let slow = slow.expect("a head that the slow reading refuses");
        assert_eq!(Some(slow.head.end), slow.end, "HTTP is left where there is more of it");
        assert!(connection.is_upgraded() && !connection.finish());
        return None;
    };
    let content = read(connection, peer, body)?;
    let slow = slow.expect("a response that the slow reading refuses");
    assert_eq!(response.head.status, slow.head.status);
    assert_eq!(content.escape_ascii().to_string(), slow.content.escape_ascii().to_string());
    if !connection.finish() {
        return None;
    }
    assert!(slow.is_persistent, "a connection is kept that the response ends");
    slow.end
}

/// Reads a body to its end; `None` if it fails.
fn read(connection: &mut Http1, peer: &mut TurnPeer, mut body: Http1Incoming) -> Option<Vec<u8>> {
    let effects = EffectChannel::default();
    let (mut content, mut timer) = (Vec::new(), ProgressTimer::default());
    loop {
        let chunk = poll_fn(|cx| connection.poll_body(cx, &mut body, &mut timer, None, Some(&effects)));
        match peer.run(&effects, chunk) {
            Ok(Some(chunk)) => content.extend_from_slice(&chunk),
            Ok(None) => return Some(content),
            Err(_) => return None,
        }
    }
}
