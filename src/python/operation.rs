//! The operations that the drive loops of `httpcore_rs._drive` run.
//!
//! The execution is taken out of its lock for each call: no lock is held while Python runs.

use std::sync::Mutex;

use pyo3::exceptions::PyRuntimeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use super::calls::call;
use super::execution::{Execution, NewOperation, NextEffect};
use super::host::Host;
use crate::lock::lock;

/// An operation of the engine, run by a drive loop in a thread or in a task.
///
/// `poll(reply)` returns the next effect, or `None` when `result()` is available. An effect that is a `functools.partial` is
/// called, any other one is awaited. The returned value is the reply for the next `poll()`; the first reply is `None`. An
/// exception is passed to `throw(exception)`, which returns the next effect if the engine handles the exception. Otherwise the
/// operation ends: the connection of its request is closed, its slot is given back, and the exception is raised.
#[pyclass(frozen, module = "httpcore_rs._engine")]
pub struct Operation {
    /// `None` during a call, and after the operation was collected as garbage.
    execution: Mutex<Option<Box<Execution>>>,
}

/// Runs an operation on the calling thread. Returns its value if that takes no Python, otherwise an [`Operation`] to drive.
pub fn run<'py>(py: Python<'py>, new: NewOperation<'_>) -> PyResult<Bound<'py, PyAny>> {
    let mut execution = Execution::in_thread(new);
    match execution.advance(py)? {
        None => execution.value(py),
        Some(effect) => {
            execution.set_first(effect);
            Ok(Bound::new(py, Operation::of(execution))?.into_any())
        }
    }
}

impl Operation {
    /// Returns an operation for the calling thread.
    pub fn in_thread(new: NewOperation<'_>) -> Self {
        Self::of(Execution::in_thread(new))
    }

    /// Returns an operation for a task of the host's loop.
    pub fn in_task(host: Py<Host>, new: NewOperation<'_>) -> Self {
        Self::of(Execution::in_task(host, new))
    }

    fn of(execution: Execution) -> Self {
        Self { execution: Mutex::new(Some(Box::new(execution))) }
    }

    /// Returns the same operation; other tasks run before it begins.
    pub fn yielding_first(self) -> Self {
        if let Some(execution) = &mut *lock(&self.execution) {
            execution.yield_first();
        }
        self
    }

    /// Returns the coroutine that drives the operation in a task.
    pub fn into_coroutine(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        static DRIVE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        call(DRIVE.import(py, "httpcore_rs._drive", "adrive")?, (self,))
    }

    fn with<T>(&self, run: impl FnOnce(&mut Execution) -> PyResult<T>) -> PyResult<T> {
        let Some(mut execution) = lock(&self.execution).take() else {
            return Err(PyRuntimeError::new_err("the operation is being run already, by another thread or by itself"));
        };
        let result = run(&mut execution);
        *lock(&self.execution) = Some(execution);
        result
    }
}

#[pymethods]
impl Operation {
    /// Takes the value that the last effect returned. Returns the next effect, or `None` at the end.
    fn poll<'py>(&self, py: Python<'py>, reply: &Bound<'py, PyAny>) -> NextEffect<'py> {
        self.with(|execution| execution.resume(py, reply))
    }

    /// Takes the exception that the last effect raised. Returns the next effect, or raises the exception that ends the operation.
    fn throw<'py>(&self, py: Python<'py>, exception: &Bound<'py, PyAny>) -> NextEffect<'py> {
        self.with(|execution| execution.fail(py, PyErr::from_value(exception.clone())))
    }

    /// Returns whether the operation has ended, and its result, if it has one, was taken.
    fn is_over(&self) -> bool {
        lock(&self.execution).as_ref().is_none_or(|execution| execution.is_over())
    }

    /// Returns the result of the operation, once.
    fn result<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.with(|execution| execution.value(py))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // Empty or locked during a call only, and that call keeps this object alive.
        match self.execution.try_lock() {
            Ok(execution) => execution.as_ref().map_or(Ok(()), |execution| execution.traverse(&visit)),
            Err(_) => Ok(()),
        }
    }

    /// Ends the operation when it is collected as garbage, as happens to the tasks of a loop that was closed before they ended.
    fn __clear__(&self) {
        let execution = lock(&self.execution).take();
        drop(execution);
    }
}
