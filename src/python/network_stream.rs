//! `response.extensions["network_stream"]`: the stream under a response.

use std::net::SocketAddr;
use std::os::fd::{AsFd, IntoRawFd};
use std::sync::Arc;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use socket2::SockAddr;

use super::backend;
use super::callbacks::RequestCallbacks;
use super::calls::{call, call_with};
use super::errors::os_error;
use super::host::Host;
use super::namespace::Namespace;
use super::operation::{self, Operation};
use super::operations::{self, ReadUpgraded, WriteUpgraded};
use super::{request, ssl};
use crate::client::StreamView;
use crate::operation::{EffectChannel, StreamOwner};

/// The network stream of a response, with the methods of httpcore's `NetworkStream`: `extensions["network_stream"]`.
///
/// After `101 Switching Protocols` or a successful CONNECT it can be read and written until the response is closed. Bytes that
/// arrived with the head are read first. For other responses only `get_extra_info()` is of use.
// `httpcore_rs._streams` adds the methods that call Python code.
#[pyclass(frozen, module = "httpcore_rs")]
pub struct NetworkStream {
    under: Under,
}

/// The network stream of a response, with the methods of httpcore's `AsyncNetworkStream`: `extensions["network_stream"]`.
///
/// After `101 Switching Protocols` or a successful CONNECT it can be read and written until the response is closed. Bytes that
/// arrived with the head are read first. For other responses only `get_extra_info()` is of use.
// `httpcore_rs._streams` adds the methods that call Python code.
#[pyclass(frozen, module = "httpcore_rs")]
pub struct AsyncNetworkStream {
    under: Under,
}

/// What either kind of stream has.
struct Under {
    stream_view: StreamView,
    namespace: &'static Namespace,
    owner: Arc<StreamOwner>,
}

impl Under {
    fn run<'py>(&self, py: Python<'py>, operation: Box<dyn operations::PollOperation>) -> PyResult<Bound<'py, PyAny>> {
        operation::run(
            py,
            operation,
            EffectChannel::default(),
            self.namespace,
            RequestCallbacks::default(),
            &self.owner,
        )
    }

    fn in_task(&self, host: Py<Host>, operation: Box<dyn operations::PollOperation>) -> Operation {
        Operation::in_task(
            host,
            operation,
            EffectChannel::default(),
            self.namespace,
            RequestCallbacks::default(),
            &self.owner,
        )
    }

    fn reading(&self, max_bytes: usize, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Box<ReadUpgraded>> {
        Ok(Box::new(ReadUpgraded::new(self.stream_view.clone().read(max_bytes, limit(timeout)?))))
    }

    fn writing(&self, buffer: &Bound<'_, PyAny>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Box<WriteUpgraded>> {
        Ok(Box::new(WriteUpgraded::new(self.stream_view.clone().write(request::chunk(buffer)?, limit(timeout)?))))
    }
}

#[pymethods]
impl NetworkStream {
    /// The bytes, or an `Operation` that has them as its result.
    fn start_read<'py>(
        &self,
        py: Python<'py>,
        max_bytes: usize,
        timeout: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.under.run(py, self.under.reading(max_bytes, timeout)?)
    }

    /// `None`, or an `Operation` that ends when all is written.
    fn start_write<'py>(
        &self,
        py: Python<'py>,
        buffer: &Bound<'py, PyAny>,
        timeout: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.under.run(py, self.under.writing(buffer, timeout)?)
    }

    /// Shuts the connection down, if it has left HTTP; it is closed with the response.
    fn close(&self) {
        self.under.stream_view.shutdown();
    }

    /// The package whose exceptions are raised.
    #[getter]
    fn package(&self) -> &'static str {
        self.under.namespace.package.name()
    }

    /// `"client_addr"`, `"server_addr"`, `"is_readable"`, `"socket"` (a duplicate, closed when it is dropped) and,
    /// if Python's `ssl` does TLS, `"ssl_object"`; else `None`.
    fn get_extra_info<'py>(&self, py: Python<'py>, info: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        extra_info(py, &self.under.stream_view, info)
    }
}

