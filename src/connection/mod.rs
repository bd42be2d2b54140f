//! Connections: how they are made, and the protocols spoken on them.

pub mod establish;
mod happy_eyeballs;
pub mod http1;
pub mod http2;
pub mod tap;

use std::io;

use bytes::Bytes;
use http::HeaderMap;

use crate::error::{Error, Kind, OsError};
use crate::origin::Origin;
use crate::request::is_too_late;
use crate::tls;
use crate::tls::python_ssl::Fault;

/// The error for a failed read or write: what a stream of the caller's raised, what Python's `ssl` did, or what the system said.
pub fn failed(error: io::Error, kind: Kind, what: &str, origin: &Origin) -> Error {
    match error.downcast::<Error>() {
        Ok(raised) => raised,
        Err(error) => {
            let error = tls::in_words(error, &origin.host);
            caused_by(Error::new(kind, format!("{what} {origin} failed: {}", OsError(&error))), error)
        }
    }
}

/// An error and what the stream said.
fn caused_by(failed: Error, error: io::Error) -> Error {
    match error.downcast::<Fault>() {
        Ok(fault) => match fault.into_source() {
            Some(exception) => failed.with_source(exception),
            None => failed,
        },
        Err(error) => failed.with_source(error),
    }
}

/// The server ended the stream before it answered. In httpcore's words.
pub fn disconnected() -> Error {
    Error::remote("Server disconnected without sending a response.")
}

/// The names and values of fields behind a body, without those that come too late there (RFC 9110, 6.5.1).
fn trailer_pairs(fields: &HeaderMap) -> Vec<(Bytes, Bytes)> {
    let copy = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
    fields
        .iter()
        .filter(|(name, _)| !is_too_late(name.as_str().as_bytes()))
        .map(|(name, value)| (copy(name.as_str().as_bytes()), copy(value.as_bytes())))
        .collect()
}
