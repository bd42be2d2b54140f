//! The engine behind one pool.

use std::sync::Arc;

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::arguments::PoolArguments;
use super::callbacks::RequestCallbacks;
use super::calls::call;
use super::connection::Connection;
use super::effects::Performer;
use super::host::Host;
use super::namespace::{Namespace, Package};
use super::operation::{self, Operation};
use super::operations::{FetchRequest, SendRequest};
use super::options::PoolOptions;
use super::request::Parsed;
use super::tracer::Tracer;
use super::{backend, request};
use crate::client::{self, Client, ConnectionChoice};
use crate::lock::lock;
use crate::operation::{EffectChannel, StreamOwner};
use crate::pool::{Pool, Snapshot};

/// What `ConnectionPool` and `AsyncConnectionPool` run on: one pool of connections and the way to make them.
#[pyclass(frozen, module = "httpcore_rs._engine")]
pub struct Engine {
    side: ClientHandle,
}

/// What an engine shares with its connections.
#[derive(Clone)]
pub struct ClientHandle {
    pub client: Arc<Client>,
    pub arguments: Arc<Py<PoolArguments>>,
    /// Whose names are used where no request says it.
    pub package: Package,
}

#[pymethods]
impl Engine {
    /// Makes the engine of a pool. `options` has every option by name; `package` is `"httpcore"` or `"httpcore2"`.
    #[new]
    fn new(options: &Bound<'_, PyDict>, package: &str) -> PyResult<Self> {
        let package = Package::named(package)?;
        let PoolOptions { limits, connector, arguments } = PoolOptions::read(options, package)?;
        let client = Arc::new(Client { pool: Pool::new(limits), connector, owner: StreamOwner::pool() });
        Ok(Self { side: ClientHandle { client, arguments: Arc::new(arguments), package } })
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&*self.side.arguments)?;
        // Locked only while somebody reads or writes it, and then this object is alive.
        match self.side.client.connector.backend.try_lock() {
            Ok(backend) => backend.as_ref().map_or(Ok(()), |backend| backend::traverse(backend, &visit)),
            Err(_) => Ok(()),
        }
    }

    /// The caller's own `network_backend`, if he brought one.
    #[getter]
    fn get_network_backend<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let backend = lock(&self.side.client.connector.backend).clone();
        backend.map(|backend| backend::backend_object(py, &backend)).transpose()
    }

    #[setter]
    fn set_network_backend(&self, network_backend: Option<&Bound<'_, PyAny>>) {
        let backend = network_backend.map(|object| backend::backend(object, &self.side.arguments));
        let before = std::mem::replace(&mut *lock(&self.side.client.connector.backend), backend);
        drop(before);
    }

    /// Sends an `httpcore.Request` from this thread. Returns its `httpcore.Response`, or an `Operation` that has it as its result.
    fn handle_request<'py>(&self, py: Python<'py>, request: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let namespace = Namespace::of(request)?;
        let parsed = request::read(request).map_err(|fault| fault.into_pyerr(py, namespace))?;
        self.side.send(request, namespace, parsed, ConnectionChoice::Any)
    }

    /// Sends a request from this thread. Returns its response, read to the end, or an `Operation` that has it as its result.
    /// `None` if the arguments are of unusual types: then they are for httpcore to check.
    fn request<'py>(
        &self,
        py: Python<'py>,
        method: &Bound<'py, PyAny>,
        url: &Bound<'py, PyAny>,
        headers: Option<&Bound<'py, PyAny>>,
        content: Option<&Bound<'py, PyAny>>,
        extensions: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let namespace = self.side.package.namespace(py)?;
        if self.side.arguments.get().has_proxy(py) && namespace.is_debugging(py, true)? {
            // Whoever listens is told of a `Request`.
            return Ok(None);
        }
        let parsed = request::read_arguments(namespace, method, url, headers, content, extensions)
            .map_err(|fault| fault.into_pyerr(py, namespace))?;
        let Some((parsed, sources)) = parsed else { return Ok(None) };
        let effects = EffectChannel::default();
        let client = &self.side.client;
        let fetch = FetchRequest::new(client::fetch(Arc::clone(client), parsed, None, effects.clone()));
        let caller = RequestCallbacks::new(sources, None);
        operation::run(py, Box::new(fetch), effects, namespace, caller, &client.owner).map(Some)
    }

    /// Begins to send an `httpcore.Request` from a task of `host`'s loop.
    fn start(&self, py: Python<'_>, host: Py<Host>, request: &Bound<'_, PyAny>) -> PyResult<Operation> {
        let namespace = Namespace::of(request)?;
        let parsed = request::read(request).map_err(|fault| fault.into_pyerr(py, namespace))?;
        self.side.start(host, request, namespace, parsed, ConnectionChoice::Any)
    }

    /// Begins to send a request from a task of `host`'s loop, whose response is read to the end. `None` as for `request`.
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
        let namespace = self.side.package.namespace(py)?;
        if self.side.arguments.get().has_proxy(py) && namespace.is_debugging(py, true)? {
            // Whoever listens is told of a `Request`.
            return Ok(None);
        }
        let parsed = request::read_arguments(namespace, method, url, headers, content, extensions)
            .map_err(|fault| fault.into_pyerr(py, namespace))?;
        let Some((parsed, sources)) = parsed else { return Ok(None) };
        let effects = EffectChannel::default();
        let reactor = Arc::clone(&host.get().shared.reactor);
        let client = &self.side.client;
        let fetch = FetchRequest::new(client::fetch(Arc::clone(client), parsed, Some(reactor), effects.clone()));
        let caller = RequestCallbacks::new(sources, None);
        Ok(Some(Operation::in_task(host, Box::new(fetch), effects, namespace, caller, &client.owner)))
    }

    /// The connections in the order in which they were made.
    fn connections(&self) -> Vec<Connection> {
        let statuses = self.side.client.pool.statuses();
        statuses.into_iter().map(|status| Connection::of_pool(self.side.clone(), status)).collect()
    }

    /// Closes every connection; operations that wait for one end with a `ReadError`. Returns what is to be called to close
    /// external streams, if there are any.
    fn close<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.side.close(py)?;
        self.side.closing(py, None)
    }

    /// The same in a task. Returns whether there may be external streams, for `close_streams()`.
    fn aclose(&self, py: Python<'_>) -> PyResult<bool> {
        self.side.close(py)?;
        Ok(self.side.has_external_streams())
    }

    /// What is to be awaited to close external streams, if there are any.
    fn close_streams<'py>(&self, py: Python<'py>, host: Py<Host>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.side.closing(py, Some(&host))
    }

    /// Active and queued requests and active and idle connections, in httpcore's words.
    fn summary(&self) -> String {
        let Snapshot { connections, active: requests, queued } = self.side.client.pool.snapshot();
        let idle = connections.iter().filter(|connection| connection.is_idle).count();
        let active = connections.len() - idle;
        format!("Requests: {requests} active, {queued} queued | Connections: {active} active, {idle} idle")
    }
}

