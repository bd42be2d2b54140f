//! The two places where the effects of an operation are carried out: the calling thread, and a task of an event loop.

use std::time::Duration;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::calls::{ToTuple, call};
use super::external::object_of;
use super::helpers::{helper, partial};
use super::host::Host;
use crate::operation::ExternalHandle;

/// The place where the effects of an operation are carried out.
#[derive(Clone, Copy)]
pub enum Performer<'a> {
    /// The drive loop of the calling thread calls them.
    Thread,
    /// The drive loop of a task awaits them. The task belongs to the loop of this host.
    Task(&'a Py<Host>),
}

impl Performer<'_> {
    pub fn is_task(self) -> bool {
        matches!(self, Self::Task(_))
    }

    /// Returns an effect: a function call that a thread makes, or whose result a task awaits. `function_call` is the tuple
    /// `(function, *arguments)`.
    pub fn later<'py>(
        self,
        py: Python<'py>,
        function_call: impl ToTuple<'py>,
        keywords: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let effect = partial(py, function_call, keywords)?;
        if self.is_task() { call(helper(py, "awaited")?, (effect,)) } else { Ok(effect) }
    }

    /// Returns the effect `stream.name(argument, timeout=timeout)`.
    pub fn method<'py>(
        self,
        py: Python<'py>,
        stream: &ExternalHandle,
        name: &Bound<'py, PyString>,
        argument: Bound<'py, PyAny>,
        timeout: Option<Duration>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let keywords = PyDict::new(py);
        keywords.set_item(intern!(py, "timeout"), timeout.map(|timeout| timeout.as_secs_f64()))?;
        let object = object_of(py, stream)?;
        self.later(py, (helper(py, "method")?, object, name, argument), Some(&keywords))
    }
}
