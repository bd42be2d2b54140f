//! The rest of an upload, which an exchange has left to a task of its own.

use std::sync::Arc;
use std::task::{Context, Poll};

use pyo3::exceptions::PyGeneratorExit;
use pyo3::exceptions::asyncio::CancelledError;
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::{BoxedFuture, PollOperation};
use crate::error::{Kind, Result};
use crate::operation::{Background, EffectChannel};
use crate::python::errors::raised;

/// Sends the rest of a request body while the response is read by another task.
pub struct RunUpload {
    upload: Arc<dyn Background>,
    running: Option<BoxedFuture<()>>,
}

impl RunUpload {
    pub fn new(upload: Arc<dyn Background>, effects: EffectChannel) -> Self {
        let running = Arc::clone(&upload).run(effects);
        Self { upload, running: Some(running) }
    }
}

impl PollOperation for RunUpload {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match &mut self.running {
            Some(running) => running.as_mut().poll(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    /// An exception of the body's iterator is raised by the exchange that the upload belongs to. Only a cancellation of this task
    /// is raised here.
    fn give_up(&mut self, py: Python<'_>, exception: &PyErr) -> bool {
        self.running = None;
        self.upload.fail(raised(Kind::Raised, exception.clone_ref(py)));
        is_cancellation(py, exception)
    }
}

/// Returns whether asyncio or trio cancel a task by this exception, or a coroutine is closed by it.
fn is_cancellation(py: Python<'_>, exception: &PyErr) -> bool {
    if exception.is_instance_of::<CancelledError>(py) || exception.is_instance_of::<PyGeneratorExit>(py) {
        return true;
    }
    let class = exception.get_type(py);
    let is = |text: PyResult<Bound<'_, PyString>>, prefix: &str| {
        text.is_ok_and(|text| text.to_str().is_ok_and(|text| text.starts_with(prefix)))
    };
    is(class.name(), "Cancelled") && is(class.module(), "trio")
}
