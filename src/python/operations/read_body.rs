//! Reading the next chunk of a response body.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyList;

use super::{Completion, PollOperation};
use crate::client::{Chunk, ResponseBody};
use crate::error::Result;
use crate::lock::lock;
use crate::operation::StreamOwner;
use crate::python::callbacks::RequestCallbacks;
use crate::python::namespace::Namespace;
use crate::python::response;
use crate::python::thread_driver::panicked;

/// A response body that can be read, with all that belongs to it.
pub struct OpenBody {
    pub body: Mutex<ResponseBody>,
    pub namespace: &'static Namespace,
    /// While parts of the request are still to be sent: where they come from. Taken by the operation that reads.
    caller: Mutex<Option<RequestCallbacks>>,
    trailers: Option<Py<PyList>>,
    pub owner: Arc<StreamOwner>,
}

impl OpenBody {
    pub fn new(
        mut body: ResponseBody,
        namespace: &'static Namespace,
        caller: RequestCallbacks,
        trailers: Option<Bound<'_, PyList>>,
        owner: &Arc<StreamOwner>,
    ) -> PyResult<Self> {
        if let Some(trailers) = &trailers {
            // They are there if the body was read already.
            response::fill(trailers, &body.take_trailers())?;
        }
        let caller = Mutex::new((caller.sources.is_some() && body.is_uploading()).then_some(caller));
        let (body, trailers) = (Mutex::new(body), trailers.map(Bound::unbind));
        Ok(Self { body, namespace, caller, trailers, owner: Arc::clone(owner) })
    }

    /// Polls for the next chunk; a panic is an error like any other.
    pub fn poll_chunk(&self, cx: &mut Context<'_>) -> Poll<Result<Option<Chunk>>> {
        let mut body = lock(&self.body);
        catch_unwind(AssertUnwindSafe(|| body.poll_large_chunk(cx))).unwrap_or_else(|panic| {
            body.close();
            Poll::Ready(Err(panicked(&*panic)))
        })
    }

    /// The chunk for Python: `None` at the end of the body.
    pub fn chunk<'py>(&self, py: Python<'py>, chunk: Option<Chunk>) -> PyResult<Bound<'py, PyAny>> {
        if let Some(chunk) = chunk {
            return Ok(response::join(py, chunk.pieces())?.into_any());
        }
        if let Some(trailers) = &self.trailers {
            let fields = lock(&self.body).take_trailers();
            response::fill(trailers.bind(py), &fields)?;
        }
        Ok(py.None().into_bound(py))
    }

    pub fn take_caller(&self) -> RequestCallbacks {
        lock(&self.caller).take().unwrap_or_default()
    }

    pub fn traverse(&self, visit: &PyVisit<'_>) -> std::result::Result<(), PyTraverseError> {
        visit.call(&self.trailers)?;
        // Locked only by a call that is under way, and then the stream is alive.
        match self.caller.try_lock() {
            Ok(caller) => caller.as_ref().map_or(Ok(()), |caller| caller.traverse(visit)),
            Err(_) => Ok(()),
        }
    }
}

pub struct ReadBody {
    open: Arc<OpenBody>,
    chunk: Option<Chunk>,
    is_over: bool,
}

impl ReadBody {
    pub fn new(open: &Arc<OpenBody>) -> Self {
        Self { open: Arc::clone(open), chunk: None, is_over: false }
    }
}

/// Dropped before its end: the exception of a signal handler came between two calls of the drive loop. What was asked for gets no answer
/// any more, and what the rest of the request was to come from is gone.
impl Drop for ReadBody {
    fn drop(&mut self) {
        if !self.is_over {
            lock(&self.open.body).close();
        }
    }
}

impl PollOperation for ReadBody {
    /// The body is locked while it is polled, not while its reader waits: `close()` may come from another thread.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let poll = self.open.poll_chunk(cx);
        self.is_over = poll.is_ready();
        poll.map_ok(|chunk| self.chunk = chunk)
    }

    fn value<'py>(&mut self, py: Python<'py>, completion: Completion<'_>) -> PyResult<Bound<'py, PyAny>> {
        if completion.caller.sources.is_some() {
            *lock(&self.open.caller) = Some(completion.caller);
        }
        self.open.chunk(py, self.chunk.take())
    }

    fn give_up(&mut self, _: Python<'_>, _: &PyErr) -> bool {
        // The rest cannot be read either.
        lock(&self.open.body).close();
        true
    }
}
