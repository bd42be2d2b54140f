//! Reporting a request that has waited in the pool for long: to the log, and to the pool's `on_pool_wait`.

use std::sync::Arc;

use pyo3::exceptions::PyTypeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use super::awaited::AwaitedEffect;
use super::effects::Performed;
use super::helpers::{helper, partial};
use super::metrics::name;
use super::values;
use crate::operation::{PoolWait, Reply, UserCallback};

struct PoolWaitCallback(Py<PyAny>);

/// Reads the option `on_pool_wait`.
pub fn callback(given: &Bound<'_, PyAny>) -> PyResult<Option<UserCallback>> {
    if given.is_none() {
        return Ok(None);
    }
    if !given.is_callable() {
        return Err(values::wrong_type("on_pool_wait", "a function", given));
    }
    let inspect = given.py().import("inspect")?;
    if inspect.getattr("iscoroutinefunction")?.call1((given,))?.is_truthy()? {
        return Err(PyTypeError::new_err(
            "on_pool_wait must be a plain function, also for async pools: it is not awaited",
        ));
    }
    Ok(Some(Arc::new(PoolWaitCallback(given.clone().unbind()))))
}

/// Visits the callback for the garbage collector: it may refer to the pool that calls it.
pub fn traverse(callback: &UserCallback, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
    callback.downcast_ref::<PoolWaitCallback>().map_or(Ok(()), |callback| visit.call(&callback.0))
}

/// Returns the effect that reports the wait.
pub fn report<'py>(
    py: Python<'py>,
    wait: &PoolWait,
    callback: Option<&UserCallback>,
    reply: Reply<()>,
) -> PyResult<Performed<'py>> {
    let callback = callback.and_then(|callback| callback.downcast_ref::<PoolWaitCallback>());
    let holders: Vec<_> =
        wait.holders.iter().map(|(origin, requests, oldest)| (name(origin), *requests, oldest.as_secs_f64())).collect();
    let arguments = (
        helper(py, "pool_wait")?,
        callback.map(|callback| callback.0.clone_ref(py)),
        name(&wait.origin),
        wait.waited.as_secs_f64(),
        wait.max_connections,
        wait.waiting,
        holders,
    );
    Ok(Performed::ByPython(partial(py, arguments, None)?, AwaitedEffect::Done(reply)))
}
