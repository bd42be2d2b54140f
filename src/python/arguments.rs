//! The arguments of a pool that Python code sees again: trace events report them, and network backends are given them.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;

use super::calls::call;
use super::namespace::Package;
use crate::operation::{Event, Hop};

/// The arguments of a pool that trace events and network backends need.
#[pyclass(frozen)]
pub struct PoolArguments {
    ssl_context: Py<PyAny>,
    proxy: Py<PyAny>,
    socket_options: Py<PyAny>,
    http2: bool,
    package: Package,
    /// The `ssl.SSLContext` for network backends, made when one is first needed.
    context: PyOnceLock<Py<PyAny>>,
    /// The same for connections to the proxy.
    proxy_context: PyOnceLock<Py<PyAny>>,
}

impl PoolArguments {
    pub fn new(
        ssl_context: Py<PyAny>,
        proxy: Py<PyAny>,
        socket_options: Py<PyAny>,
        http2: bool,
        package: Package,
    ) -> Self {
        let (context, proxy_context) = (PyOnceLock::new(), PyOnceLock::new());
        Self { ssl_context, proxy, socket_options, http2, package, context, proxy_context }
    }

    pub fn has_proxy(&self, py: Python<'_>) -> bool {
        !self.proxy.is_none(py)
    }

    pub fn proxy(&self) -> &Py<PyAny> {
        &self.proxy
    }

    /// Returns the keyword arguments of httpcore's function for an event of connecting. Other events have none.
    pub fn kwargs<'py>(&self, py: Python<'py>, event: &Event) -> PyResult<Bound<'py, PyDict>> {
        let kwargs = PyDict::new(py);
        let seconds = |timeout: &Option<std::time::Duration>| timeout.map(|timeout| timeout.as_secs_f64());
        match event {
            Event::ConnectTcp { host, port, local_address, timeout, .. } => {
                kwargs.set_item("host", host)?;
                kwargs.set_item("port", port)?;
                kwargs.set_item("local_address", local_address.map(|address| address.to_string()))?;
                kwargs.set_item("timeout", seconds(timeout))?;
                kwargs.set_item("socket_options", &self.socket_options)?;
            }
            Event::ConnectUnixSocket { path, timeout } => {
                kwargs.set_item("path", path)?;
                kwargs.set_item("timeout", seconds(timeout))?;
                kwargs.set_item("socket_options", &self.socket_options)?;
            }
            Event::StartTls { server_hostname, timeout, by_backend, hop } => {
                let is_for_proxy = *hop == Hop::ToHttpProxy;
                let given = if is_for_proxy {
                    self.proxy.bind(py).getattr(intern!(py, "ssl_context"))?
                } else {
                    self.ssl_context.bind(py).clone()
                };
                let context = match (by_backend, is_for_proxy) {
                    (false, _) => given,
                    (true, false) => self.context(&self.context, &given, self.http2)?,
                    (true, true) => self.context(&self.proxy_context, &given, false)?,
                };
                if *by_backend {
                    let protocols = if self.http2 && !is_for_proxy { vec!["h2", "http/1.1"] } else { vec!["http/1.1"] };
                    let module = py.import(intern!(py, "httpcore_rs._ssl_session"))?;
                    call(&module.getattr(intern!(py, "offer"))?, (&context, protocols))?;
                }
                kwargs.set_item("ssl_context", context)?;
                kwargs.set_item("server_hostname", server_hostname)?;
                kwargs.set_item("timeout", seconds(timeout))?;
            }
            Event::SetupSocks5(_)
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

    /// Returns the `ssl.SSLContext` for a network backend: the one that was given, or one that does what a `TLSConfig` says.
    fn context<'py>(
        &self,
        made: &PyOnceLock<Py<PyAny>>,
        given: &Bound<'py, PyAny>,
        http2: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = given.py();
        let made = made.get_or_try_init(py, || {
            let module = py.import("httpcore_rs._ssl_context")?;
            let arguments = (given, http2, self.package.name());
            PyResult::Ok(call(&module.getattr("for_backend")?, arguments)?.unbind())
        })?;
        Ok(made.bind(py).clone())
    }
}
