//! A request of the caller: checked, framed, and written out once.
//!
//! [`HeadWriter`] writes the bytes that HTTP/1.1 sends. It refuses what could be read as another header or another request, and every
//! framing that is ambiguous.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::origin::{Origin, illegal_byte};
use crate::timeout::Timeouts;
use crate::timings::Timings;

/// The framing of the body (RFC 9112, 6), by the caller's headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Neither `Content-Length` nor `Transfer-Encoding`: there is no body.
    None,
    Length(u64),
    Chunked,
}

/// The classes of methods that differ in framing, or in whether a request may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Head,
    Connect,
    /// GET, PUT, DELETE, OPTIONS, TRACE: like HEAD, they may be sent again (RFC 9110, 9.2.2).
    Idempotent,
    Other,
}

impl Method {
    fn parse(method: &[u8]) -> Self {
        match method {
            b"HEAD" => Self::Head,
            b"CONNECT" => Self::Connect,
            b"GET" | b"PUT" | b"DELETE" | b"OPTIONS" | b"TRACE" => Self::Idempotent,
            _ => Self::Other,
        }
    }

    pub fn is_idempotent(self) -> bool {
        matches!(self, Self::Head | Self::Idempotent)
    }
}

/// The source of the body.
#[derive(Clone, Debug)]
pub enum Content {
    /// The whole body, which can be sent again.
    Inline(Bytes),
    /// The chunks are requested from the driver, one after another. They cannot be requested again.
    Streamed,
}

/// The request line and headers.
#[derive(Clone, Debug)]
pub struct RequestHead {
    pub bytes: Bytes,
    pub method: Method,
    pub framing: Framing,
    /// The caller has asked for the connection to be closed after this exchange (`Connection: close`).
    pub close: bool,
    /// The caller has asked to leave HTTP (RFC 9110, 7.8). Otherwise the server must not answer 101.
    pub upgrade: bool,
    /// The caller has asked for `100 Continue` before the body is sent (`Expect: 100-continue`).
    pub expects_continue: bool,
    /// The value of `Trailer`: the names of the fields that will follow the body (RFC 9110, 6.6.2).
    pub trailer: Option<Bytes>,
}

impl RequestHead {
    /// Returns whether the method is safe (RFC 9110, 9.2.1): the request changes nothing at the server.
    fn is_safe(&self) -> bool {
        const METHODS: [&[u8]; 4] = [b"GET ", b"HEAD ", b"OPTIONS ", b"TRACE "];

        METHODS.iter().any(|method| self.bytes.starts_with(method))
    }
}

#[derive(Clone, Debug)]
pub struct Request {
    pub origin: Arc<Origin>,
    pub head: RequestHead,
    pub content: Content,
    pub timeouts: Timeouts,
    /// Fields may follow the body. They are requested from the driver at its end.
    pub has_trailers: bool,
    /// The times of the request, noted on its way.
    pub timings: Arc<Timings>,
    /// Informational responses are passed to the driver.
    pub has_informational: bool,
    /// The longest time that the body waits for `100 Continue`, if it does.
    pub expect_continue: Option<Duration>,
}

impl Request {
    /// Returns the bytes of the request, if it may be sent before the handshake of TLS is complete (RFC 8470, 4): the method is safe,
    /// there is no body, and the connection is to stay with HTTP.
    pub fn for_early_data(&self) -> Option<&Bytes> {
        let is_bare = matches!(self.head.framing, Framing::None | Framing::Length(0))
            && matches!(&self.content, Content::Inline(content) if content.is_empty())
            && !(self.has_trailers || self.head.upgrade || self.head.expects_continue);
        (is_bare && self.head.is_safe()).then_some(&self.head.bytes)
    }
}

/// Writes out a head and checks it: nothing that the caller passes can be read as more than one header or one request.
#[expect(clippy::struct_excessive_bools, reason = "each says whether one header was written")]
pub struct HeadWriter {
    bytes: Vec<u8>,
    method: Method,
    length: Option<u64>,
    chunked: bool,
    close: bool,
    upgrade: bool,
    expects_continue: bool,
    has_host: bool,
    trailer: Option<Bytes>,
}

