//! The engine behind one pool.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt, PyTuple};

use super::callbacks::RequestCallbacks;
use super::calls::call;
use super::connection::Connection;
use super::effects::Performer;
use super::host::Host;
use super::namespace::{Namespace, Package};
use super::operation::{self, Operation};
use super::operations::{FetchRequest, SendRequest};
use super::request::Parsed;
use super::tracer::{PoolArguments, Tracer};
use super::{backend, proxy, request, ssl};
use crate::client::{self, Client, ConnectionChoice};
use crate::connect::{Connector, OptionValue, SocketOption};
use crate::http2::KeepAlive;
use crate::lock::lock;
use crate::operation::{EffectChannel, StreamOwner};
use crate::pool::{Limits, Pool, Snapshot};

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
    #[new]
    #[pyo3(signature = (
        *,
        ssl_context,
        proxy,
        max_connections,
        max_keepalive_connections,
        keepalive_expiry,
        http1,
        http2,
        retries,
        local_address,
        uds,
        network_backend,
        socket_options,
        package,
        http2_ping_interval,
        http2_ping_timeout,
    ))]
    #[expect(clippy::too_many_arguments, reason = "httpcore's constructor, name by name")]
    fn new(
        py: Python<'_>,
        ssl_context: Option<&Bound<'_, PyAny>>,
        proxy: Option<&Bound<'_, PyAny>>,
        max_connections: Option<&Bound<'_, PyAny>>,
        max_keepalive_connections: Option<&Bound<'_, PyAny>>,
        keepalive_expiry: Option<&Bound<'_, PyAny>>,
        http1: bool,
        http2: bool,
        retries: &Bound<'_, PyAny>,
        local_address: Option<&str>,
        uds: Option<&Bound<'_, PyAny>>,
        network_backend: Option<&Bound<'_, PyAny>>,
        socket_options: Option<&Bound<'_, PyAny>>,
        package: &str,
        http2_ping_interval: Option<&Bound<'_, PyAny>>,
        http2_ping_timeout: &Bound<'_, PyAny>,
    ) -> PyResult<Self> {
        let package = Package::named(package)?;
        if !http1 && !http2 {
            return Err(PyValueError::new_err("http1 and http2 are both false: there is no protocol to speak"));
        }
        let max_connections = count("max_connections", max_connections)?.unwrap_or(usize::MAX);
        if max_connections == 0 {
            return Err(PyValueError::new_err("max_connections must be at least 1, or None for no limit"));
        }
        let limits = Limits {
            max_connections,
            max_connections_per_origin: None,
            max_keepalive_connections: count("max_keepalive_connections", max_keepalive_connections)?
                .unwrap_or(usize::MAX)
                .min(max_connections),
            keepalive_expiry: match keepalive_expiry {
                Some(expiry) => request::seconds(expiry, || "keepalive_expiry".to_owned())?,
                None => None,
            },
        };
        let told =
            |argument: Option<&Bound<'_, PyAny>>| argument.map_or_else(|| py.None(), |value| value.clone().unbind());
        let arguments = PoolArguments::new(told(ssl_context), told(proxy), told(socket_options), http2, package);
        let arguments = Py::new(py, arguments)?;
        let tls = ssl::tls(py, ssl_context, package)?;
        let proxy = proxy.map(|proxy| proxy::read(proxy, package)).transpose()?;
        let connector = Connector {
            retries: count("retries", Some(retries))?.unwrap_or(0),
            local_address: local_address.map(ip_address).transpose()?,
            uds: uds.map(path).transpose()?,
            socket_options: read_socket_options(socket_options)?,
            proxy,
            http1,
            http2,
            keep_alive: keep_alive(http2_ping_interval, http2_ping_timeout)?,
            tls,
            backend: Mutex::new(network_backend.map(|object| backend::backend(object, &arguments))),
        };
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

/// A limit: `None` for none, and nothing below zero.
fn count(what: &str, value: Option<&Bound<'_, PyAny>>) -> PyResult<Option<usize>> {
    let Some(value) = value else { return Ok(None) };
    let count: i64 = match value.cast::<PyInt>() {
        // `sys.maxsize` and beyond mean "no limit" as well; what is far below zero means zero.
        Ok(value) => value.extract().or_else(|_| value.gt(0).map(|is_huge| if is_huge { i64::MAX } else { 0 }))?,
        Err(_) => value.extract().map_err(|_| request::wrong_type(what, "an integer", value))?,
    };
    Ok(Some(usize::try_from(count).unwrap_or(0)))
}

/// When an HTTP/2 connection is asked whether its peer is still there.
fn keep_alive(interval: Option<&Bound<'_, PyAny>>, timeout: &Bound<'_, PyAny>) -> PyResult<Option<KeepAlive>> {
    let timeout = request::seconds(timeout, || "http2_ping_timeout".to_owned())?;
    let Some(interval) = interval else { return Ok(None) };
    let interval = request::seconds(interval, || "http2_ping_interval".to_owned())?;
    Ok(interval.zip(timeout).map(|(interval, timeout)| KeepAlive { interval, timeout }))
}

fn ip_address(address: &str) -> PyResult<IpAddr> {
    address.parse().map_err(|_| PyValueError::new_err(format!("local_address must be an IP address, not {address:?}")))
}

fn path(path: &Bound<'_, PyAny>) -> PyResult<String> {
    let path: std::path::PathBuf = path.extract()?;
    path.into_os_string().into_string().map_err(|_| PyValueError::new_err("uds must be a UTF-8 path"))
}

/// httpcore's `SOCKET_OPTION`s: `(level, name, int)`, `(level, name, bytes)` or `(level, name, None, length)`.
fn read_socket_options(options: Option<&Bound<'_, PyAny>>) -> PyResult<Vec<SocketOption>> {
    let Some(options) = options else { return Ok(Vec::new()) };
    options.try_iter()?.map(|option| read_socket_option(&option?)).collect()
}

fn read_socket_option(option: &Bound<'_, PyAny>) -> PyResult<SocketOption> {
    let malformed = || {
        PyTypeError::new_err(
            "socket_options must consist of (level, name, int), (level, name, bytes) or (level, name, None, length)",
        )
    };
    let parts = option.cast::<PyTuple>().map_err(|_| malformed())?;
    let (level, name) = match parts.len() {
        3 | 4 => (parts.get_item(0)?.extract()?, parts.get_item(1)?.extract()?),
        _ => return Err(malformed()),
    };
    let value = parts.get_item(2)?;
    let value = if parts.len() == 4 {
        OptionValue::Null(parts.get_item(3)?.extract()?)
    } else if let Ok(bytes) = value.cast::<PyBytes>() {
        OptionValue::Bytes(bytes.as_bytes().to_vec())
    } else if let Ok(integer) = value.extract() {
        OptionValue::Integer(integer)
    } else {
        OptionValue::Bytes(request::chunk(&value).map_err(|_| malformed())?.to_vec())
    };
    Ok(SocketOption { level, name, value })
}
