//! `response.extensions["timings"]`: the times of one exchange.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use super::metrics::span_name;
use crate::timings::{Mark, Span, Timings};

/// The parts of a request that come one after another, from its start to its end.
const PHASES: [(&str, Option<Mark>, Mark); 8] = [
    ("waiting", Some(Mark::Queued), Mark::Acquired),
    ("dns", Some(Mark::DnsBegun), Mark::DnsEnded),
    ("connect", Some(Mark::ConnectBegun), Mark::ConnectEnded),
    ("proxy", Some(Mark::ProxyBegun), Mark::ProxyEnded),
    ("tls", Some(Mark::TlsBegun), Mark::TlsEnded),
    // It begins with the end of the part before it.
    ("send", None, Mark::Sent),
    ("response", Some(Mark::Sent), Mark::FirstByte),
    ("body", Some(Mark::FirstByte), Mark::Ended),
];

/// The times of one request and its response: `response.extensions["timings"]`. The object is filled as things happen: `total` is
/// there when the response has been read to its end or closed.
///
/// Durations are in seconds. They are `None` for what has not happened: `dns`, `connect`, `proxy` and `tls` on a connection that is used
/// again, for example. If the request was sent more than once, they are those of the last attempt, but `first_byte`, `sent` and `total`
/// count from the start of the request.
// `httpcore_rs._timings` adds what it takes from the network stream.
#[pyclass(frozen, module = "httpcore_rs", name = "Timings")]
pub struct ResponseTimings {
    timings: Arc<Timings>,
    network_stream: Py<PyAny>,
}

impl ResponseTimings {
    pub fn new(timings: Arc<Timings>, network_stream: &Bound<'_, PyAny>) -> Self {
        Self { timings, network_stream: network_stream.clone().unbind() }
    }

    fn seconds(&self, span: Span) -> Option<f64> {
        self.timings.duration(span).map(|duration| duration.as_secs_f64())
    }
}

#[pymethods]
impl ResponseTimings {
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.network_stream)
    }

    /// The wait in the pool.
    #[getter]
    fn waiting(&self) -> Option<f64> {
        self.seconds(Span::Waiting)
    }

    /// The resolution of the name of the origin, or of the proxy.
    #[getter]
    fn dns(&self) -> Option<f64> {
        self.seconds(Span::Dns)
    }

    /// The TCP connection to the origin, or to the proxy.
    #[getter]
    fn connect(&self) -> Option<f64> {
        self.seconds(Span::Connect)
    }

    /// The handshake with the proxy, TLS with it included.
    #[getter]
    fn proxy(&self) -> Option<f64> {
        self.seconds(Span::Proxy)
    }

    /// The TLS handshake with the origin.
    #[getter]
    fn tls(&self) -> Option<f64> {
        self.seconds(Span::Tls)
    }

    /// From the start until all of the request was sent; `None` if the response came first.
    #[getter]
    fn sent(&self) -> Option<f64> {
        self.timings.after_start(Mark::Sent).map(|duration| duration.as_secs_f64())
    }

    /// From the start until the head of the response had arrived.
    #[getter]
    fn first_byte(&self) -> Option<f64> {
        self.seconds(Span::ToFirstByte)
    }

    /// From the start to the end of the response: it was read to its end, or closed.
    #[getter]
    fn total(&self) -> Option<f64> {
        self.seconds(Span::Total)
    }

    /// The number of times that the request was sent: 1, or more if the server had closed the connection or had not processed the request.
    #[getter]
    fn attempts(&self) -> u32 {
        self.timings.attempts()
    }

    /// True if the connection had served another request before.
    #[getter]
    fn reused(&self) -> bool {
        self.timings.is_reused()
    }

    /// The start of the request, in seconds since the epoch, as `time.time()` returns them.
    #[getter]
    fn started_at(&self) -> f64 {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        now.saturating_sub(self.ago(Mark::Started, Instant::now())).as_secs_f64()
    }

    /// The network stream of the response.
    #[getter]
    fn network_stream<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.network_stream.bind(py).clone()
    }

    /// Returns the parts of the request that have ended, in their order: the name, and beginning and end in nanoseconds since the epoch.
    ///
    /// The names are `"waiting"`, `"dns"`, `"connect"`, `"proxy"`, `"tls"`, `"send"` (the request), `"response"` (the wait for its
    /// head) and `"body"`.
    fn phases(&self) -> Vec<(&'static str, u64, u64)> {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = Instant::now();
        let at = |mark| {
            let at = wall.saturating_sub(self.ago(mark, now));
            u64::try_from(at.as_nanos()).unwrap_or(u64::MAX)
        };
        let mut phases: Vec<(&'static str, u64, u64)> = Vec::new();
        for (name, begin, end) in PHASES {
            let begin = match begin {
                Some(begin) if self.timings.has(begin) => at(begin),
                Some(_) => continue,
                None => phases.iter().map(|(_, _, end)| *end).max().unwrap_or_default(),
            };
            if self.timings.has(end) && at(end) >= begin {
                phases.push((name, begin, at(end)));
            }
        }
        phases
    }

    fn __repr__(&self) -> String {
        let spans = [Span::Waiting, Span::Dns, Span::Connect, Span::Proxy, Span::Tls, Span::ToFirstByte, Span::Total];
        let parts = spans.into_iter().filter_map(|span| {
            let seconds = self.seconds(span)?;
            Some(format!("{}={seconds:.6}", span_name(span)))
        });
        format!("<Timings {}>", parts.collect::<Vec<_>>().join(" "))
    }
}

impl ResponseTimings {
    fn ago(&self, mark: Mark, now: Instant) -> Duration {
        self.timings.ago(mark, now).unwrap_or_default()
    }
}
