//! `response.extensions["network_stream"]`: the stream that a response is received on.

use std::sync::Arc;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use super::addresses::{address_tuple, both_ends};
use super::callbacks::RequestCallbacks;
use super::calls::{call, call_with};
use super::errors::os_error;
use super::execution::NewOperation;
use super::host::Host;
use super::namespace::Namespace;
use super::operation::{self, Operation};
use super::operations::PollOperation;
use super::operations::transfer::{ReadUpgraded, WriteUpgraded};
use super::{external, tls_object, values};
use crate::client::StreamView;
use crate::io::sys::into_descriptor;
use crate::operation::{EffectChannel, StreamOwner};

/// The network stream of a response, with the methods of httpcore's `NetworkStream`: `extensions["network_stream"]`.
///
/// After `101 Switching Protocols` or a successful CONNECT it can be read and written until the response is closed. Bytes that
/// arrived with the head are read first. For other responses only `get_extra_info()` is of use.
// `httpcore_rs._streams` adds the methods that call Python code.
#[pyclass(frozen, module = "httpcore_rs")]
pub struct NetworkStream {
    stream: ViewedStream,
}

/// The network stream of a response, with the methods of httpcore's `AsyncNetworkStream`: `extensions["network_stream"]`.
///
/// After `101 Switching Protocols` or a successful CONNECT it can be read and written until the response is closed. Bytes that
/// arrived with the head are read first. For other responses only `get_extra_info()` is of use.
// `httpcore_rs._streams` adds the methods that call Python code.
#[pyclass(frozen, module = "httpcore_rs")]
pub struct AsyncNetworkStream {
    stream: ViewedStream,
}

/// The part that both classes have in common.
struct ViewedStream {
    stream_view: StreamView,
    namespace: &'static Namespace,
    owner: Arc<StreamOwner>,
}

impl ViewedStream {
    fn reading(&self, max_bytes: usize, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<NewOperation<'_>> {
        let reading = self.stream_view.clone().read(max_bytes, limit(timeout)?);
        Ok(self.operation(Box::new(ReadUpgraded::new(reading))))
    }

    fn writing(&self, buffer: &Bound<'_, PyAny>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<NewOperation<'_>> {
        let writing = self.stream_view.clone().write(values::chunk(buffer)?, limit(timeout)?);
        Ok(self.operation(Box::new(WriteUpgraded::new(writing))))
    }

    fn operation(&self, operation: Box<dyn PollOperation>) -> NewOperation<'_> {
        NewOperation {
            operation,
            effects: EffectChannel::default(),
            namespace: self.namespace,
            callbacks: RequestCallbacks::default(),
            owner: &self.owner,
        }
    }

    fn ends(&self) -> String {
        both_ends(self.stream_view.local_address().as_ref(), self.stream_view.peer_address().as_ref())
    }

    fn extra_info<'py>(&self, py: Python<'py>, info: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        let stream_view = &self.stream_view;
        match info {
            "client_addr" | "sockname" => {
                stream_view.local_address().map(|address| address_tuple(py, &address)).transpose()
            }
            "server_addr" | "peername" => {
                stream_view.peer_address().map(|address| address_tuple(py, &address)).transpose()
            }
            "is_readable" => Ok(stream_view
                .is_readable()
                .map(|readable| readable.into_pyobject(py))
                .transpose()?
                .map(|readable| readable.to_owned().into_any())),
            "socket" => duplicate_socket(py, stream_view),
            "ssl_object" => match stream_view.session() {
                Some(session) => tls_object::of_session(py, session, || stream_view.note_facts()),
                None => Ok(None),
            },
            _ => Ok(None),
        }
    }
}

#[pymethods]
impl NetworkStream {
    /// Reads up to `max_bytes` from an upgraded stream, within `timeout` seconds (`None`: no limit). Returns the bytes, none at
    /// the end of the stream, or an `Operation` that has them as its result.
    fn start_read<'py>(
        &self,
        py: Python<'py>,
        max_bytes: usize,
        timeout: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        operation::run(py, self.stream.reading(max_bytes, timeout)?)
    }

    /// Sends all of `buffer` on an upgraded stream; `timeout` as for `start_read()`. Returns `None`, or an `Operation` to drive.
    fn start_write<'py>(
        &self,
        py: Python<'py>,
        buffer: &Bound<'py, PyAny>,
        timeout: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        operation::run(py, self.stream.writing(buffer, timeout)?)
    }

    /// Shuts an upgraded connection down. It is closed with the response.
    fn close(&self) {
        self.stream.stream_view.shutdown();
    }

    /// The name of the package whose exceptions are raised: `"httpcore"` or `"httpcore2"`.
    #[getter]
    fn package(&self) -> &'static str {
        self.stream.namespace.package.name()
    }

    /// Returns the local address for `"client_addr"` and `"sockname"`, the peer's for `"server_addr"` and `"peername"`, as in Python's
    /// `socket` module; for `"is_readable"` a `bool`; for `"socket"` a duplicate of the socket, which is closed when it is dropped; for
    /// `"ssl_object"` an `ssl.SSLObject` if Python's `ssl` does TLS, and otherwise an object with its methods that tell about the
    /// session. Returns `None` for other names, and where there is nothing to tell: addresses and sockets of a closed connection, TLS on
    /// a plain one.
    fn get_extra_info<'py>(&self, py: Python<'py>, info: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.stream.extra_info(py, info)
    }

    fn __repr__(&self) -> String {
        format!("<httpcore_rs.NetworkStream [{}]>", self.stream.ends())
    }
}

