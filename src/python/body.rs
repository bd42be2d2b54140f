//! Response bodies: iterators over what has arrived, that give their connection back when they are closed or forgotten.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use pyo3::exceptions::PyStopIteration;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use super::async_driver::{Exchange, poll_chunk};
use super::backend::{self, Sender};
use super::errors::to_pyerr;
use super::host::{Host, Task};
use super::namespace::Namespace;
use super::request::Sources;
use super::response;
use super::sync_driver::{Caller, block_on};
use crate::exchange::{Chunk, ResponseBody, YIELD_AFTER};
use crate::lock::lock;

/// The body of a response: an iterator over `bytes`, each chunk handed on as it arrives.
///
/// Raises `ReadTimeout`, `ReadError` and `RemoteProtocolError`. `close()` returns the connection to its pool if the body was
/// read to its end, and else closes it; so does forgetting the object.
#[pyclass(frozen, module = "httpcore_rs._engine")]
pub struct ResponseStream {
    body: Mutex<ResponseBody>,
    namespace: &'static Namespace,
    /// While parts of the request are still to be sent: where they come from.
    caller: Mutex<Option<Caller>>,
    trailers: Option<Py<PyList>>,
}

impl ResponseStream {
    pub fn new(
        mut body: ResponseBody,
        namespace: &'static Namespace,
        caller: Option<Caller>,
        trailers: Option<Bound<'_, PyList>>,
    ) -> PyResult<Self> {
        if let Some(trailers) = &trailers {
            // They are there if the body was read already.
            response::fill(trailers, &body.take_trailers())?;
        }
        let caller = Mutex::new(caller.filter(|_| body.is_uploading()));
        Ok(Self { body: Mutex::new(body), namespace, caller, trailers: trailers.map(Bound::unbind) })
    }
}

#[pymethods]
impl ResponseStream {
    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        // The lock is held while polling, never while sleeping: `close()` may come from another thread.
        let mut next = pin!(std::future::poll_fn(|cx| lock(&self.body).poll_large_chunk(cx)));
        let asker = lock(&self.body).asker().clone();
        let mut caller = lock(&self.caller).take().unwrap_or_default();
        let result = block_on(py, next.as_mut(), &asker, &mut caller);
        match result {
            Ok(Some(chunk)) => {
                if caller.has_sources() {
                    *lock(&self.caller) = Some(caller);
                }
                response::join(py, chunk.pieces()).map(Some)
            }
            Ok(None) => {
                if let Some(trailers) = &self.trailers {
                    response::fill(trailers.bind(py), &lock(&self.body).take_trailers())?;
                }
                Ok(None)
            }
            Err(fault) => {
                // Also when it was a signal: then the rest cannot be read either.
                lock(&self.body).close();
                let exception = fault.into_pyerr(py, self.namespace);
                // The first error is the one that counts.
                let _ = backend::close_forsaken(py);
                Err(exception)
            }
        }
    }

    /// Gives the connection back. A thread that waits for a chunk meanwhile gets a `ReadError`.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        lock(&self.body).close();
        backend::close_forsaken(py)
    }
}

/// The body of a response: an asynchronous iterator over `bytes`, each chunk handed on as it arrives.
///
/// Raises `ReadTimeout`, `ReadError` and `RemoteProtocolError`. `await aclose()` returns the connection to its pool if the body
/// was read to its end, and else closes it; so does forgetting the object, and cancelling a task that waits for a chunk.
#[pyclass(frozen, module = "httpcore_rs._engine")]
pub struct AsyncResponseStream {
    body: Arc<Mutex<ResponseBody>>,
    namespace: &'static Namespace,
    host: Py<Host>,
    /// Bytes handed on since others last had a chance to run.
    unyielded: AtomicUsize,
    /// While parts of the request are still to be sent: where they come from.
    sources: Option<Arc<Mutex<Sources>>>,
    trailers: Option<Py<PyList>>,
}

