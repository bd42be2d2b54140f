//! The values that trace events report as returned by a step of an exchange.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::addresses::{address_tuple, both_ends};
use super::{external, response, tls_object};
use crate::message::ResponseHead;
use crate::operation::{Endpoints, Outcome};

/// The stream that `connect_tcp` and `start_tls` return in trace events. It answers `get_extra_info()` only; the engine itself
/// reads and writes the connection.
#[pyclass(frozen, module = "httpcore_rs")]
struct ConnectedStream {
    endpoints: Box<Endpoints>,
}

#[pymethods]
impl ConnectedStream {
    /// Returns the local address for `"client_addr"` and `"sockname"`, the peer's for `"server_addr"` and `"peername"`, as in Python's
    /// `socket` module. For `"ssl_object"` returns an `ssl.SSLObject` if Python's `ssl` does TLS, and otherwise an object with its
    /// methods that tell about the session. Otherwise returns `None`.
    fn get_extra_info<'py>(&self, py: Python<'py>, info: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        let address = match info {
            "client_addr" | "sockname" => &self.endpoints.local,
            "server_addr" | "peername" => &self.endpoints.peer,
            "ssl_object" => {
                let Some(session) = &self.endpoints.session else { return Ok(None) };
                return tls_object::of_session(py, session, || {});
            }
            _ => &None,
        };
        address.as_ref().map(|address| address_tuple(py, address)).transpose()
    }

    fn __repr__(&self) -> String {
        let ends = both_ends(self.endpoints.local.as_ref(), self.endpoints.peer.as_ref());
        format!("<httpcore_rs.ConnectedStream [{ends}]>")
    }
}

/// Returns the `return_value` of a trace event.
pub fn returned(py: Python<'_>, outcome: Outcome) -> PyResult<Bound<'_, PyAny>> {
    match outcome {
        Outcome::Nothing => Ok(py.None().into_bound(py)),
        Outcome::External(stream) => external::object_of(py, &stream),
        Outcome::Stream(endpoints) => Ok(Bound::new(py, ConnectedStream { endpoints })?.into_any()),
        Outcome::Head(head) => {
            let headers = response::headers(py, &head)?;
            Ok(match &head {
                ResponseHead::Http1(parts) => {
                    let reason = PyBytes::new(py, parts.reason());
                    (response::version(py, &head), parts.status, reason, headers).into_pyobject(py)?.into_any()
                }
                ResponseHead::Http2(parts) => (parts.status, headers).into_pyobject(py)?.into_any(),
            })
        }
    }
}
