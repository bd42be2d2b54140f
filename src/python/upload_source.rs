//! The objects that the rest of a request is read from while the request is being sent: its body and its trailers.

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

/// The body of a request and the fields that follow it, as far as only Python can produce them.
#[derive(Default)]
pub struct UploadSource {
    /// The body until it is iterated over.
    stream: Option<Py<PyAny>>,
    iterator: Option<Py<PyAny>>,
    /// The iterable of fields that follow the body. It is read after the body.
    trailers: Option<Py<PyAny>>,
}

impl UploadSource {
    /// Returns `None` if there is neither a body nor trailers.
    pub fn new(stream: Option<Bound<'_, PyAny>>, trailers: Option<Bound<'_, PyAny>>) -> Option<Self> {
        (stream.is_some() || trailers.is_some()).then(|| Self {
            stream: stream.map(Bound::unbind),
            iterator: None,
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

    pub fn trailers<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.trailers.as_ref().map(|trailers| trailers.bind(py).clone())
    }

    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        [&self.stream, &self.iterator, &self.trailers].into_iter().flatten().try_for_each(|object| visit.call(object))
    }
}
