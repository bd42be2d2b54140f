//! Origins: scheme, host and port (RFC 9110, 4.3.1). A connection is made to one, and serves requests to the same one.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;
use std::net::Ipv6Addr;
use std::sync::Arc;

use crate::error::{Error, Kind, Result};

/// The schemes that httpcore's pools accept. `ws` and `wss` are origins of their own, as in httpcore.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    Http,
    Https,
    Ws,
    Wss,
    /// The scheme of a proxy; no request has it.
    Socks5,
}

impl Scheme {
    pub fn parse(scheme: &[u8]) -> Option<Self> {
        match scheme {
            b"http" => Some(Self::Http),
            b"https" => Some(Self::Https),
            b"ws" => Some(Self::Ws),
            b"wss" => Some(Self::Wss),
            _ => None,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Ws => "ws",
            Self::Wss => "wss",
            Self::Socks5 => "socks5",
        }
    }

    pub fn default_port(self) -> i64 {
        match self {
            Self::Http | Self::Ws => 80,
            Self::Https | Self::Wss => 443,
            Self::Socks5 => 1080,
        }
    }

    pub fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::Wss)
    }
}

/// Header fields for a proxy, as names and values. They may be credentials, and are shown nowhere.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TunnelHeaders(pub Arc<[(Vec<u8>, Vec<u8>)]>);

impl fmt::Debug for TunnelHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TunnelHeaders")
    }
}

/// An origin as it was given by the user: its port may be out of range.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    pub scheme: Scheme,
    pub host: String,
    pub port: i64,
    /// The name that the server is verified for in place of the host (`sni_hostname`). A connection serves requests with the same
    /// name only.
    pub server_name: Option<String>,
    /// The fields of the request for a tunnel, beside those for every tunnel. A connection serves requests with the same ones only.
    pub tunnel_headers: Option<TunnelHeaders>,
}

impl Origin {
    /// Returns an origin without a `server_name`. Requests in a row that have the same one share it.
    pub fn shared(scheme: Scheme, host: &str, port: i64) -> Arc<Self> {
        thread_local! {
            static LAST: RefCell<Option<Arc<Origin>>> = const { RefCell::new(None) };
        }

        let made = || Arc::new(Self { scheme, host: host.to_owned(), port, server_name: None, tunnel_headers: None });
        let shared = |last: &RefCell<Option<Arc<Self>>>| {
            let mut last = last.borrow_mut();
            match &*last {
                Some(last) if last.port == port && last.scheme == scheme && last.host == host => Arc::clone(last),
                _ => Arc::clone(last.insert(made())),
            }
        };
        // At the end of a thread nothing is kept any more.
        LAST.try_with(shared).unwrap_or_else(|_| made())
    }

    /// Returns the value of `Host`: with the port only if it is not the default of the scheme.
    pub fn authority(&self) -> Cow<'_, str> {
        if self.port == self.scheme.default_port() { self.bracketed_host() } else { self.host_and_port().into() }
    }

    /// Returns host and port, also if that is the default.
    pub fn host_and_port(&self) -> String {
        let (host, port) = (self.bracketed_host(), self.port.to_string());
        [&host, ":", &port].concat()
    }

    /// Returns the host, an IPv6 address without brackets.
    pub fn bare_host(&self) -> &str {
        unbracketed(&self.host).unwrap_or(&self.host)
    }

    /// Returns the port, or an error if it is out of range.
    pub fn tcp_port(&self) -> Result<u16> {
        u16::try_from(self.port).map_err(|_| {
            let message = format!("connecting to {self} failed: {} is not a port (0-65535)", self.port);
            Error::new(Kind::ConnectError, message)
        })
    }

    fn bracketed_host(&self) -> Cow<'_, str> {
        let is_bare = self.host.contains(':') && !self.host.starts_with('[');
        if is_bare { format!("[{}]", self.host).into() } else { Cow::Borrowed(&self.host) }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", self.scheme.as_str(), self.bracketed_host(), self.port)
    }
}

