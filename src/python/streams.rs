//! Response bodies, which give their connection back when they are closed or dropped.
//!
//! What runs code of users, or waits, is completed in Python: `httpcore_rs._streams` adds the methods that iterate and close.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use super::effects::Performer;
use super::errors::to_pyerr;
use super::host::Host;
use super::operation::{self, Operation};
use super::operations::{OpenBody, ReadBody};
use super::ssl;
use crate::client::Chunk;
use crate::lock::lock;
use crate::operation::{EffectChannel, YIELD_AFTER};

/// The body of a response: an iterator over `bytes`, each chunk handed on as it arrives.
///
/// Raises `ReadTimeout`, `ReadError` and `RemoteProtocolError`. `close()` returns the connection to its pool if the body was
/// read to its end, and else closes it; so does dropping the object.
#[pyclass(frozen, module = "httpcore_rs")]
pub struct ResponseStream {
    open: Arc<OpenBody>,
}

impl ResponseStream {
    pub fn new(open: OpenBody) -> Self {
        Self { open: Arc::new(open) }
    }
}

#[pymethods]
impl ResponseStream {
    /// The next chunk, or `None` at the end of the body; or an `Operation` that has them as its result.
    fn next_chunk<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let open = &self.open;
        let effects = lock(&open.body).effects().clone();
        let reading = Box::new(ReadBody::new(open));
        operation::run(py, reading, effects, open.namespace, open.take_caller(), &open.owner)
    }

    /// Gives the connection back, and returns what is to be called after that, or `None`. A thread that waits for a chunk
    /// meanwhile gets a `ReadError`.
    fn end<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        lock(&self.open.body).close();
        ssl::leave_steps(&self.open.owner);
        operation::closing(py, Performer::Thread, self.open.namespace, &self.open.owner)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.open.traverse(&visit)
    }
}

impl Drop for ResponseStream {
    fn drop(&mut self) {
        lock(&self.open.body).close();
        ssl::take_dropped_steps();
    }
}

/// The body of a response: an asynchronous iterator over `bytes`, each chunk handed on as it arrives.
///
/// Raises `ReadTimeout`, `ReadError` and `RemoteProtocolError`. `await aclose()` returns the connection to its pool if the body
/// was read to its end, and else closes it; so does dropping the object, and cancelling a task that waits for a chunk.
#[pyclass(frozen, module = "httpcore_rs")]
pub struct AsyncResponseStream {
    open: Arc<OpenBody>,
    host: Py<Host>,
    /// Bytes handed on since other tasks last had a chance to run.
    unyielded: AtomicUsize,
}

impl AsyncResponseStream {
    pub fn new(open: OpenBody, host: Py<Host>) -> Self {
        Self { open: Arc::new(open), host, unyielded: AtomicUsize::new(0) }
    }
}

#[pymethods]
impl AsyncResponseStream {
    /// The next chunk, or `None` at the end of the body; or an `Operation` that has them as its result.
    fn next_chunk<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let yield_first = self.unyielded.load(Ordering::Relaxed) >= YIELD_AFTER;
        if !yield_first {
            // What has arrived already needs no waiting.
            match self.open.poll_chunk(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(Ok(chunk)) => {
                    self.unyielded.fetch_add(chunk.as_ref().map_or(0, Chunk::len), Ordering::Relaxed);
                    return self.open.chunk(py, chunk);
                }
                Poll::Ready(Err(error)) if self.host.get().is_owner_empty() => {
                    return Err(to_pyerr(py, self.open.namespace, error));
                }
                Poll::Ready(Err(error)) => return self.failing(py, error),
                Poll::Pending => {}
            }
        }
        self.unyielded.store(0, Ordering::Relaxed);
        let effects = lock(&self.open.body).effects().clone();
        let reading = Box::new(ReadBody::new(&self.open));
        let operation = self.operation(py, reading, effects);
        Ok(Bound::new(py, if yield_first { operation.yielding_first() } else { operation })?.into_any())
    }

    /// Gives the connection back, and returns what is to be awaited after that, or `None`. A task that waits for a chunk
    /// meanwhile gets a `ReadError`.
    fn end<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let host = self.host.get();
        let running = host.shared.enter();
        lock(&self.open.body).close();
        let closing = operation::closing(py, Performer::Task(&self.host), self.open.namespace, &self.open.owner);
        host.leave(py, running)?;
        // Not left to the next turn: the loop may have ended.
        ssl::take_dropped_steps();
        closing
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.host)?;
        self.open.traverse(&visit)
    }
}

impl Drop for AsyncResponseStream {
    fn drop(&mut self) {
        lock(&self.open.body).close();
        ssl::take_dropped_steps();
    }
}

impl AsyncResponseStream {
    fn operation(
        &self,
        py: Python<'_>,
        operation: Box<dyn super::operations::PollOperation>,
        effects: EffectChannel,
    ) -> Operation {
        let (open, host) = (&self.open, self.host.clone_ref(py));
        Operation::in_task(host, operation, effects, open.namespace, open.take_caller(), &open.owner)
    }

    /// An operation that fails once the streams that were dropped are closed.
    fn failing<'py>(&self, py: Python<'py>, error: crate::error::Error) -> PyResult<Bound<'py, PyAny>> {
        let failing = super::operations::WriteUpgraded::new(std::future::ready(Err(error)));
        Ok(Bound::new(py, self.operation(py, Box::new(failing), EffectChannel::default()))?.into_any())
    }
}
