//! The objects that the rest of a request is read from while the request is being sent: its body and its trailers.

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

/// The body of a request and the fields that follow it, as far as only Python can produce them.
#[derive(Default)]
pub struct UploadSource {
    /// The body until it is iterated over.
    stream: Option<Py<PyAny>>,
    iterator: Option<Py<PyAny>>,
    /// The `ReadyChunks` of the iterator; Python's `None` if there is none.
    ready: Option<Py<PyAny>>,
    /// The call that asks a thread's iterator for the next chunk.
    next: Option<Py<PyAny>>,
    /// The iterable of fields that follow the body. It is read after the body.
    trailers: Option<Py<PyAny>>,
}

impl UploadSource {
    /// Returns `None` if there is neither a body nor trailers.
    pub fn new(stream: Option<Bound<'_, PyAny>>, trailers: Option<Bound<'_, PyAny>>) -> Option<Self> {
        (stream.is_some() || trailers.is_some()).then(|| Self {
            stream: stream.map(Bound::unbind),
            iterator: None,
            ready: None,
            next: None,
            trailers: trailers.map(Bound::unbind),
        })
    }

    /// Takes the body on the first call; returns `None` on later ones.
    pub fn take_stream<'py>(&mut self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.stream.take().map(|stream| stream.into_bound(py))
    }

    pub fn set_iterator(&mut self, iterator: &Bound<'_, PyAny>) {
        self.iterator = Some(iterator.clone().unbind());
    }

    pub fn iterator<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.iterator.as_ref().map(|iterator| iterator.bind(py).clone())
    }

    /// Returns the `ReadyChunks` of the iterator. `make` makes it on the first call, or returns `None` if there is none.
    pub fn ready<'py>(
        &mut self,
        make: impl FnOnce(Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>>,
        py: Python<'py>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        if self.ready.is_none() {
            let Some(iterator) = self.iterator(py) else { return Ok(None) };
            self.ready = Some(make(iterator)?.unbind());
        }
        Ok(self.known_ready(py))
    }

    /// Returns the `ReadyChunks` of the iterator, if it was made.
    pub fn known_ready<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.ready.as_ref().map(|ready| ready.bind(py).clone()).filter(|ready| !ready.is_none())
    }

    /// Returns the call that asks a thread's iterator for the next chunk. `make` makes it on the first call.
    pub fn next<'py>(
        &mut self,
        make: impl FnOnce(Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>>,
        py: Python<'py>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        if self.next.is_none() {
            let Some(iterator) = self.iterator(py) else { return Ok(None) };
            self.next = Some(make(iterator)?.unbind());
        }
        Ok(self.next.as_ref().map(|next| next.bind(py).clone()))
    }

    pub fn trailers<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.trailers.as_ref().map(|trailers| trailers.bind(py).clone())
    }

    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        let objects = [&self.stream, &self.iterator, &self.ready, &self.next, &self.trailers];
        objects.into_iter().flatten().try_for_each(|object| visit.call(object))
    }
}
