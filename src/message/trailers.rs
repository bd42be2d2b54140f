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
