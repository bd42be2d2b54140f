//! What `pool.connections` holds.

use std::sync::Arc;

use pyo3::prelude::*;

use crate::pool::{Phase, Status};

/// A connection of a pool, as it is at the moment of asking: httpcore's `HTTPConnection` without the means to use it directly.
#[pyclass(frozen, module = "httpcore_rs._engine")]
pub struct Connection {
    pub(super) status: Arc<Status>,
    pub(super) class_name: &'static str,
}

#[pymethods]
impl Connection {
    /// Origin, protocol, state and number of requests, in httpcore's words.
    fn info(&self) -> String {
        self.status.to_string()
    }

    /// Whether the connection has no request on it.
    fn is_idle(&self) -> bool {
        self.status.phase() == Phase::Idle || self.status.has_failed()
    }

    /// Whether the connection can take a request now.
    fn is_available(&self) -> bool {
        self.status.phase() == Phase::Idle
    }

    /// Whether the connection has been idle for longer than the pool keeps it, or was closed by the server meanwhile.
    fn has_expired(&self) -> bool {
        self.status.has_expired()
    }

    /// Whether the connection is closed.
    fn is_closed(&self) -> bool {
        self.status.phase() == Phase::Closed
    }

    /// Whether requests to this `httpcore.Origin` may go over the connection.
    fn can_handle_request(&self, origin: &Bound<'_, PyAny>) -> PyResult<bool> {
        let own = &self.status.origin;
        let scheme: Vec<u8> = origin.getattr("scheme")?.extract()?;
        let host: Vec<u8> = origin.getattr("host")?.extract()?;
        let port: i64 = origin.getattr("port")?.extract()?;
        Ok(scheme == own.scheme.as_str().as_bytes() && host == own.host.as_bytes() && port == own.port)
    }

    fn __repr__(&self) -> String {
        format!("<{} [{}]>", self.class_name, self.status)
    }
}
