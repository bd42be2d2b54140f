//! Making a response of the caller's namespace.

use bytes::Bytes;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use super::namespace::Namespace;
use crate::connection::http1::ResponseHead;

/// A `bytes` object that is made once.
macro_rules! intern_bytes {
    ($py:expr, $bytes:literal) => {{
        static BYTES: pyo3::sync::PyOnceLock<Py<PyBytes>> = pyo3::sync::PyOnceLock::new();
        BYTES.get_or_init($py, || PyBytes::new($py, $bytes).unbind()).bind($py)
    }};
}

/// A response whose body is read from `stream`. If it has been read already, `content` is what came of it.
pub fn build<'py>(
    py: Python<'py>,
    namespace: &Namespace,
    head: &ResponseHead,
    stream: Bound<'py, PyAny>,
    network_stream: Bound<'py, PyAny>,
    content: Option<Bound<'py, PyBytes>>,
) -> PyResult<Bound<'py, PyAny>> {
    let headers = headers(py, head)?;
    let version = match head.version() {
        b"HTTP/1.1" => intern_bytes!(py, b"HTTP/1.1").clone(),
        version => PyBytes::new(py, version),
    };
    let extensions = PyDict::new(py);
    extensions.set_item(intern!(py, "http_version"), version)?;
    let reason = match head.reason() {
        b"OK" => intern_bytes!(py, b"OK").clone(),
        reason => PyBytes::new(py, reason),
    };
    extensions.set_item(intern!(py, "reason_phrase"), reason)?;
    extensions.set_item(intern!(py, "network_stream"), network_stream)?;

    let response = namespace.empty_response(py)?;
    response.setattr(intern!(py, "status"), head.status)?;
    response.setattr(intern!(py, "headers"), headers)?;
    response.setattr(intern!(py, "stream"), stream)?;
    response.setattr(intern!(py, "extensions"), extensions)?;
    response.setattr(intern!(py, "_stream_consumed"), content.is_some())?;
    if let Some(content) = content {
        response.setattr(intern!(py, "_content"), content)?;
    }
    Ok(response)
}

/// Names and values as they came, in a list of pairs.
pub fn headers<'py>(py: Python<'py>, head: &ResponseHead) -> PyResult<Bound<'py, PyList>> {
    PyList::new(py, head.headers().map(|(name, value)| (PyBytes::new(py, name), PyBytes::new(py, value))))
}

/// The chunks of a body as one object.
pub fn join<'py>(py: Python<'py>, chunks: &[Bytes]) -> PyResult<Bound<'py, PyBytes>> {
    if let [chunk] = chunks {
        return Ok(PyBytes::new(py, chunk));
    }
    PyBytes::new_with(py, chunks.iter().map(Bytes::len).sum(), |mut buffer| {
        for chunk in chunks {
            let (here, rest) = buffer.split_at_mut(chunk.len());
            here.copy_from_slice(chunk);
            buffer = rest;
        }
        Ok(())
    })
}
