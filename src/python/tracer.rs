//! Telling the caller's listener of an exchange's moments, in httpcore's words.

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple};

use super::arguments::PoolArguments;
use super::calls::call;
use super::errors::{raised, to_pyerr};
use super::namespace::Namespace;
use super::network_stream::address_tuple;
use super::{response, ssl};
use crate::error::Error;
use crate::message::ResponseHead;
use crate::operation::{Endpoints, Event, ExchangeKind, Outcome, SocksRequest, SpanStage, TraceEvent};

/// Whoever follows a request: its `trace` callback, the debug log, or both.
pub struct Tracer {
    callable: Py<PyAny>,
    request: Py<PyAny>,
    arguments: Py<PoolArguments>,
    namespace: &'static Namespace,
}

impl Tracer {
    /// The listener of a request, if it has one.
    pub fn of(
        request: &Bound<'_, PyAny>,
        namespace: &'static Namespace,
        arguments: &Py<PoolArguments>,
        is_async: bool,
    ) -> PyResult<Option<Self>> {
        let py = request.py();
        let extensions = request.getattr(intern!(py, "extensions"))?;
        let callback = super::request::get(&extensions, intern!(py, "trace"))?;
        if callback.is_none() && !namespace.is_debugging(py, arguments.get().has_proxy(py))? {
            return Ok(None);
        }
        let class = if is_async { intern!(py, "AsyncTracer") } else { intern!(py, "Tracer") };
        let module = py.import(intern!(py, "httpcore_rs._trace"))?;
        Ok(Some(Self {
            callable: call(&module.getattr(class)?, (namespace.package.name(), callback))?.unbind(),
            request: request.clone().unbind(),
            arguments: arguments.clone_ref(py),
            namespace,
        }))
    }

    pub fn clone_ref(&self, py: Python<'_>) -> Self {
        Self {
            callable: self.callable.clone_ref(py),
            request: self.request.clone_ref(py),
            arguments: self.arguments.clone_ref(py),
            namespace: self.namespace,
        }
    }

    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.callable)?;
        visit.call(&self.request)
    }

    pub fn callable<'a, 'py>(&'a self, py: Python<'py>) -> &'a Bound<'py, PyAny> {
        self.callable.bind(py)
    }

    /// The arguments with which a trace event is reported, and the error of a failure.
    pub fn report<'py>(
        &self,
        py: Python<'py>,
        trace_event: TraceEvent,
    ) -> PyResult<(Bound<'py, PyTuple>, Option<Error>)> {
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
        Ok(((event.logger(), name, info).into_pyobject(py)?, error))
    }

    /// The response's body with its own moments reported as well.
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

    fn kwargs<'py>(&self, py: Python<'py>, event: &Event) -> PyResult<Bound<'py, PyDict>> {
        let kwargs = self.arguments.get().kwargs(py, event)?;
        let protocol = match event {
            Event::SendConnectionInit => {
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
            Event::SetupSocks5(asked) => {
                let SocksRequest { stream, host, port, username } = &**asked;
                kwargs.set_item("stream", returned(py, stream.clone())?)?;
                kwargs.set_item("host", host)?;
                kwargs.set_item("port", port)?;
                // A password has no place in a log.
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

/// What `connect_tcp` and `start_tls` say they returned: a stream to ask for its addresses. Its bytes are the engine's.
#[pyclass(frozen, module = "httpcore_rs")]
struct ConnectedStream {
    endpoints: Box<Endpoints>,
}

#[pymethods]
impl ConnectedStream {
    /// `"client_addr"`, `"server_addr"` and, if Python's `ssl` does TLS, `"ssl_object"`; else `None`.
    fn get_extra_info<'py>(&self, py: Python<'py>, info: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        let address = match info {
            "client_addr" => &self.endpoints.local,
            "server_addr" => &self.endpoints.peer,
            "ssl_object" => {
                return self.endpoints.session.as_ref().map_or(Ok(None), |session| ssl::object(py, &**session));
            }
            _ => &None,
        };
        address.as_ref().map(|address| address_tuple(py, address)).transpose()
    }
}

/// What an event says it returned.
fn returned(py: Python<'_>, outcome: Outcome) -> PyResult<Bound<'_, PyAny>> {
    match outcome {
        Outcome::Nothing => Ok(py.None().into_bound(py)),
        Outcome::External(stream) => super::backend::object_of(py, &stream),
        Outcome::Stream(endpoints) => Ok(Bound::new(py, ConnectedStream { endpoints })?.into_any()),
        Outcome::Head(head) => {
            let headers = response::headers(py, &head)?;
            Ok(match &head {
                ResponseHead::Http1(parts) => {
                    let reason = PyBytes::new(py, parts.reason());
                    (response::version(py, &head), parts.status, reason, headers).into_pyobject(py)?.into_any()
                }
                ResponseHead::Http2(parts) => (parts.status, headers).into_pyobject(py)?.into_any(),
            })
        }
    }
}
