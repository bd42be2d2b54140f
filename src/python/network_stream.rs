//! `response.extensions["network_stream"]`: the stream under a response.

use std::net::SocketAddr;
use std::os::fd::{AsFd, IntoRawFd};
use std::pin::pin;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use socket2::SockAddr;

use super::async_driver::{Exchange, Operation};
use super::backend;
use super::errors::os_error;
use super::host::Host;
use super::namespace::Namespace;
use super::request;
use super::sync_driver::{Caller, block_on};
use crate::ask::Asker;
use crate::connection::tap::Tap;

/// The stream under a response: httpcore's `NetworkStream`.
///
/// After `101 Switching Protocols` or a successful CONNECT it is the caller's to read and write, until the response is closed;
/// bytes that followed the head come first. Under any other response it only answers `get_extra_info`.
#[pyclass(frozen, module = "httpcore_rs._engine")]
pub struct NetworkStream {
    tap: Tap,
    namespace: &'static Namespace,
}

#[pymethods]
impl NetworkStream {
    /// Up to `max_bytes`, `b""` at the end. Raises `ReadTimeout` after `timeout` seconds without data, and `ReadError`.
    #[pyo3(signature = (max_bytes, timeout = None))]
    fn read<'py>(
        &self,
        py: Python<'py>,
        max_bytes: usize,
        timeout: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let mut reading = pin!(self.tap.clone().read(max_bytes, limit(timeout)?));
        block_on(py, reading.as_mut(), &Asker::default(), &mut Caller::default())
            .map(|bytes| PyBytes::new(py, &bytes))
            .map_err(|fault| fault.into_pyerr(py, self.namespace))
    }

    /// Sends all of `buffer`. Raises `WriteTimeout` if that takes more than `timeout` seconds, and `WriteError`.
    #[pyo3(signature = (buffer, timeout = None))]
    fn write(&self, py: Python<'_>, buffer: &Bound<'_, PyAny>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let mut writing = pin!(self.tap.clone().write(request::chunk(buffer)?, limit(timeout)?));
        block_on(py, writing.as_mut(), &Asker::default(), &mut Caller::default())
            .map_err(|fault| fault.into_pyerr(py, self.namespace))
    }

    /// Shuts the connection down, if it has left HTTP; it is closed with the response.
    fn close(&self) {
        self.tap.shutdown();
    }

    /// Begins TLS on a stream that has left HTTP, by Python's `ssl`, and returns the stream to use from then on.
    ///
    /// Raises `ConnectError`, and `ConnectTimeout` if a read or write of the handshake takes more than `timeout` seconds.
    #[pyo3(signature = (ssl_context, server_hostname = None, timeout = None))]
    fn start_tls<'py>(
        slf: &Bound<'py, Self>,
        ssl_context: &Bound<'py, PyAny>,
        server_hostname: Option<&str>,
        timeout: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let module = py.import(intern!(py, "httpcore_rs._tls_stream"))?;
        let package = slf.get().namespace.package.name();
        module.call_method1(intern!(py, "start_tls"), (package, slf, ssl_context, server_hostname, timeout))
    }

    /// `"client_addr"`, `"server_addr"`, `"is_readable"`, `"socket"` (a duplicate, closed when it is forgotten); else `None`.
    fn get_extra_info<'py>(&self, py: Python<'py>, info: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        extra_info(py, &self.tap, info)
    }
}

/// The stream under a response: httpcore's `AsyncNetworkStream`.
///
/// After `101 Switching Protocols` or a successful CONNECT it is the caller's to read and write, until the response is closed;
/// bytes that followed the head come first. Under any other response it only answers `get_extra_info`.
#[pyclass(frozen, module = "httpcore_rs._engine")]
pub struct AsyncNetworkStream {
    tap: Tap,
    namespace: &'static Namespace,
}

impl AsyncNetworkStream {
    fn drive<'py>(&self, py: Python<'py>, operation: Operation) -> PyResult<Bound<'py, PyAny>> {
        let host: Py<Host> =
            py.import(intern!(py, "httpcore_rs._hosts"))?.call_method0(intern!(py, "current_host"))?.extract()?;
        super::engine::drive(py, Exchange::start(host, self.namespace, Asker::default(), operation, None, None))
    }
}

