//! The methods of `Engine`, the engine of one pool.

use std::sync::Arc;

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::calls::detached;
use super::client::{ClientHandle, Engine};
use super::connection::Connection;
use super::host::Host;
use super::httpx::HttpxModels;
use super::namespace::{Namespace, Package};
use super::operation::{self, Operation};
use super::options::PoolOptions;
use super::request_arguments::RequestArguments;
use super::{backend, connect_policy, metrics, pool_wait, request, ssl};
use crate::client::{Client, ConnectionChoice};
use crate::connect::ConnectPolicy;
use crate::operation::StreamOwner;
use crate::pool::{Pool, Snapshot};

#[pymethods]
impl Engine {
    /// Makes the engine of a pool. `options` has every option by name; `package` is `"httpcore"` or `"httpcore2"`.
    #[new]
    fn new(options: &Bound<'_, PyDict>, package: &str) -> PyResult<Self> {
        let package = Package::named(package)?;
        let PoolOptions { limits, connector, replay, arguments, defaults, wait_reports } =
            PoolOptions::read(options, package)?;
        let owner = StreamOwner::pool();
        let client = Arc::new(Client { pool: Pool::new(limits), connector, replay, owner, wait_reports });
        let (arguments, defaults) = (Arc::new(arguments), Arc::new(defaults));
        Ok(Self { handle: ClientHandle { client, arguments, defaults, package } })
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&*self.handle.arguments)?;
        if let Some(callback) = &self.handle.client.wait_reports.callback {
            pool_wait::traverse(callback, &visit)?;
        }
        // The collector calls this several times and has to see the same each time. A mutex could be held now and then: threads that
        // connect read the backend without the interpreter.
        let connector = &self.handle.client.connector;
        if let Some(ConnectPolicy::Callable(policy, _)) = &connector.policy {
            connect_policy::traverse(policy, &visit)?;
        }
        if let Some(callback) = connector.proxy.as_ref().and_then(|proxy| proxy.authenticate.as_ref()) {
            connect_policy::traverse(callback, &visit)?;
        }
        if let Some(resolver) = &connector.resolver {
            connect_policy::traverse(resolver, &visit)?;
        }
        for tls in std::iter::once(&connector.tls).chain(connector.proxy.as_ref().map(|proxy| &proxy.tls)) {
            ssl::traverse(tls, &visit)?;
        }
        if let Some(backend) = &connector.python_sockets {
            backend::traverse(backend, &visit)?;
        }
        let backend = connector.backend.load();
        backend.as_ref().map_or(Ok(()), |backend| backend::traverse(backend, &visit))
    }

    /// The `network_backend` of the pool, or `None` if the engine connects by itself.
    #[getter]
    fn get_network_backend<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let backend = self.handle.client.connector.backend.load();
        backend.as_ref().map(|backend| backend::object(py, backend)).transpose()
    }

    #[setter]
    fn set_network_backend(&self, network_backend: Option<&Bound<'_, PyAny>>) {
        let backend = network_backend.map(|object| backend::backend(object, &self.handle.arguments));
        self.handle.client.connector.backend.store(backend.map(Arc::new));
    }

    /// Sends an `httpcore.Request` from this thread. Returns its `httpcore.Response`, or an `Operation` that has it as its
    /// result.
    fn handle_request<'py>(&self, py: Python<'py>, request: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let namespace = Namespace::of(request)?;
        let parsed = request::read(request, &self.handle.defaults).map_err(|fault| fault.into_pyerr(py, namespace))?;
        self.handle.send(request, namespace, parsed, ConnectionChoice::Any)
    }

    /// Sends a request from this thread. Returns its `httpcore.Response`, read to the end, or an `Operation` that has it as its
    /// result. Returns `None` if the arguments are of unusual types: httpcore has to check them.
    fn request<'py>(
        &self,
        py: Python<'py>,
        method: &Bound<'py, PyAny>,
        url: &Bound<'py, PyAny>,
        headers: Option<&Bound<'py, PyAny>>,
        content: Option<&Bound<'py, PyAny>>,
        extensions: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let arguments = RequestArguments { method, url, headers, content, extensions };
        let fetching = self.handle.fetching(py, arguments, None)?;
        fetching.map(|fetching| operation::run(py, fetching)).transpose()
    }

    /// Returns an `Operation` that sends an `httpcore.Request` from a task of the host's loop. Its result is an
    /// `httpcore.Response`.
    fn start(&self, py: Python<'_>, host: Py<Host>, request: &Bound<'_, PyAny>) -> PyResult<Operation> {
        let namespace = Namespace::of(request)?;
        let parsed = request::read(request, &self.handle.defaults).map_err(|fault| fault.into_pyerr(py, namespace))?;
        self.handle.start(host, request, namespace, parsed, ConnectionChoice::Any)
    }

    /// Returns an `Operation` that sends a request from a task of the host's loop. Its result is an `httpcore.Response`, read to
    /// the end. Returns `None` if the arguments are of unusual types: httpcore has to check them.
    #[expect(clippy::too_many_arguments, reason = "the arguments of httpcore's `request()`")]
    fn fetch(
        &self,
        py: Python<'_>,
        host: Py<Host>,
        method: &Bound<'_, PyAny>,
        url: &Bound<'_, PyAny>,
        headers: Option<&Bound<'_, PyAny>>,
        content: Option<&Bound<'_, PyAny>>,
        extensions: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Option<Operation>> {
        let arguments = RequestArguments { method, url, headers, content, extensions };
        let reactor = Arc::clone(&host.get().shared.reactor);
        let fetching = self.handle.fetching(py, arguments, Some(reactor))?;
        Ok(fetching.map(|fetching| Operation::in_task(host, fetching)))
    }

    /// Sends an `httpx.Request` from this thread. Returns its `httpx.Response`, or an `Operation` that has it as its result. Returns
    /// `None` if an `httpcore.Request` has to be made.
    fn handle_httpx_request<'py>(
        &self,
        request: &Bound<'py, PyAny>,
        models: &Bound<'py, HttpxModels>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let sending = self.handle.sending_for(request, models, None)?;
        sending.map(|sending| operation::run(request.py(), sending)).transpose()
    }

    /// Returns an `Operation` that sends an `httpx.Request` from a task of the host's loop. Its result is an `httpx.Response`.
    /// Returns `None` if an `httpcore.Request` has to be made.
    fn start_httpx_request(
        &self,
        host: Py<Host>,
        request: &Bound<'_, PyAny>,
        models: &Bound<'_, HttpxModels>,
    ) -> PyResult<Option<Operation>> {
        let reactor = Arc::clone(&host.get().shared.reactor);
        let sending = self.handle.sending_for(request, models, Some(reactor))?;
        Ok(sending.map(|sending| Operation::in_task(host, sending)))
    }

    /// Returns the connections of the pool in the order in which they were made.
    fn connections(slf: &Bound<'_, Self>) -> Vec<Connection> {
        let statuses = slf.get().handle.client.pool.statuses();
        statuses.into_iter().map(|status| Connection::of_pool(slf.clone().unbind(), status)).collect()
    }

    /// Counts that a retry policy repeats an `httpcore.Request`.
    fn count_retry(&self, py: Python<'_>, request: &Bound<'_, PyAny>) -> PyResult<()> {
        let namespace = Namespace::of(request)?;
        let (request, _) =
            request::read(request, &self.handle.defaults).map_err(|fault| fault.into_pyerr(py, namespace))?;
        detached(py, || self.handle.client.pool.count_retry(&request.origin));
        Ok(())
    }

    /// Returns the metrics of the pool as dictionaries, of which `httpcore_rs._metrics` makes objects.
    fn metrics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let report = detached(py, || self.handle.client.pool.report());
        metrics::dictionary(py, &report)
    }

    /// Closes all connections. Operations that use one raise a `ReadError`. Returns a callable that closes external streams, or
    /// `None` if there are none.
    fn close<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.handle.close(py)?;
        self.handle.closing(py, None)
    }

    /// Closes all connections, for a task. Returns whether there may be external streams, which `close_streams()` closes.
    fn aclose(&self, py: Python<'_>) -> PyResult<bool> {
        self.handle.close(py)?;
        Ok(self.handle.has_external_streams())
    }

    /// Returns an awaitable that closes external streams, or `None` if there are none.
    fn close_streams<'py>(&self, py: Python<'py>, host: Py<Host>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.handle.closing(py, Some(&host))
    }

    /// Returns the numbers of active and queued requests.
    fn requests(&self) -> (usize, usize) {
        let Snapshot { active, queued, .. } = self.handle.client.pool.snapshot();
        (active, queued)
    }

    /// Returns the numbers of active and queued requests and of active and idle connections, in httpcore's words.
    fn summary(&self) -> String {
        let Snapshot { connections, active: requests, queued } = self.handle.client.pool.snapshot();
        let idle = connections.iter().filter(|connection| connection.is_idle).count();
        let active = connections.len() - idle;
        format!("Requests: {requests} active, {queued} queued | Connections: {active} active, {idle} idle")
    }
}
