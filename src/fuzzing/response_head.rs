//! Heads of HTTP/1.1 responses: what the engine reads is what a slow reading finds, wherever the bytes were cut.

use super::framing::{SlowHead, SlowResponse};
use super::input::FuzzInput;
use super::peer::{TurnPeer, origin, request};
use crate::http1::Http1;
use crate::message::Http1Head;
use crate::operation::EffectChannel;
use crate::origin::Scheme;

/// Control bytes: the lengths of the pieces. The rest: a response.
pub fn response_head(data: &[u8]) {
    let mut input = FuzzInput::new(data);
    let raw = input.raw();
    let whole = receive([raw]);
    let cut = receive(input.cut(raw));
    assert_eq!(whole.as_ref().map(parts), cut.as_ref().map(parts), "a head depends on where its bytes were cut");
    let Some(head) = whole else { return };
    let slow = SlowResponse::read(raw, "HEAD").expect("a head that the slow reading refuses").head;
    assert_eq!(parts(&head), (slow.status, slow.version, slow.reason, slow.fields));
    for (name, value) in head.headers() {
        assert!(!name.is_empty() && name.iter().all(|byte| byte.is_ascii_graphic() && *byte != b':'));
        assert!(!value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)), "a value with a line end in it");
    }
}

type Parts = (u16, Vec<u8>, Vec<u8>, Vec<(Vec<u8>, Vec<u8>)>);

fn parts(head: &Http1Head) -> Parts {
    let fields = head.headers().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
    (head.status, head.version().to_vec(), head.reason().to_vec(), fields)
}

/// Receives a response to HEAD, whose head frames nothing.
fn receive<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Option<Http1Head> {
    let (stream, mut peer) = TurnPeer::new(pieces);
    let effects = EffectChannel::default();
    let request = request("HEAD", 0);
    let mut connection = Http1::new(stream, origin(Scheme::Http));
    let response = peer.run(&effects, connection.send(&request, &effects)).ok()?;
    assert!(SlowHead::read(&peer.received).is_none());
    Some(response.head)
}
