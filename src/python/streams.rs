//! The streams of response bodies. A body gives its connection back when its stream is closed or dropped.
//!
//! `httpcore_rs._streams` adds the methods that wait or run code of users: those that iterate and close.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use super::closing::closing;
use super::errors::to_pyerr;
use super::execution::{NewOperation, NextEffect};
use super::host::Host;
use super::operation::{self, Operation};
use super::operations::PollOperation;
use super::operations::read_body::{OpenBody, ReadBody};
use super::operations::transfer::WriteUpgraded;
use super::performer::Performer;
use super::ssl;
use crate::client::Chunk;
use crate::error::Error;
use crate::operation::{EffectChannel, YIELD_AFTER};

/// The body of a response: an iterator over `bytes`. Each chunk is returned as it arrives.
///
/// Raises `ReadTimeout`, `ReadError` and `RemoteProtocolError`. `close()` gives the connection back to its pool if the body was
/// read to its end; otherwise it closes the connection. Dropping the object does the same.
#[pyclass(frozen, module = "httpcore_rs")]
pub struct ResponseStream {
    body: ClosedOnDrop,
}

impl ResponseStream {
    pub fn new(open: OpenBody) -> Self {
        Self { body: ClosedOnDrop(Arc::new(open)) }
    }
}

#[pymethods]
impl ResponseStream {
    /// Returns the next chunk, or `None` at the end of the body; or an `Operation` that has them as its result.
    fn next_chunk<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        operation::run(py, self.body.reading())
    }

    /// Returns true if the last chunk was returned and the end of the body takes no waiting: the body has ended then.
    fn finish(&self, py: Python<'_>) -> PyResult<bool> {
        self.body.0.finish(py)
    }

    /// Closes the body. Returns an effect to call after that, or `None`. A thread that waits for a chunk at the same time gets a
    /// `ReadError`.
    fn end<'py>(&self, py: Python<'py>) -> NextEffect<'py> {
        let open = &self.body.0;
        open.close();
        ssl::leave_steps(&open.owner);
        closing(py, Performer::Thread, open.namespace, &open.owner)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.body.0.traverse(&visit)
    }
}

/// The body of a response: an asynchronous iterator over `bytes`. Each chunk is returned as it arrives.
///
/// Raises `ReadTimeout`, `ReadError` and `RemoteProtocolError`. `await aclose()` gives the connection back to its pool if the
/// body was read to its end; otherwise it closes the connection. Dropping the object does the same, and so does cancelling a task
/// that waits for a chunk.
#[pyclass(frozen, module = "httpcore_rs")]
pub struct AsyncResponseStream {
    body: ClosedOnDrop,
    host: Py<Host>,
    /// The number of bytes returned since other tasks had a chance to run.
    unyielded: AtomicUsize,
}

impl AsyncResponseStream {
    pub fn new(open: OpenBody, host: Py<Host>) -> Self {
        Self { body: ClosedOnDrop(Arc::new(open)), host, unyielded: AtomicUsize::new(0) }
    }
}

#[pymethods]
impl AsyncResponseStream {
    /// Returns the next chunk, or `None` at the end of the body; or an `Operation` that has them as its result.
    fn next_chunk<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let open = &self.body.0;
        let yields_first = self.unyielded.load(Ordering::Relaxed) >= YIELD_AFTER;
        if !yields_first {
            // A chunk that has arrived takes no waiting.
            match open.poll_chunk(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(Ok(chunk)) => {
                    self.unyielded.fetch_add(chunk.as_ref().map_or(0, Chunk::len), Ordering::Relaxed);
                    return open.chunk(py, chunk);
                }
                Poll::Ready(Err(error)) if self.host.get().is_owner_empty() => {
                    return Err(to_pyerr(py, open.namespace, error));
                }
                Poll::Ready(Err(error)) => return self.failing(py, error),
                Poll::Pending => {}
            }
        }
        self.unyielded.store(0, Ordering::Relaxed);
        let operation = Operation::in_task(self.host.clone_ref(py), self.body.reading());
        Ok(Bound::new(py, if yields_first { operation.yielding_first() } else { operation })?.into_any())
    }

    /// Returns true if the last chunk was returned and the end of the body takes no waiting: the body has ended then.
    fn finish(&self, py: Python<'_>) -> PyResult<bool> {
        self.body.0.finish(py)
    }

    /// Closes the body. Returns an effect to await after that, or `None`. A task that waits for a chunk at the same time gets a
    /// `ReadError`.
    fn end<'py>(&self, py: Python<'py>) -> NextEffect<'py> {
        let (open, host) = (&self.body.0, self.host.get());
        let running = host.shared.enter();
        open.close();
        let closing = closing(py, Performer::Task(&self.host), open.namespace, &open.owner);
        host.leave(py, running)?;
        // The loop may have ended: its next turn may never come.
        ssl::take_dropped_steps();
        closing
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.host)?;
        self.body.0.traverse(&visit)
    }
}

impl AsyncResponseStream {
    /// Returns an operation that raises an error after the external streams that were dropped are closed.
    fn failing<'py>(&self, py: Python<'py>, error: Error) -> PyResult<Bound<'py, PyAny>> {
        let failing = Box::new(WriteUpgraded::new(std::future::ready(Err(error))));
        let new = self.body.operation(failing, EffectChannel::default());
        Ok(Bound::new(py, Operation::in_task(self.host.clone_ref(py), new))?.into_any())
    }
}

/// A body that is closed when its stream is dropped.
struct ClosedOnDrop(Arc<OpenBody>);

impl ClosedOnDrop {
    /// Returns the operation that reads the next chunk.
    fn reading(&self) -> NewOperation<'_> {
        let effects = self.0.body.lock().effects().clone();
        self.operation(Box::new(ReadBody::new(&self.0)), effects)
    }

    fn operation(&self, operation: Box<dyn PollOperation>, effects: EffectChannel) -> NewOperation<'_> {
        let open = &self.0;
        let callbacks = open.take_callbacks();
        NewOperation { operation, effects, namespace: open.namespace, callbacks, owner: &open.owner }
    }
}

impl Drop for ClosedOnDrop {
    fn drop(&mut self) {
        self.0.close();
        ssl::take_dropped_steps();
    }
}