impl AsyncResponseStream {
    pub fn new(
        mut body: ResponseBody,
        namespace: &'static Namespace,
        host: Py<Host>,
        sources: Option<Arc<Mutex<Sources>>>,
        trailers: Option<Bound<'_, PyList>>,
    ) -> PyResult<Self> {
        if let Some(trailers) = &trailers {
            // They are there if the body was read already.
            response::fill(trailers, &body.take_trailers())?;
        }
        let sources = sources.filter(|_| body.is_uploading());
        let (body, trailers) = (Arc::new(Mutex::new(body)), trailers.map(Bound::unbind));
        Ok(Self { body, namespace, host, unyielded: AtomicUsize::new(0), sources, trailers })
    }
}

#[pymethods]
impl AsyncResponseStream {
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.host)?;
        visit.call(&self.trailers)?;
        // Locked only by a call that is under way, and then this object is alive.
        match self.sources.as_ref().map(|sources| sources.try_lock()) {
            Some(Ok(sources)) => sources.traverse(&visit),
            _ => Ok(()),
        }
    }

    fn __aiter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __anext__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let yield_first = self.unyielded.load(Ordering::Relaxed) >= YIELD_AFTER;
        if !yield_first {
            // What is here already needs nobody to wait for it.
            match poll_chunk(&self.body, &mut Context::from_waker(Waker::noop())) {
                Poll::Ready(Ok(Some(chunk))) => {
                    self.unyielded.fetch_add(chunk.len(), Ordering::Relaxed);
                    return Completed::with(py, &chunk).map(Some);
                }
                Poll::Ready(Ok(None)) => {
                    if let Some(trailers) = &self.trailers {
                        response::fill(trailers.bind(py), &lock(&self.body).take_trailers())?;
                    }
                    return Ok(None);
                }
                Poll::Ready(Err(error)) => {
                    let exception = to_pyerr(py, self.namespace, error);
                    return backend::closing_forsaken(py, Some(self.sender()), Some(&exception))?
                        .map_or(Err(exception), |closing| Ok(Some(closing)));
                }
                Poll::Pending => {}
            }
        }
        self.unyielded.store(0, Ordering::Relaxed);
        let task = Task::new(&self.host.get().shared);
        let exchange = Exchange::chunk(self.host.clone_ref(py), self.namespace, task, self.reading(py), yield_first);
        super::engine::drive(py, exchange).map(Some)
    }

    /// Gives the connection back. A task that waits for a chunk meanwhile gets a `ReadError`.
    fn aclose<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let host = self.host.get();
        let running = host.shared.enter();
        lock(&self.body).close();
        host.leave(py, running)?;
        closed(py, Some(self.sender()))
    }
}

impl AsyncResponseStream {
    fn sender(&self) -> Sender<'_> {
        (&self.host, self.namespace)
    }

    fn reading(&self, py: Python<'_>) -> Reading {
        Reading {
            body: Arc::clone(&self.body),
            sources: self.sources.clone(),
            trailers: self.trailers.as_ref().map(|trailers| trailers.clone_ref(py)),
        }
    }
}

/// A body that is being read, with all that belongs to it.
pub struct Reading {
    pub body: Arc<Mutex<ResponseBody>>,
    pub sources: Option<Arc<Mutex<Sources>>>,
    pub trailers: Option<Py<PyList>>,
}

/// What is awaited after something was closed: that streams of the caller's are closed as well.
pub fn closed<'py>(py: Python<'py>, sender: Option<Sender<'_>>) -> PyResult<Bound<'py, PyAny>> {
    match backend::closing_forsaken(py, sender, None)? {
        Some(closing) => Ok(closing),
        None => Ok(Bound::new(py, Completed::nothing(py))?.into_any()),
    }
}

/// An awaitable that has its result already.
#[pyclass(frozen, module = "httpcore_rs._engine")]
pub struct Completed {
    value: Mutex<Option<Py<PyAny>>>,
}

impl Completed {
    pub fn nothing(py: Python<'_>) -> Self {
        Self { value: Mutex::new(Some(py.None())) }
    }

    fn with<'py>(py: Python<'py>, chunk: &Chunk) -> PyResult<Bound<'py, PyAny>> {
        let value = Mutex::new(Some(response::join(py, chunk.pieces())?.into_any().unbind()));
        Ok(Bound::new(py, Self { value })?.into_any())
    }
}

#[pymethods]
impl Completed {
    fn __await__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__(&self) -> PyResult<Py<PyAny>> {
        Err(PyStopIteration::new_err((lock(&self.value).take(),)))
    }
}
