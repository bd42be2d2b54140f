//! External streams: those that a user's `network_backend` made, or that the user's code made itself.

use std::any::Any;
use std::sync::Arc;

use bytes::Bytes;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::greenlets::is_green;
use crate::lock::Lockless;
use crate::operation::{ExternalHandle, ExternalStream, StreamOwner};

/// An external stream, as the engine knows it.
struct PythonStream {
    object: Py<PyAny>,
    is_async: bool,
    has_chosen_http2: bool,
    _lockless: Lockless,
}

impl ExternalStream for PythonStream {
    fn is_async(&self) -> bool {
        self.is_async
    }

    fn has_chosen_http2(&self) -> bool {
        self.has_chosen_http2
    }

    fn is_for_threads(&self) -> bool {
        !self.is_async && !is_green()
    }
}

/// Returns the handle by which the engine uses a stream.
pub fn handle(
    object: &Bound<'_, PyAny>,
    is_async: bool,
    has_chosen_http2: bool,
    owner: &Arc<StreamOwner>,
) -> ExternalHandle {
    let stream = PythonStream { object: object.clone().unbind(), is_async, has_chosen_http2, _lockless: Lockless };
    ExternalHandle::new(Arc::new(stream), owner)
}

/// Returns the handle for what `_effects.connect()` returned: `(stream, has_chosen_http2)`.
pub fn connected(returned: &Bound<'_, PyAny>, is_async: bool, owner: &Arc<StreamOwner>) -> PyResult<ExternalHandle> {
    let (object, has_chosen_http2): (Bound<'_, PyAny>, bool) = returned.extract()?;
    Ok(handle(&object, is_async, has_chosen_http2, owner))
}

/// Returns the stream behind a handle as a Python object.
pub fn object_of<'py>(py: Python<'py>, handle: &ExternalHandle) -> PyResult<Bound<'py, PyAny>> {
    object(py, handle.stream())
}

/// Returns a stream as a Python object.
pub fn object<'py>(py: Python<'py>, stream: &dyn ExternalStream) -> PyResult<Bound<'py, PyAny>> {
    let stream: &dyn Any = stream;
    match stream.downcast_ref::<PythonStream>() {
        Some(stream) => Ok(stream.object.bind(py).clone()),
        None => Err(PyRuntimeError::new_err(
            "httpcore_rs has a bug, please report it: a network backend of an unknown kind",
        )),
    }
}

/// Returns the bytes that `read()` of a stream returned.
pub fn data(value: &Bound<'_, PyAny>) -> PyResult<Bytes> {
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Ok(Bytes::copy_from_slice(bytes.as_bytes()));
    }
    match PyBuffer::<u8>::get(value) {
        Ok(buffer) => Ok(buffer.to_vec(value.py())?.into()),
        Err(_) => Err(PyTypeError::new_err(format!(
            "read() of a network stream must return bytes, not {}",
            value.get_type().name()?
        ))),
    }
}
