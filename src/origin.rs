//! Scheme, host and port: what a connection is made to, and what decides whether it can serve a request (RFC 9110, 4.3.1).

use std::borrow::Cow;
use std::fmt;
use std::net::Ipv6Addr;

use crate::error::{Error, Kind, Result};

/// The schemes that httpcore's pools accept. `ws` and `wss` are origins of their own, as in httpcore.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    Http,
    Https,
    Ws,
    Wss,
    /// Of a proxy; no request has it.
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

/// An origin as the caller gave it: the port may still be one that no connection can have.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    pub scheme: Scheme,
    pub host: String,
    pub port: i64,
    /// The name that the server was verified for, if not the host (`sni_hostname`). A connection serves requests that ask for
    /// the same one only.
    pub server_name: Option<String>,
}

impl Origin {
    /// Returns the value of `Host`: with the port only if it is not the scheme's default.
    pub fn authority(&self) -> Cow<'_, str> {
        if self.port == self.scheme.default_port() { self.bracketed_host() } else { self.host_and_port().into() }
    }

    /// The port always included.
    pub fn host_and_port(&self) -> String {
        format!("{}:{}", self.bracketed_host(), self.port)
    }

    /// An address of IPv6 without brackets.
    pub fn bare_host(&self) -> &str {
        unbracketed(&self.host).unwrap_or(&self.host)
    }

    /// The port, if a connection can have such a one.
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

/// Checks a host that a request goes to, whatever the way: it becomes part of request lines, of messages to proxies and of
/// lookups, where another byte could end it or begin something else.
///
/// A host is an address of IPv6, with or without brackets and with a zone or none, or a registered name (RFC 3986, 3.2.2).
/// The latter includes addresses of IPv4, underscores, trailing dots and percent-encoding. An empty host is left to fail where
/// it is used.
pub fn check_host(what: &str, host: &str) -> Result<()> {
    if host.bytes().all(is_of_name) || is_ipv6(unbracketed(host).unwrap_or(host)) {
        return Ok(());
    }
    match host.bytes().position(|byte| byte != b':' && !is_of_name(byte)) {
        Some(index) => Err(illegal_byte(what, host.as_bytes(), index)),
        None => Err(Error::local(format!("Illegal {what}: with a colon in it, it can only be an address of IPv6"))),
    }
}

/// The error for a part of a request that holds a byte that it cannot have. It does not show the part: that may be a secret.
pub fn illegal_byte(what: &str, part: &[u8], index: usize) -> Error {
    let byte = part.get(index).copied().unwrap_or_default();
    Error::local(format!("Illegal {what}: byte b'{}' at index {index}", byte.escape_ascii()))
}

fn unbracketed(host: &str) -> Option<&str> {
    host.strip_prefix('[')?.strip_suffix(']')
}

/// An address, behind which the name of a zone may follow (RFC 6874).
fn is_ipv6(host: &str) -> bool {
    let (address, zone) = host.split_once('%').map_or((host, None), |(address, zone)| (address, Some(zone)));
    address.parse::<Ipv6Addr>().is_ok() && zone.is_none_or(|zone| !zone.is_empty() && zone.bytes().all(is_of_name))
}

/// A byte of a registered name: unreserved, `%` of an encoded one, or a sub-delimiter (RFC 3986, 3.2.2).
fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_and_addresses() {
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
    fn hosts_hold_no_delimiters() {
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
    fn addresses_of_ipv6_stand_in_brackets() {
        for host in ["::1", "[::1]"] {
            let origin = Origin { scheme: Scheme::Http, host: host.to_owned(), port: 8080, server_name: None };
            assert_eq!(origin.to_string(), "http://[::1]:8080");
            assert_eq!(origin.bare_host(), "::1");
        }
    }
}
