//! Tunnels through an HTTP proxy: CONNECT (RFC 9110, 9.3.6).
//!
//! Cancelling: dropping the future closes the stream.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::proxy::Proxy;
use crate::error::Result;
use crate::http1::Http1;
use crate::io::stream::Stream;
use crate::message::{Content, Http1Head, Request};
use crate::operation::{EffectChannel, ExchangeKind};
use crate::origin::Origin;
use crate::timeout::Timeouts;

/// Makes the proxy at the other end of the stream open a tunnel to an origin. The bytes that follow on the stream are the origin's.
///
/// `operation_timeout` bounds each read and write.
pub async fn open(
    stream: Stream,
    proxy: &Proxy,
    origin: &Origin,
    operation_timeout: Option<Duration>,
    effects: &EffectChannel,
) -> Result<Stream> {
    let request = Request {
        origin: Arc::clone(&proxy.origin),
        head: proxy.tunnel_head(origin)?,
        content: Content::Inline(Bytes::new()),
        timeouts: Timeouts { read: operation_timeout, write: operation_timeout, ..Timeouts::default() },
        has_trailers: false,
        timings: Arc::default(),
    };
    let mut connection = Http1::new(stream, Arc::clone(&proxy.origin)).reporting_as(ExchangeKind::Connect);
    let response = connection.send(&request, effects).await.map_err(|failure| failure.error)?;
    let head = response.head;
    if !(200..300).contains(&head.status) {
        return Err(Proxy::refused(refusal_text(proxy, &head)));
    }
    match connection.into_stream() {
        Some((stream, early)) if early.is_empty() => Ok(stream),
        // Only the proxy can have sent it: nothing has been sent to the origin yet.
        _ => Err(Proxy::refused(format!("the proxy {} sent data in a tunnel before it was used", proxy.origin))),
    }
}

/// Returns the text for a response that refuses a tunnel. It begins with httpcore's: the status and the reason.
fn refusal_text(proxy: &Proxy, head: &Http1Head) -> String {
    const PROXY_AUTHENTICATION_REQUIRED: u16 = 407;

    let text = format!("{} {}", head.status, printable(head.reason()));
    if head.status != PROXY_AUTHENTICATION_REQUIRED {
        return text;
    }
    let is = |name: &'static str| move |(field, _): &(&[u8], &[u8])| field.eq_ignore_ascii_case(name.as_bytes());
    let challenges: Vec<_> =
        head.headers().filter(is("Proxy-Authenticate")).map(|(_, value)| shortened(value)).collect();
    let wanted = if challenges.is_empty() { "it names no scheme".to_owned() } else { challenges.join(", ") };
    let (problem, remedy) = if proxy.has_credentials() {
        ("refuses the credentials that it was sent", "check user name and password")
    } else {
        ("wants credentials", "pass a user name and a password, in the URL of the proxy or as Proxy(auth=...)")
    };
    format!("{text}: the proxy {} {problem} (Proxy-Authenticate: {wanted}); {remedy}", proxy.origin)
}

/// Returns the beginning of a header's value, for a message.
fn shortened(value: &[u8]) -> String {
    const MOST: usize = 100;

    match value.get(..MOST) {
        Some(start) if value.len() > MOST => format!("{}...", printable(start)),
        _ => printable(value),
    }
}

