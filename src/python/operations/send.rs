//! Sending a request: up to the head of its response, or to the end of its body.

use std::future::Future;
use std::task::{Context, Poll};

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::{BoxedFuture, Completion, OpenBody, PollOperation, no_value};
use crate::client::{Fetched, Response};
use crate::error::Result;
use crate::python::content::ResponseContent;
use crate::python::errors::to_pyerr;
use crate::python::response;
use crate::python::streams::{AsyncResponseStream, ResponseStream};
use crate::python::{effects::Performer, network_stream};

/// A request, up to the head of its response.
pub struct SendRequest {
    sending: BoxedFuture<Response>,
    response: Option<Response>,
}

impl SendRequest {
    pub fn new(sending: impl Future<Output = Result<Response>> + Send + 'static) -> Self {
        Self { sending: Box::pin(sending), response: None }
    }
}

impl PollOperation for SendRequest {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.sending.as_mut().poll(cx).map_ok(|response| self.response = Some(response))
    }

    fn value<'py>(&mut self, py: Python<'py>, completion: Completion<'_>) -> PyResult<Bound<'py, PyAny>> {
        match self.response.take() {
            Some(response) => respond(py, response, None, completion),
            None => Err(to_pyerr(py, completion.namespace, no_value())),
        }
    }
}

/// A request, up to the end of its response.
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
                respond(py, response, Some(content), completion)
            }
            None => Err(to_pyerr(py, completion.namespace, no_value())),
        }
    }
}

/// The response for Python; `content` is its body if that was read already.
fn respond<'py>(
    py: Python<'py>,
    response: Response,
    content: Option<Bound<'py, PyBytes>>,
    completion: Completion<'_>,
) -> PyResult<Bound<'py, PyAny>> {
    let Completion { namespace, mut caller, performer, owner } = completion;
    let Response { head, body, stream_view, stream_id } = response;
    let trailers = response::trailers(py, &head);
    let network_stream = network_stream::build(py, stream_view, namespace, owner, performer.is_task())?;
    let extensions = response::extensions(py, &head, stream_id, network_stream, trailers.as_ref())?;
    let tracer = caller.tracer.take();
    let open = OpenBody::new(body, namespace, caller, trailers, owner)?;
    let mut stream = match performer {
        Performer::Thread => Bound::new(py, ResponseStream::new(open))?.into_any(),
        Performer::Task(host) => Bound::new(py, AsyncResponseStream::new(open, host.clone_ref(py)))?.into_any(),
    };
    if let Some(tracer) = tracer {
        stream = tracer.wrap(py, stream, stream_id, performer.is_task())?;
    }
    response::build(py, namespace, &head, stream, extensions, content)
}