impl HeadWriter {
    pub fn new(method: &[u8], target: &[u8]) -> Result<Self> {
        check("method", method, is_token)?;
        check("target", target, |byte| byte.is_ascii_graphic())?;
        let mut bytes = Vec::with_capacity(256);
        for part in [method, b" ", target, b" HTTP/1.1\r\n"] {
            bytes.extend_from_slice(part);
        }
        Ok(Self {
            bytes,
            method: Method::parse(method),
            length: None,
            chunked: false,
            close: false,
            upgrade: false,
            expects_continue: false,
            has_host: false,
            trailer: None,
        })
    }

    pub fn header(&mut self, name: &[u8], value: &[u8]) -> Result<()> {
        check_field("header", name, value)?;
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                if self.has_host {
                    return Err(Error::local("Found multiple Host: headers"));
                }
                self.has_host = true;
            }
            6 if name.eq_ignore_ascii_case(b"expect") => {
                self.expects_continue |= value.trim_ascii().eq_ignore_ascii_case(b"100-continue");
            }
            7 if name.eq_ignore_ascii_case(b"upgrade") => self.upgrade = true,
            7 if name.eq_ignore_ascii_case(b"trailer") => self.trailer = Some(Bytes::copy_from_slice(value)),
            10 if name.eq_ignore_ascii_case(b"connection") => {
                self.close |= tokens(value).any(|token| token.eq_ignore_ascii_case(b"close"));
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => self.content_length(value)?,
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Error::local("Only Transfer-Encoding: chunked is supported"));
                }
                self.chunked = true;
            }
            _ => {}
        }
        for part in [name, b": ", value, b"\r\n"] {
            self.bytes.extend_from_slice(part);
        }
        Ok(())
    }

    pub fn finish(mut self) -> Result<RequestHead> {
        if !self.has_host {
            return Err(Error::local("Missing mandatory Host: header"));
        }
        let framing = match (self.chunked, self.length) {
            // A sender must not send both (RFC 9112, 6.2): proxies and servers differ in which one they read.
            (true, Some(_)) => {
                return Err(Error::local("Request has both Content-Length and Transfer-Encoding headers"));
            }
            (true, None) => Framing::Chunked,
            (false, Some(length)) => Framing::Length(length),
            (false, None) => Framing::None,
        };
        self.bytes.extend_from_slice(b"\r\n");
        Ok(RequestHead {
            bytes: self.bytes.into(),
            method: self.method,
            framing,
            close: self.close,
            upgrade: self.upgrade,
            expects_continue: self.expects_continue,
            trailer: self.trailer,
        })
    }

    fn content_length(&mut self, value: &[u8]) -> Result<()> {
        let bad = || Error::local("bad Content-Length: it must be a decimal number");
        if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
            return Err(bad());
        }
        let length = std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok()).ok_or_else(bad)?;
        match self.length.replace(length) {
            Some(other) if other != length => Err(Error::local("conflicting Content-Length headers")),
            _ => Ok(()),
        }
    }
}

/// Checks trailers (RFC 9110, 6.5.1). Fields that frame or route a message are refused: they have no meaning behind its body.
pub fn check_trailers(fields: &[(Bytes, Bytes)]) -> Result<()> {
    for (name, value) in fields {
        if is_too_late(name) {
            return Err(Error::local(format!("Illegal trailer name b'{}': it comes too late", name.escape_ascii())));
        }
        check_field("trailer", name, value)?;
    }
    Ok(())
}

/// Returns whether a field frames or routes a message, so that it has no meaning behind the body.
pub fn is_too_late(name: &[u8]) -> bool {
    const FIELDS: [&str; 4] = ["content-length", "transfer-encoding", "host", "trailer"];

    FIELDS.iter().any(|field| name.eq_ignore_ascii_case(field.as_bytes()))
}

fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii)
}

/// Returns whether a byte may stand in a token (RFC 9110, 5.6.2).
pub fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn check(what: &str, part: &[u8], is_legal: impl Fn(u8) -> bool) -> Result<()> {
    if part.is_empty() {
        return Err(Error::local(format!("Illegal {what}: it is empty")));
    }
    match part.iter().position(|&byte| !is_legal(byte)) {
        None => Ok(()),
        Some(index) => Err(illegal_byte(what, part, index)),
    }
}

