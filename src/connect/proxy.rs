//! Routes through a proxy, and what is sent to the proxy.
//!
//! 1. An HTTP proxy forwards requests for `http` origins: their first line holds the whole URL.
//! 2. To all other origins it opens a tunnel ([`super::tunnel`]), as a SOCKS proxy does to every origin ([`super::socks5`]).
//! 3. The headers and credentials for the proxy are sent with forwarded requests and before a tunnel is open, never in a tunnel.

use std::sync::Arc;

use bytes::Bytes;
use memchr::memmem;

use super::socks5;
use crate::error::{Error, Kind, Result};
use crate::message::{HeadWriter, Request, RequestHead};
use crate::operation::{Callback, Fields};
use crate::origin::Origin;
use crate::tls::Tls;

/// A proxy, as the user has configured it.
pub struct Proxy {
    pub origin: Arc<Origin>,
    pub protocol: ProxyProtocol,
    /// For a proxy with an `https` URL.
    pub tls: Tls,
    /// Called when the proxy wants authentication before it opens a tunnel.
    pub authenticate: Option<Callback>,
}

pub enum ProxyProtocol {
    /// With the header fields for the proxy, `Proxy-Authorization` included.
    Http(Fields),
    Socks5(Option<socks5::Credentials>),
}

/// The route of a connection for an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyRoute {
    Direct,
    /// The connection ends at the proxy, which forwards requests.
    Forward,
    /// Through a tunnel of an HTTP proxy.
    Tunnel,
    /// Through a SOCKS proxy.
    Socks5,
}

impl Proxy {
    /// Returns the proxy, if the fields or credentials for it can be sent.
    pub fn new(origin: Origin, protocol: ProxyProtocol, tls: Tls) -> Result<Self> {
        let proxy = Self { origin: Arc::new(origin), protocol, tls, authenticate: None };
        match &proxy.protocol {
            ProxyProtocol::Http(fields) => {
                proxy.check_names(fields.iter().map(|(name, _)| &**name))?;
                proxy.tunnel_head(&proxy.origin, &[])?;
            }
            ProxyProtocol::Socks5(credentials) => {
                if let Some(credentials) = credentials {
                    credentials.check(&proxy.origin)?;
                }
            }
        }
        Ok(proxy)
    }

    pub fn route(&self, origin: &Origin) -> ProxyRoute {
        match self.protocol {
            ProxyProtocol::Http(_) if origin.scheme == crate::origin::Scheme::Http => ProxyRoute::Forward,
            ProxyProtocol::Http(_) => ProxyRoute::Tunnel,
            ProxyProtocol::Socks5(_) => ProxyRoute::Socks5,
        }
    }

    /// Returns the request as it is sent: changed if the proxy forwards it.
    pub fn forwarded(&self, request: Request) -> Request {
        match &self.protocol {
            ProxyProtocol::Http(fields) if self.route(&request.origin) == ProxyRoute::Forward => {
                let bytes = forwarded_head(&request.head.bytes, &request.origin, fields);
                let head = RequestHead { bytes, ..request.head };
                Request { head, ..request }
            }
            _ => request,
        }
    }

    /// Returns an error if one of the fields would frame a body: a request for a tunnel has none.
    fn check_names<'a>(&self, mut names: impl Iterator<Item = &'a [u8]>) -> Result<()> {
        let frames = |name: &&[u8]| {
            name.eq_ignore_ascii_case(b"content-length") || name.eq_ignore_ascii_case(b"transfer-encoding")
        };
        match names.find(frames) {
            None => Ok(()),
            Some(name) => {
                let message = format!("{} cannot be a header for the proxy {}", name.escape_ascii(), self.origin);
                Err(Error::local(message))
            }
        }
    }

    /// Returns the fields of a request for a tunnel: those for every tunnel, those that the caller's request adds, and `answer`, those
    /// that answer the proxy's last response. Later ones replace earlier ones of the same name.
    fn tunnel_fields(&self, origin: &Origin, answer: &[(Bytes, Bytes)]) -> Result<Fields> {
        let of_proxy = if let ProxyProtocol::Http(fields) = &self.protocol { &**fields } else { &[] };
        let copied = |(name, value): &(Vec<u8>, Vec<u8>)| (name.clone().into(), value.clone().into());
        let of_request: Fields =
            origin.tunnel_headers.iter().flat_map(|headers| headers.0.iter()).map(copied).collect();
        let has =
            |fields: &[(Bytes, Bytes)], name: &[u8]| fields.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
        self.check_names(of_request.iter().chain(answer).map(|(name, _)| &**name))?;
        let of_proxy = of_proxy.iter().filter(|(name, _)| !has(&of_request, name) && !has(answer, name));
        let kept = of_request.iter().filter(|(name, _)| !has(answer, name));
        Ok(of_proxy.chain(kept).chain(answer).cloned().collect())
    }

    /// Returns the head of the request for a tunnel (RFC 9110, 9.3.6).
    pub(super) fn tunnel_head(&self, origin: &Origin, answer: &[(Bytes, Bytes)]) -> Result<RequestHead> {
        let fields = self.tunnel_fields(origin, answer)?;
        let is_host = |(name, _): &&(Bytes, Bytes)| name.eq_ignore_ascii_case(b"host");
        let target = origin.host_and_port();
        let mut writer = HeadWriter::new(b"CONNECT", target.as_bytes())?;
        // `Host` comes first (RFC 9110, 7.2).
        if !fields.iter().any(|field| is_host(&field)) {
            writer.header(b"Host", target.as_bytes())?;
        }
        for (name, value) in fields.iter().filter(is_host) {
            writer.header(name, value)?;
        }
        if !fields.iter().any(|(name, _)| name.eq_ignore_ascii_case(b"accept")) {
            writer.header(b"Accept", b"*/*")?;
        }
        for (name, value) in fields.iter().filter(|field| !is_host(field)) {
            writer.header(name, value)?;
        }
        writer.finish()
    }

    /// Returns whether an HTTP proxy is sent credentials for a tunnel to an origin.
    pub(super) fn has_credentials(&self, origin: &Origin) -> bool {
        let is = |name: &[u8]| name.eq_ignore_ascii_case(b"proxy-authorization");
        let of_proxy = matches!(&self.protocol, ProxyProtocol::Http(fields) if fields.iter().any(|(name, _)| is(name)));
        of_proxy || origin.tunnel_headers.iter().flat_map(|headers| headers.0.iter()).any(|(name, _)| is(name))
    }

    /// Returns the error for a handshake that has failed.
    pub(super) fn refused(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
        Error::new(Kind::ProxyError, message)
    }
}