#[pymethods]
impl AsyncNetworkStream {
    /// An `Operation` that has the bytes as its result.
    fn start_read(&self, host: Py<Host>, max_bytes: usize, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Operation> {
        Ok(self.under.in_task(host, self.under.reading(max_bytes, timeout)?))
    }

    /// An `Operation` that ends when all is written.
    fn start_write(
        &self,
        host: Py<Host>,
        buffer: &Bound<'_, PyAny>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Operation> {
        Ok(self.under.in_task(host, self.under.writing(buffer, timeout)?))
    }

    /// Shuts the connection down, if it has left HTTP; it is closed with the response.
    fn shutdown(&self) {
        self.under.stream_view.shutdown();
    }

    /// The package whose exceptions are raised.
    #[getter]
    fn package(&self) -> &'static str {
        self.under.namespace.package.name()
    }

    /// `"client_addr"`, `"server_addr"`, `"is_readable"`, `"socket"` (a duplicate, closed when it is dropped) and,
    /// if Python's `ssl` does TLS, `"ssl_object"`; else `None`.
    fn get_extra_info<'py>(&self, py: Python<'py>, info: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        extra_info(py, &self.under.stream_view, info)
    }
}

/// What `response.extensions["network_stream"]` is: our view of the stream, or the caller's own, as httpcore hands it out.
pub fn build<'py>(
    py: Python<'py>,
    stream_view: StreamView,
    namespace: &'static Namespace,
    owner: &Arc<StreamOwner>,
    is_async: bool,
) -> PyResult<Bound<'py, PyAny>> {
    let Some(external) = stream_view.external() else {
        let under = Under { stream_view, namespace, owner: Arc::clone(owner) };
        return Ok(if is_async {
            Bound::new(py, AsyncNetworkStream { under })?.into_any()
        } else {
            Bound::new(py, NetworkStream { under })?.into_any()
        });
    };
    let stream = backend::object_of(py, &external.stream)?;
    let Some(trailing) = &external.trailing else { return Ok(stream) };
    call(&namespace.upgrade_stream(py, is_async)?, (stream, PyBytes::new(py, trailing)))
}

fn limit(timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Option<std::time::Duration>> {
    timeout.map_or(Ok(None), |timeout| request::seconds(timeout, || "timeout".to_owned()))
}

fn extra_info<'py>(py: Python<'py>, stream_view: &StreamView, info: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
    match info {
        "client_addr" => stream_view.local_address().map(|address| address_tuple(py, &address)).transpose(),
        "server_addr" => stream_view.peer_address().map(|address| address_tuple(py, &address)).transpose(),
        "is_readable" => Ok(stream_view
            .is_readable()
            .map(|readable| readable.into_pyobject(py))
            .transpose()?
            .map(|readable| readable.to_owned().into_any())),
        "socket" => {
            let Some(duplicate) = stream_view.with_socket(|socket| socket.as_fd().try_clone_to_owned()) else {
                return Ok(None);
            };
            let duplicate = duplicate.map_err(|error| os_error(py, &error))?;
            let arguments = PyDict::new(py);
            arguments.set_item(intern!(py, "fileno"), duplicate.into_raw_fd())?;
            let class = py.import(intern!(py, "httpcore_rs._socket"))?.getattr(intern!(py, "DuplicateSocket"))?;
            call_with(&class, (), Some(&arguments)).map(Some)
        }
        "ssl_object" => stream_view.session().map_or(Ok(None), |session| ssl::object(py, &**session)),
        _ => Ok(None),
    }
}

/// An address as Python's `socket` module has it.
pub fn address_tuple<'py>(py: Python<'py>, address: &SockAddr) -> PyResult<Bound<'py, PyAny>> {
    if let Some(path) = address.as_pathname() {
        return Ok(path.as_os_str().into_pyobject(py)?.into_any());
    }
    match address.as_socket() {
        Some(SocketAddr::V4(address)) => Ok((address.ip().to_string(), address.port()).into_pyobject(py)?.into_any()),
        Some(SocketAddr::V6(address)) => {
            let tuple = (address.ip().to_string(), address.port(), address.flowinfo(), address.scope_id());
            Ok(tuple.into_pyobject(py)?.into_any())
        }
        None => Ok("".into_pyobject(py)?.into_any()),
    }
}
