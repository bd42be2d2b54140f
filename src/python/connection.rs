//! Single connections: those in `pool.connections`, and those that are used without a pool.

use std::sync::Arc;

use pyo3::exceptions::PyRuntimeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;

use super::calls::{detached, getattr};
use super::client::{ClientHandle, Engine};
use super::errors::Fault;
use super::host::Host;
use super::namespace::Namespace;
use super::operation::Operation;
use super::{external, request, values};
use crate::client::{self, ConnectionChoice};
use crate::connect::ProxyRoute;
use crate::error::{Error, Result};
use crate::http1::Http1;
use crate::http2::Http2;
use crate::io::external::ExternalIo;
use crate::io::stream::Stream;
use crate::lock::{Rank, RankedMutex};
use crate::pool::{ANY_LOOP, Reservation, Status};

/// The connection behind an `HTTPConnection` or `AsyncHTTPConnection`: one of a pool, or one that is used without a pool. Its
/// methods return the state at the time of the call.
#[pyclass(frozen, module = "httpcore_rs._engine")]
pub struct Connection {
    engine: Py<Engine>,
    held: RankedMutex<HeldSlot>,
    /// The connection is used without a pool: its own requests make it, again if that fails.
    is_single: bool,
}

/// The connection, and its slot as long as this object holds it.
struct HeldSlot {
    status: Arc<Status>,
    /// The slot of a single connection until its first request.
    unused: Option<Reservation<client::HttpConnection>>,
}

impl Connection {
    /// Returns the object for a connection of a pool.
    pub fn of_pool(engine: Py<Engine>, status: Arc<Status>) -> Self {
        Self { engine, held: RankedMutex::new(Rank::HeldSlot, HeldSlot { status, unused: None }), is_single: false }
    }

    fn handle(&self) -> &ClientHandle {
        &self.engine.get().handle
    }

    fn status(&self) -> Arc<Status> {
        Arc::clone(&self.held.lock().status)
    }

    /// Returns the right to send one request over the connection, or a place in its wait queue. `loop_id` is 0 for a thread.
    fn begin(&self, request: &Bound<'_, PyAny>, namespace: &Namespace, loop_id: u64) -> PyResult<ConnectionChoice> {
        let py = request.py();
        let origin = getattr(&request.getattr(intern!(py, "url"))?, intern!(py, "origin"))?;
        if !self.can_handle_request(&origin)? {
            let own = &self.status().origin;
            let origin = match request::origin(&origin, self.handle().package) {
                Ok(origin) => origin.to_string(),
                Err(_) => origin.str()?.to_string(),
            };
            let message = format!("Attempted to send request to {origin} on connection to {own}");
            return Err(PyRuntimeError::new_err(message));
        }
        self.choose(loop_id).map_err(|error| Fault::from(error).into_pyerr(py, namespace))
    }

    fn choose(&self, loop_id: u64) -> Result<ConnectionChoice> {
        let mut held = self.held.lock();
        if let Some(unused) = held.unused.take() {
            return Ok(ConnectionChoice::This(unused));
        }
        if self.is_single && held.status.has_failed() {
            // A connection that was never made can be tried again.
            let reservation = self.handle().client.pool.place(&held.status.origin);
            if let Some(status) = reservation.status() {
                held.status = Arc::clone(status);
            }
            return Ok(ConnectionChoice::This(reservation));
        }
        let ClientHandle { client, .. } = self.handle();
        let HeldSlot { status, .. } = &*held;
        match client.pool.take(status, loop_id) {
            Some(reservation) => Ok(ConnectionChoice::This(reservation)),
            // Requests wait for a single connection that they share, or will share if it becomes HTTP/2. One of a pool is
            // assigned by the pool.
            None if self.is_single && (status.is_multiplexed() || client.connector.may_multiplex(&status.origin)) => {
                Ok(ConnectionChoice::QueueFor(status.id))
            }
            None => Err(Error::not_available(&status.origin)),
        }
    }

