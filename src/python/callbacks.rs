//! What the objects of a request contribute while it is being sent: its body, its trailers, and its trace callback.

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use super::tracer::Tracer;

/// Where the rest of a request comes from, and what follows it.
#[derive(Default)]
pub struct RequestCallbacks {
    pub sources: Option<UploadSource>,
    pub tracer: Option<Tracer>,
}

impl RequestCallbacks {
    /// Without sources nothing will be asked for.
    pub fn new(sources: Option<UploadSource>, tracer: Option<Tracer>) -> Self {
        Self { sources, tracer }
    }

    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(sources) = &self.sources {
            sources.traverse(visit)?;
        }
        self.tracer.as_ref().map_or(Ok(()), |tracer| tracer.traverse(visit))
    }
}

/// The body of a request and the fields that follow it, as far as they have to be asked for.
#[derive(Default)]
pub struct UploadSource {
    /// The body, until it is iterated over.
    stream: Option<Py<PyAny>>,
    iterator: Option<Py<PyAny>>,
    /// The fields that follow it, read at its end.
    trailers: Option<Py<PyAny>>,
}

impl UploadSource {
    pub fn of(stream: Option<Bound<'_, PyAny>>, trailers: Option<Bound<'_, PyAny>>) -> Option<Self> {
        (stream.is_some() || trailers.is_some()).then(|| Self {
            stream: stream.map(Bound::unbind),
            iterator: None,
            trailers: trailers.map(Bound::unbind),
        })
    }

    /// The body, the first time.
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
