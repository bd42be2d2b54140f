//! Heads of requests: what goes out, read again by others, has the method, the target and the fields that went in, and nothing
//! else, or the request was refused.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use super::http2_frames::join;
use super::input::FuzzInput;
use super::peer::{TurnPeer, http_proxy, origin};
use crate::http1::Http1;
use crate::http2::Http2;
use crate::message::{Content, Framing, HeadWriter, Request};
use crate::operation::EffectChannel;
use crate::origin::Scheme;
use crate::timeout::Timeouts;

/// Between the name and the value of a field, and between method and target.
const UNIT: u8 = 0x1f;
/// Between fields.
const RECORD: u8 = 0x1e;
/// Before the fields for a proxy.
const GROUP: u8 = 0x1d;
/// Bodies are no longer than that.
const MAX_LENGTH: u64 = 64;

type Field<'a> = (&'a [u8], &'a [u8]);

/// No control bytes. The rest: method and target, fields, and behind them fields for a proxy.
pub fn request_head(data: &[u8]) {
    let raw = FuzzInput::new(data).raw();
    let (own, for_proxy) = split(raw, GROUP);
    let (line, fields) = split(own, RECORD);
    let (method, target) = split(line, UNIT);
    let fields = read_fields(fields);
    let Some(request) = write(method, target, &fields) else { return };
    check(&request.head.bytes, method, target, &fields);
    over_http1(&request);
    over_proxy(&request, method, target, &fields, &read_fields(for_proxy));
    over_http2(&request, method, target, &fields);
}

fn split(bytes: &[u8], separator: u8) -> (&[u8], &[u8]) {
    match bytes.iter().position(|&byte| byte == separator) {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (bytes, &[]),
    }
}

fn read_fields(bytes: &[u8]) -> Vec<Field<'_>> {
    if bytes.is_empty() {
        Vec::new()
    } else {
        bytes.split(|&byte| byte == RECORD).map(|field| split(field, UNIT)).collect()
    }
}

fn write(method: &[u8], target: &[u8], fields: &[Field<'_>]) -> Option<Request> {
    let mut writer = HeadWriter::new(method, target).ok()?;
    for (name, value) in fields {
        writer.header(name, value).ok()?;
    }
    let head = writer.finish().ok()?;
    let content = match head.framing {
        Framing::Length(length @ ..=MAX_LENGTH) => vec![b'x'; usize::try_from(length).ok()?],
        Framing::Length(_) | Framing::None => Vec::new(),
        Framing::Chunked => b"abc".to_vec(),
    };
    Some(Request {
        origin: origin(Scheme::Http),
        head,
        content: Content::Inline(content.into()),
        timeouts: Timeouts::default(),
        has_trailers: false,
        timings: Arc::default(),
        has_informational: false,
        expect_continue: None,
    })
}

/// Reads a head again: by hand, and with httparse if that does not refuse it.
fn check(head: &[u8], method: &[u8], target: &[u8], fields: &[Field<'_>]) {
    let text = head.strip_suffix(b"\r\n\r\n").expect("the end of a head");
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") {
        lines.push(&rest[..end]);
        rest = &rest[end + 2..];
    }
    lines.push(rest);
    assert_eq!(lines.len(), fields.len() + 1, "{}", head.escape_ascii());
    assert!(!lines.concat().iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)), "{}", head.escape_ascii());
    assert_eq!(lines[0], [method, b" ", target, b" HTTP/1.1"].concat());
    assert_eq!(lines[0].split(|&byte| byte == b' ').map(<[u8]>::is_empty).collect::<Vec<_>>(), [false; 3]);
    for (line, (name, value)) in lines[1..].iter().zip(fields) {
        assert_eq!(*line, [*name, b": ", value].concat());
        assert!(!name.is_empty() && name.iter().all(|byte| byte.is_ascii_graphic() && *byte != b':'));
    }
    let mut storage = vec![httparse::EMPTY_HEADER; fields.len() + 1];
    let mut parsed = httparse::Request::new(&mut storage);
    if let Ok(status) = parsed.parse(head) {
        assert_eq!(status, httparse::Status::Complete(head.len()));
        assert_eq!((parsed.method, parsed.version), (std::str::from_utf8(method).ok(), Some(1)));
        assert_eq!(parsed.path, std::str::from_utf8(target).ok());
        let read: Vec<Field<'_>> = parsed.headers.iter().map(|field| (field.name.as_bytes(), field.value)).collect();
        assert_eq!(read, fields);
    }
}

