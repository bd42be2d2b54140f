//! The Python objects that an operation calls back while it runs: the sources of the request's body, its callback for informational
//! responses, and its tracer.

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use super::tracer::Tracer;
use super::upload_source::UploadSource;

/// The objects of a request that are called while the request is being sent.
#[derive(Default)]
pub struct RequestCallbacks {
    /// `None` if the whole request is known, or if another operation sends the rest of it.
    pub upload: Option<UploadSource>,
    /// Called with each informational response, if the request has such a callback.
    pub informational: Option<Py<PyAny>>,
    /// `None` if the request is not traced.
    pub tracer: Option<Tracer>,
}

impl RequestCallbacks {
    /// Returns the objects of an operation that only sends the rest of a request.
    pub fn uploading(upload: Option<UploadSource>) -> Self {
        Self { upload, ..Self::default() }
    }

    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(upload) = &self.upload {
            upload.traverse(visit)?;
        }
        if let Some(informational) = &self.informational {
            visit.call(informational)?;
        }
        self.tracer.as_ref().map_or(Ok(()), |tracer| tracer.traverse(visit))
    }
}
