//! The conversion of the engine's errors into exceptions, and back.

use std::fmt;
use std::io;

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;

use super::namespace::{Namespace, Package};
use crate::error::{Error, Kind, OsError};
use crate::lock::Lockless;

/// The failure of a step that involves Python: an error of the engine, or an exception of user code, which is raised unchanged.
pub enum Fault {
    Engine(Error),
    Python(PyErr),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Engine(error)
    }
}

impl From<PyErr> for Fault {
    fn from(error: PyErr) -> Self {
        Self::Python(error)
    }
}

impl Fault {
    /// Returns the exception of the namespace for an error, or the exception of user code.
    pub fn into_pyerr(self, py: Python<'_>, namespace: &Namespace) -> PyErr {
        match self {
            Self::Engine(error) => to_pyerr(py, namespace, error),
            Self::Python(error) => error,
        }
    }

    /// Returns the same exception where the package may not have been imported yet.
    pub fn into_pyerr_of(self, py: Python<'_>, package: Package) -> PyErr {
        match package.namespace(py) {
            Ok(namespace) => self.into_pyerr(py, namespace),
            Err(error) => error,
        }
    }
}

/// An exception that was made before, by user code or for a trace callback. The same object is raised.
#[derive(Debug)]
struct Raised {
    exception: PyErr,
    _lockless: Lockless,
}

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.exception.fmt(f)
    }
}

impl std::error::Error for Raised {}

/// Returns the error that stands for an exception that was made before.
pub fn raised(kind: Kind, exception: PyErr) -> Error {
    Error::new(kind, exception.to_string()).with_source(Raised { exception, _lockless: Lockless })
}

/// Returns the error for an exception that user code raised. An exception of httpcore keeps its kind.
pub fn from_exception(py: Python<'_>, exception: PyErr) -> Error {
    raised(Namespace::kind_of(py, &exception), exception)
}

/// Returns the exception of the namespace for an error, with the source of the error as its `__cause__`.
pub fn to_pyerr(py: Python<'_>, namespace: &Namespace, error: Error) -> PyErr {
    let (kind, message) = (error.kind(), error.message().to_owned());
    let mut cause = None;
    if let Some(source) = error.into_source() {
        match source.downcast::<Raised>() {
            Ok(raised) => return raised.exception,
            Err(source) => match source.downcast::<PyErr>() {
                Ok(exception) => cause = Some(*exception),
                Err(source) => match source.downcast::<Error>() {
                    Ok(error) => cause = Some(to_pyerr(py, namespace, *error)),
                    Err(source) => cause = source.downcast::<io::Error>().ok().map(|error| os_error(py, &error)),
                },
            },
        }
    }
    let exception = match namespace.exception(py, kind) {
        Ok(class) => PyErr::from_type(class, message),
        Err(missing) => return missing,
    };
    if cause.is_some() {
        exception.set_cause(py, cause);
    }
    exception
}

/// Returns the `OSError` for an error of the operating system. Its subclass follows from the number (`ConnectionRefusedError`,
/// ...).
pub fn os_error(py: Python<'_>, error: &io::Error) -> PyErr {
    let class = py.get_type::<PyOSError>();
    let exception = match error.raw_os_error() {
        // The fourth argument is the number on Windows, from which Python derives the first.
        Some(number) if cfg!(windows) => class.call1((0, OsError(error).text(), py.None(), number)),
        Some(number) => class.call1((number, OsError(error).text())),
        None => class.call1((error.to_string(),)),
    };
    match exception {
        Ok(exception) => PyErr::from_value(exception),
        Err(error) => error,
    }
}
