//! The one place where an error of the engine becomes an exception.

use std::fmt;
use std::io;

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;

use super::namespace::{Namespace, Package};
use crate::error::{Error, Kind, OsError};

/// What ends an exchange early: the engine's error, or an exception of the caller's own code that passes through unchanged.
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
    pub fn into_pyerr(self, py: Python<'_>, namespace: &Namespace) -> PyErr {
        match self {
            Self::Engine(error) => to_pyerr(py, namespace, error),
            Self::Python(error) => error,
        }
    }

    /// The same where the package may not have been imported yet.
    pub fn into_pyerr_of(self, py: Python<'_>, package: Package) -> PyErr {
        match package.namespace(py) {
            Ok(namespace) => self.into_pyerr(py, namespace),
            Err(error) => error,
        }
    }
}

/// An exception that has been shown to a listener already: the caller gets the same one.
#[derive(Debug)]
struct Raised(PyErr);

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Raised {}

/// The error that stands for an exception made before.
pub fn raised(kind: Kind, exception: PyErr) -> Error {
    Error::new(kind, exception.to_string()).with_source(Raised(exception))
}

/// The error for an exception that the caller's own code raised: of httpcore's kind, if the exception is.
pub fn from_exception(py: Python<'_>, exception: PyErr) -> Error {
    raised(Namespace::kind_of(py, &exception), exception)
}

/// The exception of the caller's namespace, with what caused it as its `__cause__`.
pub fn to_pyerr(py: Python<'_>, namespace: &Namespace, error: Error) -> PyErr {
    let (kind, message) = (error.kind(), error.message().to_owned());
    let mut cause = None;
    if let Some(source) = error.into_source() {
        match source.downcast::<Raised>() {
            Ok(raised) => return raised.0,
            Err(source) => match source.downcast::<PyErr>() {
                Ok(exception) => cause = Some(*exception),
                Err(source) => cause = source.downcast::<io::Error>().ok().map(|error| os_error(py, &error)),
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

/// An `OSError`, of the subclass that fits its number (`ConnectionRefusedError`, ...).
pub fn os_error(py: Python<'_>, error: &io::Error) -> PyErr {
    let class = py.get_type::<PyOSError>();
    let exception = match error.raw_os_error() {
        Some(number) => class.call1((number, OsError(error).text())),
        None => class.call1((error.to_string(),)),
    };
    match exception {
        Ok(exception) => PyErr::from_value(exception),
        Err(error) => error,
    }
}
