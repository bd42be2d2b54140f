//! The argument `cert`: a client certificate, or a function that chooses one for a host.

use std::path::PathBuf;
use std::sync::Arc;

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use super::arguments::{bytes, pem_source};
use crate::operation::Opaque;
use crate::tls::{Identity, Password, PemSource};

pub enum ClientCertificate {
    One(Identity),
    ByHost(Opaque),
}

/// A function of the user that chooses a certificate.
struct Chooser(Py<PyAny>);

/// Reads the argument `cert`.
pub fn read(cert: &Bound<'_, PyAny>) -> PyResult<ClientCertificate> {
    if is_function(cert) {
        return Ok(ClientCertificate::ByHost(Arc::new(Chooser(cert.clone().unbind()))));
    }
    identity(cert).map(ClientCertificate::One)
}

fn is_function(cert: &Bound<'_, PyAny>) -> bool {
    cert.is_callable() && cert.extract::<PathBuf>().is_err()
}

fn identity(cert: &Bound<'_, PyAny>) -> PyResult<Identity> {
    let malformed = || {
        PyTypeError::new_err(
            "cert must be the path of a PEM file or its contents as bytes, (chain, key), (chain, key, password), or a function",
        )
    };
    let source = |part: &Bound<'_, PyAny>| pem_source("cert", part).map_err(|_| malformed());
    let Ok(parts) = cert.cast::<PyTuple>() else {
        let both = source(cert)?;
        return Ok(Identity { chain: both.clone(), key: both, password: None });
    };
    let (chain, key, password) = match parts.len() {
        2 => (parts.get_item(0)?, parts.get_item(1)?, None),
        3 => (parts.get_item(0)?, parts.get_item(1)?, Some(parts.get_item(2)?)),
        _ => return Err(malformed()),
    };
    let chain: PemSource = source(&chain)?;
    let key = if key.is_none() && parts.len() == 3 { chain.clone() } else { source(&key)? };
    Ok(Identity {
        chain,
        key,
        password: password.filter(|given| !given.is_none()).map(|given| read_password(&given)).transpose()?,
    })
}

/// Reads a password: text, bytes, or a function that returns one.
fn read_password(given: &Bound<'_, PyAny>) -> PyResult<Password> {
    let password = if given.is_callable() { given.call0()? } else { given.clone() };
    if let Ok(text) = password.cast::<PyString>() {
        return Ok(Password(text.to_str()?.as_bytes().into()));
    }
    match bytes(&password)? {
        Some(bytes) => Ok(Password(bytes.into())),
        None => Err(PyTypeError::new_err("cert: the password must be str, bytes, or a function that returns one")),
    }
}

/// Visits the function behind a chooser for the garbage collector: it may refer to the pool that uses it.
pub fn traverse(chooser: &Opaque, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
    chooser.downcast_ref::<Chooser>().map_or(Ok(()), |chooser| visit.call(&chooser.0))
}

/// Returns the function behind a chooser.
pub fn begin_choice<'py>(py: Python<'py>, chooser: &Opaque) -> PyResult<Bound<'py, PyAny>> {
    match chooser.downcast_ref::<Chooser>() {
        Some(chooser) => Ok(chooser.0.bind(py).clone()),
        None => Err(PyRuntimeError::new_err("httpcore_rs has a bug, please report it: a chooser of an unknown kind")),
    }
}

/// Reads what the function has returned.
pub fn take_choice(returned: &Bound<'_, PyAny>) -> PyResult<Option<Opaque>> {
    if returned.is_none() {
        return Ok(None);
    }
    Ok(Some(Arc::new(identity(returned)?)))
}
