//! A slow reading of HTTP/1.1 messages, written from RFC 9112 and independent of the engine's: lines first, then fields, then the
//! body.

/// The head of a response.
#[derive(Debug, PartialEq, Eq)]
pub struct SlowHead {
    pub status: u16,
    pub version: Vec<u8>,
    pub reason: Vec<u8>,
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
    /// Its end in the bytes.
    pub end: usize,
}

/// A whole response, informational ones before it included.
#[derive(Debug)]
pub struct SlowResponse {
    pub head: SlowHead,
    pub content: Vec<u8>,
    /// Its end in the bytes; `None` if the end of the stream ends it.
    pub end: Option<usize>,
    /// Another response may follow.
    pub is_persistent: bool,
}

/// The rule by which the body of a response is read.
enum BodyLength {
    Empty,
    Bytes(u64),
    Chunked,
    UntilEnd,
}

/// Splits off the first line: without its end, and the length of both.
fn line(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let end = bytes.iter().position(|&byte| byte == b'\n')?;
    let line = &bytes[..end];
    Some((line.strip_suffix(b"\r").unwrap_or(line), end + 1))
}

fn trim(value: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().position(|byte| !is_space(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !is_space(byte)).map_or(start, |last| last + 1);
    &value[start..end]
}

impl SlowHead {
    /// Reads the head at the start of the bytes; `None` if it is malformed, or not there in full.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut position = 0;
        let first = loop {
            let (line, length) = line(&bytes[position..])?;
            position += length;
            if !line.is_empty() {
                break line;
            }
        };
        let version = first.get(..8)?;
        if !version.starts_with(b"HTTP/") || first.get(8) != Some(&b' ') {
            return None;
        }
        let digits = first.get(9..12)?;
        let status = std::str::from_utf8(digits).ok()?.parse().ok()?;
        let reason = match first.get(12) {
            None => &[][..],
            Some(b' ') => &first[13..],
            Some(_) => return None,
        };
        let mut fields: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        loop {
            let (line, length) = line(&bytes[position..])?;
            position += length;
            if line.is_empty() {
                break;
            }
            if matches!(line[0], b' ' | b'\t') {
                // obs-fold
                let (_, value) = fields.last_mut()?;
                value.push(b' ');
                value.extend_from_slice(trim(line));
                continue;
            }
            let colon = line.iter().position(|&byte| byte == b':')?;
            fields.push((line[..colon].to_vec(), trim(&line[colon + 1..]).to_vec()));
        }
        for (_, value) in &mut fields {
            *value = trim(value).to_vec();
        }
        Some(Self { status, version: version.to_vec(), reason: reason.to_vec(), fields, end: position })
    }

    /// The values of one field.
    fn values(&self, name: &str) -> Vec<&[u8]> {
        let is = |known: &[u8]| known.eq_ignore_ascii_case(name.as_bytes());
        self.fields.iter().filter(|(known, _)| is(known)).map(|(_, value)| value.as_slice()).collect()
    }

    /// The members of the lists that one field has for values.
    fn members(&self, name: &str) -> Vec<Vec<u8>> {
        let lists = self.values(name);
        let members = lists.iter().flat_map(|list| list.split(|&byte| byte == b','));
        members.map(|member| trim(member).to_ascii_lowercase()).collect()
    }

    /// Returns what follows, and whether the connection goes on behind that. `None` if the fields contradict each other.
    fn body(&self, is_head: bool) -> Option<(BodyLength, bool)> {
        let is_new = matches!(self.version.as_slice(), [.., b'1', b'.', minor] if *minor > b'0');
        let mut is_persistent = is_new && !self.members("connection").iter().any(|member| member == b"close");
        let codings = self.values("transfer-encoding");
        let is_chunked = match codings.as_slice() {
            [] => false,
            [coding] if coding.eq_ignore_ascii_case(b"identity") => {
                is_persistent = false;
                false
            }
            [coding] if coding.eq_ignore_ascii_case(b"chunked") => true,
            _ => return None,
        };
        let lengths = self.members("content-length");
        if is_head || matches!(self.status, 204 | 304) {
            return Some((BodyLength::Empty, is_persistent));
        }
        if is_chunked {
            return Some((BodyLength::Chunked, is_persistent && lengths.is_empty()));
        }
        let Some(first) = lengths.first() else { return Some((BodyLength::UntilEnd, false)) };
        if lengths.iter().any(|length| length != first) || !first.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let length = std::str::from_utf8(first).ok()?.parse().ok()?;
        Some((BodyLength::Bytes(length), is_persistent))
    }
}

