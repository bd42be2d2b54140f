//! The inbound side of an exchange: reads response heads and replaces them for hyper. Pure, without I/O.
//!
//! The caller gets each head as the server wrote it; hyper gets a short head of the engine's own, which holds only what decides
//! framing and keep-alive (see [`Http1Head::framing_head`]), and behind it the bytes of the body unchanged.
//!
//! | [`Inbound`] | what hyper reads | next |
//! |---|---|---|
//! | `Idle` | nothing: there is no exchange | `Sending` when an exchange begins |
//! | `Sending` | nothing: the request is still going out | `Head` when the request is out, or cannot go out any further |
//! | `Head` | nothing: the engine reads the heads, and passes over `1xx` | `Body` after a final head; `Upgraded` after `101` or `2xx` to CONNECT; `Sending` if the request waited for `100` |
//! | `Body` | the short head, then the body | `Idle` when the response is complete; `Surplus` if more than the response has arrived |
//! | `Upgraded` | nothing: the connection has left HTTP, and the caller reads the stream | none |
//! | `Surplus` | nothing | none: the connection is closed |

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::ReadBuf;

use super::chunks::Chunks;
use crate::error::{Error, Result};
use crate::message::{BLANK_LINE, Http1Head, MAX_HEAD, Method};
use crate::origin::Origin;

/// The most that may arrive of a body without a byte of content among it. hyper bounds chunk extensions and trailers, but not the
/// zeros and spaces of a chunk's size. hyper reads ahead less than half of this.
const MAX_FRAMING: u64 = 1024 * 1024;

/// The state of the inbound side, see the table above.
pub enum Inbound {
    Idle,
    /// With the method of the request.
    Sending(Method),
    Head(HeadReader),
    Body(BodyReader),
    Upgraded {
        /// The bytes that arrived behind the head with which the connection left HTTP.
        trailing: BytesMut,
    },
    Surplus,
}

impl Inbound {
    /// Lets the response be read.
    ///
    /// With `takes_whole`, a response that arrives whole is not prepared for hyper.
    pub fn allow_reads(&mut self, takes_whole: bool) {
        if let Self::Sending(method) = *self {
            *self = Self::Head(HeadReader { takes_whole, ..HeadReader::new(method) });
        }
    }

    /// Lets the rest of the request go out, behind informational heads that were read in the middle of it.
    pub fn pause_reads(&mut self) {
        if let Self::Head(reader) = self {
            *self = Self::Sending(reader.method);
        }
    }

    /// Ends a complete response: hyper must not read ahead on an idle connection.
    pub fn end_response(&mut self) {
        match self {
            Self::Idle | Self::Upgraded { .. } => {}
            Self::Body(body) if body.for_hyper.is_empty() => *self = Self::Idle,
            _ => *self = Self::Surplus,
        }
    }

    pub fn is_idle(&self) -> bool {
        matches!(self, Self::Idle)
    }

    pub fn is_upgraded(&self) -> bool {
        matches!(self, Self::Upgraded { .. })
    }

    /// Returns whether hyper passes over something behind the last chunk (see [`Chunks`]).
    pub fn has_malformed_trailers(&self) -> bool {
        matches!(self, Self::Body(body) if body.chunks.is_malformed())
    }
}

/// Reads the heads of one response: any number of informational ones (within a limit), then the final one.
pub struct HeadReader {
    method: Method,
    takes_whole: bool,
    /// The length of the part of the buffer in which no end of a head was found.
    scanned: usize,
    /// The bytes of informational heads and blank lines that were skipped.
    skipped: usize,
}

/// The result of [`HeadReader::read`].
pub enum HeadStep {
    /// The head is not complete: more bytes are needed.
    Incomplete,
    /// An informational head. Another one may be in the buffer already.
    Informational(Http1Head),
    /// The final head, and what hyper gets in its place.
    Final(Http1Head, BodyReader),
    /// The final head and the whole body, with which the response has ended.
    Whole(Http1Head, Bytes),
    /// The head with which the connection leaves HTTP. What is left in the buffer is not HTTP.
    Upgrade(Http1Head),
}

