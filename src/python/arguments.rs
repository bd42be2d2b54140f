//! The arguments of a pool that trace events report and that network backends are called with.

use std::sync::OnceLock;
use std::time::Duration;

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::calls::call;
use super::namespace::Package;
use super::ssl;
use crate::operation::{Event, Hop};

/// The arguments of a pool that its trace events report and its network backend is called with.
#[pyclass(frozen)]
pub struct PoolArguments {
    ssl_context: Py<PyAny>,
    proxy: Py<PyAny>,
    socket_options: Py<PyAny>,
    http2: bool,
    package: Package,
    /// The `ssl.SSLContext` for backends; made when the first of them begins TLS.
    context: OnceLock<Py<PyAny>>,
    /// The one for TLS with the proxy.
    proxy_context: OnceLock<Py<PyAny>>,
}

#[pymethods]
impl PoolArguments {
    /// Visits all objects: each may refer to the pool.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let given = [&self.ssl_context, &self.proxy, &self.socket_options];
        let made = [self.context.get(), self.proxy_context.get()];
        given.into_iter().chain(made.into_iter().flatten()).try_for_each(|object| visit.call(object))
    }
}

impl PoolArguments {
    pub fn new(
        ssl_context: Py<PyAny>,
        proxy: Py<PyAny>,
        socket_options: Py<PyAny>,
        http2: bool,
        package: Package,
    ) -> Self {
        let (context, proxy_context) = (OnceLock::new(), OnceLock::new());
        Self { ssl_context, proxy, socket_options, http2, package, context, proxy_context }
    }

    pub fn proxy(&self) -> &Py<PyAny> {
        &self.proxy
    }

    pub fn has_proxy(&self, py: Python<'_>) -> bool {
        !self.proxy.is_none(py)
    }

    /// Returns the keyword arguments of the httpcore function that an event of connecting stands for; none for other events.
    pub fn kwargs<'py>(&self, py: Python<'py>, event: &Event) -> PyResult<Bound<'py, PyDict>> {
        let kwargs = PyDict::new(py);
        match event {
            Event::ConnectTcp { host, port, local_address, timeout, .. } => {
                kwargs.set_item("host", host)?;
                kwargs.set_item("port", port)?;
                kwargs.set_item("local_address", local_address.map(|address| address.to_string()))?;
                kwargs.set_item("timeout", seconds(*timeout))?;
                kwargs.set_item("socket_options", &self.socket_options)?;
            }
            Event::ConnectUnixSocket { path, timeout } => {
                kwargs.set_item("path", path)?;
                kwargs.set_item("timeout", seconds(*timeout))?;
                kwargs.set_item("socket_options", &self.socket_options)?;
            }
            Event::StartTls { server_hostname, timeout, by_backend, hop } => {
                kwargs.set_item("ssl_context", self.ssl_context(py, *by_backend, *hop)?)?;
                kwargs.set_item("server_hostname", server_hostname)?;
                kwargs.set_item("timeout", seconds(*timeout))?;
            }
            Event::ResolveName { host, port } => {
                kwargs.set_item("host", host)?;
                kwargs.set_item("port", port)?;
            }
            Event::PoolWait
            | Event::SetupSocks5(_)
            | Event::Retry
            | Event::Close
            | Event::SendConnectionInit
            | Event::SendRequestHeaders(_)
            | Event::SendRequestBody(_)
            | Event::ReceiveResponseHeaders(_)
            | Event::ResponseClosed(_) => {}
        }
        Ok(kwargs)
    }

    /// Returns the `ssl_context` of `start_tls`: the argument of the pool or of its proxy as it was given; for a backend an
    /// `ssl.SSLContext` that offers the pool's protocols (ALPN).
    fn ssl_context<'py>(&self, py: Python<'py>, by_backend: bool, hop: Hop) -> PyResult<Bound<'py, PyAny>> {
        let is_for_proxy = hop == Hop::ToHttpProxy;
        let given = if is_for_proxy {
            self.proxy.bind(py).getattr(intern!(py, "ssl_context"))?
        } else {
            self.ssl_context.bind(py).clone()
        };
        if !by_backend {
            return Ok(given);
        }
        let (cell, http2) = if is_for_proxy { (&self.proxy_context, false) } else { (&self.context, self.http2) };
        let context = self.backend_context(cell, &given, http2)?;
        let protocols = if http2 { vec!["h2", "http/1.1"] } else { vec!["http/1.1"] };
        let module = py.import(intern!(py, "httpcore_rs._ssl_session"))?;
        call(&module.getattr(intern!(py, "offer"))?, (&context, protocols))?;
        Ok(context)
    }

    /// Returns the `ssl.SSLContext` that was given, or one that is equivalent to the TLS of the engine itself.
    fn backend_context<'py>(
        &self,
        cell: &OnceLock<Py<PyAny>>,
        given: &Bound<'py, PyAny>,
        http2: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = given.py();
        if let Some(context) = cell.get() {
            return Ok(context.bind(py).clone());
        }
        let made = ssl::equivalent(py, Some(given), http2, self.package)?.unbind();
        // Threads that make one at the same time get the same one.
        Ok(cell.get_or_init(|| made).bind(py).clone())
    }
}

fn seconds(timeout: Option<Duration>) -> Option<f64> {
    timeout.map(|timeout| timeout.as_secs_f64())
}
