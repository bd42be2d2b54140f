//! URLs in the form that almost all programs use: `http(s)://host[:port][/path][?query]`.

use std::borrow::Cow;

use crate::origin::Scheme;

/// The parts of a URL, as `httpcore.URL` has them.
#[derive(Debug, PartialEq, Eq)]
pub struct UsualUrl<'a> {
    pub scheme: Scheme,
    pub host: &'a str,
    pub port: Option<u16>,
    /// The value of `Host`: with the port only if it is not the default of the scheme.
    pub authority: &'a str,
    /// The path and the query: the target of a request.
    pub target: Cow<'a, str>,
}

impl<'a> UsualUrl<'a> {
    /// Reads a URL. Returns `None` for one of an unusual form, for which `httpcore.URL` is to be used.
    ///
    /// Unusual are all forms of which `urllib.parse.urlparse()`, that `httpcore.URL` is built on, changes or removes a part: upper case
    /// in the scheme or host, user information, fragments, path parameters (`;`), IPv6 addresses, control characters, and bytes that
    /// are not ASCII.
    pub fn read(url: &'a [u8]) -> Option<Self> {
        let (scheme, rest) = match url.strip_prefix(b"http") {
            Some([b':', b'/', b'/', rest @ ..]) => (Scheme::Http, rest),
            Some([b's', b':', b'/', b'/', rest @ ..]) => (Scheme::Https, rest),
            _ => return None,
        };
        let beginning = rest;
        let end = rest.iter().position(|byte| !is_of_host(*byte)).unwrap_or(rest.len());
        let (host, rest) = rest.split_at(end);
        if host.is_empty() {
            return None;
        }
        let (port, rest) = match rest.split_first() {
            Some((b':', rest)) => {
                let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
                let (port, rest) = rest.split_at(digits);
                (Some(read_port(port)?), rest)
            }
            _ => (None, rest),
        };
        let host = std::str::from_utf8(host).ok()?;
        let authority = match port {
            Some(port) if i64::from(port) != scheme.default_port() => {
                std::str::from_utf8(&beginning[..beginning.len() - rest.len()]).ok()?
            }
            _ => host,
        };
        Some(Self { scheme, host, port, authority, target: read_target(rest)? })
    }
}

fn is_of_host(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'_')
}

/// Reads a port from 1 on. An empty one, 0 and leading zeros are unusual.
fn read_port(digits: &[u8]) -> Option<u16> {
    if matches!(digits, [] | [b'0', ..]) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Reads path and query as they are sent: the path is `/` if it is empty, and an empty query has no `?`.
fn read_target(rest: &[u8]) -> Option<Cow<'_, str>> {
    let is_usual = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'#' | b';');
    if !rest.iter().all(is_usual) {
        return None;
    }
    let rest = std::str::from_utf8(rest).ok()?;
    match rest.as_bytes() {
        [] => Some(Cow::Borrowed("/")),
        [b'?'] => None,
        [b'?', ..] => Some(Cow::Owned(format!("/{rest}"))),
        [b'/', ..] if rest.find('?') != Some(rest.len() - 1) => Some(Cow::Borrowed(rest)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_urls_are_read() {
        let read = |url| UsualUrl::read(str::as_bytes(url)).expect("a usual URL");
        let url = read("https://www.example-1.com:8443/a/b%20c?d=e&f=[g]?");
        assert_eq!(url.scheme, Scheme::Https);
        assert_eq!((url.host, url.port), ("www.example-1.com", Some(8443)));
        assert_eq!(url.authority, "www.example-1.com:8443");
        assert_eq!(url.target, "/a/b%20c?d=e&f=[g]?");
        assert_eq!(read("http://127.0.0.1").target, "/");
        assert_eq!(read("http://127.0.0.1:443/").authority, "127.0.0.1:443");
        for url in ["http://127.0.0.1", "http://127.0.0.1:80?a", "https://127.0.0.1:443/"] {
            assert_eq!(read(url).authority, "127.0.0.1");
        }
        assert_eq!(read("http://host_name?a").target, "/?a");
        assert_eq!(read("http://host/?a").port, None);
    }

    #[test]
    fn unusual_urls_are_left_to_httpcore() {
        for url in [
            "",
            "http",
            "http:",
            "http://",
            "http:///path",
            "ftp://host/",
            "HTTP://host/",
            "http://Host/",
            "http://user@host/",
            "http://host:/",
            "http://host:0/",
            "http://host:080/",
            "http://host:65536/",
            "http://host:8x/",
            "http://host:1@other/",
            "http://[::1]/",
            "http://host/#part",
            "http://host/a;b",
            "http://host/a b",
            "http://host/\t",
            "http://host?",
            "http://host/path?",
            "http://host\\@other/",
            "http://h\u{f6}st/",
        ] {
            assert_eq!(UsualUrl::read(url.as_bytes()), None, "{url}");
        }
    }
}
