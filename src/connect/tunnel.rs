//! Tunnels through an HTTP proxy: CONNECT (RFC 9110, 9.3.6).
//!
//! Cancelling: dropping the future closes the stream.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::proxy::Proxy;
use crate::error::Result;
use crate::http1::Http1;
use crate::io::stream::Stream;
use crate::message::{Content, Request};
use crate::operation::{EffectChannel, ExchangeKind};
use crate::origin::Origin;
use crate::timeout::Timeouts;

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
    let request = Request {
        origin: Arc::clone(&proxy.origin),
        head: proxy.tunnel_head(origin)?,
        content: Content::Inline(Bytes::new()),
        timeouts: Timeouts { read: operation_timeout, write: operation_timeout, ..Timeouts::default() },
        has_trailers: false,
    };
    let mut connection = Http1::new(stream, Arc::clone(&proxy.origin)).await?.reporting_as(ExchangeKind::Connect);
    let response = connection.send(&request, effects).await.map_err(|failure| failure.error)?;
    let head = response.head;
    if !(200..300).contains(&head.status) {
        return Err(Proxy::refused(format!("{} {}", head.status, printable(head.reason()))));
    }
    match connection.into_stream() {
        Some((stream, early)) if early.is_empty() => Ok(stream),
        // Only the proxy can have sent it: nothing has been sent to the origin yet.
        _ => Err(Proxy::refused(format!("the proxy {} sent data in a tunnel before it was used", proxy.origin))),
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
    use super::*;

    #[test]
    fn reasons_are_printable() {
        assert_eq!(printable(b"Not Today, 'friend'\\"), "Not Today, 'friend'\\");
        assert_eq!(printable(b"\x1b[31mX\t\x00\x7f\xe9"), "\\x1b[31mX\\t\\x00\\x7f");
    }
}
