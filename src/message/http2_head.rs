//! Heads of HTTP/2 (RFC 9113, 8.3).
//!
//! The head of a request is derived from the head that was written out for HTTP/1.1; a request that would reach the server changed is
//! refused. The head of a response is kept as h2 has decoded it.

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{HeaderMap, Method, Version};

use super::request::{Request, RequestHead};
use crate::error::{Error, Result};

/// A status and headers.
#[derive(Clone, Debug)]
pub struct Http2Head {
    pub status: u16,
    pub headers: HeaderMap,
}

/// Returns the request as h2 takes it: names in lower case, in their order, fields of one name together, and without the fields that
/// belong to a connection of HTTP/1.1 (RFC 9113, 8.2.2).
pub fn http2_request(request: &Request) -> Result<http::Request<()>> {
    let lines = Lines::of(&request.head);
    let (method, target) = lines.request_line()?;
    let mut headers = HeaderMap::with_capacity(16);
    let mut authority = None;
    for (name, value) in lines.fields() {
        if name.eq_ignore_ascii_case(b"host") {
            authority = Some(value);
        } else if name.eq_ignore_ascii_case(b"te") && !value.eq_ignore_ascii_case(b"trailers") {
            return Err(Error::local("of TE only `trailers` can be sent over HTTP/2"));
        } else if !is_connection_specific(&name) {
            append(&mut headers, &name, value)?;
        }
    }
    let host = authority.ok_or_else(|| Error::local("Missing mandatory Host: header"))?;
    let mut parts = http::uri::Parts::default();
    let method = Method::from_bytes(&method).map_err(|_| unsendable("method"))?;
    if method == Method::CONNECT && !target.starts_with(b"/") {
        // The target is where the tunnel leads (RFC 9113, 8.5).
        parts.authority = Some(read_authority("target", target.clone())?);
    } else {
        parts.authority = Some(read_authority("Host", host)?);
    }
    if method != Method::CONNECT {
        let scheme = request.origin.scheme.as_str();
        parts.scheme = Some(Scheme::try_from(scheme).map_err(|_| unsendable("scheme"))?);
        parts.path_and_query = Some(path(&target)?);
    }
    let mut converted = http::Request::new(());
    *converted.method_mut() = method;
    *converted.uri_mut() = Uri::from_parts(parts).map_err(|_| unsendable("target"))?;
    *converted.version_mut() = Version::HTTP_2;
    *converted.headers_mut() = headers;
    Ok(converted)
}

/// Returns trailers as h2 takes them.
pub fn http2_trailers(fields: &[(Bytes, Bytes)]) -> Result<HeaderMap> {
    let mut trailers = HeaderMap::with_capacity(fields.len());
    for (name, value) in fields {
        append(&mut trailers, name, value.clone())?;
    }
    Ok(trailers)
}

fn append(headers: &mut HeaderMap, name: &[u8], value: Bytes) -> Result<()> {
    let header = |what: &str| format!("{what} b'{}'", name.escape_ascii());
    let value = HeaderValue::from_maybe_shared(value).map_err(|_| unsendable(&header("value of the header")))?;
    let name = HeaderName::from_bytes(name).map_err(|_| unsendable(&header("header name")))?;
    headers.try_append(name, value).map_err(|_| Error::local("too many headers for HTTP/2"))?;
    Ok(())
}

/// Returns the path, if it is the whole target: the parser drops a fragment, and the request would be another one than the caller's.
fn path(target: &Bytes) -> Result<PathAndQuery> {
    PathAndQuery::from_maybe_shared(target.clone())
        .ok()
        .filter(|path| path.as_str().as_bytes() == target)
        .ok_or_else(|| unsendable("target"))
}

/// Returns an authority, if it has no user and password: HTTP/2 forbids them (RFC 9113, 8.3.1).
fn read_authority(what: &str, authority: Bytes) -> Result<Authority> {
    Authority::from_maybe_shared(authority)
        .ok()
        .filter(|authority| !authority.as_str().contains('@'))
        .ok_or_else(|| unsendable(what))
}

fn is_connection_specific(name: &[u8]) -> bool {
    let is = |field: &str| name.eq_ignore_ascii_case(field.as_bytes());
    match name.len() {
        7 => is("upgrade"),
        10 => is("connection") || is("keep-alive"),
        16 => is("proxy-connection"),
        17 => is("transfer-encoding"),
        _ => false,
    }
}

/// Returns the error for something that cannot be sent. The message does not show it: it may be a secret.
fn unsendable(what: &str) -> Error {
    Error::local(format!("Illegal {what} for HTTP/2"))
}

/// The lines of a head that [`super::HeadWriter`] has written.
struct Lines {
    first: Bytes,
    fields: Bytes,
}

impl Lines {
    fn of(head: &RequestHead) -> Self {
        let end = memchr::memchr(b'\r', &head.bytes).map_or(head.bytes.len(), |end| end + 2);
        Self { first: head.bytes.slice(..end.saturating_sub(2)), fields: head.bytes.slice(end..) }
    }

