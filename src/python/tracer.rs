//! Reports the trace events of a request to its `trace` callback and to the debug log, in httpcore's words.

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};

use super::arguments::PoolArguments;
use super::calls::call;
use super::connected_stream::returned;
use super::errors::{raised, to_pyerr};
use super::namespace::Namespace;
use super::values::get;
use crate::error::Error;
use crate::operation::{Event, ExchangeKind, SocksRequest, SpanStage, TraceEvent};

/// Receives the trace events of one request: its `trace` callback, the debug log, or both.
pub struct Tracer {
    callable: Py<PyAny>,
    request: Py<PyAny>,
    arguments: Py<PoolArguments>,
    namespace: &'static Namespace,
    /// The callback gets the events that httpcore does not have as well.
    pub takes_all: bool,
}

/// The arguments of a call of the callback: the logger, the name of the event, and a dictionary with its details.
type EventArguments<'py> = (&'static str, Bound<'py, PyString>, Bound<'py, PyDict>);

impl Tracer {
    /// Returns the tracer of a request, or `None` if the request has no callback and debug logging is off.
    pub fn of(
        request: &Bound<'_, PyAny>,
        namespace: &'static Namespace,
        arguments: &Py<PoolArguments>,
        is_async: bool,
    ) -> PyResult<Option<Self>> {
        let py = request.py();
        let extensions = request.getattr(intern!(py, "extensions"))?;
        let callback = get(&extensions, intern!(py, "trace"))?;
        if callback.is_none() && !namespace.is_debugging(py, arguments.get().has_proxy(py))? {
            return Ok(None);
        }
        let takes_all = match get(&extensions, intern!(py, "trace_all"))? {
            Some(all) => callback.is_some() && all.is_truthy()?,
            None => false,
        };
        let class = if is_async { intern!(py, "AsyncTracer") } else { intern!(py, "Tracer") };
        let module = py.import(intern!(py, "httpcore_rs._trace"))?;
        Ok(Some(Self {
            callable: call(&module.getattr(class)?, (namespace.package.name(), callback))?.unbind(),
            request: request.clone().unbind(),
            arguments: arguments.clone_ref(py),
            namespace,
            takes_all,
        }))
    }

    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.callable)?;
        visit.call(&self.request)
    }

    pub fn callable<'a, 'py>(&'a self, py: Python<'py>) -> &'a Bound<'py, PyAny> {
        self.callable.bind(py)
    }

    /// Returns the arguments with which the callback is called; for a failure also the error, whose exception the callback gets.
    pub fn report<'py>(
        &self,
        py: Python<'py>,
        trace_event: TraceEvent,
    ) -> PyResult<(EventArguments<'py>, Option<Error>)> {
        let TraceEvent { event, stage } = trace_event;
        let mut error = None;
        let (suffix, info) = match stage {
            SpanStage::Started => ("started", self.kwargs(py, &event)?),
            SpanStage::Complete(outcome) => {
                let info = PyDict::new(py);
                info.set_item(intern!(py, "return_value"), returned(py, outcome)?)?;
                ("complete", info)
            }
            SpanStage::Failed(failure) => {
                let info = PyDict::new(py);
                let kind = failure.kind();
                let exception = to_pyerr(py, self.namespace, failure);
                info.set_item(intern!(py, "exception"), exception.value(py))?;
                error = Some(raised(kind, exception));
                ("failed", info)
            }
        };
        let name = PyString::new(py, &format!("{}.{suffix}", event.name()));
        Ok(((event.logger(), name, info), error))
    }

    /// Returns the response's body in a stream that reports the events of reading it.
    pub fn wrap<'py>(
        &self,
        py: Python<'py>,
        stream: Bound<'py, PyAny>,
        stream_id: Option<u32>,
        is_async: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let class = if is_async { intern!(py, "AsyncTracedStream") } else { intern!(py, "TracedStream") };
        let class = py.import(intern!(py, "httpcore_rs._trace"))?.getattr(class)?;
        call(&class, (stream, &self.request, &self.callable, stream_id))
    }

    /// Returns the arguments of the step that an event belongs to.
    fn kwargs<'py>(&self, py: Python<'py>, event: &Event) -> PyResult<Bound<'py, PyDict>> {
        let kwargs = self.arguments.get().kwargs(py, event)?;
        let protocol = match event {
            Event::PoolWait | Event::SendConnectionInit => {
                kwargs.set_item("request", &self.request)?;
                None
            }
            Event::SendRequestHeaders(protocol)
            | Event::SendRequestBody(protocol)
            | Event::ReceiveResponseHeaders(protocol) => {
                let request = if *protocol == ExchangeKind::Connect {
                    let arguments = (self.namespace.package.name(), self.arguments.get().proxy(), &self.request);
                    call(&py.import("httpcore_rs._trace")?.getattr("tunnel_request")?, arguments)?
                } else {
                    self.request.bind(py).clone()
                };
                kwargs.set_item("request", request)?;
                Some(protocol)
            }
            Event::ResponseClosed(protocol) => Some(protocol),
            Event::SetupSocks5(socks_request) => {
                let SocksRequest { stream, host, port, username } = &**socks_request;
                kwargs.set_item("stream", returned(py, stream.clone())?)?;
                kwargs.set_item("host", host)?;
                kwargs.set_item("port", port)?;
                // Logs must not contain the password.
                let auth = username.as_ref().map(|name| (PyBytes::new(py, name), PyBytes::new(py, b"[secure]")));
                kwargs.set_item("auth", auth)?;
                None
            }
            _ => None,
        };
        if let Some(ExchangeKind::Http2(stream_id)) = protocol {
            kwargs.set_item("stream_id", stream_id)?;
        }
        Ok(kwargs)
    }
}
