//! Calls that are prepared here and made by the drive loops: functions of `httpcore_rs._effects`, bound to their arguments.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;

use super::calls::ToTuple;

/// Returns `functools.partial(function, *arguments, **keywords)`. `call` is the tuple `(function, *arguments)`.
pub fn partial<'py>(
    py: Python<'py>,
    call: impl ToTuple<'py>,
    keywords: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    static PARTIAL: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    PARTIAL.import(py, "functools", "partial")?.call(call.to_tuple(py)?, keywords)
}

/// Returns a call that does nothing. It lets Python run its signal handlers.
pub fn nothing(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    static NOTHING: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let nothing =
        NOTHING.get_or_try_init(py, || PyResult::Ok(partial(py, (helper(py, "nothing")?,), None)?.unbind()))?;
    Ok(nothing.bind(py).clone())
}

/// Returns a function of `httpcore_rs._effects`. All of them are looked up on the first call.
pub fn helper<'py>(py: Python<'py>, name: &'static str) -> PyResult<&'py Bound<'py, PyAny>> {
    static FUNCTIONS: PyOnceLock<Vec<(&str, Py<PyAny>)>> = PyOnceLock::new();
    const NAMES: [&str; 22] = [
        "aauthenticate",
        "acall",
        "aclose_streams",
        "aconnect",
        "async_iterator",
        "authenticate",
        "awaited",
        "call",
        "check_addresses",
        "close_streams",
        "connect",
        "is_readable",
        "iter",
        "list",
        "method",
        "next",
        "nothing",
        "pool_wait",
        "ready_chunks",
        "resolve",
        "socket_patches",
        "wait",
    ];

    let functions = FUNCTIONS.get_or_try_init(py, || {
        let module = py.import("httpcore_rs._effects")?;
        NAMES.iter().map(|&name| PyResult::Ok((name, module.getattr(name)?.unbind()))).collect()
    })?;
    functions
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, function)| function.bind(py))
        .ok_or_else(|| PyRuntimeError::new_err(format!("httpcore_rs has a bug, please report it: no effect {name}")))
}