/// Returns a head with the URL in its first line (RFC 9112, 3.2.2) and with the fields for the proxy, except those that the request has.
fn forwarded_head(head: &[u8], origin: &Origin, fields: &[(Bytes, Bytes)]) -> Bytes {
    let line_end = memmem::find(head, b"\r\n").unwrap_or(head.len());
    let (line, rest) = head.split_at(line_end);
    let mut parts = line.splitn(3, |&byte| byte == b' ');
    let (method, target) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let mut forwarded = Vec::with_capacity(head.len() + 128);
    forwarded.extend_from_slice(method);
    forwarded.push(b' ');
    if matches!(target, b"*" | [b'/', ..]) {
        forwarded.extend_from_slice(format!("{}://{}", origin.scheme.as_str(), origin.authority()).as_bytes());
    }
    if target != b"*" {
        forwarded.extend_from_slice(target);
    }
    forwarded.extend_from_slice(b" HTTP/1.1");
    // `Host` stays first, if it was (RFC 9110, 7.2).
    let lines = rest.get(2..).unwrap_or_default();
    let host_end = memmem::find(lines, b"\r\n").filter(|_| starts_with_field(lines, b"host"));
    let (host, rest) = rest.split_at(host_end.map_or(0, |end| 2 + end));
    forwarded.extend_from_slice(host);
    for (name, value) in fields {
        if !has_field(head, name) {
            for part in [b"\r\n".as_slice(), name, b": ", value] {
                forwarded.extend_from_slice(part);
            }
        }
    }
    forwarded.extend_from_slice(rest);
    forwarded.into()
}

/// Returns whether there is a field of this name behind the first line of a head.
fn has_field(head: &[u8], name: &[u8]) -> bool {
    memmem::find_iter(head, b"\r\n").any(|end| starts_with_field(&head[end + 2..], name))
}

fn starts_with_field(lines: &[u8], name: &[u8]) -> bool {
    lines.get(name.len()) == Some(&b':') && lines[..name.len()].eq_ignore_ascii_case(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::Scheme;

    fn forwarded(head: &str, port: i64, fields: &[(&'static str, &'static str)]) -> String {
        let origin = Origin {
            scheme: Scheme::Http,
            host: "example.com".to_owned(),
            port,
            server_name: None,
            tunnel_headers: None,
        };
        let fields: Fields = fields.iter().map(|&(name, value)| (name.into(), value.into())).collect();
        String::from_utf8_lossy(&forwarded_head(head.as_bytes(), &origin, &fields)).into_owned()
    }

    #[test]
    fn the_first_line_of_a_forwarded_request_holds_the_url() {
        let head = "GET /a?b HTTP/1.1\r\nHost: example.com\r\n\r\n";
        assert_eq!(forwarded(head, 80, &[]), "GET http://example.com/a?b HTTP/1.1\r\nHost: example.com\r\n\r\n");
        assert!(forwarded(head, 8080, &[]).starts_with("GET http://example.com:8080/a?b HTTP/1.1\r\n"));
        let head = "OPTIONS * HTTP/1.1\r\nHost: example.com\r\n\r\n";
        assert!(forwarded(head, 80, &[]).starts_with("OPTIONS http://example.com HTTP/1.1\r\n"));
        for target in ["http://elsewhere/", "elsewhere:443"] {
            let head = format!("GET {target} HTTP/1.1\r\nHost: example.com\r\n\r\n");
            assert_eq!(forwarded(&head, 80, &[]), head);
        }
    }

    #[test]
    fn fields_of_the_request_replace_those_for_the_proxy() {
        let head = "GET / HTTP/1.1\r\nHost: h\r\nx-MINE: 1\r\n\r\n";
        let fields = [("Proxy-Authorization", "Basic abc"), ("X-Mine", "2"), ("Mine", "3")];
        assert_eq!(
            forwarded(head, 80, &fields),
            "GET http://example.com/ HTTP/1.1\r\nHost: h\r\nProxy-Authorization: Basic abc\r\nMine: 3\r\nx-MINE: 1\r\n\r\n"
        );
        let head = "GET / HTTP/1.1\r\nA: 1\r\nHost: h\r\n\r\n";
        let expected = "GET http://example.com/ HTTP/1.1\r\nMine: 3\r\nA: 1\r\nHost: h\r\n\r\n";
        assert_eq!(forwarded(head, 80, &fields[2..]), expected);
    }
}
