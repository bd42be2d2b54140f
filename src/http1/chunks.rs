//! Parses the chunks of a body (RFC 9112, 7.1) beside hyper, to find bytes that hyper ignores.
//!
//! hyper takes the trailers to end at CR LF CR LF, but parses them only up to the first blank line, and drops what follows a bare LF. A
//! proxy on the way may read what was sent there as another response.

/// The position in a body. It agrees with hyper on every body that hyper accepts, and has no meaning for others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Chunks {
    /// The body is not chunked, or has ended.
    #[default]
    None,
    /// In the line with a chunk's size: `size` is the value of the digits so far.
    Size { size: u64, is_size_over: bool },
    /// In a chunk: the number of bytes that are left of it, with the line end behind it.
    Chunk(u64),
    /// Behind the last chunk.
    Trailers { after_cr: bool, is_line_empty: bool },
    /// A line behind the last chunk has ended in a bare LF.
    Malformed,
}

impl Chunks {
    /// Returns the position at the beginning of a chunked body.
    pub fn begin() -> Self {
        Self::Size { size: 0, is_size_over: false }
    }

    pub fn is_malformed(self) -> bool {
        self == Self::Malformed
    }

    /// Advances over bytes of the body.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        if matches!(self, Self::None | Self::Malformed) {
            return;
        }
        while let Some((&byte, rest)) = bytes.split_first() {
            if let Self::Chunk(left) = self {
                let length = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= length as u64;
                bytes = &bytes[length..];
                if *left == 0 {
                    *self = Self::begin();
                }
                continue;
            }
            bytes = rest;
            *self = match *self {
                Self::Size { size: 0, .. } if byte == b'\n' => Self::Trailers { after_cr: false, is_line_empty: true },
                Self::Size { size, .. } if byte == b'\n' => Self::Chunk(size.saturating_add(2)),
                Self::Size { size, is_size_over: false } => match char::from(byte).to_digit(16) {
                    Some(digit) => {
                        Self::Size { size: size.saturating_mul(16).saturating_add(digit.into()), is_size_over: false }
                    }
                    None => Self::Size { size, is_size_over: true },
                },
                Self::Trailers { after_cr: true, is_line_empty } if byte == b'\n' => {
                    if is_line_empty {
                        Self::None
                    } else {
                        Self::Trailers { after_cr: false, is_line_empty: true }
                    }
                }
                Self::Trailers { .. } if byte == b'\n' => Self::Malformed,
                Self::Trailers { is_line_empty, .. } => {
                    let after_cr = byte == b'\r';
                    Self::Trailers { after_cr, is_line_empty: is_line_empty && after_cr }
                }
                Self::Size { size, is_size_over: true } => Self::Size { size, is_size_over: true },
                Self::Chunk(_) | Self::None | Self::Malformed => return,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end_of(body: &[u8], size: usize) -> Chunks {
        let mut chunks = Chunks::begin();
        body.chunks(size).for_each(|part| chunks.feed(part));
        chunks
    }

    #[test]
    fn a_body_is_parsed_to_its_end() {
        for body in [
            b"0\r\n\r\n".as_slice(),
            b"5\r\nhello\r\n0\r\n\r\n",
            b"0005;a=\"0\" \r\nhello\r\nA \t;\r\n0\r\n\r\n0\n\n0\r\r\n00;x\r\nA: 1\r\nB:\r\n\r\n",
            b"1\r\n\n\r\n0\r\nA: a\r\n\r\nwhat follows\n\n",
        ] {
            for size in 1..=body.len() {
                assert_eq!(end_of(body, size), Chunks::None, "{} {size}", body.escape_ascii());
            }
        }
    }

    #[test]
    fn a_bare_line_end_behind_the_last_chunk_is_found() {
        for body in [
            b"0\r\nX: 1\n\nHTTP/1.1 200 OK\r\nE: 1\r\n\r\n".as_slice(),
            b"0\r\nX: 1\r\n\nE: 1\r\n\r\n",
            b"0\r\n\nE: 1\r\n\r\n",
            b"0\r\nX: 1\n\r\n\r\n",
            b"1\r\na\r\n0\r\nX: 1\nY: 2\r\n\r\n",
        ] {
            for size in 1..=body.len() {
                assert!(end_of(body, size).is_malformed(), "{} {size}", body.escape_ascii());
            }
        }
    }

    #[test]
    fn a_size_that_overflows_is_not_the_last_chunk() {
        assert_eq!(end_of(b"fffffffffffffffffffff\r\n0\r\n\r\n", 4), Chunks::Chunk(u64::MAX - 5));
    }
}
