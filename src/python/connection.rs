//! Single connections: those that `pool.connections` holds, and those that a caller makes himself.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;

use super::calls::getattr;
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
use crate::pool::{ANY_LOOP, Phase, Reservation, Status};

/// What `HTTPConnection` and `AsyncHTTPConnection` stand for: a connection of a pool, as it is at the moment of asking, or one of
/// its own.
#[pyclass(frozen, module = "httpcore_rs._engine")]
pub struct Connection {
    side: ClientHandle,
    place: RankedMutex<HeldSlot>,
    /// Whether it belongs to the caller and not to a pool: then it is also he who has it connected.
    is_own: bool,
}

struct HeldSlot {
    status: Arc<Status>,
    /// The place of a connection that no request has used.
    unused: Option<Reservation<client::HttpConnection>>,
}

impl Connection {
    pub fn of_pool(side: ClientHandle, status: Arc<Status>) -> Self {
        Self { side, place: RankedMutex::new(Rank::HeldSlot, HeldSlot { status, unused: None }), is_own: false }
    }

    fn status(&self) -> Arc<Status> {
        Arc::clone(&self.place.lock().status)
    }

    /// The right to send one request over the connection, or a place in line for it.
    fn begin(&self, request: &Bound<'_, PyAny>, namespace: &Namespace, owner: u64) -> PyResult<ConnectionChoice> {
        let py = request.py();
        let origin = getattr(&request.getattr(intern!(py, "url"))?, intern!(py, "origin"))?;
        if !self.can_handle_request(&origin)? {
            let own = &self.status().origin;
            let origin = match request::origin(&origin, self.side.package) {
                Ok(origin) => origin.to_string(),
                Err(_) => origin.str()?.to_string(),
            };
            let message = format!("Attempted to send request to {origin} on connection to {own}");
            return Err(PyRuntimeError::new_err(message));
        }
        self.place(owner).map_err(|error| Fault::from(error).into_pyerr(py, namespace))
    }

    fn place(&self, owner: u64) -> Result<ConnectionChoice> {
        let mut held = self.place.lock();
        if let Some(unused) = held.unused.take() {
            return Ok(ConnectionChoice::This(unused));
        }
        if self.is_own && held.status.has_failed() {
            // It has never been connected: it can be tried again.
            let place = self.side.client.pool.place(&held.status.origin);
            if let Some(status) = place.status() {
                held.status = Arc::clone(status);
            }
            return Ok(ConnectionChoice::This(place));
        }
        let ClientHandle { client, .. } = &self.side;
        let HeldSlot { status, .. } = &*held;
        match client.pool.take(status, owner) {
            Some(reservation) => Ok(ConnectionChoice::This(reservation)),
            // Others share it, or may when it is made. One of a pool is for the pool to give.
            None if self.is_own && (status.is_multiplexed() || client.connector.may_multiplex(&status.origin)) => {
                Ok(ConnectionChoice::QueueFor(status.id))
            }
            None => Err(Error::not_available(&status.origin)),
        }
    }

    /// Reads the request. One that cannot be sent costs the connection, if there is one, as in httpcore.
    fn read(
        &self,
        request: &Bound<'_, PyAny>,
        namespace: &Namespace,
        place: ConnectionChoice,
    ) -> PyResult<(request::Parsed, ConnectionChoice)> {
        match request::read(request) {
            Ok(parsed) => Ok((parsed, place)),
            Err(fault) => {
                match place {
                    ConnectionChoice::This(reservation) if reservation.has_connection() => {
                        self.status().begin_request();
                        // Both are given up: the connection is closed.
                        drop(reservation.take());
                    }
                    ConnectionChoice::This(reservation) => self.place.lock().unused = Some(reservation),
                    ConnectionChoice::QueueFor(_) | ConnectionChoice::Any => {}
                }
                Err(fault.into_pyerr(request.py(), namespace))
            }
        }
    }
}

#[pymethods]
impl Connection {
    /// A connection of the caller's own to an `httpcore.Origin`, made by the first request. `engine` has its arguments.
    #[staticmethod]
    fn to(engine: &Engine, origin: &Bound<'_, PyAny>) -> PyResult<Self> {
        let side = engine.handle.clone();
        let place = side.client.pool.place(&Arc::new(request::origin(origin, side.package)?));
        Self::own(side, place)
    }

    /// A connection of the caller's own over a network stream that he brought, speaking HTTP/1.1 or HTTP/2.
    #[staticmethod]
    fn over(
        py: Python<'_>,
        engine: &Engine,
        origin: &Bound<'_, PyAny>,
        stream: &Bound<'_, PyAny>,
        is_async: bool,
        http2: bool,
    ) -> PyResult<Self> {
        let side = engine.handle.clone();
        let origin = Arc::new(request::origin(origin, side.package)?);
        let stream =
            Stream::External(Box::new(ExternalIo::new(external::handle(stream, is_async, http2, &side.client.owner))));
        let mut place = side.client.pool.place(&origin);
        if let Some(status) = place.status() {
            status.set_link(Arc::new(stream.link()), &origin);
            status.mark_connected();
        }
        let failed = |fault: Fault| fault.into_pyerr_of(py, side.package);
        let connection = if http2 {
            let connection =
                Http2::new(stream, origin, side.client.connector.keep_alive).map_err(|error| failed(error.into()))?;
            if let Some(slot) = place.slot_mut() {
                // Its bytes are moved by the requests on it.
                client::share(&connection, slot, ANY_LOOP);
            }
            client::HttpConnection::Http2(connection)
        } else {
            // hyper's handshake waits for nothing.
            let made = pin!(Http1::new(stream, origin)).poll(&mut Context::from_waker(Waker::noop()));
            let Poll::Ready(made) = made else {
                return Err(PyRuntimeError::new_err("hyper waited for a stream that never lets wait"));
            };
            client::HttpConnection::Http1(Box::new(made.map_err(|error| failed(error.into()))?))
        };
        place.fill(connection);
        Self::own(side, place)
    }