impl HeadReader {
    pub fn new(method: Method) -> Self {
        Self { method, takes_whole: false, scanned: 0, skipped: 0 }
    }

    /// Takes one head from the start of `buffer`, if it is complete. With the final head everything else in the buffer is taken.
    pub fn read(&mut self, buffer: &mut BytesMut) -> Result<HeadStep> {
        self.skip_blank_lines(buffer);
        let Some(end) = Http1Head::find_end(buffer, self.scanned) else {
            Http1Head::check_start(buffer)?;
            // A lone CR may become a blank line: it is looked at again.
            self.scanned = if **buffer == *b"\r" { 0 } else { buffer.len() };
            self.check_length(buffer.len())?;
            return Ok(HeadStep::Incomplete);
        };
        self.check_length(end)?;
        self.scanned = 0;
        let head = Http1Head::parse(buffer.split_to(end).freeze())?;
        if head.status == 101 || (self.method == Method::Connect && (200..300).contains(&head.status)) {
            return Ok(HeadStep::Upgrade(head));
        }
        if head.is_informational() {
            // Together they may be as long as one head.
            self.skipped += end;
            return Ok(HeadStep::Informational(head));
        }
        let has_content = self.method != Method::Head && !matches!(head.status, 204 | 304);
        if self.takes_whole && has_content && head.plain_length() == Some(buffer.len()) {
            return Ok(HeadStep::Whole(head, buffer.split().freeze()));
        }
        let body = BodyReader::new(&head, has_content, buffer)?;
        Ok(HeadStep::Final(head, body))
    }

    /// Skips blank lines before a status line (RFC 9112, 2.2).
    fn skip_blank_lines(&mut self, buffer: &mut BytesMut) {
        if self.scanned > 0 {
            return;
        }
        while let [b'\r', b'\n', ..] | [b'\n', ..] = **buffer {
            let line = if buffer[0] == b'\n' { 1 } else { 2 };
            self.skipped += line;
            buffer.advance(line);
        }
    }

    fn check_length(&self, length: usize) -> Result<()> {
        if self.skipped + length > MAX_HEAD + BLANK_LINE {
            return Err(Error::remote(format!("response head is longer than {MAX_HEAD} bytes")));
        }
        Ok(())
    }
}

/// The bytes of a response as hyper reads them, from the short head to the end of the body.
pub struct BodyReader {
    /// The bytes for hyper before it reads from the stream: the short head, and what arrived of the body together with the head.
    for_hyper: BytesMut,
    chunks: Chunks,
    /// The bytes that have arrived since the last content.
    without_content: u64,
}

impl BodyReader {
    fn new(head: &Http1Head, has_content: bool, buffer: &mut BytesMut) -> Result<Self> {
        let mut for_hyper = head.framing_head(buffer.len())?;
        let mut chunks = Chunks::None;
        if has_content {
            head.check_lengths()?;
            if head.is_chunked() {
                chunks = Chunks::begin();
                chunks.feed(buffer);
            }
        }
        let without_content = buffer.len() as u64;
        for_hyper.extend_from_slice(buffer);
        buffer.clear();
        Ok(Self { for_hyper, chunks, without_content })
    }

    /// Moves what hyper gets before it reads from the stream to `buf`, as far as that has room. Returns `false` if nothing is left.
    pub fn put_buffered(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let length = buf.remaining().min(self.for_hyper.len());
        buf.put_slice(&self.for_hyper[..length]);
        self.for_hyper.advance(length);
        length > 0
    }

    /// Counts bytes that hyper reads from the stream. Returns `false` if too many have arrived without any content.
    pub fn count(&mut self, bytes: &[u8]) -> bool {
        self.chunks.feed(bytes);
        self.without_content += bytes.len() as u64;
        self.without_content <= MAX_FRAMING
    }

    /// Notes that there was content among the bytes that have arrived.
    pub fn note_content(&mut self) {
        self.without_content = 0;
    }

