//! Response heads of HTTP/1.1, as the server sent them.
//!
//! hyper normalises names, does not keep the order of different names, and limits the number of headers; httpcore does none of this. So
//! the head is parsed here and kept raw for the caller. hyper gets a short head of the engine's own ([`Http1Head::framing_head`]), with
//! the headers that decide framing and keep-alive, unchanged.

use std::mem::MaybeUninit;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use httparse::{Header, ParserConfig};
use memchr::{memchr, memchr_iter};

use super::request::is_token;
use crate::error::{Error, Result};

/// The limit on the length of a head in bytes, as in httpcore (`MAX_INCOMPLETE_EVENT_SIZE`).
pub const MAX_HEAD: usize = 100 * 1024;
/// The blank line at the end of a head, which does not count towards the limit.
pub const BLANK_LINE: usize = 2;
/// The number of lines up to which a head is parsed without an allocation.
const HEADERS_ON_STACK: usize = 64;
const VERSION: &[u8] = b"HTTP/1.1";

/// A status line and headers, as ranges of the received bytes.
#[derive(Clone, Debug)]
pub struct Http1Head {
    pub status: u16,
    raw: Bytes,
    reason: Range<usize>,
    headers: Vec<(Range<usize>, HeaderValue)>,
    /// One of the headers may be `Transfer-Encoding`, by the length of its name.
    may_be_chunked: bool,
}

#[derive(Clone, Debug)]
enum HeaderValue {
    Raw(Range<usize>),
    /// obs-fold (RFC 9112, 5.2): the lines joined by one space each.
    Unfolded(Vec<u8>),
}

impl Http1Head {
    /// Returns the length of the head at the start of `buffer`, if it is complete. The bytes before `scanned` hold no end of a head.
    pub fn find_end(buffer: &[u8], scanned: usize) -> Option<usize> {
        let start = scanned.saturating_sub(3);
        let mut position = start;
        while let Some(offset) = memchr(b'\n', &buffer[position..]) {
            let after = position + offset + 1;
            match &buffer[after..] {
                [b'\n', ..] => return Some(after + 1),
                [b'\r', b'\n', ..] => return Some(after + 2),
                _ => position = after,
            }
        }
        None
    }

    /// Checks that an incomplete head begins like one: a peer that does not speak HTTP/1 may never complete it.
    pub fn check_start(buffer: &[u8]) -> Result<()> {
        // A lone CR may be the first half of a blank line.
        let plausible = buffer == b"\r"
            || buffer.iter().zip(VERSION).all(|(&byte, &expected)| match expected {
                b'1' => byte.is_ascii_digit(),
                _ => byte == expected,
            });
        if plausible { Ok(()) } else { Err(malformed("it is not HTTP/1", buffer)) }
    }

    /// Returns the error for a stream that ended in the middle of a head.
    pub fn cut_short(buffer: &[u8]) -> Error {
        malformed("the server closed the connection in the middle of it", buffer)
    }

    /// Parses a head that ends at the end of `raw`.
    pub fn parse(raw: Bytes) -> Result<Self> {
        Self::parse_text(&raw, &raw).or_else(|error| {
            let text = tolerated(&raw).ok_or(error)?;
            Self::parse_text(&raw, &text)
        })
    }

    /// Returns the version as the server wrote it, `HTTP/1.1` for example.
    pub fn version(&self) -> &[u8] {
        &self.raw[..VERSION.len()]
    }

    pub fn reason(&self) -> &[u8] {
        &self.raw[self.reason.clone()]
    }

