//! The outbound side of an exchange: replaces the head that hyper writes by the caller's. Pure, without I/O.
//!
//! hyper writes a head of its own, which frames the body and is otherwise empty. On the way to the stream the caller's head, byte for
//! byte, takes its place.

use std::io::IoSlice;

use bytes::{Buf, Bytes};
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderValue, TRAILER, TRANSFER_ENCODING};

use crate::error::Error;
use crate::message::{Framing, Method, RequestHead};

/// The most slices that hyper passes in one call, the caller's head included.
pub const MAX_SLICES: usize = 64;

/// The state of the outbound side.
pub enum Outbound {
    /// The caller's head, or the rest of it, is going out.
    Head(OutgoingHead),
    /// The head is out, and hyper has not written its own, which is dropped when it does.
    Replaced,
    /// The head is out, and the stream took all that hyper wrote.
    Flowing,
    /// The head is out, and the stream takes no more at the moment.
    Blocked,
    /// A write has failed. Further writes are discarded, so that hyper goes on to read the response (a 413 sent early, for example).
    /// The error is reported only if there is no response.
    Failed(Option<Error>),
}

impl Outbound {
    /// Returns whether bytes wait for the stream to take them.
    pub fn is_blocked(&self) -> bool {
        matches!(self, Self::Head(_) | Self::Blocked)
    }

    pub fn has_failed(&self) -> bool {
        matches!(self, Self::Failed(_))
    }

    /// Notes whether the stream took what was written behind the head.
    pub fn set_blocked(&mut self, is_blocked: bool) {
        match self {
            Self::Flowing | Self::Blocked => *self = if is_blocked { Self::Blocked } else { Self::Flowing },
            Self::Head(_) | Self::Replaced | Self::Failed(_) => {}
        }
    }

    /// Returns whether hyper has not written its head yet, though the caller's is out.
    pub fn is_replaced(&self) -> bool {
        matches!(self, Self::Replaced)
    }

    /// Ends an exchange in which hyper has written nothing. Returns whether it was one.
    pub fn end_replaced(&mut self) -> bool {
        let is_replaced = self.is_replaced();
        if is_replaced {
            *self = Self::Flowing;
        }
        is_replaced
    }

    /// Takes the reason why writing failed.
    pub fn take_error(&mut self) -> Option<Error> {
        if let Self::Failed(error) = self { error.take() } else { None }
    }
}

/// The caller's head, or what is left to send of it.
pub struct OutgoingHead(Bytes);

impl OutgoingHead {
    pub fn new(head: Bytes) -> Self {
        Self(head)
    }

    /// Returns what is left to send.
    pub fn rest(&self) -> &[u8] {
        &self.0
    }

    /// Stores the slices to write in the place of those that hyper offers, and returns their number. The first slice that hyper
    /// offers holds its head, and nothing else.
    pub fn replace_first<'a>(&'a self, offered: &[IoSlice<'a>], slices: &mut [IoSlice<'a>; MAX_SLICES]) -> usize {
        let count = offered.len().clamp(1, MAX_SLICES);
        slices[0] = IoSlice::new(&self.0);
        slices[1..count].copy_from_slice(offered.get(1..count).unwrap_or_default());
        count
    }

    /// Counts `sent` bytes of those slices. Once the head is out, returns the number of offered bytes that were taken, hyper's head included.
    pub fn advance(&mut self, sent: usize, offered: &[IoSlice<'_>]) -> Option<usize> {
        if sent < self.0.len() {
            self.0.advance(sent);
            return None;
        }
        Some(offered.first().map_or(0, |head| head.len()) + sent - self.0.len())
    }
}