#[pymethods]
impl AsyncNetworkStream {
    /// Up to `max_bytes`, `b""` at the end. Raises `ReadTimeout` after `timeout` seconds without data, and `ReadError`.
    #[pyo3(signature = (max_bytes, timeout = None))]
    fn read<'py>(
        &self,
        py: Python<'py>,
        max_bytes: usize,
        timeout: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.drive(py, Operation::Read(Box::pin(self.tap.clone().read(max_bytes, limit(timeout)?))))
    }

    /// Sends all of `buffer`. Raises `WriteTimeout` if that takes more than `timeout` seconds, and `WriteError`.
    #[pyo3(signature = (buffer, timeout = None))]
    fn write<'py>(
        &self,
        py: Python<'py>,
        buffer: &Bound<'py, PyAny>,
        timeout: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let writing = self.tap.clone().write(request::chunk(buffer)?, limit(timeout)?);
        self.drive(py, Operation::Write(Box::pin(writing)))
    }

    /// Shuts the connection down, if it has left HTTP; it is closed with the response.
    fn aclose(&self, py: Python<'_>) -> super::body::Completed {
        self.tap.shutdown();
        super::body::Completed::nothing(py)
    }

    /// Begins TLS on a stream that has left HTTP, by Python's `ssl`, and returns the stream to use from then on.
    ///
    /// Raises `ConnectError`, and `ConnectTimeout` if a read or write of the handshake takes more than `timeout` seconds.
    #[pyo3(signature = (ssl_context, server_hostname = None, timeout = None))]
    fn start_tls<'py>(
        slf: &Bound<'py, Self>,
        ssl_context: &Bound<'py, PyAny>,
        server_hostname: Option<&str>,
        timeout: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let module = py.import(intern!(py, "httpcore_rs._tls_stream"))?;
        let package = slf.get().namespace.package.name();
        module.call_method1(intern!(py, "astart_tls"), (package, slf, ssl_context, server_hostname, timeout))
    }

    /// `"client_addr"`, `"server_addr"`, `"is_readable"`, `"socket"` (a duplicate, closed when it is forgotten); else `None`.
    fn get_extra_info<'py>(&self, py: Python<'py>, info: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        extra_info(py, &self.tap, info)
    }
}

/// What `response.extensions["network_stream"]` is: our view of the stream, or the caller's own, as httpcore hands it out.
pub fn build<'py>(
    py: Python<'py>,
    tap: Tap,
    namespace: &'static Namespace,
    is_async: bool,
) -> PyResult<Bound<'py, PyAny>> {
    let Some(carrier) = tap.carrier() else {
        return Ok(if is_async {
            Bound::new(py, AsyncNetworkStream { tap, namespace })?.into_any()
        } else {
            Bound::new(py, NetworkStream { tap, namespace })?.into_any()
        });
    };
    let stream = backend::object_of(py, &carrier.stream)?;
    let Some(trailing) = &carrier.trailing else { return Ok(stream) };
    namespace.upgrade_stream(py, is_async)?.call1((stream, PyBytes::new(py, trailing)))
}

fn limit(timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Option<std::time::Duration>> {
    timeout.map_or(Ok(None), |timeout| request::seconds(timeout, || "timeout".to_owned()))
}

fn extra_info<'py>(py: Python<'py>, tap: &Tap, info: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
    match info {
        "client_addr" => tap.local_address().map(|address| address_tuple(py, &address)).transpose(),
        "server_addr" => tap.peer_address().map(|address| address_tuple(py, &address)).transpose(),
        "is_readable" => Ok(tap
            .is_readable()
            .map(|readable| readable.into_pyobject(py))
            .transpose()?
            .map(|readable| readable.to_owned().into_any())),
        "socket" => {
            let Some(duplicate) = tap.with_socket(|socket| socket.as_fd().try_clone_to_owned()) else {
                return Ok(None);
            };
            let duplicate = duplicate.map_err(|error| os_error(py, &error))?;
            let arguments = PyDict::new(py);
            arguments.set_item(intern!(py, "fileno"), duplicate.into_raw_fd())?;
            let class = py.import(intern!(py, "httpcore_rs._socket"))?.getattr(intern!(py, "DuplicateSocket"))?;
            class.call((), Some(&arguments)).map(Some)
        }
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
