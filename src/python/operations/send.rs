//! Sending a request and reading its response: the head, or all of it.

use std::future::Future;
use std::task::{Context, Poll};

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::read_body::OpenBody;
use super::{BoxedFuture, Completion, PollOperation, no_value};
use crate::client::{Fetched, Response};
use crate::error::Result;
use crate::python::content::ResponseContent;
use crate::python::errors::to_pyerr;
use crate::python::httpx::HttpxModels;
use crate::python::performer::Performer;
use crate::python::streams::{AsyncResponseStream, ResponseStream};
use crate::python::timings::ResponseTimings;
use crate::python::{network_stream, response};

/// Sends a request and reads the head of its response.
pub struct SendRequest {
    sending: BoxedFuture<Response>,
    response: Option<Response>,
    /// The classes of httpx, for a request of httpx.
    models: Option<Py<HttpxModels>>,
}

impl SendRequest {
    pub fn new(sending: impl Future<Output = Result<Response>> + Send + 'static) -> Self {
        Self { sending: Box::pin(sending), response: None, models: None }
    }

    /// Returns the operation for a request of httpx: its value is an `httpx.Response`.
    pub fn for_httpx(
        sending: impl Future<Output = Result<Response>> + Send + 'static,
        models: &Bound<'_, HttpxModels>,
    ) -> Self {
        Self { models: Some(models.clone().unbind()), ..Self::new(sending) }
    }
}

impl PollOperation for SendRequest {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.sending.as_mut().poll(cx).map_ok(|response| self.response = Some(response))
    }

    fn value<'py>(&mut self, py: Python<'py>, completion: Completion<'_>) -> PyResult<Bound<'py, PyAny>> {
        match self.response.take() {
            Some(response) => respond(py, response, None, self.models.as_ref(), completion),
            None => Err(to_pyerr(py, completion.namespace, no_value())),
        }
    }
}

/// Sends a request and reads its response to the end.
pub struct FetchRequest {
    fetching: BoxedFuture<Fetched<ResponseContent>>,
    fetched: Option<Fetched<ResponseContent>>,
}

impl FetchRequest {
    pub fn new(fetching: impl Future<Output = Result<Fetched<ResponseContent>>> + Send + 'static) -> Self {
        Self { fetching: Box::pin(fetching), fetched: None }
    }
}

impl PollOperation for FetchRequest {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.fetching.as_mut().poll(cx).map_ok(|fetched| self.fetched = Some(fetched))
    }

    fn value<'py>(&mut self, py: Python<'py>, completion: Completion<'_>) -> PyResult<Bound<'py, PyAny>> {
        match self.fetched.take() {
            Some(Fetched { response, content }) => {
                let content = content.into_bytes(py)?;
                respond(py, response, Some(content), None, completion)
            }
            None => Err(to_pyerr(py, completion.namespace, no_value())),
        }
    }
}

/// Returns the `httpcore.Response`, or the response of `models`. `content` is the body, if that was read already.
fn respond<'py>(
    py: Python<'py>,
    response: Response,
    content: Option<Bound<'py, PyBytes>>,
    models: Option<&Py<HttpxModels>>,
    completion: Completion<'_>,
) -> PyResult<Bound<'py, PyAny>> {
    let Completion { namespace, mut callbacks, performer, owner } = completion;
    let Response { head, body, stream_view, timings, stream_id } = response;
    let trailers = response::trailers(py, &head);
    let network_stream = network_stream::build(py, stream_view, namespace, owner, performer.is_task())?;
    let timings = Bound::new(py, ResponseTimings::new(timings, &network_stream))?;
    let extensions = response::extensions(py, &head, stream_id, network_stream, trailers.as_ref())?;
    extensions.set_item(intern!(py, "timings"), timings)?;
    let tracer = callbacks.tracer.take();
    let open = OpenBody::new(body, namespace, callbacks, trailers, owner)?;
    let mut stream = match performer {
        Performer::Thread => Bound::new(py, ResponseStream::new(open))?.into_any(),
        Performer::Task(host) => Bound::new(py, AsyncResponseStream::new(open, host.clone_ref(py)))?.into_any(),
    };
    if let Some(tracer) = tracer {
        stream = tracer.wrap(py, stream, stream_id, performer.is_task())?;
    }
    match models {
        Some(models) => models.get().respond(py, &head, &stream, extensions),
        None => response::build(py, namespace, &head, stream, extensions, content),
    }
}
