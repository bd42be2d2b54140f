//! A pool's `network_backend`: the object that connects and begins TLS in place of the engine.

use std::sync::Arc;

use pyo3::exceptions::PyRuntimeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::arguments::PoolArguments;
use super::external::object_of;
use crate::operation::{Backend, Event, ExternalHandle};

/// A backend, and the arguments of the pool that its methods are called with.
struct NetworkBackend {
    object: Py<PyAny>,
    arguments: Py<PoolArguments>,
}

/// Returns the backend in the form that the connector keeps.
pub fn backend(object: &Bound<'_, PyAny>, arguments: &Py<PoolArguments>) -> Backend {
    let py = object.py();
    Arc::new(NetworkBackend { object: object.clone().unbind(), arguments: arguments.clone_ref(py) })
}

/// Returns the backend as the Python object that was given.
pub fn object<'py>(py: Python<'py>, backend: &Backend) -> PyResult<Bound<'py, PyAny>> {
    Ok(network_backend(backend)?.object.bind(py).clone())
}

/// Returns the method call that connects or begins TLS: the object, the name of the method and its keyword arguments.
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

/// Visits the backend and the arguments for the garbage collector: they may refer to the pool that uses them.
pub fn traverse(backend: &Backend, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
    match backend.downcast_ref::<NetworkBackend>() {
        Some(backend) => {
            visit.call(&backend.object)?;
            visit.call(&backend.arguments)
        }
        None => Ok(()),
    }
}

fn network_backend(backend: &Backend) -> PyResult<&NetworkBackend> {
    backend.downcast_ref::<NetworkBackend>().ok_or_else(|| {
        PyRuntimeError::new_err("httpcore_rs has a bug, please report it: a network backend of an unknown kind")
    })
}
