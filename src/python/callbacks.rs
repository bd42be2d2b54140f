//! The Python objects that an operation calls back while it runs: the sources of the request's body, and its tracer.

use pyo3::gc::{PyTraverseError, PyVisit};

use super::tracer::Tracer;
use super::upload_source::UploadSource;

/// The objects of a request that are called while the request is being sent.
#[derive(Default)]
pub struct RequestCallbacks {
    /// `None` if the whole request is known, or if another operation sends the rest of it.
    pub upload: Option<UploadSource>,
    /// `None` if the request is not traced.
    pub tracer: Option<Tracer>,
}

impl RequestCallbacks {
    pub fn new(upload: Option<UploadSource>, tracer: Option<Tracer>) -> Self {
        Self { upload, tracer }
    }

    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(upload) = &self.upload {
            upload.traverse(visit)?;
        }
        self.tracer.as_ref().map_or(Ok(()), |tracer| tracer.traverse(visit))
    }
}