impl Engine {
    pub fn side(&self) -> ClientHandle {
        self.side.clone()
    }
}

impl ClientHandle {
    /// Sends a request from this thread and returns its response.
    pub fn send<'py>(
        &self,
        request: &Bound<'py, PyAny>,
        namespace: &'static Namespace,
        (parsed, sources): Parsed,
        place: ConnectionChoice,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = request.py();
        let tracer = Tracer::of(request, namespace, &self.arguments, false)?;
        let effects = EffectChannel::new(tracer.is_some());
        let caller = RequestCallbacks::new(sources, tracer);
        let sending = SendRequest::new(client::start(Arc::clone(&self.client), parsed, place, None, effects.clone()));
        operation::run(py, Box::new(sending), effects, namespace, caller, &self.client.owner)
    }

    /// Begins to send a request from a task of `host`'s loop.
    pub fn start(
        &self,
        host: Py<Host>,
        request: &Bound<'_, PyAny>,
        namespace: &'static Namespace,
        (parsed, sources): Parsed,
        place: ConnectionChoice,
    ) -> PyResult<Operation> {
        let tracer = Tracer::of(request, namespace, &self.arguments, true)?;
        let effects = EffectChannel::new(tracer.is_some());
        let reactor = Some(Arc::clone(&host.get().shared.reactor));
        let caller = RequestCallbacks::new(sources, tracer);
        let sending =
            SendRequest::new(client::start(Arc::clone(&self.client), parsed, place, reactor, effects.clone()));
        Ok(Operation::in_task(host, Box::new(sending), effects, namespace, caller, &self.client.owner))
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let closed = py.detach(|| self.client.pool.close());
        self.log_closed(py, closed)
    }

    /// Whether there is, or was, a backend whose streams may have to be closed.
    pub fn has_external_streams(&self) -> bool {
        !self.client.owner.is_empty() || lock(&self.client.connector.backend).is_some()
    }

    /// What closes the external streams that were dropped, if there are any: to be called by a thread, or awaited by a task.
    pub fn closing<'py>(&self, py: Python<'py>, host: Option<&Py<Host>>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let performer = host.map_or(Performer::Thread, Performer::Task);
        operation::closing(py, performer, self.package.namespace(py)?, &self.client.owner)
    }

    /// Writes the debug records of connections that were closed.
    pub fn log_closed(&self, py: Python<'_>, connections: usize) -> PyResult<()> {
        if connections > 0 && self.package.namespace(py)?.is_debugging(py, false)? {
            let log_closed = py.import("httpcore_rs._trace")?.getattr("log_closed")?;
            call(&log_closed, (self.package.name(), connections))?;
        }
        Ok(())
    }
}
