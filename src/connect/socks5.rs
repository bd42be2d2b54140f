//! SOCKS5 (RFC 1928), with a user name and password (RFC 1929) if there are any. The proxy resolves host names.
//!
//! Every message of the proxy is read to its last byte and not further: what follows the dialogue belongs to the origin.
//!
//! Cancelling: dropping the future closes the stream.

use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::proxy::Proxy;
use crate::error::{Error, Kind, Result};
use crate::io::stream::Stream;
use crate::operation::{Effect, EffectChannel};
use crate::origin::Origin;
use crate::tls::failed;

const VERSION: u8 = 5;
/// The version of the messages with user name and password.
const CREDENTIALS_VERSION: u8 = 1;
const NO_AUTHENTICATION: u8 = 0;
const CREDENTIALS: u8 = 2;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// The limit on anything whose length is sent in one byte.
const MAX_LENGTH: usize = 255;

#[derive(Clone)]
pub struct Credentials {
    pub username: Bytes,
    pub password: Bytes,
}

impl Credentials {
    pub fn check(&self, proxy: &Origin) -> Result<()> {
        for (what, value) in [("user name", &self.username), ("password", &self.password)] {
            if value.is_empty() || value.len() > MAX_LENGTH {
                let length = value.len();
                let message =
                    format!("the {what} for the proxy {proxy} has {length} bytes; SOCKS takes 1 to {MAX_LENGTH}");
                return Err(Error::local(message));
            }
        }
        Ok(())
    }
}

/// Makes the proxy at the other end of the stream connect to an origin. The bytes that follow on the stream are the origin's.
///
/// `operation_timeout` bounds each read and write of an external stream.
pub async fn connect(
    stream: Stream,
    proxy: &Origin,
    credentials: Option<&Credentials>,
    origin: &Origin,
    operation_timeout: Option<Duration>,
    effects: &EffectChannel,
) -> Result<Stream> {
    let mut dialogue = Dialogue { stream, proxy, operation_timeout, effects, received: BytesMut::new() };
    let method = if credentials.is_some() { CREDENTIALS } else { NO_AUTHENTICATION };
    dialogue.send(&[VERSION, 1, method]).await?;
    let [version, chosen] = dialogue.receive().await?;
    dialogue.expect(version, VERSION)?;
    if chosen != method {
        let (requested, chosen) = (method_name(method), method_name(chosen));
        return Err(Proxy::refused(format!("Requested {requested} from proxy server, but got {chosen}.")));
    }
    if let Some(Credentials { username, password }) = credentials {
        let mut message = vec![CREDENTIALS_VERSION];
        append(&mut message, username);
        append(&mut message, password);
        dialogue.send(&message).await?;
        let [version, status] = dialogue.receive().await?;
        dialogue.expect(version, CREDENTIALS_VERSION)?;
        if status != 0 {
            return Err(Proxy::refused("Invalid username/password"));
        }
    }
    dialogue.send(&request(origin)?).await?;
    let [version, reply, _, kind, first] = dialogue.receive().await?;
    dialogue.expect(version, VERSION)?;
    if reply != 0 {
        return Err(Proxy::refused(format!("Proxy Server could not connect: {}.", reply_name(reply))));
    }
    // The address that the proxy connects from, and its port. The first byte of the address has been received.
    let rest = match kind {
        IPV4 => 3 + 2,
        NAME => usize::from(first) + 2,
        IPV6 => 15 + 2,
        other => return Err(dialogue.broken(&format!("an address of the unknown type {other}"))),
    };
    dialogue.skip(rest).await?;
    dialogue.finish()
}

/// Returns the message that asks the proxy to connect to an origin.
fn request(origin: &Origin) -> Result<Vec<u8>> {
    let mut message = vec![VERSION, CONNECT, 0];
    let host = origin.bare_host();
    match host.parse() {
        Ok(IpAddr::V4(address)) => {
            message.push(IPV4);
            message.extend_from_slice(&address.octets());
        }
        Ok(IpAddr::V6(address)) => {
            message.push(IPV6);
            message.extend_from_slice(&address.octets());
        }
        Err(_) if host.is_empty() || host.len() > MAX_LENGTH => {
            let message = format!("a SOCKS proxy takes host names of 1 to {MAX_LENGTH} bytes, not {host:?}");
            return Err(Proxy::refused(message));
        }
        Err(_) => {
            message.push(NAME);
            append(&mut message, host.as_bytes());
        }
    }
    message.extend_from_slice(&origin.tcp_port()?.to_be_bytes());
    Ok(message)
}

/// Appends at most [`MAX_LENGTH`] bytes, behind their number.
fn append(message: &mut Vec<u8>, value: &[u8]) {
    message.push(u8::try_from(value.len()).unwrap_or(u8::MAX));
    message.extend_from_slice(value);
}

