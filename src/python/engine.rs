//! The engine behind one pool.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyInt, PyTuple};

use super::async_driver::{Exchange, Operation};
use super::body::ResponseStream;
use super::connection::Connection;
use super::host::Host;
use super::listener::{Arguments, Listener};
use super::namespace::{Namespace, Package};
use super::request::Parsed;
use super::sync_driver::{Caller, block_on};
use super::{backend, body, network_stream, proxy, request, response, tls};
use crate::ask::Asker;
use crate::connection::establish::{Connector, OptionValue, SocketOption, Tls};
use crate::connection::http2::KeepAlive;
use crate::exchange::{self, Client, Fetched, Place, Response};
use crate::lock::lock;
use crate::pool::{Limits, Phase, Pool};

/// What `ConnectionPool` and `AsyncConnectionPool` run on: one pool of connections and the way to make them.
#[pyclass(frozen, module = "httpcore_rs._engine")]
pub struct Engine {
    side: Side,
}

/// What an engine shares with its connections.
#[derive(Clone)]
pub struct Side {
    pub client: Arc<Client>,
    pub arguments: Arc<Py<Arguments>>,
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
        own_backend,
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
        own_backend: &Bound<'_, PyAny>,
        http2_ping_interval: Option<&Bound<'_, PyAny>>,
        http2_ping_timeout: &Bound<'_, PyAny>,
    ) -> PyResult<Self> {
        let package = Package::named(package)?;
        if !http1 && !http2 {
            return Err(PyValueError::new_err("http1 and http2 are both false: there is no protocol to speak"));
        }
        let max_connections = count(max_connections)?.unwrap_or(usize::MAX);
        let limits = Limits {
            max_connections,
            max_keepalive_connections: count(max_keepalive_connections)?.unwrap_or(usize::MAX).min(max_connections),
            keepalive_expiry: match keepalive_expiry {
                Some(expiry) => request::seconds(expiry, || "keepalive_expiry".to_owned())?,
                None => None,
            },
        };
        let told =
            |argument: Option<&Bound<'_, PyAny>>| argument.map_or_else(|| py.None(), |value| value.clone().unbind());
        let arguments = Arguments::new(told(ssl_context), told(proxy), told(socket_options), http2, package);
        let arguments = Py::new(py, arguments)?;
        let tls = tls::from_argument(py, ssl_context, package)?.map_or(Tls::Carrier, Tls::Rustls);
        let proxy = proxy.map(|proxy| proxy::read(proxy, package)).transpose()?;
        // The caller's `ssl.SSLContext` is Python's to use, over streams of httpcore's.
        let is_pythons =
            matches!(tls, Tls::Carrier) || proxy.as_ref().is_some_and(|proxy| matches!(proxy.tls, Tls::Carrier));
        let tls_backend = if is_pythons { Some(backend::backend(&own_backend.call0()?, &arguments)) } else { None };
        let connector = Connector {
            retries: count(Some(retries))?.unwrap_or(0),
            local_address: local_address.map(ip_address).transpose()?,
            uds: uds.map(path).transpose()?,
            socket_options: read_socket_options(socket_options)?,
            proxy,
            http1,
            http2,
            keep_alive: keep_alive(http2_ping_interval, http2_ping_timeout)?,
            tls,
            backend: Mutex::new(network_backend.map(|object| backend::backend(object, &arguments))),
            tls_backend,
        };
        let client = Arc::new(Client { pool: Pool::new(limits), connector });
        Ok(Self { side: Side { client, arguments: Arc::new(arguments), package } })
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

    /// Sends an `httpcore.Request` from this thread and returns its `httpcore.Response`.
    fn handle_request<'py>(&self, py: Python<'py>, request: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let namespace = Namespace::of(request)?;
        let parsed = request::read(request).map_err(|fault| fault.into_pyerr(py, namespace))?;
        self.side.send(request, namespace, parsed, Place::Any)
    }

    /// Sends a request from this thread and returns its response, read to the end. `None` if the arguments are of unusual types:
    /// then they are for httpcore to check.
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
        let asker = Asker::default();
        let mut future = Box::pin(exchange::fetch(Arc::clone(&self.side.client), parsed, None, asker.clone()));
        let result = block_on(py, future.as_mut(), &asker, &mut Caller::new(sources, None));
        drop(future);
        let closed = backend::close_forsaken(py);
        let fetched = result.map_err(|fault| fault.into_pyerr(py, namespace))?;
        closed?;
        let Fetched { response: fetched, content } = fetched;
        let content = response::join(py, content.iter())?;
        respond(py, namespace, fetched, None, Some(content)).map(Some)
    }

    /// Begins to send an `httpcore.Request` from a task of `host`'s loop.
    fn start(&self, py: Python<'_>, host: Py<Host>, request: &Bound<'_, PyAny>) -> PyResult<Exchange> {
        let namespace = Namespace::of(request)?;
        let parsed = request::read(request).map_err(|fault| fault.into_pyerr(py, namespace))?;
        self.side.start(host, request, namespace, parsed, Place::Any)
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
    ) -> PyResult<Option<Exchange>> {
        let namespace = self.side.package.namespace(py)?;
        if self.side.arguments.get().has_proxy(py) && namespace.is_debugging(py, true)? {
            // Whoever listens is told of a `Request`.
            return Ok(None);
        }
        let parsed = request::read_arguments(namespace, method, url, headers, content, extensions)
            .map_err(|fault| fault.into_pyerr(py, namespace))?;
        let Some((parsed, sources)) = parsed else { return Ok(None) };
        let asker = Asker::default();
        let reactor = Arc::clone(&host.get().shared.reactor);
        let fetching = Box::pin(exchange::fetch(Arc::clone(&self.side.client), parsed, Some(reactor), asker.clone()));
        let operation = Operation::Fetch(fetching);
        Ok(Some(Exchange::start(host, namespace, asker, operation, sources, None)))
    }

    /// The connections in the order in which they were made.
    fn connections(&self) -> Vec<Connection> {
        let statuses = self.side.client.pool.statuses();
        statuses.into_iter().map(|status| Connection::of_pool(self.side.clone(), status)).collect()
    }

    /// Closes every connection. Whoever waits for one gets a `ReadError`.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let closed = py.detach(|| self.side.client.pool.close());
        self.side.log_closed(py, closed)?;
        backend::close_forsaken(py)
    }

    /// The same in a task: returns what to await.
    fn aclose<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let closed = py.detach(|| self.side.client.pool.close());
        self.side.log_closed(py, closed)?;
        body::closed(py, None)
    }

    /// Active and queued requests and active and idle connections, in httpcore's words.
    fn summary(&self) -> String {
        let pool = &self.side.client.pool;
        let statuses = pool.statuses();
        let idle = statuses.iter().filter(|status| status.phase() == Phase::Idle).count();
        let active = statuses.len() - idle;
        let (requests, queued) = (pool.active(), pool.queued());
        format!("Requests: {requests} active, {queued} queued | Connections: {active} active, {idle} idle")
    }
}

