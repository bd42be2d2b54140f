//! Tunnels through an HTTP proxy: CONNECT (RFC 9110, 9.3.6).
//!
//! A proxy that wants authentication answers 407, and the user's callback says what the next request for the tunnel has to contain. All
//! requests go over the same connection: Negotiate and NTLM authenticate a connection, in two or three rounds.
//!
//! Cancelling: dropping the future closes the stream.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::proxy::Proxy;
use crate::error::{Error, Kind, Result};
use crate::http1::{Http1, Http1Incoming};
use crate::io::progress::ProgressTimer;
use crate::io::stream::Stream;
use crate::message::{Content, Http1Head, Request, RequestHead, ResponseHead};
use crate::operation::{Effect, EffectChannel, ExchangeKind, ProxyChallenge};
use crate::origin::Origin;
use crate::timeout::Timeouts;

const AUTHENTICATION_REQUIRED: u16 = 407;

/// The remedy where a connection cannot be used for the next round.
const ENDED: &str = "the proxy has ended the connection, or sent a long body: authentication cannot go on there";

/// The number of times that the user's callback is asked for one tunnel.
const MAX_ROUNDS: usize = 5;

/// The longest body of a 407 that is read for the sake of the connection.
const MAX_DRAINED: usize = 64 * 1024;

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
    let mut connection = Http1::new(stream, Arc::clone(&proxy.origin)).reporting_as(ExchangeKind::Connect);
    let mut request = tunnel_request(proxy, proxy.tunnel_head(origin, &[])?, operation_timeout);
    let mut refusal = None;
    for round in 1.. {
        let response = match (connection.send(&request, effects).await, &refusal) {
            (Ok(response), _) => response,
            (Err(failure), Some(refusal)) if failure.received == 0 && has_disconnected(&failure.error) => {
                let ended = Proxy::refused(refusal_text(proxy, origin, refusal, Some(ENDED)));
                return Err(ended.with_source(failure.error));
            }
            (Err(failure), _) => return Err(failure.error),
        };
        let head = response.head;
        if (200..300).contains(&head.status) {
            break;
        }
        let refused = |remedy: Option<&str>| Proxy::refused(refusal_text(proxy, origin, &head, remedy));
        let Some(callback) = proxy.authenticate.as_ref().filter(|_| head.status == AUTHENTICATION_REQUIRED) else {
            return Err(refused(None));
        };
        if round > MAX_ROUNDS {
            return Err(refused(Some("proxy_authenticate has answered too often")));
        }
        let can_go_on = is_drained(&mut connection, response.body, operation_timeout, effects).await;
        let challenge = Box::new(ProxyChallenge {
            proxy: proxy.origin.to_string(),
            origin: origin.to_string(),
            head: ResponseHead::Http1(head.clone()),
            round,
        });
        let callback = Arc::clone(callback);
        let answer = effects.request(|reply| Effect::ProxyAuthenticate { callback, challenge, reply }).await?;
        let Some(answer) = answer else { return Err(refused(Some("proxy_authenticate has given up"))) };
        if !can_go_on {
            return Err(refused(Some(ENDED)));
        }
        refusal = Some(head);
        request = tunnel_request(proxy, proxy.tunnel_head(origin, &answer)?, operation_timeout);
    }
    match connection.into_stream() {
        Some((stream, early)) if early.is_empty() => Ok(stream),
        // Only the proxy can have sent it: nothing has been sent to the origin yet.
        _ => Err(Proxy::refused(format!("the proxy {} sent data in a tunnel before it was used", proxy.origin))),
    }
}

/// Returns whether an exchange has failed because the peer has ended the connection.
fn has_disconnected(error: &Error) -> bool {
    matches!(error.kind(), Kind::RemoteProtocolError | Kind::ReadError | Kind::WriteError)
}

fn tunnel_request(proxy: &Proxy, head: RequestHead, operation_timeout: Option<Duration>) -> Request {
    Request {
        origin: Arc::clone(&proxy.origin),
        head,
        content: Content::Inline(Bytes::new()),
        timeouts: Timeouts { read: operation_timeout, write: operation_timeout, ..Timeouts::default() },
        has_trailers: false,
        has_informational: false,
        expect_continue: None,
        timings: Arc::default(),
    }
}

/// Reads the rest of a response, within a limit. Returns whether another request can be sent on the connection.
async fn is_drained(
    connection: &mut Http1,
    body: Option<Http1Incoming>,
    operation_timeout: Option<Duration>,
    effects: &EffectChannel,
) -> bool {
    let Some(mut body) = body else { return false };
    let (mut length, mut progress_timer) = (0, ProgressTimer::default());
    loop {
        let reading =
            poll_fn(|cx| connection.poll_body(cx, &mut body, &mut progress_timer, operation_timeout, Some(effects)));
        match reading.await {
            Ok(Some(chunk)) => length += chunk.len(),
            Ok(None) => return connection.finish(),
            Err(_) => return false,
        }
        if length > MAX_DRAINED {
            return false;
        }
    }
}

/// Returns the text for a response that refuses a tunnel. It begins with httpcore's: the status and the reason.
fn refusal_text(proxy: &Proxy, origin: &Origin, head: &Http1Head, remedy: Option<&str>) -> String {
    let text = format!("{} {}", head.status, printable(head.reason()));
    if head.status != AUTHENTICATION_REQUIRED {
        return text;
    }
    let is = |name: &'static str| move |(field, _): &(&[u8], &[u8])| field.eq_ignore_ascii_case(name.as_bytes());
    let challenges: Vec<_> =
        head.headers().filter(is("Proxy-Authenticate")).map(|(_, value)| shortened(value)).collect();
    let wanted = if challenges.is_empty() { "it names no scheme".to_owned() } else { challenges.join(", ") };
    let (problem, usual) = if proxy.has_credentials(origin) {
        ("refuses the credentials that it was sent", "check user name and password")
    } else {
        ("wants credentials", "pass a user name and a password, in the URL of the proxy or as Proxy(auth=...)")
    };
    let remedy = remedy.unwrap_or(usual);
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