    fn request_line(&self) -> Result<(Bytes, Bytes)> {
        let mut parts = self.first.split(|&byte| byte == b' ');
        match (parts.next(), parts.next()) {
            (Some(method), Some(target)) => Ok((self.first.slice_ref(method), self.first.slice_ref(target))),
            _ => Err(unsendable("request line")),
        }
    }

    fn fields(&self) -> impl Iterator<Item = (Bytes, Bytes)> {
        let mut rest = self.fields.clone();
        std::iter::from_fn(move || {
            let end = memchr::memchr(b'\r', &rest)?;
            let line = rest.split_to(end);
            let _line_end = rest.split_to(2);
            let colon = memchr::memchr(b':', &line)?;
            // `HeadWriter` separates them by `: `.
            Some((line.slice(..colon), line.slice(colon + 2..)))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::message::{Content, HeadWriter};
    use crate::origin::{Origin, Scheme as OriginScheme};
    use crate::timeout::Timeouts;

    fn convert(method: &[u8], target: &[u8], headers: &[(&[u8], &[u8])]) -> Result<http::Request<()>> {
        let mut writer = HeadWriter::new(method, target)?;
        for (name, value) in headers {
            writer.header(name, value)?;
        }
        let origin = Origin {
            scheme: OriginScheme::Https,
            host: "h".to_owned(),
            port: 443,
            server_name: None,
            tunnel_headers: None,
        };
        http2_request(&Request {
            origin: Arc::new(origin),
            head: writer.finish()?,
            content: Content::Inline(Bytes::new()),
            timeouts: Timeouts::default(),
            has_trailers: false,
            timings: Arc::default(),
            has_informational: false,
            expect_continue: None,
        })
    }

    #[test]
    fn fields_keep_their_order_and_those_of_a_connection_are_dropped() {
        let headers: &[(&[u8], &[u8])] = &[
            (b"X-B", b"1"),
            (b"Host", b"example.com:8443"),
            (b"Connection", b"keep-alive"),
            (b"Keep-Alive", b"5"),
            (b"Upgrade", b"h2c"),
            (b"x-a", b"2"),
            (b"X-B", b"3"),
            (b"TE", b"trailers"),
        ];
        let converted = convert(b"GET", b"/path?q=%20{}", headers).expect("a legal request");
        assert_eq!(converted.uri(), "https://example.com:8443/path?q=%20{}");
        let fields: Vec<_> =
            converted.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!(fields, [("x-b", &b"1"[..]), ("x-b", b"3"), ("x-a", b"2"), ("te", b"trailers")]);
    }

    #[test]
    fn the_target_of_connect_becomes_the_authority() {
        let converted = convert(b"CONNECT", b"elsewhere:1", &[(b"Host", b"h")]).expect("a legal request");
        assert_eq!(converted.uri(), "elsewhere:1");
        assert_eq!(convert(b"CONNECT", b"/", &[(b"Host", b"h")]).expect("a legal request").uri(), "h");
    }

    #[test]
    fn a_request_that_would_reach_the_server_changed_is_refused() {
        assert!(convert(b"GET", b"/a#b", &[(b"Host", b"h")]).is_err());
        assert!(convert(b"GET", b"/<>", &[(b"Host", b"h")]).is_err());
        assert!(convert(b"GET", b"/", &[(b"Host", b"h i")]).is_err());
        assert!(convert(b"GET", b"/", &[(b"Host", b"user:password@h")]).is_err());
        assert!(convert(b"CONNECT", b"user@elsewhere:1", &[(b"Host", b"h")]).is_err());
        assert!(convert(b"GET", b"/", &[(b"Host", b"h"), (b"TE", b"gzip")]).is_err());
        assert!(convert(b"GET", b"/", &[(b"Host", b"h"), (b"X", b"a\x01b")]).is_err());
    }

    #[test]
    fn every_byte_of_a_head_is_sent_or_refused() {
        for byte in 0..=u8::MAX {
            let target = [b"/a".as_slice(), &[byte]].concat();
            let value = [b"a".as_slice(), &[byte], b"b"].concat();
            if let Ok(converted) = convert(b"GET", &target, &[(b"Host", b"h"), (b"X", &value)]) {
                assert_eq!(converted.uri().path_and_query().expect("a path").as_str().as_bytes(), target);
                assert_eq!(converted.headers()["x"].as_bytes(), value);
            }
        }
    }

    #[test]
    fn a_target_that_is_no_path_is_kept() {
        let converted = convert(b"OPTIONS", b"*", &[(b"Host", b"h")]).expect("a legal request");
        assert_eq!(converted.uri().path(), "*");
        assert!(convert(b"GET", b"http://elsewhere/", &[(b"Host", b"h")]).is_err());
    }

    #[test]
    fn trailers_are_converted_or_refused() {
        let convert = |name: &'static str, value: &'static str| http2_trailers(&[(name.into(), value.into())]);
        assert_eq!(convert("X-Sum", "1").expect("legal")["x-sum"], "1");
        assert!(convert("X Sum", "1").is_err());
        let error = convert("X-Sum", "secret\u{1}").expect_err("illegal");
        assert!(error.message().contains("X-Sum") && !error.message().contains("secret"), "{error}");
    }
}