impl Engine {
    pub fn side(&self) -> Side {
        self.side.clone()
    }
}

impl Side {
    /// Sends a request from this thread and returns its response.
    pub fn send<'py>(
        &self,
        request: &Bound<'py, PyAny>,
        namespace: &'static Namespace,
        (parsed, sources): Parsed,
        place: Place,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = request.py();
        let listener = Listener::of(request, namespace, &self.arguments, false)?;
        let asker = Asker::new(listener.is_some());
        let mut caller = Caller::new(sources, listener);
        let mut future = Box::pin(exchange::start(Arc::clone(&self.client), parsed, place, None, asker.clone()));
        let result = block_on(py, future.as_mut(), &asker, &mut caller);
        // Whatever is left of a failed exchange goes before the caller hears of it.
        drop(future);
        let closed = backend::close_forsaken(py);
        let started = result.map_err(|fault| fault.into_pyerr(py, namespace))?;
        closed?;
        respond(py, namespace, started, Some(caller), None)
    }

    /// Begins to send a request from a task of `host`'s loop.
    pub fn start(
        &self,
        host: Py<Host>,
        request: &Bound<'_, PyAny>,
        namespace: &'static Namespace,
        (parsed, sources): Parsed,
        place: Place,
    ) -> PyResult<Exchange> {
        let listener = Listener::of(request, namespace, &self.arguments, true)?;
        let asker = Asker::new(listener.is_some());
        let reactor = Arc::clone(&host.get().shared.reactor);
        let starting = Box::pin(exchange::start(Arc::clone(&self.client), parsed, place, Some(reactor), asker.clone()));
        Ok(Exchange::start(host, namespace, asker, Operation::Start(starting), sources, listener))
    }

    /// Writes the debug records of connections that were closed.
    pub fn log_closed(&self, py: Python<'_>, connections: usize) -> PyResult<()> {
        if connections > 0 && self.package.namespace(py)?.is_debugging(py, false)? {
            py.import("httpcore_rs._trace")?.call_method1("log_closed", (self.package.name(), connections))?;
        }
        Ok(())
    }
}

/// A response for a thread; `caller` is whom it answers, and `content` its body if that was read already.
fn respond<'py>(
    py: Python<'py>,
    namespace: &'static Namespace,
    response: Response,
    caller: Option<Caller>,
    content: Option<Bound<'py, PyBytes>>,
) -> PyResult<Bound<'py, PyAny>> {
    let Response { head, body, tap, stream_id } = response;
    let trailers = response::trailers(py, &head);
    let network_stream = network_stream::build(py, tap, namespace, false)?;
    let extensions = response::extensions(py, &head, stream_id, network_stream, trailers.as_ref())?;
    let listener = caller.as_ref().and_then(|caller| caller.listener.as_ref());
    let wrapping = listener.map(|listener| listener.clone_ref(py));
    let stream = ResponseStream::new(body, namespace, caller, trailers)?;
    let mut stream = Bound::new(py, stream)?.into_any();
    if let Some(listener) = wrapping {
        stream = listener.wrap(py, stream, stream_id, false)?;
    }
    response::build(py, namespace, &head, stream, extensions, content)
}

/// The coroutine that drives an exchange.
pub fn drive(py: Python<'_>, exchange: Exchange) -> PyResult<Bound<'_, PyAny>> {
    static DRIVE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    DRIVE.import(py, "httpcore_rs._drive", "drive")?.call1((exchange,))
}

/// A limit: `None` for none, and nothing below zero.
fn count(value: Option<&Bound<'_, PyAny>>) -> PyResult<Option<usize>> {
    let Some(value) = value else { return Ok(None) };
    let count: i64 = match value.cast::<PyInt>() {
        // `sys.maxsize` and beyond mean "no limit" as well.
        Ok(value) => value.extract().unwrap_or(i64::MAX),
        Err(_) => value.extract()?,
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
