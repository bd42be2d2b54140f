//! The interpreter that imports the module.

use pyo3::exceptions::PyImportError;
use pyo3::ffi;
use pyo3::prelude::*;

/// Raises `ImportError` outside the main interpreter: exceptions, types and hosts of event loops are kept once for the process,
/// and objects of one interpreter must not reach another one.
pub fn refuse_subinterpreters(_: Python<'_>) -> PyResult<()> {
    // SAFETY: the interpreter is attached, as `PyInterpreterState_Get` requires. The pointers are compared only.
    let is_main = unsafe { ffi::PyInterpreterState_Get() == ffi::PyInterpreterState_Main() };
    if is_main {
        return Ok(());
    }
    Err(PyImportError::new_err(
        "httpcore_rs does not support subinterpreters: import it in the main interpreter (under mod_wsgi: \
         WSGIApplicationGroup %{GLOBAL})",
    ))
}