/// Returns the request as hyper needs it: nothing but what frames the body, and whether the connection is kept.
pub fn framing_request<B>(head: &RequestHead, body: B, trailers: Option<&Bytes>) -> http::Request<B> {
    let mut request = http::Request::new(body);
    *request.method_mut() = match head.method {
        Method::Head => http::Method::HEAD,
        Method::Connect => http::Method::CONNECT,
        // All others are framed alike.
        Method::Idempotent | Method::Other => http::Method::POST,
    };
    let headers = request.headers_mut();
    match head.framing {
        Framing::None => {}
        Framing::Length(length) => {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        Framing::Chunked => {
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
    }
    // hyper sends only the trailers that a `Trailer` header names.
    if let Some(names) =
        trailers.filter(|names| !names.is_empty()).and_then(|names| HeaderValue::from_bytes(names).ok())
    {
        headers.insert(TRAILER, names);
    }
    if head.close {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if head.method == Method::Connect {
        // hyper writes the target of CONNECT as an authority; the caller's head replaces it.
        *request.uri_mut() = http::Uri::from_static("authority:1");
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::HeadWriter;

    /// Sends what hyper offers through a stream that takes `size` bytes at a time, and returns what arrives.
    fn send(head: &'static [u8], offered: &[&[u8]], size: usize) -> Vec<u8> {
        let mut sent = Vec::new();
        let mut head = OutgoingHead::new(Bytes::from_static(head));
        let mut offered: Vec<&[u8]> = offered.to_vec();
        let taken = loop {
            let bufs: Vec<IoSlice<'_>> = offered.iter().map(|part| IoSlice::new(part)).collect();
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let count = head.replace_first(&bufs, &mut slices);
            let bytes: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.to_vec()).take(size).collect();
            sent.extend_from_slice(&bytes);
            if let Some(taken) = head.advance(bytes.len(), &bufs) {
                break taken;
            }
        };
        // hyper offers the rest of what was not taken, as it would.
        let mut taken = taken;
        for part in &mut offered {
            let length = taken.min(part.len());
            *part = &part[length..];
            taken -= length;
        }
        assert_eq!(taken, 0, "more was taken than was offered");
        for part in offered {
            sent.extend_from_slice(part);
        }
        sent
    }

    #[test]
    fn the_head_of_hyper_is_replaced() {
        for head in [b"GET /caller HTTP/1.1\r\nHost: h\r\n\r\n".as_slice(), b"X"] {
            for offered in [
                [b"POST / HTTP/1.1\r\n\r\n".as_slice()].as_slice(),
                &[b"POST / HTTP/1.1\r\n\r\n", b"body"],
                &[b"POST / HTTP/1.1\r\n\r\n", b"5\r\n", b"hello", b"\r\n", b"0\r\n\r\n"],
            ] {
                let expected = [head, &offered[1..].concat()].concat();
                for size in 1..=expected.len() {
                    assert_eq!(send(head, offered, size), expected, "{size}");
                }
            }
        }
    }

    #[test]
    fn more_slices_than_fit_are_left_for_later() {
        let offered = vec![b"ab".as_slice(); MAX_SLICES + 10];
        let expected = [b"H".as_slice(), &offered[1..].concat()].concat();
        assert_eq!(send(b"H", &offered, usize::MAX), expected);
    }

    #[test]
    fn a_write_that_failed_stays_failed() {
        let mut outbound = Outbound::Failed(Some(Error::remote("reset")));
        outbound.set_blocked(true);
        outbound.set_blocked(false);
        assert!(outbound.has_failed() && !outbound.is_blocked());
        assert_eq!(outbound.take_error().expect("the error").message(), "reset");
        assert!(outbound.take_error().is_none() && outbound.has_failed());
    }

    #[test]
    fn a_head_that_is_not_out_blocks() {
        let mut outbound = Outbound::Head(OutgoingHead::new(Bytes::from_static(b"H")));
        outbound.set_blocked(false);
        assert!(outbound.is_blocked() && !outbound.has_failed() && outbound.take_error().is_none());
        outbound = Outbound::Flowing;
        assert!(!outbound.is_blocked());
        outbound.set_blocked(true);
        assert!(outbound.is_blocked());
        outbound.set_blocked(false);
        assert!(!outbound.is_blocked());
    }

    fn framed(method: &[u8], headers: &[(&[u8], &[u8])], trailers: Option<&'static str>) -> http::Request<()> {
        let mut writer = HeadWriter::new(method, b"/").expect("legal");
        writer.header(b"Host", b"h").expect("legal");
        for (name, value) in headers {
            writer.header(name, value).expect("legal");
        }
        framing_request(&writer.finish().expect("legal"), (), trailers.map(Bytes::from).as_ref())
    }

    #[test]
    fn hyper_is_told_what_frames_the_body() {
        let plain = framed(b"GET", &[(b"Accept", b"*/*"), (b"Cookie", b"secret")], None);
        assert_eq!((plain.method(), plain.headers().len()), (&http::Method::POST, 0));
        let declared = framed(b"PUT", &[(b"Content-Length", b"5"), (b"Connection", b"Close")], None);
        assert_eq!(declared.headers()[CONTENT_LENGTH], "5");
        assert_eq!(declared.headers()[CONNECTION], "close");
        let chunked = framed(b"POST", &[(b"Transfer-Encoding", b"chunked")], Some("A,B"));
        assert_eq!(chunked.headers()[TRANSFER_ENCODING], "chunked");
        assert_eq!(chunked.headers()[TRAILER], "A,B");
        assert_eq!(framed(b"HEAD", &[], Some("")).method(), http::Method::HEAD);
        assert_eq!(framed(b"CONNECT", &[], None).uri(), "authority:1");
    }
}
