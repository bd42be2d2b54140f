//! Errors of reads, writes and handshakes on a stream that may have TLS on it.

use std::io;

use super::explained::in_words;
use super::python_ssl::SessionFault;
use crate::error::{Error, Kind, OsError};
use crate::origin::Origin;

/// Returns the error of a failed read or write. What an external stream raised is returned unchanged; errors of TLS and of the system
/// are described.
pub fn failed(error: io::Error, kind: Kind, what: &str, origin: &Origin) -> Error {
    match error.downcast::<Error>() {
        Ok(raised) => raised,
        Err(error) => {
            let error = in_words(error, &origin.host);
            caused_by(Error::new(kind, format!("{what} {origin} failed: {}", OsError(&error))), error)
        }
    }
}

/// Returns `failed` with the stream's error as its source.
pub(super) fn caused_by(failed: Error, error: io::Error) -> Error {
    match error.downcast::<SessionFault>() {
        Ok(fault) => match fault.into_source() {
            Some(exception) => failed.with_source(exception),
            None => failed,
        },
        Err(error) => failed.with_source(error),
    }
}
