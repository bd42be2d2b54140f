//! The rest of an upload, which an exchange has left to a task of its own.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pyo3::prelude::*;

use super::PollOperation;
use crate::error::{Kind, Result};
use crate::operation::{Background, EffectChannel};
use crate::python::errors::raised;
use crate::python::host::is_cancellation;

pub struct RunUpload {
    upload: Arc<dyn Background>,
    running: Option<Pin<Box<dyn Future<Output = Result<()>> + Send>>>,
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

    /// Whatever the body's iterator raises is raised by the exchange whose upload this is. Only a cancellation of the task
    /// itself ends the task.
    fn give_up(&mut self, py: Python<'_>, exception: &PyErr) -> bool {
        self.running = None;
        self.upload.fail(raised(Kind::Raised, exception.clone_ref(py)));
        is_cancellation(py, exception)
    }
}