    /// Reads the request. If it cannot be sent, the connection is closed, as in httpcore.
    fn read(
        &self,
        request: &Bound<'_, PyAny>,
        namespace: &Namespace,
        choice: ConnectionChoice,
    ) -> PyResult<(request::Parsed, ConnectionChoice)> {
        match request::read(request, &self.handle().defaults) {
            Ok(parsed) => Ok((parsed, choice)),
            Err(fault) => {
                match choice {
                    ConnectionChoice::This(reservation) if reservation.has_connection() => {
                        self.status().begin_request();
                        // Dropping the connection closes it.
                        drop(reservation.take());
                    }
                    ConnectionChoice::This(reservation) => self.held.lock().unused = Some(reservation),
                    ConnectionChoice::QueueFor(_) | ConnectionChoice::Any => {}
                }
                Err(fault.into_pyerr(request.py(), namespace))
            }
        }
    }
}

#[pymethods]
impl Connection {
    fn __traverse__(&self, visit: PyVisit<'_>) -> std::result::Result<(), PyTraverseError> {
        visit.call(&self.engine)
    }

    /// Returns a single connection to an `httpcore.Origin`, which the first request makes. `engine` has its options.
    #[staticmethod]
    fn to(engine: Py<Engine>, origin: &Bound<'_, PyAny>) -> PyResult<Self> {
        let ClientHandle { client, package, .. } = &engine.get().handle;
        let reservation = client.pool.place(&Arc::new(request::origin(origin, *package)?));
        Self::single(engine, reservation)
    }

    /// Returns a single connection over an `httpcore.NetworkStream` or `httpcore.AsyncNetworkStream` of the user, by HTTP/1.1 or
    /// HTTP/2.
    #[staticmethod]
    fn over(
        py: Python<'_>,
        engine: Py<Engine>,
        origin: &Bound<'_, PyAny>,
        stream: &Bound<'_, PyAny>,
        is_async: bool,
        http2: bool,
    ) -> PyResult<Self> {
        let handle = &engine.get().handle;
        let origin = Arc::new(request::origin(origin, handle.package)?);
        let stream = Stream::External(Box::new(ExternalIo::new(external::handle(
            stream,
            is_async,
            http2,
            &handle.client.owner,
        ))));
        let mut reservation = handle.client.pool.place(&origin);
        if let Some(status) = reservation.status() {
            status.set_link(Arc::new(stream.link()), &origin);
            status.mark_connected();
        }
        let failed = |fault: Fault| fault.into_pyerr_of(py, handle.package);
        let connection = if http2 {
            let connection =
                Http2::new(stream, origin, handle.client.connector.keep_alive).map_err(|error| failed(error.into()))?;
            if let Some(slot) = reservation.slot_mut() {
                // The requests on the connection move its bytes: it belongs to no loop.
                client::share(&connection, slot, ANY_LOOP);
            }
            client::HttpConnection::Http2(connection)
        } else {
            client::HttpConnection::Http1(Box::new(Http1::new(stream, origin)))
        };
        reservation.fill(connection);
        Self::single(engine, reservation)
    }