    /// Returns names and values in their order, as the server wrote them.
    pub fn headers(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> {
        self.headers.iter().map(|(name, value)| {
            let value = match value {
                HeaderValue::Raw(range) => &self.raw[range.clone()],
                HeaderValue::Unfolded(value) => value,
            };
            (&self.raw[name.clone()], value)
        })
    }

    /// Returns whether the body is chunked. Then fields may follow it.
    pub fn is_chunked(&self) -> bool {
        self.may_be_chunked
            && self.headers().any(|(name, value)| {
                name.len() == 17
                    && name.eq_ignore_ascii_case(b"transfer-encoding")
                    && value.trim_ascii().eq_ignore_ascii_case(b"chunked")
            })
    }

    pub fn is_informational(&self) -> bool {
        (100..200).contains(&self.status)
    }

    /// Returns whether the version lets the connection serve another request. As in h11, HTTP/1.0 is never kept alive. From 1.2 on it
    /// is HTTP/1.1 with additions (RFC 9110, 2.5). A head with another major version is read, but its connection is closed.
    fn is_persistent(&self) -> bool {
        matches!(self.version(), [.., b'1', b'.', minor] if *minor > b'0')
    }

    /// Returns the head that hyper gets in the place of this one, with room for so many bytes of the body behind it.
    pub fn framing_head(&self, room: usize) -> Result<BytesMut> {
        let mut head = BytesMut::with_capacity(128 + room);
        // hyper is told HTTP/1.1 in any case: it refuses chunks from HTTP/1.0 servers. Such servers exist, and RFC 9112 (6.1) only asks
        // for the connection to be closed afterwards.
        head.extend_from_slice(b"HTTP/1.1 ");
        // A status has three digits.
        head.extend(
            [self.status / 100, self.status / 10 % 10, self.status % 10].map(|digit| b'0' + digit.to_le_bytes()[0]),
        );
        head.extend_from_slice(b" \r\n");
        let mut close = !self.is_persistent();
        let (mut has_length, mut has_encoding) = (false, false);
        for (name, value) in self.headers() {
            let is = |framing: &[u8]| name.eq_ignore_ascii_case(framing);
            let relevant = match name.len() {
                10 if is(b"connection") => {
                    // Read here: hyper passes over a value with a byte that is not ASCII, and over the `close` in it.
                    close |= value
                        .split(|&byte| byte == b',')
                        .any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"));
                    false
                }
                14 => is(b"content-length"),
                17 => is(b"transfer-encoding"),
                _ => false,
            };
            if !relevant {
                continue;
            }
            has_length |= name.len() == 14;
            if name.len() == 17 {
                if has_encoding {
                    return Err(Error::remote("multiple Transfer-Encoding headers"));
                }
                has_encoding = true;
                if value.trim_ascii().eq_ignore_ascii_case(b"identity") {
                    // The name of "no coding", which RFC 7230 removed. A proxy on the way may not know it.
                    close = true;
                    continue;
                }
                if !value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                    // The request has asked for no other coding, and the caller would take it for content. The text is h11's.
                    return Err(Error::remote("Only Transfer-Encoding: chunked is supported"));
                }
            }
            for part in [name, b": ", value, b"\r\n"] {
                head.extend_from_slice(part);
            }
        }
        // If both are present, a proxy on the way may have read the other one (RFC 9112, 6.3): nothing follows on this connection.
        if close || (has_length && has_encoding) {
            head.extend_from_slice(b"connection: close\r\n");
        }
        head.extend_from_slice(b"\r\n");
        Ok(head)
    }

    /// Checks that all lengths that the server declared are the same. A list of equal numbers is one number (RFC 9110, 8.6); equal
    /// means the same digits.
    pub fn check_lengths(&self) -> Result<()> {
        let lengths = self.headers().filter(|(name, _)| is_length(name));
        let mut members = lengths.flat_map(|(_, value)| value.split(|&byte| byte == b',')).map(<[u8]>::trim_ascii);
        let first = members.next();
        // The text is h11's.
        if members.all(|length| Some(length) == first) {
            Ok(())
        } else {
            Err(Error::remote("conflicting Content-Length headers"))
        }
    }

    /// Returns the length of the body if the connection is kept and one header frames the body: a `Content-Length` of digits.
    pub fn plain_length(&self) -> Option<usize> {
        let mut length = None;
        for (name, value) in self.headers() {
            match name.len() {
                10 if name.eq_ignore_ascii_case(b"connection") && !value.eq_ignore_ascii_case(b"keep-alive") => {
                    return None;
                }
                14 if is_length(name) => {
                    let is_plain = length.is_none() && value.len() < 10 && value.iter().all(u8::is_ascii_digit);
                    let number = std::str::from_utf8(value).ok().filter(|_| is_plain)?;
                    length = Some(number.parse().ok()?);
                }
                17 if name.eq_ignore_ascii_case(b"transfer-encoding") => return None,
                _ => {}
            }
        }
        length.filter(|_| self.is_persistent())
    }

    /// Returns the length that the server declared for the body, for messages.
    pub fn content_length(&self) -> Option<u64> {
        self.headers()
            .find(|(name, _)| is_length(name))
            .and_then(|(_, value)| std::str::from_utf8(value).ok()?.trim().parse().ok())
    }

    /// Parses `text`, which is `raw` or a copy of it of the same length.
    fn parse_text(raw: &Bytes, text: &[u8]) -> Result<Self> {
        let lines = memchr_iter(b'\n', text).count() + 1;
        if lines <= HEADERS_ON_STACK {
            Self::parse_into(raw, text, &mut [MaybeUninit::uninit(); HEADERS_ON_STACK])
        } else {
            Self::parse_into(raw, text, &mut vec![MaybeUninit::uninit(); lines])
        }
    }