#[pymethods]
impl AsyncNetworkStream {
    /// Returns an `Operation` that reads up to `max_bytes` from an upgraded stream, within `timeout` seconds (`None`: no limit).
    /// Its result is the bytes, none at the end of the stream.
    fn start_read(&self, host: Py<Host>, max_bytes: usize, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Operation> {
        Ok(Operation::in_task(host, self.stream.reading(max_bytes, timeout)?))
    }

    /// Returns an `Operation` that sends all of `buffer` on an upgraded stream; `timeout` as for `start_read()`.
    fn start_write(
        &self,
        host: Py<Host>,
        buffer: &Bound<'_, PyAny>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Operation> {
        Ok(Operation::in_task(host, self.stream.writing(buffer, timeout)?))
    }

    /// Shuts an upgraded connection down. It is closed with the response.
    fn shutdown(&self) {
        self.stream.stream_view.shutdown();
    }

    /// The name of the package whose exceptions are raised: `"httpcore"` or `"httpcore2"`.
    #[getter]
    fn package(&self) -> &'static str {
        self.stream.namespace.package.name()
    }

    /// Returns the local address for `"client_addr"` and `"sockname"`, the peer's for `"server_addr"` and `"peername"`, as in Python's
    /// `socket` module; for `"is_readable"` a `bool`; for `"socket"` a duplicate of the socket, which is closed when it is dropped; for
    /// `"ssl_object"` an `ssl.SSLObject` if Python's `ssl` does TLS, and otherwise an object with its methods that tell about the
    /// session. Returns `None` for other names, and where there is nothing to tell: addresses and sockets of a closed connection, TLS on
    /// a plain one.
    fn get_extra_info<'py>(&self, py: Python<'py>, info: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.stream.extra_info(py, info)
    }

    fn __repr__(&self) -> String {
        format!("<httpcore_rs.AsyncNetworkStream [{}]>", self.stream.ends())
    }
}

/// Returns the `network_stream` of a response: a view of the engine's stream, or the external stream itself.
pub fn build<'py>(
    py: Python<'py>,
    stream_view: StreamView,
    namespace: &'static Namespace,
    owner: &Arc<StreamOwner>,
    is_async: bool,
) -> PyResult<Bound<'py, PyAny>> {
    let Some(external_view) = stream_view.external() else {
        let stream = ViewedStream { stream_view, namespace, owner: Arc::clone(owner) };
        return Ok(if is_async {
            Bound::new(py, AsyncNetworkStream { stream })?.into_any()
        } else {
            Bound::new(py, NetworkStream { stream })?.into_any()
        });
    };
    let stream = external::object_of(py, &external_view.stream)?;
    let Some(trailing) = &external_view.trailing else { return Ok(stream) };
    call(&namespace.upgrade_stream(py, is_async)?, (stream, PyBytes::new(py, trailing)))
}

fn limit(timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Option<std::time::Duration>> {
    timeout.map_or(Ok(None), |timeout| values::seconds(timeout, || "timeout".to_owned()))
}

fn duplicate_socket<'py>(py: Python<'py>, stream_view: &StreamView) -> PyResult<Option<Bound<'py, PyAny>>> {
    let Some(duplicate) = stream_view.with_socket(socket2::Socket::try_clone) else {
        return Ok(None);
    };
    let duplicate = duplicate.map_err(|error| os_error(py, &error))?;
    let arguments = PyDict::new(py);
    arguments.set_item(intern!(py, "fileno"), into_descriptor(duplicate))?;
    let class = py.import(intern!(py, "httpcore_rs._socket"))?.getattr(intern!(py, "DuplicateSocket"))?;
    call_with(&class, (), Some(&arguments)).map(Some)
}