    /// Sends an `httpcore.Request` over this connection from this thread. Returns its `httpcore.Response`, or an `Operation` that
    /// has it as its result.
    fn handle_request<'py>(&self, request: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let namespace = Namespace::of(request)?;
        let choice = self.begin(request, namespace, 0)?;
        let (parsed, choice) = self.read(request, namespace, choice)?;
        self.handle().send(request, namespace, parsed, choice)
    }

    /// Returns an `Operation` that sends an `httpcore.Request` over this connection from a task of the host's loop. Its result is
    /// an `httpcore.Response`.
    fn start(&self, host: Py<Host>, request: &Bound<'_, PyAny>) -> PyResult<Operation> {
        let namespace = Namespace::of(request)?;
        let choice = self.begin(request, namespace, host.get().shared.reactor.id())?;
        let (parsed, choice) = self.read(request, namespace, choice)?;
        self.handle().start(host, request, namespace, parsed, choice)
    }

    /// Closes the connection, even during a request. A connection that was never made stays as it is. With `log`, writes a debug
    /// record. Returns a callable that closes external streams, or `None` if there are none.
    fn close<'py>(&self, py: Python<'py>, log: bool) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.end(py, log)?;
        self.handle().closing(py, None)
    }

    /// Closes the connection like `close()`, for a task. Returns whether there may be external streams, which `close_streams()`
    /// closes.
    fn aclose(&self, py: Python<'_>, log: bool) -> PyResult<bool> {
        self.end(py, log)?;
        Ok(self.handle().has_external_streams())
    }

    /// Returns an awaitable that closes external streams, or `None` if there are none.
    fn close_streams<'py>(&self, py: Python<'py>, host: Py<Host>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.handle().closing(py, Some(&host))
    }

    /// Returns how the connection reaches its origin: `"direct"`, `"forward"`, `"tunnel"` or `"socks5"`.
    fn route(&self) -> &'static str {
        match self.handle().client.connector.route(&self.status().origin) {
            ProxyRoute::Direct => "direct",
            ProxyRoute::Forward => "forward",
            ProxyRoute::Tunnel => "tunnel",
            ProxyRoute::Socks5 => "socks5",
        }
    }

    /// Returns the origin, protocol, state and number of requests, in httpcore's words.
    fn info(&self) -> String {
        self.status().to_string()
    }

    /// Returns the text of `info()` without the protocol.
    fn state(&self) -> String {
        self.status().without_protocol()
    }

    /// Returns the number of concurrent requests that the peer of an HTTP/2 connection allows; `None` while that is unknown.
    fn max_requests(&self) -> Option<usize> {
        self.status().peer_limit()
    }

    /// Returns whether the connection has no request.
    fn is_idle(&self) -> bool {
        let status = self.status();
        status.is_idle() || status.has_failed()
    }

    /// Returns whether the connection can take a request now.
    fn is_available(&self) -> bool {
        self.status().is_available()
    }

    /// Returns whether the connection has been idle for longer than `keepalive_expiry`, or was closed by the server while it was
    /// idle. Returns an external stream if only that can tell: its extra info `"is_readable"` is the answer.
    fn has_expired<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let status = self.status();
        match client::idle_external_stream(&status).filter(|_| !status.has_expired()) {
            Some(stream) => external::object_of(py, &stream),
            None => Ok(status.has_expired().into_pyobject(py)?.to_owned().into_any()),
        }
    }

    /// Returns whether the connection is closed.
    fn is_closed(&self) -> bool {
        self.status().is_closed()
    }

    /// Returns whether the connection leads to this `httpcore.Origin`.
    fn can_handle_request(&self, origin: &Bound<'_, PyAny>) -> PyResult<bool> {
        let own = &self.status().origin;
        let (scheme, host) = (origin.getattr("scheme")?, origin.getattr("host")?);
        let (scheme, host) = (values::bytes_of(&scheme, "scheme")?, values::bytes_of(&host, "host")?);
        let port: i64 = origin.getattr("port")?.extract()?;
        Ok(scheme == own.scheme.as_str().as_bytes() && host == own.host.as_bytes() && port == own.port)
    }

    /// Objects for the same connection have the same hash.
    fn __hash__(&self) -> usize {
        Arc::as_ptr(&self.status()).addr()
    }

    fn __eq__(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.status(), &other.status())
    }
}

impl Connection {
    fn end(&self, py: Python<'_>, log: bool) -> PyResult<()> {
        let status = self.status();
        if !status.is_connected() {
            return Ok(());
        }
        let unused = self.held.lock().unused.take();
        detached(py, || {
            drop(unused.and_then(Reservation::take));
            self.handle().client.pool.close_one(&status);
        });
        self.handle().log_closed(py, usize::from(log))
    }

    fn single(engine: Py<Engine>, reservation: Reservation<client::HttpConnection>) -> PyResult<Self> {
        let status =
            reservation.status().map(Arc::clone).ok_or_else(|| PyRuntimeError::new_err("a slot without a status"))?;
        Ok(Self {
            engine,
            held: RankedMutex::new(Rank::HeldSlot, HeldSlot { status, unused: Some(reservation) }),
            is_single: true,
        })
    }
}