/// The head and the body that it announces are on the wire, and nothing else.
fn over_http1(request: &Request) {
    let (stream, mut peer) = TurnPeer::new([]);
    let effects = EffectChannel::default();
    let mut connection = Http1::new(stream, origin(Scheme::Http));
    assert!(peer.run(&effects, connection.send(request, &effects)).is_err(), "there was no response");
    peer.receive();
    let Content::Inline(content) = &request.content else { return };
    let body = match request.head.framing {
        Framing::None | Framing::Length(..=MAX_LENGTH) => content.to_vec(),
        Framing::Chunked => b"3\r\nabc\r\n0\r\n\r\n".to_vec(),
        Framing::Length(_) => {
            assert!(peer.received.is_empty(), "a request without its body was sent");
            return;
        }
    };
    assert_eq!(peer.received, [&request.head.bytes[..], &body].concat());
}

/// A request that a proxy forwards has in addition the fields for the proxy that the caller has not set.
fn over_proxy(request: &Request, method: &[u8], target: &[u8], fields: &[Field<'_>], for_proxy: &[Field<'_>]) {
    let Ok(proxy) = http_proxy(for_proxy) else { return };
    let (origin, head) = (Arc::clone(&request.origin), request.head.clone());
    let request = Request { origin, head, content: request.content.clone(), ..request.clone() };
    let forwarded = proxy.forwarded(request).head.bytes;
    let target = match target {
        b"*" => b"http://example.com".to_vec(),
        [b'/', ..] => [b"http://example.com", target].concat(),
        _ => target.to_vec(),
    };
    let is_own = |name: &[u8]| fields.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
    let added: Vec<Field<'_>> = for_proxy.iter().copied().filter(|(name, _)| !is_own(name)).collect();
    let starts_with_host = fields.first().is_some_and(|(name, _)| name.eq_ignore_ascii_case(b"host"));
    let (first, rest) = fields.split_at(usize::from(starts_with_host));
    check(&forwarded, method, &target, &[first, &added, rest].concat());
}

/// A server on the h2 crate gets one request, with the same method, target and fields.
fn over_http2(request: &Request, method: &[u8], target: &[u8], fields: &[Field<'_>]) {
    let (stream, server_stream, mut peer) = TurnPeer::between();
    let effects = EffectChannel::default();
    let connection = Http2::new(stream, origin(Scheme::Http), None).expect("no I/O takes place");
    let client = async {
        let result = connection.send(request, &effects).await;
        drop(connection);
        result.is_ok()
    };
    let server = async {
        let mut server = h2::server::handshake(server_stream).await.ok()?;
        let mut accepted = Vec::new();
        while let Some(Ok((request, mut respond))) = server.accept().await {
            let (parts, mut body) = request.into_parts();
            let _ = respond.send_response(http::Response::new(()), true);
            let mut content = Vec::new();
            poll_fn(|cx| {
                let _ = server.poll_closed(cx);
                while let Poll::Ready(Some(Ok(chunk))) = body.poll_data(cx) {
                    content.extend_from_slice(&chunk);
                }
                Poll::Ready(())
            })
            .await;
            accepted.push((parts, content));
        }
        Some(accepted)
    };
    let (is_sent, accepted) = peer.run(&effects, join(client, server));
    let accepted = accepted.unwrap_or_default();
    assert!(accepted.len() <= 1, "more than one request");
    let Some((parts, _)) = accepted.first() else { return };
    assert!(is_sent || !accepted.is_empty());
    assert_eq!(parts.method.as_str().as_bytes(), method);
    let host = fields.iter().find(|(name, _)| name.eq_ignore_ascii_case(b"host")).expect("a legal head has one").1;
    let authority = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
    if method == b"CONNECT" {
        assert_eq!(authority, Some(if target.starts_with(b"/") { host } else { target }));
    } else {
        assert_eq!(authority, Some(host));
        assert_eq!(parts.uri.path_and_query().map(|path| path.as_str().as_bytes()), Some(target));
    }
    let mut expected: Vec<(Vec<u8>, &[u8])> = fields
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), *value))
        .filter(|(name, _)| {
            !matches!(
                name.as_slice(),
                b"host" | b"connection" | b"keep-alive" | b"proxy-connection" | b"transfer-encoding" | b"upgrade"
            )
        })
        .collect();
    let mut received: Vec<(Vec<u8>, &[u8])> =
        parts.headers.iter().map(|(name, value)| (name.as_str().as_bytes().to_vec(), value.as_bytes())).collect();
    // Those of one name stay in their order.
    expected.sort_by(|one, other| one.0.cmp(&other.0));
    received.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(received, expected);
}
