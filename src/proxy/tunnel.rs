//! A tunnel through an HTTP proxy: CONNECT (RFC 9110, 9.3.6).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Proxy;
use crate::ask::Asker;
use crate::connection::http1::Http1;
use crate::error::Result;
use crate::io::stream::Stream;
use crate::origin::Origin;
use crate::request::{Content, Request};
use crate::timeout::Timeouts;
use crate::trace::Protocol;

/// Has the proxy at the other end of the stream open a tunnel to an origin: what follows on the stream is the origin's.
///
/// `patience` bounds each read and write. Dropping the future closes the stream.
pub async fn open(
    stream: Stream,
    proxy: &Proxy,
    origin: &Origin,
    patience: Option<Duration>,
    asker: &Asker,
) -> Result<Stream> {
    let request = Request {
        origin: Arc::clone(&proxy.origin),
        head: proxy.tunnel_head(origin)?,
        content: Content::Inline(Bytes::new()),
        timeouts: Timeouts { read: patience, write: patience, ..Timeouts::default() },
        has_trailers: false,
    };
    let mut connection = Http1::new(stream, Arc::clone(&proxy.origin)).await?.reporting_as(Protocol::Connect);
    let response = connection.send(&request, asker).await.map_err(|failure| failure.error)?;
    let head = response.head;
    if !(200..300).contains(&head.status) {
        let reason: String = head.reason().iter().filter(|byte| byte.is_ascii()).map(|&byte| byte as char).collect();
        return Err(Proxy::refused(format!("{} {reason}", head.status)));
    }
    match connection.into_stream() {
        Some((stream, early)) if early.is_empty() => Ok(stream),
        // Nobody but the proxy can have sent it: the origin has not been asked anything.
        _ => Err(Proxy::refused(format!("the proxy {} sent data in a tunnel before it was used", proxy.origin))),
    }
}