    /// Sends an `httpcore.Request` over this connection. Returns its response, or an `Operation` that has it as its result.
    fn handle_request<'py>(&self, request: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let namespace = Namespace::of(request)?;
        let place = self.begin(request, namespace, 0)?;
        let (parsed, place) = self.read(request, namespace, place)?;
        self.side.send(request, namespace, parsed, place)
    }

    /// Begins to send an `httpcore.Request` over this connection from a task of `host`'s loop.
    fn start(&self, host: Py<Host>, request: &Bound<'_, PyAny>) -> PyResult<Operation> {
        let namespace = Namespace::of(request)?;
        let place = self.begin(request, namespace, host.get().shared.reactor.id())?;
        let (parsed, place) = self.read(request, namespace, place)?;
        self.side.start(host, request, namespace, parsed, place)
    }

    /// Closes the connection, also one in use. One that was never connected stays as it is. Returns what is to be called to close
    /// external streams, if there are any.
    fn close<'py>(&self, py: Python<'py>, log: bool) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.end(py, log)?;
        self.side.closing(py, None)
    }

    /// The same in a task. Returns whether there may be external streams, for `close_streams()`.
    fn aclose(&self, py: Python<'_>, log: bool) -> PyResult<bool> {
        self.end(py, log)?;
        Ok(self.side.has_external_streams())
    }

    /// What is to be awaited to close external streams, if there are any.
    fn close_streams<'py>(&self, py: Python<'py>, host: Py<Host>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.side.closing(py, Some(&host))
    }

    /// How the connection leads to its origin: `"direct"`, `"forward"`, `"tunnel"` or `"socks5"`.
    fn route(&self) -> &'static str {
        match self.side.client.connector.route(&self.status().origin) {
            ProxyRoute::Direct => "direct",
            ProxyRoute::Forward => "forward",
            ProxyRoute::Tunnel => "tunnel",
            ProxyRoute::Socks5 => "socks5",
        }
    }

    /// Origin, protocol, state and number of requests, in httpcore's words.
    fn info(&self) -> String {
        self.status().to_string()
    }

    /// The same without the protocol.
    fn state(&self) -> String {
        self.status().without_protocol()
    }

    /// How many requests at a time the peer of an HTTP/2 connection takes, once that is known.
    fn max_requests(&self) -> Option<usize> {
        self.status().peer_limit()
    }

    /// Whether the connection has no request on it.
    fn is_idle(&self) -> bool {
        let status = self.status();
        status.phase() == Phase::Idle || status.has_failed()
    }

    /// Whether the connection can take a request now.
    fn is_available(&self) -> bool {
        self.status().is_available()
    }

    /// Whether the connection has been idle for longer than the pool keeps it, or was closed by the server meanwhile. If only an
    /// external stream can tell, that stream.
    fn has_expired<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let status = self.status();
        match client::idle_external_stream(&status).filter(|_| !status.has_expired()) {
            Some(stream) => external::object_of(py, &stream),
            None => Ok(status.has_expired().into_pyobject(py)?.to_owned().into_any()),
        }
    }

    /// Whether the connection is closed.
    fn is_closed(&self) -> bool {
        self.status().phase() == Phase::Closed
    }

    /// Whether requests to this `httpcore.Origin` may go over the connection.
    fn can_handle_request(&self, origin: &Bound<'_, PyAny>) -> PyResult<bool> {
        let own = &self.status().origin;
        let (scheme, host) = (origin.getattr("scheme")?, origin.getattr("host")?);
        let (scheme, host) = (values::bytes_of(&scheme, "scheme")?, values::bytes_of(&host, "host")?);
        let port: i64 = origin.getattr("port")?.extract()?;
        Ok(scheme == own.scheme.as_str().as_bytes() && host == own.host.as_bytes() && port == own.port)
    }

    /// The same for all views of one connection.
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
        let unused = self.place.lock().unused.take();
        py.detach(|| {
            drop(unused.and_then(Reservation::take));
            self.side.client.pool.close_one(&status);
        });
        self.side.log_closed(py, usize::from(log))
    }

    fn own(side: ClientHandle, place: Reservation<client::HttpConnection>) -> PyResult<Self> {
        let status =
            place.status().map(Arc::clone).ok_or_else(|| PyRuntimeError::new_err("a place without a status"))?;
        Ok(Self {
            side,
            place: RankedMutex::new(Rank::HeldSlot, HeldSlot { status, unused: Some(place) }),
            is_own: true,
        })
    }
}
