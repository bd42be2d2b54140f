//! Trailers: the fields that follow a body.

use bytes::Bytes;
use http::HeaderMap;

use super::request::is_too_late;

/// Returns the names and values of trailers, without those that have no meaning behind a body (RFC 9110, 6.5.1).
pub fn trailer_pairs(fields: &HeaderMap) -> Vec<(Bytes, Bytes)> {
    let copy = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
    fields
        .iter()
        .filter(|(name, _)| !is_too_late(name.as_str().as_bytes()))
        .map(|(name, value)| (copy(name.as_str().as_bytes()), copy(value.as_bytes())))
        .collect()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::{HOST, TRANSFER_ENCODING};

    use super::*;

    #[test]
    fn fields_that_have_no_meaning_behind_a_body_are_left_out() {
        let mut fields = HeaderMap::new();
        fields.append("x-sum", HeaderValue::from_static("1"));
        fields.append(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        fields.append(HOST, HeaderValue::from_static("elsewhere"));
        fields.append("x-sum", HeaderValue::from_bytes(b"\xe9").expect("legal"));
        let expected: [(&[u8], &[u8]); 2] = [(b"x-sum", b"1"), (b"x-sum", b"\xe9")];
        let pairs = trailer_pairs(&fields);
        assert!(pairs.iter().map(|(name, value)| (&name[..], &value[..])).eq(expected));
    }
}