    /// Returns the error for a body of which [`Self::count`] has returned `false`.
    pub fn no_content(origin: &Origin) -> Error {
        Error::remote(format!("{MAX_FRAMING} bytes of the response body from {origin} hold no content"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a response that arrives in parts of `size` bytes. Returns the state of the inbound side, the final head and what is left.
    fn read(method: Method, response: &[u8], size: usize) -> Result<(Inbound, Option<Http1Head>, BytesMut)> {
        let mut inbound = Inbound::Sending(method);
        inbound.allow_reads(false);
        let (mut buffer, mut final_head) = (BytesMut::new(), None);
        for part in response.chunks(size) {
            match &mut inbound {
                Inbound::Head(_) => buffer.extend_from_slice(part),
                Inbound::Body(body) => assert!(body.count(part)),
                Inbound::Upgraded { trailing } => trailing.extend_from_slice(part),
                _ => panic!("nothing is read in this state"),
            }
            while let Inbound::Head(reader) = &mut inbound {
                match reader.read(&mut buffer)? {
                    HeadStep::Incomplete => break,
                    HeadStep::Informational(_) => {}
                    HeadStep::Final(head, body) => {
                        final_head = Some(head);
                        inbound = Inbound::Body(body);
                    }
                    HeadStep::Whole(..) => panic!("hyper gets the response"),
                    HeadStep::Upgrade(head) => {
                        final_head = Some(head);
                        inbound = Inbound::Upgraded { trailing: std::mem::take(&mut buffer) };
                    }
                }
            }
        }
        Ok((inbound, final_head, buffer))
    }

    /// Returns up to `length` bytes of what hyper gets before it reads from the stream.
    fn buffered(body: &mut BodyReader, length: usize) -> Vec<u8> {
        let mut room = vec![0; length];
        let mut buf = ReadBuf::new(&mut room);
        let is_left = body.put_buffered(&mut buf);
        assert_eq!(is_left, !buf.filled().is_empty());
        buf.filled().to_vec()
    }

    fn status(method: Method, response: &[u8], size: usize) -> u16 {
        let (_, head, _) = read(method, response, size).expect("a legal response");
        head.expect("a complete head").status
    }

    fn message(response: &[u8], size: usize) -> String {
        read(Method::Idempotent, response, size).err().expect("a fault").message().to_owned()
    }

    #[test]
    fn informational_heads_and_blank_lines_are_skipped() {
        let response = b"\r\n\nHTTP/1.1 100 Continue\r\n\r\n\r\nHTTP/1.1 103 Early Hints\r\nA: 1\r\n\r\nHTTP/1.1 404 No\r\nB: 2\r\n\r\nx";
        for size in 1..=response.len() {
            assert_eq!(status(Method::Idempotent, response, size), 404, "{size}");
        }
    }

    #[test]
    fn hyper_gets_the_short_head_and_what_arrived_of_the_body() {
        let response = b"HTTP/1.1 200 Fine\r\nServer: x\r\ncontent-length: 5\r\n\r\nhel";
        let (mut inbound, _, buffer) = read(Method::Idempotent, response, response.len()).expect("a legal response");
        assert!(buffer.is_empty());
        let Inbound::Body(body) = &mut inbound else { panic!("a body follows") };
        assert_eq!(buffered(body, 13), b"HTTP/1.1 200 ");
        assert_eq!(buffered(body, 100), b"\r\ncontent-length: 5\r\n\r\nhel");
        assert_eq!(buffered(body, 100), b"");
    }

    #[test]
    fn a_connection_leaves_http_after_101_and_after_success_of_connect() {
        for (method, response, expected) in [
            (Method::Idempotent, b"HTTP/1.1 101 Switching Protocols\r\n\r\nearly".as_slice(), true),
            (Method::Connect, b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nearly", true),
            (Method::Connect, b"HTTP/1.1 407 No\r\nContent-Length: 5\r\n\r\nearly", false),
            (Method::Idempotent, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly", false),
        ] {
            for size in 1..=response.len() {
                let (inbound, _, _) = read(method, response, size).expect("a legal response");
                assert_eq!(inbound.is_upgraded(), expected, "{}", response.escape_ascii());
                if let Inbound::Upgraded { trailing } = inbound {
                    assert_eq!(trailing, "early");
                }
            }
        }
    }

    #[test]
    fn a_response_that_is_not_http_is_refused_at_its_first_byte() {
        assert!(message(b"S", 1).contains("it is not HTTP/1"));
        assert!(message(b"\rS", 1).contains("it is not HTTP/1"));
        assert!(message(b"HTTP/x", 1).contains("it is not HTTP/1"));
    }

    #[test]
    fn the_length_of_all_heads_together_is_bounded() {
        let long = format!("HTTP/1.1 200 OK\r\nA: {}", "a".repeat(MAX_HEAD));
        let mut several = b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(MAX_HEAD / 28);
        several.extend_from_slice(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        let lines = b"\r\n".repeat(MAX_HEAD / 2 + 2);
        for response in [long.as_bytes(), &several, &lines] {
            for size in [1000, response.len()] {
                assert_eq!(message(response, size), format!("response head is longer than {MAX_HEAD} bytes"));
            }
        }
        let fitting = format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "a".repeat(MAX_HEAD - 22));
        assert_eq!(fitting.len(), MAX_HEAD + BLANK_LINE);
        assert_eq!(status(Method::Idempotent, fitting.as_bytes(), 1000), 200);
    }

    #[test]
    fn a_body_may_not_go_on_without_content() {
        let response = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let (inbound, _, _) = read(Method::Idempotent, response, 8).expect("a legal response");
        let Inbound::Body(mut body) = inbound else { panic!("a body follows") };
        let zeros = vec![b'0'; 64 * 1024];
        for _ in 0..16 {
            assert!(body.count(&zeros));
        }
        body.note_content();
        assert!(body.count(&zeros));
        assert!((0..16).any(|_| !body.count(&zeros)));
    }

    #[test]
    fn chunks_are_tracked_only_where_there_can_be_a_body() {
        let head = "Transfer-Encoding: chunked\r\n\r\n0\r\nA: 1\n\r\n";
        for (method, status, expected) in [
            (Method::Idempotent, 200, true),
            (Method::Head, 200, false),
            (Method::Idempotent, 204, false),
            (Method::Idempotent, 304, false),
        ] {
            let response = format!("HTTP/1.1 {status} \r\n{head}");
            for size in 1..=response.len() {
                let (inbound, _, _) = read(method, response.as_bytes(), size).expect("a legal response");
                assert_eq!(inbound.has_malformed_trailers(), expected, "{method:?} {status} {size}");
            }
        }
    }

    #[test]
    fn only_a_response_without_surplus_leaves_the_connection_idle() {
        let response = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab";
        let (mut inbound, _, _) = read(Method::Idempotent, response, response.len()).expect("a legal response");
        let Inbound::Body(body) = &mut inbound else { panic!("a body follows") };
        buffered(body, response.len() - 1 - "OK".len() - "\r\n\r\n".len());
        inbound.end_response();
        assert!(!inbound.is_idle());
        inbound.end_response();
        assert!(!inbound.is_idle());

        let (mut inbound, _, _) = read(Method::Idempotent, response, response.len()).expect("a legal response");
        let Inbound::Body(body) = &mut inbound else { panic!("a body follows") };
        buffered(body, response.len());
        inbound.end_response();
        assert!(inbound.is_idle());
        inbound.end_response();
        assert!(inbound.is_idle());

        let (mut inbound, _, _) =
            read(Method::Connect, b"HTTP/1.1 200 OK\r\n\r\n", usize::MAX).expect("a legal response");
        inbound.end_response();
        assert!(inbound.is_upgraded());

        let mut inbound = Inbound::Sending(Method::Other);
        inbound.end_response();
        assert!(!inbound.is_idle());
    }

    #[test]
    fn nothing_but_a_request_on_its_way_out_is_followed_by_a_head() {
        for mut inbound in [Inbound::Idle, Inbound::Surplus] {
            inbound.allow_reads(false);
            assert!(!matches!(inbound, Inbound::Head(_)));
        }
    }
}