    fn parse_into<'text>(raw: &Bytes, text: &'text [u8], storage: &mut [MaybeUninit<Header<'text>>]) -> Result<Self> {
        let mut response = httparse::Response::new(&mut []);
        let parsed = ParserConfig::default()
            .allow_obsolete_multiline_headers_in_responses(true)
            .parse_response_with_uninit_headers(&mut response, text, storage)
            .map_err(|error| malformed_field(error, raw).unwrap_or_else(|| malformed(&error.to_string(), raw)))?;
        let (true, Some(status)) = (parsed.is_complete() && raw.starts_with(b"HTTP/"), response.code) else {
            return Err(malformed("the head ends too early", raw));
        };
        if status < 100 {
            return Err(malformed("the status code is below 100", raw));
        }
        let range = |part: &[u8]| {
            let start = part.as_ptr().addr() - text.as_ptr().addr();
            start..start + part.len()
        };
        let mut may_be_chunked = false;
        let headers = response
            .headers
            .iter()
            .map(|header| {
                may_be_chunked |= header.name.len() == 17;
                let value = range(header.value);
                let value = if header.value.contains(&b'\n') {
                    HeaderValue::Unfolded(unfold(&raw[value]))
                } else {
                    HeaderValue::Raw(value)
                };
                (range(header.name.as_bytes()), value)
            })
            .collect();
        Ok(Self { status, raw: raw.clone(), reason: reason(raw), headers, may_be_chunked })
    }
}

fn is_length(name: &[u8]) -> bool {
    name.len() == 14 && name.eq_ignore_ascii_case(b"content-length")
}

/// Returns the text that httparse reads in place of a head that it has refused, if the head holds something that h11 accepts and
/// httparse does not: another version, or control characters in the reason or in values. (RFC 9110, 5.5, leaves these to the
/// recipient, except CR, LF and NUL.) The ranges that are found in the text are applied to what the server wrote.
fn tolerated(raw: &[u8]) -> Option<Vec<u8>> {
    // Legal in a value and illegal in a name: a name with control characters stays refused.
    const STAND_IN: u8 = b'"';

    let mut text = raw.to_vec();
    if let [b'H', b'T', b'T', b'P', b'/', major, b'.', minor, b' ', ..] = text.as_mut_slice()
        && major.is_ascii_digit()
        && minor.is_ascii_digit()
    {
        (*major, *minor) = (b'1', b'1');
    }
    for byte in &mut text {
        if matches!(byte, 0x01..=0x08 | 0x0e..=0x1f | 0x7f) {
            *byte = STAND_IN;
        }
    }
    (text != raw).then_some(text)
}

/// Returns the range between the status code and the end of the line. httparse drops a reason that is not ASCII; the caller gets it.
fn reason(raw: &[u8]) -> Range<usize> {
    const AFTER_STATUS: usize = b"HTTP/1.1 200".len();
    let end = raw.iter().position(|&byte| byte == b'\n').unwrap_or(raw.len());
    let end = if end > 0 && raw[end - 1] == b'\r' { end - 1 } else { end };
    let start = if raw.get(AFTER_STATUS) == Some(&b' ') { AFTER_STATUS + 1 } else { AFTER_STATUS };
    start.min(end)..end
}

/// Joins the lines of a folded value by one space each.
fn unfold(value: &[u8]) -> Vec<u8> {
    let lines: Vec<&[u8]> = value.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii).collect();
    lines.join(&b' ')
}

/// Returns the error for a head, with the beginning of its first line.
fn malformed(why: &str, raw: &[u8]) -> Error {
    let line = raw.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let line = &line[..line.len().min(80)];
    Error::remote(format!("malformed response head: {why}; it begins with b'{}'", line.escape_ascii()))
}

/// Returns the error for a field that cannot be parsed. It shows the name only: the value may be a secret.
fn malformed_field(why: httparse::Error, raw: &[u8]) -> Option<Error> {
    let fields = raw.split(|&byte| byte == b'\n').skip(1).map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    for line in fields {
        let is_fold = matches!(line.first(), Some(b' ' | b'\t'));
        let colon = memchr(b':', line);
        let (name, value) = line.split_at(colon.unwrap_or(line.len()));
        let is_malformed = match why {
            httparse::Error::HeaderName => {
                !is_fold && (value.is_empty() || name.is_empty() || !name.iter().copied().all(is_token))
            }
            httparse::Error::HeaderValue => line.iter().any(|&byte| byte != b'\t' && byte.is_ascii_control()),
            _ => false,
        };
        if is_malformed && !line.is_empty() {
            let (name, more) = if name.len() > 80 { (&name[..80], "...") } else { (name, "") };
            let name = name.escape_ascii();
            return Some(Error::remote(format!(
                "malformed response head: {why} in the line that begins with b'{name}{more}'"
            )));
        }
    }
    None
}

#[cfg(test)]
mod tests;
