//! The metrics of a pool as dictionaries, of which `httpcore_rs._metrics` makes objects.

use std::collections::BTreeMap;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

use crate::error::Kind;
use crate::origin::Origin;
use crate::pool::{
    BOUNDS, CLOSE_REASONS, Counters, Gauges, Histogram, LIFETIME_BOUNDS, MEASURED, Report, RequestInFlight,
};
use crate::timings::{Mark, Span, Stage};

/// Returns the metrics: `max_connections`, `total`, `origins` and `other` with the fields of `Counters`, and `requests` with those of
/// `RequestInFlight`.
pub fn dictionary<'py>(py: Python<'py>, report: &Report) -> PyResult<Bound<'py, PyDict>> {
    let mut total = report.other.clone().unwrap_or_default();
    let mut all = Gauges::default();
    // Origins that differ in the headers for their tunnels have the same name.
    let mut by_name: BTreeMap<String, (Counters, Gauges)> = BTreeMap::new();
    for (origin, counters, gauges) in &report.origins {
        total.merge(counters);
        all.add(gauges);
        let (named, gauges_named) = by_name.entry(name(origin)).or_default();
        named.merge(counters);
        gauges_named.add(gauges);
    }
    let origins = PyDict::new(py);
    for (name, (counters, gauges)) in &by_name {
        origins.set_item(name, fields(py, counters, gauges)?)?;
    }
    let requests = report.in_flight.iter().map(|request| in_flight(py, request, report));
    let metrics = PyDict::new(py);
    let limit = report.limits.max_connections;
    metrics.set_item("max_connections", (limit != usize::MAX).then_some(limit))?;
    metrics.set_item("total", fields(py, &total, &all)?)?;
    metrics.set_item("origins", origins)?;
    let other = report.other.as_ref().map(|other| fields(py, other, &Gauges::default())).transpose()?;
    metrics.set_item("other", other)?;
    metrics.set_item("requests", PyList::new(py, requests.collect::<PyResult<Vec<_>>>()?)?)?;
    Ok(metrics)
}

/// Returns the upper bounds of the buckets of histograms, in seconds: of those of connections' lifetimes, or of the others.
pub fn bounds(are_for_lifetimes: bool) -> Vec<f64> {
    let bounds = if are_for_lifetimes { &LIFETIME_BOUNDS } else { &BOUNDS };
    bounds.iter().map(|micros| Duration::from_micros(*micros).as_secs_f64()).collect()
}

/// Returns an origin as a text, with the name that its server is verified for if that is another one.
pub fn name(origin: &Origin) -> String {
    match &origin.server_name {
        Some(server_name) => format!("{origin} ({server_name})"),
        None => origin.to_string(),
    }
}

fn fields<'py>(py: Python<'py>, counters: &Counters, gauges: &Gauges) -> PyResult<Bound<'py, PyDict>> {
    let failed = PyDict::new(py);
    for (kind, count) in Kind::ALL.iter().zip(counters.failed).filter(|(_, count)| *count > 0) {
        failed.set_item(exception_name(*kind), count)?;
    }
    let closed = PyDict::new(py);
    for ((_, reason), count) in CLOSE_REASONS.iter().zip(counters.closed).filter(|(_, count)| *count > 0) {
        closed.set_item(reason, count)?;
    }
    let fields = PyDict::new(py);
    for (name, count) in [
        ("requests_started", counters.started),
        ("requests_finished", counters.finished),
        ("requests_cancelled", counters.cancelled),
        ("requests_replayed", counters.replayed),
        ("requests_retried", counters.retried),
        ("requests_active", gauges.requests as u64),
        ("requests_waiting", gauges.waiting as u64),
        ("bytes_sent", counters.sent),
        ("bytes_received", counters.received),
        ("connections_opened", counters.opened),
        ("connections_reused", counters.reused),
        ("connections_failed", counters.connect_failed),
        ("connections_active", gauges.active as u64),
        ("connections_idle", gauges.idle as u64),
        ("connections_connecting", gauges.connecting as u64),
    ] {
        fields.set_item(name, count)?;
    }
    fields.set_item("requests_failed", failed)?;
    fields.set_item("connections_closed", closed)?;
    for (span, histogram) in MEASURED.into_iter().zip(&counters.histograms) {
        fields.set_item(span_name(span), histogram_parts(py, histogram)?)?;
    }
    fields.set_item("lifetime", histogram_parts(py, &counters.lifetimes)?)?;
    Ok(fields)
}

/// Returns the counts of the buckets, and the sum in seconds.
fn histogram_parts<'py>(py: Python<'py>, histogram: &Histogram) -> PyResult<(Bound<'py, PyTuple>, f64)> {
    Ok((PyTuple::new(py, histogram.buckets)?, Duration::from_nanos(histogram.sum).as_secs_f64()))
}

/// Returns the origin, the stage, and the seconds since the request began and since it got its connection.
fn in_flight<'py>(py: Python<'py>, request: &RequestInFlight, report: &Report) -> PyResult<Bound<'py, PyTuple>> {
    let RequestInFlight { origin, timings } = request;
    let seconds = |mark| timings.ago(mark, report.now).map(|ago| ago.as_secs_f64());
    let age = seconds(Mark::Started).unwrap_or_default();
    (name(origin), stage_name(timings.stage()), age, seconds(Mark::Acquired)).into_pyobject(py)
}

/// Returns the name of the exception that an error becomes.
fn exception_name(kind: Kind) -> String {
    match kind {
        Kind::Raised => "Exception".to_owned(),
        Kind::Internal => "RuntimeError".to_owned(),
        kind => format!("{kind:?}"),
    }
}

/// Returns the name of a part of a request, in metrics and timings.
pub fn span_name(span: Span) -> &'static str {
    match span {
        Span::Waiting => "waiting",
        Span::Dns => "dns",
        Span::Connect => "connect",
        Span::Proxy => "proxy",
        Span::Tls => "tls",
        Span::ToFirstByte => "first_byte",
        Span::Total => "total",
    }
}

fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Waiting => "waiting",
        Stage::Connecting => "connecting",
        Stage::Sending => "sending",
        Stage::Responding => "responding",
        Stage::Reading => "reading",
    }
}