/// Checks the host of a request. It becomes part of request lines, of messages to proxies and of lookups, where an illegal byte could
/// end it or begin something else.
///
/// A host is an IPv6 address, with or without brackets and with or without a zone, or a registered name (RFC 3986, 3.2.2). The latter
/// includes IPv4 addresses, underscores, trailing dots and percent-encoding. An empty host is accepted, and fails where it is used.
pub fn check_host(what: &str, host: &str) -> Result<()> {
    if host.bytes().all(is_of_name) || is_ipv6(unbracketed(host).unwrap_or(host)) {
        return Ok(());
    }
    match host.bytes().position(|byte| byte != b':' && !is_of_name(byte)) {
        Some(index) => Err(illegal_byte(what, host.as_bytes(), index)),
        None => Err(Error::local(format!("Illegal {what}: with a colon in it, it can only be an address of IPv6"))),
    }
}

/// Returns the error for a part of a request with an illegal byte. The message does not show the part, which may be a secret.
pub fn illegal_byte(what: &str, part: &[u8], index: usize) -> Error {
    let byte = part.get(index).copied().unwrap_or_default();
    Error::local(format!("Illegal {what}: byte b'{}' at index {index}", byte.escape_ascii()))
}

fn unbracketed(host: &str) -> Option<&str> {
    host.strip_prefix('[')?.strip_suffix(']')
}

/// Returns whether the host is an IPv6 address, with or without a zone (RFC 6874).
fn is_ipv6(host: &str) -> bool {
    let (address, zone) = host.split_once('%').map_or((host, None), |(address, zone)| (address, Some(zone)));
    address.parse::<Ipv6Addr>().is_ok() && zone.is_none_or(|zone| !zone.is_empty() && zone.bytes().all(is_of_name))
}

/// Returns whether a registered name may have this byte: unreserved, the `%` of an encoded one, or a sub-delimiter (RFC 3986, 3.2.2).
fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_or_addresses() {
        let accepted = [
            "",
            "example.com",
            "example.com.",
            "xn--bcher-kva.test",
            "under_score.test",
            "127.0.0.1",
            "a%20b",
            "~!$&'()*+,;=",
            "::1",
            "[::1]",
            "::ffff:1.2.3.4",
            "fe80::1%eth0",
            "[fe80::1%25eth0]",
        ];
        for host in accepted {
            assert!(check_host("host", host).is_ok(), "{host:?}");
        }
    }

    #[test]
    fn hosts_with_delimiters_are_refused() {
        for byte in (0..=0x20).chain(*b"/?#@\\[]\"<>^`{|}:\x7f") {
            let byte = char::from(byte);
            for host in [format!("a{byte}b"), format!("{byte}ab"), format!("ab{byte}")] {
                assert!(check_host("host", &host).is_err(), "{host:?}");
            }
        }
        for host in [
            "[127.0.0.1]",
            "127.0.0.1]",
            "[a.test]",
            "[[::1]]",
            "[::1",
            "::1]",
            "[]",
            "::1%",
            "::1%a/b",
            "[::1]x",
            "1::2::3",
            "host:80",
            "\u{e9}",
        ] {
            assert!(check_host("host", host).is_err(), "{host:?}");
        }
    }

    #[test]
    fn requests_in_a_row_share_their_origin() {
        let origin = Origin::shared(Scheme::Http, "a.test", 80);
        assert!(Arc::ptr_eq(&origin, &Origin::shared(Scheme::Http, "a.test", 80)));
        for (scheme, host, port) in [
            (Scheme::Https, "a.test", 80),
            (Scheme::Http, "b.test", 80),
            (Scheme::Http, "a.test", 81),
            (Scheme::Http, "a.test", 80),
        ] {
            let other = Origin::shared(scheme, host, port);
            assert_eq!(
                (other.scheme, other.host.as_str(), other.port, &other.server_name),
                (scheme, host, port, &None)
            );
        }
    }

    #[test]
    fn ipv6_addresses_are_formatted_in_brackets() {
        for host in ["::1", "[::1]"] {
            let origin = Origin {
                scheme: Scheme::Http,
                host: host.to_owned(),
                port: 8080,
                server_name: None,
                tunnel_headers: None,
            };
            assert_eq!(origin.to_string(), "http://[::1]:8080");
            assert_eq!(origin.bare_host(), "::1");
        }
    }
}
