//! Exchanges whose request went out before the handshake of TLS was complete.

use std::io;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

use super::*;
use crate::io::stream::{Stream, TlsLayer};

/// A layer that has sent bytes before its handshake was complete, and encrypts nothing.
struct EarlyLayer {
    below: Stream,
    early_data: Option<Bytes>,
}

impl TlsLayer for EarlyLayer {
    fn below(&self) -> &Stream {
        &self.below
    }

    fn below_mut(&mut self) -> &mut Stream {
        &mut self.below
    }

    fn has_chosen(&self, _: &[u8]) -> bool {
        false
    }

    fn take_early_data(&mut self) -> Option<Bytes> {
        self.early_data.take()
    }
}

impl AsyncRead for EarlyLayer {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.below).poll_read(cx, buf)
    }
}

impl AsyncWrite for EarlyLayer {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.below).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.below).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.below).poll_shutdown(cx)
    }
}

fn connect_after<T: Send + 'static>(
    early_data: Bytes,
    script: impl FnOnce(&mut ScriptedPeer) -> T + Send + 'static,
) -> (Http1, Played<T>) {
    let (below, peer) = ScriptedPeer::play(script);
    let layer = EarlyLayer { below, early_data: Some(early_data) };
    (Http1::new(Stream::Tls(Box::new(layer)), origin()), peer)
}

#[test]
fn the_head_is_not_sent_again() {
    for is_traced in [false, true] {
        let (mut connection, peer) = connect_after(get().head.bytes, |peer| {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly");
            peer.expect(get().head.bytes);
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nusual");
            peer.receive_rest()
        });
        assert!(connection.has_early_data());
        for expected in ["early", "usual"] {
            let mut answers = if is_traced { Answers::traced() } else { Answers::default() };
            let response = send(&mut connection, &get(), &mut answers).map_err(|failure| failure.error);
            let body = read(&mut connection, response.expect("a response")).expect("a body");
            assert_eq!(body, expected);
            assert!(connection.finish() && !connection.has_early_data());
        }
        drop(connection);
        assert!(peer.finish().is_empty());
    }
}

#[test]
fn the_head_counts_as_written() {
    let (mut connection, peer) = connect_after(get().head.bytes, ScriptedPeer::end);
    let failure = send(&mut connection, &get(), &mut Answers::default()).err().expect("the end of the stream");
    assert_eq!((failure.written, failure.received), (get().head.bytes.len() as u64, 0));
    peer.finish();
}

#[test]
fn no_other_request_follows() {
    let other = Bytes::from_static(b"GET /other HTTP/1.1\r\n\r\n");
    let (mut connection, peer) = connect_after(other, ScriptedPeer::receive_rest);
    let failure = send(&mut connection, &get(), &mut Answers::default()).err().expect("a refusal");
    assert_eq!(failure.error.kind(), Kind::Internal);
    drop(connection);
    assert!(peer.finish().is_empty());
}