impl SlowResponse {
    /// Reads the response at the start of the bytes, behind which the stream ends; `None` if it is malformed or cut short. Stops
    /// behind the head of a response that ends HTTP.
    pub fn read(bytes: &[u8], method: &str) -> Option<Self> {
        let mut start = 0;
        let head = loop {
            let head = SlowHead::read(&bytes[start..])?;
            if !(100..200).contains(&head.status) || head.status == 101 {
                break SlowHead { end: head.end + start, ..head };
            }
            start += head.end;
        };
        let end = head.end;
        let leaves_http = head.status == 101 || (method == "CONNECT" && (200..300).contains(&head.status));
        if leaves_http {
            return Some(Self { head, content: Vec::new(), end: Some(end), is_persistent: false });
        }
        let (length, is_persistent) = head.body(method == "HEAD")?;
        let body = &bytes[end..];
        let (content, length) = match length {
            BodyLength::Empty => (Vec::new(), Some(0)),
            BodyLength::UntilEnd => (body.to_vec(), None),
            BodyLength::Bytes(length) => {
                let length = usize::try_from(length).ok()?;
                (body.get(..length)?.to_vec(), Some(length))
            }
            BodyLength::Chunked => {
                let (content, length) = unchunk(body)?;
                (content, Some(length))
            }
        };
        Some(Self { head, content, end: length.map(|length| end + length), is_persistent })
    }
}

/// The content of a chunked body, and where that ends.
fn unchunk(body: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut content, mut position) = (Vec::new(), 0);
    loop {
        let (line, length) = line(&body[position..])?;
        if !body[position..position + length].ends_with(b"\r\n") {
            return None;
        }
        position += length;
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let extension = trim(&line[digits..]);
        if !extension.is_empty() && extension[0] != b';' {
            return None;
        }
        let size = u64::from_str_radix(std::str::from_utf8(&line[..digits]).ok()?, 16).ok()?;
        if size == 0 {
            break;
        }
        let size = usize::try_from(size).ok()?;
        content.extend_from_slice(body.get(position..position.checked_add(size)?)?);
        position += size;
        if body.get(position..position + 2)? != b"\r\n" {
            return None;
        }
        position += 2;
    }
    loop {
        let (trailer, length) = line(&body[position..])?;
        if !body[position..position + length].ends_with(b"\r\n") {
            return None;
        }
        position += length;
        if trailer.is_empty() {
            return Some((content, position));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(response: &str) -> Option<(String, Option<usize>, bool)> {
        let SlowResponse { content, end, is_persistent, .. } = SlowResponse::read(response.as_bytes(), "GET")?;
        Some((String::from_utf8(content).expect("text"), end, is_persistent))
    }

    #[test]
    fn the_end_of_a_response_is_found() {
        let head = "HTTP/1.1 103 \r\nA: b\r\n\r\n\r\nHTTP/1.1 200 OK\r\n";
        let response = format!("{head}Content-Length: 2\r\n\r\nokHTTP/1.1");
        assert_eq!(read(&response), Some(("ok".to_owned(), Some(response.len() - 8), true)));
        let response = format!("{head}Transfer-Encoding: chunked\r\n\r\n2;a\r\nok\r\n0\r\nA: b\r\n\r\nx");
        assert_eq!(read(&response), Some(("ok".to_owned(), Some(response.len() - 1), true)));
        assert_eq!(read(&format!("{head}\r\nok")), Some(("ok".to_owned(), None, false)));
        assert_eq!(read(&format!("{head}Content-Length: 3\r\n\r\nok")), None);
        assert_eq!(read(&format!("{head}Content-Length: 1, 2\r\n\r\nok")), None);
        assert_eq!(read(&format!("{head}Transfer-Encoding: chunked\r\n\r\n2\nok\r\n0\r\n\r\n")), None);
    }
}