/// Returns the name of an authentication method (RFC 1928, 3).
fn method_name(method: u8) -> &'static str {
    match method {
        NO_AUTHENTICATION => "NO AUTHENTICATION REQUIRED",
        1 => "GSSAPI",
        CREDENTIALS => "USERNAME/PASSWORD",
        0xff => "NO ACCEPTABLE METHODS",
        _ => "UNKNOWN",
    }
}

/// Returns the meaning of a reply (RFC 1928, 6).
fn reply_name(reply: u8) -> &'static str {
    match reply {
        1 => "General SOCKS server failure",
        2 => "Connection not allowed by ruleset",
        3 => "Network unreachable",
        4 => "Host unreachable",
        5 => "Connection refused",
        6 => "TTL expired",
        7 => "Command not supported",
        8 => "Address type not supported",
        _ => "UNKNOWN",
    }
}

/// The messages to the proxy and from it.
struct Dialogue<'a> {
    stream: Stream,
    proxy: &'a Origin,
    operation_timeout: Option<Duration>,
    effects: &'a EffectChannel,
    /// An external stream may return more than was asked for.
    received: BytesMut,
}

impl Dialogue<'_> {
    async fn send(&mut self, message: &[u8]) -> Result<()> {
        if let Some(stream) = self.stream.external() {
            let (stream, bytes, timeout) =
                (stream.handle().clone(), Bytes::copy_from_slice(message), self.operation_timeout);
            return self.effects.request(|reply| Effect::Write { stream, bytes, timeout, reply }).await;
        }
        let mut left = message;
        let writing = std::future::poll_fn(|cx| {
            while !left.is_empty() {
                match ready!(Pin::new(&mut self.stream).poll_write(cx, left))? {
                    0 => return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into())),
                    sent => left = &left[sent..],
                }
            }
            Pin::new(&mut self.stream).poll_flush(cx)
        });
        writing.await.map_err(|error| failed(error, Kind::WriteError, "writing to the proxy", self.proxy))
    }

    async fn receive<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH]> {
        self.fill(LENGTH).await?;
        let mut bytes = [0; LENGTH];
        self.received.copy_to_slice(&mut bytes);
        Ok(bytes)
    }

    async fn skip(&mut self, length: usize) -> Result<()> {
        self.fill(length).await?;
        self.received.advance(length);
        Ok(())
    }

    async fn fill(&mut self, length: usize) -> Result<()> {
        while self.received.len() < length {
            let before = self.received.len();
            self.read(length - before).await?;
            if self.received.len() == before {
                let message = format!("the proxy {} closed the connection in the middle of the handshake", self.proxy);
                return Err(Proxy::refused(message));
            }
        }
        Ok(())
    }

    async fn read(&mut self, max_bytes: usize) -> Result<()> {
        if let Some(stream) = self.stream.external() {
            let (stream, timeout) = (stream.handle().clone(), self.operation_timeout);
            let bytes = self.effects.request(|reply| Effect::Read { stream, max_bytes, timeout, reply }).await?;
            self.received.extend_from_slice(&bytes);
            return Ok(());
        }
        let mut bytes = [0; MAX_LENGTH + 2];
        let mut buf = ReadBuf::new(&mut bytes[..max_bytes]);
        let reading = std::future::poll_fn(|cx| Pin::new(&mut self.stream).poll_read(cx, &mut buf));
        reading.await.map_err(|error| failed(error, Kind::ReadError, "reading from the proxy", self.proxy))?;
        self.received.extend_from_slice(buf.filled());
        Ok(())
    }

    fn expect(&self, got: u8, expected: u8) -> Result<()> {
        if got == expected { Ok(()) } else { Err(self.broken(&format!("version {got} where {expected} was expected"))) }
    }

    fn broken(&self, what: &str) -> Error {
        Proxy::refused(format!("the proxy {} does not speak SOCKS5: {what}", self.proxy))
    }

    /// Returns the stream, which leads to the origin now.
    fn finish(mut self) -> Result<Stream> {
        if !self.received.is_empty() {
            // Nothing has been sent to the origin yet; a server may still speak first.
            match self.stream.external() {
                Some(stream) => stream.unread(self.received.freeze()),
                None => return Err(self.broken("more than its reply")),
            }
        }
        Ok(self.stream)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{external, origin};
    use super::*;
    use crate::io::block_on::block_on;
    use crate::io::external::ExternalIo;
    use crate::origin::Scheme;
    use crate::testing::{Answers, Played, ScriptedPeer, run};

    const REPLY: &[u8] = &[5, 0, 0, IPV4, 127, 0, 0, 1, 4, 56];
    const ACCEPTED: &[u8] = &[5, NO_AUTHENTICATION];

    fn proxy() -> Origin {
        origin(Scheme::Socks5, "proxy", 1080)
    }

    fn credentials() -> Credentials {
        Credentials { username: "user".into(), password: "pass".into() }
    }

    /// Connects to `example.com` through a proxy that plays `script`.
    fn dial<T: Send + 'static>(
        credentials: Option<Credentials>,
        script: impl FnOnce(&mut ScriptedPeer) -> T + Send + 'static,
    ) -> (Result<Stream>, Played<T>) {
        let (stream, peer) = ScriptedPeer::play(script);
        let mut answers = Answers::default();
        let effects = answers.effects.clone();
        let target = origin(Scheme::Https, "example.com", 443);
        let connected = run(&mut answers, connect(stream, &proxy(), credentials.as_ref(), &target, None, &effects));
        (connected, peer)
    }

    /// Connects through a proxy that sends `replies`, whatever it receives, and then ends the stream. Returns the error.
    fn refusal(credentials: Option<Credentials>, replies: Vec<u8>) -> Error {
        let (connected, peer) = dial(credentials, move |peer| {
            peer.send(replies);
            peer.end();
            peer.receive_rest();
        });
        let error = connected.err().expect("a refusal");
        peer.finish();
        error
    }

    fn read(stream: &mut Stream) -> Vec<u8> {
        let mut bytes = [0; 64];
        let mut buf = ReadBuf::new(&mut bytes);
        let reading = std::future::poll_fn(|cx| Pin::new(&mut *stream).poll_read(cx, &mut buf));
        run(&mut Answers::default(), reading).expect("an open stream");
        buf.filled().to_vec()
    }

    #[test]
    fn a_request_holds_an_address_or_a_name() {
        let message = |host: &str| request(&origin(Scheme::Https, host, 443));
        assert_eq!(message("127.0.0.1").expect("an address"), [5, 1, 0, 1, 127, 0, 0, 1, 1, 187]);
        assert_eq!(message("ab.c").expect("a name"), [5, 1, 0, 3, 4, b'a', b'b', b'.', b'c', 1, 187]);
        for host in ["::1", "[::1]"] {
            let bytes = message(host).expect("an address");
            assert_eq!((bytes[3], bytes.len()), (4, 4 + 16 + 2));
        }
        assert!(message(&"a".repeat(256)).is_err());
        assert!(message("").is_err());
        assert!(request(&origin(Scheme::Https, "h", 70_000)).is_err());
    }

    #[test]
    fn the_stream_leads_to_the_origin_after_the_reply() {
        let addresses = [
            [&[IPV4][..], &[127, 0, 0, 1]].concat(),
            [&[NAME, 9][..], b"localhost"].concat(),
            [&[NAME, 0][..]].concat(),
            [&[IPV6][..], &[0; 16]].concat(),
        ];
        for address in addresses {
            let (connected, peer) = dial(None, move |peer| {
                peer.expect([5, 1, 0]);
                peer.send(ACCEPTED);
                peer.expect(b"\x05\x01\x00\x03\x0bexample.com\x01\xbb");
                peer.send([&[5, 0, 0][..], &address, &[4, 56], b"from the origin"].concat());
            });
            assert_eq!(read(&mut connected.expect("a connection")), b"from the origin");
            peer.finish();
        }
    }

    #[test]
    fn user_name_and_password_are_sent_if_there_are_any() {
        let (connected, peer) = dial(Some(credentials()), |peer| {
            peer.expect([5, 1, 2]);
            peer.send([5, 2]);
            peer.expect(b"\x01\x04user\x04pass");
            peer.send([1, 0]);
            peer.expect(b"\x05\x01\x00\x03\x0bexample.com\x01\xbb");
            peer.send(REPLY);
        });
        assert!(connected.is_ok());
        peer.finish();
    }

    #[test]
    fn replies_may_arrive_in_any_pieces() {
        for credentials in [None, Some(credentials())] {
            let has_credentials = credentials.is_some();
            let (connected, peer) = dial(credentials, move |peer| {
                peer.receive(3);
                if has_credentials {
                    peer.send_slowly([5, CREDENTIALS]);
                    peer.receive(11);
                    peer.send_slowly([1, 0]);
                } else {
                    peer.send_slowly(ACCEPTED);
                }
                peer.receive(18);
                peer.send_slowly([5, 0, 0, NAME, 3, b'a', b'b', b'c', 0, 80]);
                peer.send("x");
            });
            assert_eq!(read(&mut connected.expect("a connection")), b"x");
            peer.finish();
        }
    }

    #[test]
    fn a_stream_that_ends_in_the_dialogue_is_a_refusal() {
        for (credentials, replies) in
            [(None, [ACCEPTED, REPLY].concat()), (Some(credentials()), [&[5, 2, 1, 0], REPLY].concat())]
        {
            for length in 0..replies.len() {
                let error = refusal(credentials.clone(), replies[..length].to_vec());
                assert_eq!(error.kind(), Kind::ProxyError, "{length}");
                let expected = "the proxy socks5://proxy:1080 closed the connection in the middle of the handshake";
                assert_eq!(error.message(), expected, "{length}");
            }
        }
    }

    #[test]
    fn the_error_says_what_the_proxy_has_refused() {
        let message = |credentials: Option<Credentials>, replies: Vec<u8>| {
            let error = refusal(credentials, replies);
            assert_eq!(error.kind(), Kind::ProxyError);
            error.message().to_owned()
        };
        for (method, name) in [(0xff, "NO ACCEPTABLE METHODS"), (1, "GSSAPI"), (77, "UNKNOWN")] {
            let expected = format!("Requested NO AUTHENTICATION REQUIRED from proxy server, but got {name}.");
            assert_eq!(message(None, vec![5, method]), expected);
        }
        for reply in 1..=9 {
            let expected = format!("Proxy Server could not connect: {}.", reply_name(reply));
            assert_eq!(message(None, vec![5, 0, 5, reply, 0, 1, 0]), expected);
        }
        assert_eq!(reply_name(5), "Connection refused");
        for (replies, what) in [
            (vec![4, 0], "version 4 where 5 was expected"),
            (vec![5, 0, 4, 0, 0, 1, 0], "version 4 where 5 was expected"),
            (vec![5, 0, 5, 0, 0, 2, 0], "an address of the unknown type 2"),
            (b"HTTP/1.1 400".to_vec(), "version 72 where 5 was expected"),
        ] {
            assert_eq!(message(None, replies), format!("the proxy socks5://proxy:1080 does not speak SOCKS5: {what}"));
        }
        let expected = "Requested USERNAME/PASSWORD from proxy server, but got NO AUTHENTICATION REQUIRED.";
        assert_eq!(message(Some(credentials()), vec![5, 0]), expected);
        assert_eq!(message(Some(credentials()), vec![5, 2, 1, 1]), "Invalid username/password");
        assert!(message(Some(credentials()), vec![5, 2, 5, 0]).ends_with("version 5 where 1 was expected"));
    }

    #[test]
    fn a_name_that_is_too_long_is_not_sent() {
        let (stream, peer) = ScriptedPeer::play(|peer| {
            peer.receive(3);
            peer.send(ACCEPTED);
            peer.receive_rest()
        });
        let mut answers = Answers::default();
        let effects = answers.effects.clone();
        let target = origin(Scheme::Http, &"a".repeat(256), 80);
        let connected = run(&mut answers, connect(stream, &proxy(), None, &target, None, &effects));
        assert_eq!(connected.err().expect("a refusal").kind(), Kind::ProxyError);
        assert!(peer.finish().is_empty());
    }

    #[test]
    fn credentials_have_1_to_255_bytes() {
        for (length, is_legal) in [(0, false), (1, true), (255, true), (256, false)] {
            let value = Bytes::from("a".repeat(length));
            let other = Bytes::from("b");
            let user = Credentials { username: value.clone(), password: other.clone() };
            let password = Credentials { username: other, password: value };
            assert_eq!(
                (user.check(&proxy()).is_ok(), password.check(&proxy()).is_ok()),
                (is_legal, is_legal),
                "{length}"
            );
        }
    }

    #[test]
    fn an_external_stream_may_return_more_than_was_asked_for() {
        let stream = Stream::External(Box::new(ExternalIo::new(external())));
        let effects = EffectChannel::default();
        let mut arriving = vec![[&[5, 0][..], REPLY, b"early"].concat()];
        let mut sent = Vec::new();
        let target = origin(Scheme::Http, "h", 80);
        let connected =
            block_on(connect(stream, &proxy(), None, &target, None, &effects), &effects, |effect| match effect {
                Effect::Read { reply, .. } => reply.set(Ok(arriving.pop().expect("one read is enough").into())),
                Effect::Write { bytes, reply, .. } => {
                    sent.extend_from_slice(&bytes);
                    reply.set(Ok(()));
                }
                _ => panic!("a handshake only reads and writes"),
            });
        let mut stream = connected.expect("no error of the driver").expect("a connection");
        assert_eq!(sent, b"\x05\x01\x00\x05\x01\x00\x03\x01h\x00\x50");
        assert_eq!(read(&mut stream), b"early");
    }
}
