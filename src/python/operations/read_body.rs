//! Reading the next chunk of a response body.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyList;

use super::{Completion, PollOperation};
use crate::client::{Chunk, ResponseBody};
use crate::error::Result;
use crate::io::wait_set;
use crate::lock::{Rank, RankedMutex, lock};
use crate::operation::StreamOwner;
use crate::python::callbacks::RequestCallbacks;
use crate::python::errors::to_pyerr;
use crate::python::namespace::Namespace;
use crate::python::response;
use crate::python::thread_driver::panicked;

/// A response body that can be read, and the parts that reading it takes.
pub struct OpenBody {
    pub body: RankedMutex<Box<ResponseBody>>,
    pub namespace: &'static Namespace,
    /// The sources of the rest of the request, while that is still being sent. The operation that reads takes them.
    callbacks: Mutex<Option<RequestCallbacks>>,
    /// The list for the fields that follow the body, if there can be any.
    trailers: Option<Py<PyList>>,
    pub owner: Arc<StreamOwner>,
}

impl OpenBody {
    pub fn new(
        mut body: Box<ResponseBody>,
        namespace: &'static Namespace,
        callbacks: RequestCallbacks,
        trailers: Option<Bound<'_, PyList>>,
        owner: &Arc<StreamOwner>,
    ) -> PyResult<Self> {
        if let Some(trailers) = &trailers {
            // They have arrived if the body was read already.
            response::fill(trailers, &body.take_trailers())?;
        }
        let callbacks = Mutex::new((callbacks.upload.is_some() && body.is_uploading()).then_some(callbacks));
        let (body, trailers) = (RankedMutex::new(Rank::ResponseBody, body), trailers.map(Bound::unbind));
        Ok(Self { body, namespace, callbacks, trailers, owner: Arc::clone(owner) })
    }

    /// Polls for the next chunk. A panic becomes an error.
    pub fn poll_chunk(&self, cx: &mut Context<'_>) -> Poll<Result<Option<Chunk>>> {
        self.with_body(|body| {
            catch_unwind(AssertUnwindSafe(|| body.poll_large_chunk(cx))).unwrap_or_else(|panic| {
                body.close();
                Poll::Ready(Err(panicked(&*panic)))
            })
        })
    }

    /// Returns true if the last chunk has been read, and does what is due at the end of the body.
    pub fn finish(&self, py: Python<'_>) -> PyResult<bool> {
        if !self.body.lock().is_at_end() {
            return Ok(false);
        }
        match self.poll_chunk(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(None)) => self.chunk(py, None).map(|_| true),
            Poll::Ready(Err(error)) => Err(to_pyerr(py, self.namespace, error)),
            Poll::Ready(Ok(Some(_))) | Poll::Pending => {
                // The next read reports the end.
                wait_set::clear();
                Ok(false)
            }
        }
    }

    /// Returns a chunk as `bytes`; at the end of the body fills the list of trailers and returns Python's `None`.
    pub fn chunk<'py>(&self, py: Python<'py>, chunk: Option<Chunk>) -> PyResult<Bound<'py, PyAny>> {
        if let Some(chunk) = chunk {
            return Ok(response::join(py, chunk.pieces())?.into_any());
        }
        if let Some(trailers) = &self.trailers {
            let fields = self.body.lock().take_trailers();
            response::fill(trailers.bind(py), &fields)?;
        }
        Ok(py.None().into_bound(py))
    }

    /// Closes the body: gives its connection back, or closes that if the body was not read to its end.
    pub fn close(&self) {
        self.with_body(ResponseBody::close);
    }

    /// Works on the body, and then drops its connection without the lock if that has ended.
    fn with_body<T>(&self, work: impl FnOnce(&mut ResponseBody) -> T) -> T {
        let mut body = self.body.lock();
        let result = work(&mut body);
        let ended = body.take_ended();
        drop(body);
        drop(ended);
        result
    }

    /// Takes the sources of the rest of the request, if there are any.
    pub fn take_callbacks(&self) -> RequestCallbacks {
        lock(&self.callbacks).take().unwrap_or_default()
    }

    pub fn traverse(&self, visit: &PyVisit<'_>) -> std::result::Result<(), PyTraverseError> {
        visit.call(&self.trailers)?;
        // Locked during a call only, and that call keeps the stream alive.
        match self.callbacks.try_lock() {
            Ok(callbacks) => callbacks.as_ref().map_or(Ok(()), |callbacks| callbacks.traverse(visit)),
            Err(_) => Ok(()),
        }
    }
}

/// Reads the next chunk of a body.
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

/// Dropped before its end when a signal handler raises an exception between two calls of the drive loop. The body is closed: its
/// effect gets no reply any more, and the sources of the rest of the request are gone.
impl Drop for ReadBody {
    fn drop(&mut self) {
        if !self.is_over {
            self.open.close();
        }
    }
}

impl PollOperation for ReadBody {
    /// Locks the body for the poll only, not while its reader waits: another thread may call `close()`.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let poll = self.open.poll_chunk(cx);
        self.is_over = poll.is_ready();
        poll.map_ok(|chunk| self.chunk = chunk)
    }

    fn value<'py>(&mut self, py: Python<'py>, completion: Completion<'_>) -> PyResult<Bound<'py, PyAny>> {
        if completion.callbacks.upload.is_some() {
            let before = lock(&self.open.callbacks).replace(completion.callbacks);
            drop(before);
        }
        self.open.chunk(py, self.chunk.take())
    }

    fn give_up(&mut self, _: Python<'_>, _: &PyErr) -> bool {
        // The rest of the body cannot be read either.
        self.open.close();
        true
    }
}
