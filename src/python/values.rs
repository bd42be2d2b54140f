//! Conversions of single Python values, with the exceptions for those of the wrong type.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict, PyList, PyString};

/// Chunks of at least this size, in bytes, are sent from Python's own memory; smaller ones are cheaper to copy.
const BORROW_FROM: usize = 16 * 1024;

/// Returns the content of a `bytes` object. `what` names the value in the `TypeError` for other types.
pub fn bytes_of<'a>(value: &'a Bound<'_, PyAny>, what: &str) -> PyResult<&'a [u8]> {
    match value.cast::<PyBytes>() {
        Ok(bytes) => Ok(bytes.as_bytes()),
        Err(_) => Err(wrong_type(what, "bytes", value)),
    }
}

/// Returns the bytes of `bytes`, or of a `str` of ASCII: httpcore takes both. `None` for other values.
pub fn text<'a>(value: &'a Bound<'_, PyAny>) -> Option<&'a [u8]> {
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Some(bytes.as_bytes());
    }
    let text = value.cast::<PyString>().ok()?.to_str().ok()?;
    text.is_ascii().then_some(text.as_bytes())
}

/// Returns a chunk of a request body: `bytes`, or a copy of another buffer.
pub fn chunk(chunk: &Bound<'_, PyAny>) -> PyResult<Bytes> {
    if let Ok(bytes) = chunk.cast::<PyBytes>() {
        return Ok(copy_or_borrow(bytes));
    }
    match PyBuffer::<u8>::get(chunk) {
        Ok(buffer) => Ok(buffer.to_vec(chunk.py())?.into()),
        Err(_) => Err(PyTypeError::new_err(format!(
            "the request body must consist of bytes, but a chunk is of type {}",
            chunk.get_type().name()?
        ))),
    }
}

/// Returns the chunks of a request body. Small ones in a row are joined.
pub fn chunks(chunks: &Bound<'_, PyList>) -> PyResult<Vec<Bytes>> {
    let mut joined = Vec::with_capacity(chunks.len());
    let mut small = BytesMut::new();
    for item in chunks {
        match item.cast::<PyBytes>() {
            Ok(bytes) if bytes.as_bytes().len() < BORROW_FROM => small.extend_from_slice(bytes.as_bytes()),
            _ => {
                joined.extend((!small.is_empty()).then(|| small.split().freeze()));
                joined.push(chunk(&item)?);
            }
        }
    }
    joined.extend((!small.is_empty()).then(|| small.freeze()));
    Ok(joined)
}

/// Returns a copy of a small `bytes` object, or a reference to the memory of a large one.
pub fn copy_or_borrow(bytes: &Bound<'_, PyBytes>) -> Bytes {
    if bytes.as_bytes().len() < BORROW_FROM {
        Bytes::copy_from_slice(bytes.as_bytes())
    } else {
        Bytes::from_owner(PyBackedBytes::from(bytes.clone()))
    }
}

/// Returns `mapping.get(name)`. `None` stands for a missing value as well.
pub fn get<'py>(mapping: &Bound<'py, PyAny>, name: &Bound<'py, PyString>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let value = match mapping.cast::<PyDict>() {
        Ok(mapping) => mapping.get_item(name)?,
        Err(_) => Some(mapping.call_method1(intern!(mapping.py(), "get"), (name,))?),
    };
    Ok(value.filter(|value| !value.is_none()))
}

/// Returns a duration from a number of seconds. Infinity means no limit: `None`.
pub fn seconds(value: &Bound<'_, PyAny>, what: impl Fn() -> String) -> PyResult<Option<Duration>> {
    let seconds: f64 = value.extract().map_err(|_| wrong_type(&what(), "a number of seconds", value))?;
    if seconds == f64::INFINITY {
        return Ok(None);
    }
    Duration::try_from_secs_f64(seconds)
        .map(Some)
        .map_err(|_| PyValueError::new_err(format!("{} must be a number of seconds from 0 on, not {seconds}", what())))
}

/// Returns the `TypeError` that says which value has the wrong type, and what is expected.
pub fn wrong_type(what: &str, expected: &str, value: &Bound<'_, PyAny>) -> PyErr {
    let class = value.get_type().name().map(|name| name.to_string()).unwrap_or_default();
    PyTypeError::new_err(format!("{what} must be {expected}, not {class}"))
}