/// Returns the ASCII characters of a reason, as httpcore does. Control characters are escaped: messages end up in logs and on terminals.
fn printable(reason: &[u8]) -> String {
    let mut printable = String::with_capacity(reason.len());
    for &byte in reason.iter().filter(|byte| byte.is_ascii()) {
        if byte.is_ascii_control() {
            printable.extend(std::ascii::escape_default(byte).map(char::from));
        } else {
            printable.push(byte.into());
        }
    }
    printable
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;

    use tokio::io::{AsyncRead, ReadBuf};

    use super::super::tests::{origin, tls};
    use super::*;
    use crate::connect::ProxyProtocol;
    use crate::error::{Error, Kind};
    use crate::operation::Fields;
    use crate::origin::Scheme;
    use crate::testing::{Answers, Played, ScriptedPeer, run};

    const HEAD: &str = "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\nAccept: */*\r\n\r\n";

    fn dial<T: Send + 'static>(
        fields: &[(&'static str, &'static str)],
        script: impl FnOnce(&mut ScriptedPeer) -> T + Send + 'static,
    ) -> (Result<Stream>, Vec<String>, Played<T>) {
        let fields: Fields = fields.iter().map(|&(name, value)| (name.into(), value.into())).collect();
        let proxy = Proxy::new(origin(Scheme::Http, "proxy", 8080), ProxyProtocol::Http(fields), tls()).expect("legal");
        let (stream, peer) = ScriptedPeer::play(script);
        let mut answers = Answers::traced();
        let effects = answers.effects.clone();
        let target = origin(Scheme::Https, "example.com", 443);
        let opened = run(&mut answers, open(stream, &proxy, &target, None, &effects));
        (opened, answers.events, peer)
    }

    /// Opens a tunnel through a proxy that sends `reply` and then ends the stream. Returns the error.
    fn refusal(reply: &'static str) -> Error {
        let (opened, _, peer) = dial(&[], move |peer| {
            peer.expect(HEAD);
            peer.send(reply);
            peer.end();
            peer.receive_rest();
        });
        let error = opened.err().expect("a refusal");
        peer.finish();
        error
    }

    #[test]
    fn the_stream_leads_to_the_origin_after_a_success() {
        for reply in [
            "HTTP/1.1 200 Connection established\r\n\r\n",
            "HTTP/1.0 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 299 Fine\r\nTransfer-Encoding: chunked\r\n\r\n",
        ] {
            let (tunnel_opened, is_open) = std::sync::mpsc::channel::<()>();
            let (opened, events, peer) = dial(&[], move |peer| {
                peer.expect(HEAD);
                peer.send_slowly(reply);
                is_open.recv().expect("the tunnel is opened");
                peer.send("from the origin");
            });
            let mut stream = opened.expect("a tunnel");
            tunnel_opened.send(()).expect("the proxy waits");
            let mut bytes = [0; 64];
            let mut buf = ReadBuf::new(&mut bytes);
            let reading = std::future::poll_fn(|cx| Pin::new(&mut stream).poll_read(cx, &mut buf));
            run(&mut Answers::default(), reading).expect("an open stream");
            assert_eq!(buf.filled(), b"from the origin");
            assert_eq!(events.last().map(String::as_str), Some("http11.receive_response_headers.complete"));
            peer.finish();
        }
    }

    #[test]
    fn a_proxy_that_wants_credentials() {
        let reply = "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"a\"\r\n\
                     proxy-authenticate: Negotiate\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(
            refusal(reply).message(),
            "407 Proxy Authentication Required: the proxy http://proxy:8080 wants credentials (Proxy-Authenticate: Basic realm=\"a\", \
             Negotiate); pass a user name and a password, in the URL of the proxy or as Proxy(auth=...)"
        );
        let (opened, _, peer) = dial(&[("PROXY-Authorization", "Basic abc")], |peer| {
            peer.receive_head();
            peer.send("HTTP/1.1 407 no\r\n\r\n");
        });
        let message = opened.err().expect("a refusal").to_string();
        assert!(
            message
                .contains("refuses the credentials that it was sent (Proxy-Authenticate: it names no scheme); check")
        );
        assert!(!message.contains("abc"));
        peer.finish();
        assert_eq!(shortened(&[b'a'; 101]), format!("{}...", "a".repeat(100)));
        assert_eq!(shortened(&[b'a'; 100]), "a".repeat(100));
    }

    #[test]
    fn the_fields_for_the_proxy_are_sent() {
        let fields = [("Proxy-Authorization", "Basic abc"), ("accept", "text/plain"), ("HOST", "other")];
        let (opened, _, peer) = dial(&fields, |peer| {
            let head = peer.receive_head();
            peer.send("HTTP/1.1 200 OK\r\n\r\n");
            head
        });
        assert!(opened.is_ok());
        assert_eq!(
            peer.finish(),
            "CONNECT example.com:443 HTTP/1.1\r\nHOST: other\r\nProxy-Authorization: Basic abc\r\naccept: text/plain\r\n\r\n"
        );
    }

    #[test]
    fn a_refusal_is_told_by_its_status_and_reason() {
        for (reply, message) in [
            ("HTTP/1.1 403 Permission Denied\r\nContent-Length: 5\r\n\r\nsorry", "403 Permission Denied"),
            ("HTTP/1.1 503 \u{e9}\u{1b}[31m\r\n\r\n", "503 \\x1b[31m"),
            ("HTTP/1.1 302 Found\r\nLocation: /\r\nConnection: close\r\n\r\n", "302 Found"),
        ] {
            let error = refusal(reply);
            assert_eq!((error.kind(), error.message()), (Kind::ProxyError, message));
        }
        let error = refusal("HTTP/1.1 101 Switching Protocols\r\n\r\n");
        assert_eq!(error.kind(), Kind::RemoteProtocolError);
    }

    #[test]
    fn bytes_in_the_tunnel_before_it_is_used_are_refused() {
        let (opened, _, peer) = dial(&[], |peer| {
            peer.receive_head();
            peer.send("HTTP/1.1 200 OK\r\n\r\nearly");
            peer.receive_rest();
        });
        let error = opened.err().expect("a refusal");
        assert_eq!(error.message(), "the proxy http://proxy:8080 sent data in a tunnel before it was used");
        peer.finish();
    }

    #[test]
    fn a_stream_that_ends_in_the_reply_is_an_error() {
        const REPLY: &str = "HTTP/1.1 200 OK\r\nVia: 1.1 proxy\r\n\r\n";
        for length in 0..REPLY.len() {
            let error = refusal(&REPLY[..length]);
            assert_eq!(error.kind(), Kind::RemoteProtocolError, "{length}");
            let expected =
                if length == 0 { "Server disconnected" } else { "closed the connection in the middle of it" };
            assert!(error.message().contains(expected), "{length}: {error}");
        }
    }

    #[test]
    fn a_reply_that_is_not_http_is_an_error() {
        for reply in ["\u{5}\u{0}", "220 smtp\r\n", "HTTP/1.1 200 OK\r\nBad Name: 1\r\n\r\n"] {
            assert_eq!(refusal(reply).kind(), Kind::RemoteProtocolError, "{reply:?}");
        }
    }

    #[test]
    fn reasons_are_printable() {
        assert_eq!(printable(b"Not Today, 'friend'\\"), "Not Today, 'friend'\\");
        assert_eq!(printable(b"\x1b[31mX\t\x00\x7f\xe9"), "\\x1b[31mX\\t\\x00\\x7f");
    }
}