/// Checks a field (RFC 9110, 5.5) as h11 does: no line breaks, no NUL, no white space at the ends of the value. The message names the
/// field and does not show its value, which may be a secret.
fn check_field(what: &str, name: &[u8], value: &[u8]) -> Result<()> {
    if name.is_empty() || !name.iter().copied().all(is_token) {
        return Err(Error::local(format!("Illegal {what} name b'{}'", name.escape_ascii())));
    }
    let is_space = |byte: u8| matches!(byte, b' ' | b'\t');
    let is_break = |byte: u8| matches!(byte, 0 | b'\n' | b'\r' | 0x0b | 0x0c);
    let illegal = |index| match value {
        // The text is h11's. The value is this one byte: nothing of it remains hidden.
        [byte] => Error::local(format!("Illegal {what} value b'{}'", byte.escape_ascii())),
        _ => illegal_byte(&format!("{what} value of {}", name.escape_ascii()), value, index),
    };
    if let Some(index) = value.iter().position(|&byte| is_break(byte)) {
        return Err(illegal(index));
    }
    match (value.first(), value.last()) {
        (Some(&first), _) if is_space(first) => Err(illegal(0)),
        (_, Some(&last)) if is_space(last) => Err(illegal(value.len() - 1)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(headers: &[(&[u8], &[u8])]) -> Result<RequestHead> {
        let mut writer = HeadWriter::new(b"GET", b"/")?;
        writer.header(b"Host", b"example.com")?;
        for (name, value) in headers {
            writer.header(name, value)?;
        }
        writer.finish()
    }

    #[test]
    fn a_head_is_written_as_given() {
        let head = head(&[(b"x-LOWER", b"1"), (b"X-Dup", b"a, b"), (b"X-Dup", b"")]).expect("a legal head");
        assert_eq!(head.bytes, "GET / HTTP/1.1\r\nHost: example.com\r\nx-LOWER: 1\r\nX-Dup: a, b\r\nX-Dup: \r\n\r\n");
        assert_eq!(head.framing, Framing::None);
    }

    #[test]
    fn bytes_that_could_become_another_header_are_refused() {
        for value in [b"a\r\nb: c".as_slice(), b"a\nb", b"a\rb", b"a\0b", b" a", b"a "] {
            assert!(head(&[(b"X", value)]).is_err(), "{value:?}");
        }
        for name in [b"".as_slice(), b"a b", b"a:", b"a\r\n", b"\xe9"] {
            assert!(head(&[(name, b"x")]).is_err(), "{name:?}");
        }
        for target in [b"".as_slice(), b"/a b", b"/\r\n", b"/\0"] {
            assert!(HeadWriter::new(b"GET", target).is_err(), "{target:?}");
        }
        assert!(HeadWriter::new(b"G ET", b"/").is_err());
    }

    #[test]
    fn ambiguous_framing_is_refused() {
        assert_eq!(head(&[(b"content-length", b"5")]).expect("legal").framing, Framing::Length(5));
        assert_eq!(head(&[(b"Transfer-Encoding", b"Chunked")]).expect("legal").framing, Framing::Chunked);
        for headers in [
            [(b"Content-Length".as_slice(), b"5".as_slice()), (b"Content-Length", b"6")].as_slice(),
            &[(b"Content-Length", b"5"), (b"Transfer-Encoding", b"chunked")],
            &[(b"Content-Length", b"+5")],
            &[(b"Content-Length", b"99999999999999999999999")],
            &[(b"Transfer-Encoding", b"gzip")],
        ] {
            assert!(head(headers).is_err(), "{headers:?}");
        }
    }

    #[test]
    fn exactly_one_host_is_required() {
        assert!(HeadWriter::new(b"GET", b"/").expect("legal").finish().is_err());
        assert!(head(&[(b"host", b"other")]).is_err());
    }

    #[test]
    fn methods_that_may_be_sent_again_are_known() {
        for (method, expected) in [
            (b"GET".as_slice(), Method::Idempotent),
            (b"PUT", Method::Idempotent),
            (b"DELETE", Method::Idempotent),
            (b"OPTIONS", Method::Idempotent),
            (b"TRACE", Method::Idempotent),
            (b"HEAD", Method::Head),
            (b"CONNECT", Method::Connect),
            (b"POST", Method::Other),
            (b"PATCH", Method::Other),
            (b"get", Method::Other),
        ] {
            let mut writer = HeadWriter::new(method, b"/").expect("legal");
            writer.header(b"Host", b"h").expect("legal");
            let head = writer.finish().expect("legal");
            assert_eq!(head.method, expected, "{}", method.escape_ascii());
            assert_eq!(head.method.is_idempotent(), matches!(expected, Method::Idempotent | Method::Head));
        }
    }

    #[test]
    fn safe_requests_without_a_body_may_be_early_data() {
        let request = |method: &str, fields: &[(&str, &str)], content: &'static str| {
            crate::testing::request(method, "/", fields, Content::Inline(content.into()))
        };
        for method in ["GET", "HEAD", "OPTIONS", "TRACE"] {
            let request = request(method, &[], "");
            assert_eq!(request.for_early_data(), Some(&request.head.bytes), "{method}");
        }
        assert!(request("GET", &[("Content-Length", "0")], "").for_early_data().is_some());
        for method in ["PUT", "DELETE", "POST", "CONNECT", "QUERY", "get", "GETS"] {
            assert!(request(method, &[], "").for_early_data().is_none(), "{method}");
        }
        for (name, value, content) in [
            ("Content-Length", "1", "x"),
            ("Transfer-Encoding", "chunked", ""),
            ("Upgrade", "websocket", ""),
            ("Expect", "100-continue", ""),
        ] {
            assert!(request("GET", &[(name, value)], content).for_early_data().is_none(), "{name}");
        }
        let streamed = Request { content: Content::Streamed, ..request("GET", &[], "") };
        assert!(streamed.for_early_data().is_none());
        let with_trailers = Request { has_trailers: true, ..request("GET", &[], "") };
        assert!(with_trailers.for_early_data().is_none());
    }

    #[test]
    fn headers_that_concern_the_connection_are_noted() {
        let plain = head(&[(b"Connection", b"keep-alive"), (b"X-Close", b"close")]).expect("legal");
        assert_eq!((plain.close, plain.upgrade, plain.trailer), (false, false, None));
        let noted =
            head(&[(b"connection", b"upgrade ,CLOSE"), (b"UPGRADE", b"h2c"), (b"trailer", b"A, B")]).expect("legal");
        assert_eq!((noted.close, noted.upgrade, noted.trailer), (true, true, Some("A, B".into())));
        let expects = |value| head(&[(b"EXPECT", value)]).expect("legal").expects_continue;
        assert!(expects(b"100-Continue") && !expects(b"200-ok") && !plain.expects_continue);
    }

    #[test]
    fn repeated_lengths_must_agree() {
        let repeated = head(&[(b"Content-Length", b"5"), (b"Content-Length", b"05")]).expect("legal");
        assert_eq!(repeated.framing, Framing::Length(5));
        assert!(head(&[(b"Transfer-Encoding", b"chunked"), (b"Transfer-Encoding", b"chunked")]).is_err());
        assert!(head(&[(b"Content-Length", b"")]).is_err());
    }

    #[test]
    fn the_error_shows_no_value() {
        for value in [b"secret\n".as_slice(), b" secret", b"sec\0ret", b"secret\t"] {
            let error = head(&[(b"Cookie", value)]).expect_err("illegal");
            assert!(error.message().contains("Cookie") && !error.message().contains("sec"), "{error}");
        }
    }

    #[test]
    fn trailers_do_not_frame_a_message() {
        let check = |name: &'static str, value: &'static str| check_trailers(&[(name.into(), value.into())]);
        assert!(check("X-Sum", "1").is_ok());
        for name in ["Content-Length", "transfer-encoding", "HOST", "Trailer", "", "a b"] {
            assert!(check(name, "1").is_err(), "{name}");
        }
        assert!(check("X-Sum", "1\r\nA: b").is_err());
    }
}
