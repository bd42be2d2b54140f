//! Dialogues with proxies before an origin is asked: the dialogue is no longer than it has to be, and none of its bytes ends up
//! in the stream to the origin.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};

use super::framing::SlowResponse;
use super::input::FuzzInput;
use super::peer::{TurnPeer, http_proxy};
use crate::connect::{Credentials, open_tunnel, socks5_connect};
use crate::io::stream::Stream;
use crate::operation::EffectChannel;
use crate::origin::{Origin, Scheme};

/// Control bytes: SOCKS5 or CONNECT, with or without credentials, and the kind of the origin's host; then the lengths of the
/// pieces. The rest: what the proxy sends.
pub fn dialogues(data: &[u8]) {
    let mut input = FuzzInput::new(data);
    let choice = input.choice();
    let host = ["example.com", "127.0.0.1", "::1", "a.very.long.name.test"][usize::from(choice >> 2 & 3)];
    let origin = Arc::new(Origin {
        scheme: Scheme::Https,
        host: host.to_owned(),
        port: 443,
        server_name: None,
        tunnel_headers: None,
    });
    let raw = input.raw();
    let (stream, mut peer) = TurnPeer::new(input.cut(raw));
    let end = if choice & 1 == 0 {
        socks5(stream, &mut peer, choice & 2 != 0, &origin, raw)
    } else {
        tunnel(stream, &mut peer, choice & 2 != 0, &origin, raw)
    };
    let Some((mut stream, end)) = end else { return };
    let rest = peer.run(&EffectChannel::default(), read_to_end(&mut stream));
    assert_eq!(rest, &raw[end..], "a byte of the dialogue is in the stream, or one of the stream in the dialogue");
}

fn socks5(
    stream: Stream,
    peer: &mut TurnPeer,
    has_credentials: bool,
    origin: &Origin,
    raw: &[u8],
) -> Option<(Stream, usize)> {
    let credentials =
        has_credentials.then(|| Credentials { username: Bytes::from("user"), password: Bytes::from("pass") });
    let proxy = Origin {
        scheme: Scheme::Socks5,
        host: "proxy.test".to_owned(),
        port: 1080,
        server_name: None,
        tunnel_headers: None,
    };
    let effects = EffectChannel::default();
    let connecting = socks5_connect(stream, &proxy, credentials.as_ref(), origin, None, &effects);
    let result = peer.run(&effects, connecting);
    peer.receive();
    // RFC 1928: greeting, credentials (RFC 1929), request.
    let mut messages = vec![vec![5, 1, if has_credentials { 2 } else { 0 }]];
    if has_credentials {
        messages.push(b"\x01\x04user\x04pass".to_vec());
    }
    messages.push([b"\x05\x01\x00".as_slice(), &address(origin), &[1, 187]].concat());
    let ends: Vec<usize> = (1..=messages.len()).map(|count| messages[..count].concat().len()).collect();
    assert!(ends.contains(&peer.received.len()), "a message that is cut: {:?}", peer.received);
    assert!(messages.concat().starts_with(&peer.received), "{:?}", peer.received);
    let stream = result.ok()?;
    assert_eq!(peer.received, messages.concat());
    Some((stream, socks5_end(raw, has_credentials).expect("a dialogue that the slow reading refuses")))
}

fn address(origin: &Origin) -> Vec<u8> {
    match origin.host.as_str() {
        "127.0.0.1" => vec![1, 127, 0, 0, 1],
        "::1" => [&[4][..], &[0; 15], &[1]].concat(),
        name => [&[3, u8::try_from(name.len()).expect("a short name")][..], name.as_bytes()].concat(),
    }
}

/// Returns where the proxy's part of a dialogue ends that succeeds.
fn socks5_end(raw: &[u8], has_credentials: bool) -> Option<usize> {
    let mut rest = raw.strip_prefix(if has_credentials { &[5, 2][..] } else { &[5, 0] })?;
    if has_credentials {
        rest = rest.strip_prefix(&[1, 0])?;
    }
    let length = match rest {
        [5, 0, _, 1, ..] => 4 + 4 + 2,
        [5, 0, _, 3, length, ..] => 4 + 1 + usize::from(*length) + 2,
        [5, 0, _, 4, ..] => 4 + 16 + 2,
        _ => return None,
    };
    (rest.len() >= length).then(|| raw.len() - rest.len() + length)
}

fn tunnel(
    stream: Stream,
    peer: &mut TurnPeer,
    has_credentials: bool,
    origin: &Origin,
    raw: &[u8],
) -> Option<(Stream, usize)> {
    let fields: &[(&[u8], &[u8])] = if has_credentials { &[(b"Proxy-Authorization", b"Basic eDp5")] } else { &[] };
    let proxy = http_proxy(fields).expect("legal fields");
    let effects = EffectChannel::default();
    let result = peer.run(&effects, open_tunnel(stream, &proxy, origin, None, &effects));
    let slow = SlowResponse::read(raw, "CONNECT");
    let stream = result.ok()?;
    let slow = slow.expect("a response that the slow reading refuses");
    assert_eq!(peer.sent, slow.head.end, "what came behind the head is not seen");
    assert!((200..300).contains(&slow.head.status), "a tunnel was opened by the status {}", slow.head.status);
    let received = String::from_utf8(peer.received.clone()).expect("a head in ASCII");
    assert!(received.starts_with(&format!("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n", origin.host_and_port())));
    assert_eq!(received.find("\r\n\r\n"), Some(received.len() - 4), "more than one head: {received}");
    assert_eq!(received.contains("Proxy-Authorization: Basic eDp5\r\n"), has_credentials);
    Some((stream, slow.head.end))
}

async fn read_to_end(stream: &mut Stream) -> Vec<u8> {
    let mut content = Vec::new();
    loop {
        let mut bytes = [0; 1024];
        let mut buf = ReadBuf::new(&mut bytes);
        let read = poll_fn(|cx| Pin::new(&mut *stream).poll_read(cx, &mut buf)).await;
        if read.is_err() || buf.filled().is_empty() {
            return content;
        }
        content.extend_from_slice(buf.filled());
    }
}
