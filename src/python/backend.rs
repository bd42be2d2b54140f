//! The caller's `network_backend` and its streams, as the drivers use them.

use std::any::Any;
use std::sync::Arc;

use bytes::Bytes;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use super::arguments::PoolArguments;
use super::thread_driver::is_green;
use crate::operation::{Backend, Event, ExternalHandle, ExternalStream, StreamOwner};

/// A backend, and what its methods are given of the pool's arguments.
struct NetworkBackend {
    object: Py<PyAny>,
    arguments: Py<PoolArguments>,
}

/// A stream that a backend made, or that the caller made himself.
struct PythonStream {
    object: Py<PyAny>,
    is_async: bool,
    has_chosen_http2: bool,
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

/// What the connector keeps of a backend.
pub fn backend(object: &Bound<'_, PyAny>, arguments: &Py<PoolArguments>) -> Backend {
    let py = object.py();
    Arc::new(NetworkBackend { object: object.clone().unbind(), arguments: arguments.clone_ref(py) })
}

/// The backend as the caller gave it.
pub fn backend_object<'py>(py: Python<'py>, backend: &Backend) -> PyResult<Bound<'py, PyAny>> {
    Ok(network_backend(backend)?.object.bind(py).clone())
}

/// The engine's share in an external stream.
pub fn handle(
    object: &Bound<'_, PyAny>,
    is_async: bool,
    has_chosen_http2: bool,
    owner: &Arc<StreamOwner>,
) -> ExternalHandle {
    let stream = PythonStream { object: object.clone().unbind(), is_async, has_chosen_http2 };
    ExternalHandle::new(Arc::new(stream), owner)
}

/// The external stream as Python knows it.
pub fn object_of<'py>(py: Python<'py>, stream: &ExternalHandle) -> PyResult<Bound<'py, PyAny>> {
    object(py, stream.stream())
}

pub fn object<'py>(py: Python<'py>, carrier: &dyn ExternalStream) -> PyResult<Bound<'py, PyAny>> {
    let carrier: &dyn Any = carrier;
    match carrier.downcast_ref::<PythonStream>() {
        Some(stream) => Ok(stream.object.bind(py).clone()),
        None => Err(unknown()),
    }
}

/// The object, the name of the method that connects or begins TLS, and its keyword arguments.
pub fn connecting<'py>(
    py: Python<'py>,
    backend: &Backend,
    stream: Option<&ExternalHandle>,
    event: &Event,
) -> PyResult<(Bound<'py, PyAny>, &'static str, Bound<'py, PyDict>)> {
    let backend = network_backend(backend)?;
    let object = match stream {
        Some(stream) => object_of(py, stream)?,
        None => backend.object.bind(py).clone(),
    };
    Ok((object, event.name(), backend.arguments.get().kwargs(py, event)?))
}

/// The engine's share in a stream that a backend has made: `(stream, whether its TLS chose HTTP/2)`.
pub fn stream(made: &Bound<'_, PyAny>, is_async: bool, owner: &Arc<StreamOwner>) -> PyResult<ExternalHandle> {
    let (object, has_chosen_http2): (Bound<'_, PyAny>, bool) = made.extract()?;
    Ok(handle(&object, is_async, has_chosen_http2, owner))
}

/// What `read()` of an external stream returned.
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

fn network_backend(backend: &Backend) -> PyResult<&NetworkBackend> {
    backend.downcast_ref::<NetworkBackend>().ok_or_else(unknown)
}

fn unknown() -> PyErr {
    PyRuntimeError::new_err("httpcore_rs has a bug, please report it: a network backend of an unknown kind")
}

/// For the garbage collector: a backend may refer to the pool that uses it.
pub fn traverse(backend: &Backend, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
    match backend.downcast_ref::<NetworkBackend>() {
        Some(backend) => visit.call(&backend.object),
        None => Ok(()),
    }
}
