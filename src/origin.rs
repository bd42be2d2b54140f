//! Scheme, host and port: what a connection is made to, and what decides whether it can serve a request (RFC 9110, 4.3.1).

use std::borrow::Cow;
use std::fmt;

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
    /// What `Host` says: the port only if it is not the scheme's own.
    pub fn authority(&self) -> Cow<'_, str> {
        if self.port == self.scheme.default_port() { self.bracketed_host() } else { self.host_and_port().into() }
    }

    /// The port always included.
    pub fn host_and_port(&self) -> String {
        format!("{}:{}", self.bracketed_host(), self.port)
    }

    /// An address of IPv6 without brackets.
    pub fn bare_host(&self) -> &str {
        self.host.trim_matches(['[', ']'])
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
        write!(f, "{}://{}:{}", self.scheme.as_str(), self.host, self.port)
    }
}
