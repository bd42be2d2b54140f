//! Building an `httpcore.Response` from the parts of a response.

use bytes::Bytes;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use super::namespace::Namespace;
use crate::message::ResponseHead;

/// Returns a `bytes` object that is made once.
macro_rules! intern_bytes {
    ($py:expr, $bytes:literal) => {{
        static BYTES: pyo3::sync::PyOnceLock<Py<PyBytes>> = pyo3::sync::PyOnceLock::new();
        BYTES.get_or_init($py, || PyBytes::new($py, $bytes).unbind()).bind($py)
    }};
}

/// Returns a response whose body is read from `stream`. `content` is the body, if that has been read already.
pub fn build<'py>(
    py: Python<'py>,
    namespace: &Namespace,
    head: &ResponseHead,
    stream: Bound<'py, PyAny>,
    extensions: Bound<'py, PyDict>,
    content: Option<Bound<'py, PyBytes>>,
) -> PyResult<Bound<'py, PyAny>> {
    let headers = headers(py, head)?;

    let response = namespace.empty_response(py)?;
    response.setattr(intern!(py, "status"), head.status())?;
    response.setattr(intern!(py, "headers"), headers)?;
    response.setattr(intern!(py, "stream"), stream)?;
    response.setattr(intern!(py, "extensions"), extensions)?;
    response.setattr(intern!(py, "_stream_consumed"), content.is_some())?;
    if let Some(content) = content {
        response.setattr(intern!(py, "_content"), content)?;
    }
    Ok(response)
}

/// Returns the extensions of a response. `trailing_headers` is among them if fields may follow the body.
pub fn extensions<'py>(
    py: Python<'py>,
    head: &ResponseHead,
    stream_id: Option<u32>,
    network_stream: Bound<'py, PyAny>,
    trailers: Option<&Bound<'py, PyList>>,
) -> PyResult<Bound<'py, PyDict>> {
    let extensions = PyDict::new(py);
    extensions.set_item(intern!(py, "http_version"), version(py, head))?;
    if let ResponseHead::Http1(head) = head {
        let reason = match head.reason() {
            b"OK" => intern_bytes!(py, b"OK").clone(),
            reason => PyBytes::new(py, reason),
        };
        extensions.set_item(intern!(py, "reason_phrase"), reason)?;
    }
    extensions.set_item(intern!(py, "network_stream"), network_stream)?;
    if let Some(stream_id) = stream_id {
        extensions.set_item(intern!(py, "stream_id"), stream_id)?;
    }
    if let Some(trailers) = trailers {
        extensions.set_item(intern!(py, "trailing_headers"), trailers)?;
    }
    Ok(extensions)
}

/// Returns the HTTP version in the form of httpcore: `b"HTTP/1.1"` or `b"HTTP/2"`.
pub fn version<'py>(py: Python<'py>, head: &ResponseHead) -> Bound<'py, PyBytes> {
    match head {
        ResponseHead::Http1(head) => match head.version() {
            b"HTTP/1.1" => intern_bytes!(py, b"HTTP/1.1").clone(),
            version => PyBytes::new(py, version),
        },
        ResponseHead::Http2(_) => intern_bytes!(py, b"HTTP/2").clone(),
    }
}

/// Returns the list for the fields that follow the body, which is filled when they arrive; `None` if there can be none.
pub fn trailers<'py>(py: Python<'py>, head: &ResponseHead) -> Option<Bound<'py, PyList>> {
    let can_have = match head {
        ResponseHead::Http1(head) => head.is_chunked(),
        ResponseHead::Http2(_) => true,
    };
    can_have.then(|| PyList::empty(py))
}

/// Appends the fields that have arrived to their list.
pub fn fill(trailers: &Bound<'_, PyList>, fields: &[(Bytes, Bytes)]) -> PyResult<()> {
    let py = trailers.py();
    fields.iter().try_for_each(|(name, value)| trailers.append((PyBytes::new(py, name), PyBytes::new(py, value))))
}

/// Returns the header fields as a list of pairs of `bytes`, in the order in which they arrived.
pub fn headers<'py>(py: Python<'py>, head: &ResponseHead) -> PyResult<Bound<'py, PyList>> {
    field_list(py, head, |name, value| (PyBytes::new(py, name), PyBytes::new(py, value)))
}

/// Returns a list with what `item` makes of the name and the value of each header field, in the order in which they arrived.
pub fn field_list<'py, T: IntoPyObject<'py>>(
    py: Python<'py>,
    head: &ResponseHead,
    item: impl Fn(&[u8], &[u8]) -> T,
) -> PyResult<Bound<'py, PyList>> {
    match head {
        ResponseHead::Http1(head) => PyList::new(py, head.headers().map(|(name, value)| item(name, value))),
        ResponseHead::Http2(head) => {
            let fields: Vec<_> = head.headers.iter().collect();
            PyList::new(py, fields.into_iter().map(|(name, value)| item(name.as_str().as_bytes(), value.as_bytes())))
        }
    }
}

/// Returns the pieces of a body as one `bytes` object.
pub fn join<'a, 'py>(
    py: Python<'py>,
    pieces: impl Iterator<Item = &'a Bytes> + Clone,
) -> PyResult<Bound<'py, PyBytes>> {
    let mut some = pieces.clone();
    if let (Some(piece), None) = (some.next(), some.next()) {
        return Ok(PyBytes::new(py, piece));
    }
    PyBytes::new_with(py, pieces.clone().map(Bytes::len).sum(), |mut buffer| {
        for piece in pieces {
            let (here, rest) = buffer.split_at_mut(piece.len());
            here.copy_from_slice(piece);
            buffer = rest;
        }
        Ok(())
    })
}
