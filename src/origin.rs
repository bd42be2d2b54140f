//! Scheme, host and port: what a connection is made to, and what decides whether it can serve a request (RFC 9110, 4.3.1).

use std::borrow::Cow;
use std::fmt;

/// The schemes that httpcore's pools accept. `ws` and `wss` are origins of their own, as in httpcore.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    Http,
    Https,
    Ws,
    Wss,
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
        }
    }

    pub fn default_port(self) -> i64 {
        if self.is_tls() { 443 } else { 80 }
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
        if self.port == self.scheme.default_port() {
            Cow::Borrowed(&self.host)
        } else {
            Cow::Owned(format!("{}:{}", self.host, self.port))
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", self.scheme.as_str(), self.host, self.port)
    }
}
