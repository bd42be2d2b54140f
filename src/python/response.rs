//! Making a response of the caller's namespace.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use super::namespace::Namespace;
use crate::connection::http1::ResponseHead;

/// `Response(status, headers=..., content=..., extensions=...)`.
pub fn build<'py>(
    py: Python<'py>,
    namespace: &Namespace,
    head: &ResponseHead,
    stream: Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let headers =
        PyList::new(py, head.headers().map(|(name, value)| (PyBytes::new(py, name), PyBytes::new(py, value))))?;
    let version = if head.minor_version == 0 { intern_bytes!(py, b"HTTP/1.0") } else { intern_bytes!(py, b"HTTP/1.1") };
    let extensions = PyDict::new(py);
    extensions.set_item(intern!(py, "http_version"), version)?;
    extensions.set_item(intern!(py, "reason_phrase"), PyBytes::new(py, head.reason()))?;
    let arguments = PyDict::new(py);
    arguments.set_item(intern!(py, "headers"), headers)?;
    arguments.set_item(intern!(py, "content"), stream)?;
    arguments.set_item(intern!(py, "extensions"), extensions)?;
    namespace.response.bind(py).call((head.status,), Some(&arguments))
}

/// A `bytes` object that is made once.
macro_rules! intern_bytes {
    ($py:expr, $bytes:literal) => {{
        static BYTES: pyo3::sync::PyOnceLock<Py<PyBytes>> = pyo3::sync::PyOnceLock::new();
        BYTES.get_or_init($py, || PyBytes::new($py, $bytes).unbind()).bind($py)
    }};
}
use intern_bytes;
