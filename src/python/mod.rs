//! The classes that Python sees, and the drivers that run operations of the engine. The only place that knows pyo3.
//!
//! | part | modules |
//! |---|---|
//! | pools and connections | [`engine`], [`connection`], [`client`], [`options`], [`arguments`], [`proxy`], [`tls`], [`metrics`] |
//! | requests and responses | [`request`], [`request_arguments`], [`response`], [`content`], [`streams`], [`network_stream`], [`timings`] |
//! | operations and their drivers | [`operation`], [`operations`], [`execution`], [`thread_driver`], [`greenlets`], [`signals`], [`host`] |
//! | effects, carried out in Python | [`effects`], [`awaited`], [`performer`], [`external_calls`], [`helpers`], [`closing`], [`ssl`], [`ssl_calls`] |
//! | user-supplied objects | [`callbacks`], [`upload_source`], [`tracer`], [`connected_stream`], [`backend`], [`external`], [`connect_policy`], [`pool_wait`] |
//! | conversions | [`values`], [`addresses`], [`errors`], [`namespace`], [`patches`], [`calls`] |
//! | import | [`interpreter`] |
//!
//! Pyclasses are thin: each method converts its arguments, makes one call and converts the result. Code of users is never called
//! with a frame of the engine below it: it runs in the drive loops of `httpcore_rs._drive`.

mod addresses;
mod arguments;
mod awaited;
mod backend;
mod callbacks;
mod calls;
mod client;
mod closing;
mod connect_policy;
mod connected_stream;
mod connection;
mod content;
mod effects;
mod engine;
mod errors;
mod execution;
mod external;
mod external_calls;
mod greenlets;
mod helpers;
mod host;
mod httpx;
mod interpreter;
mod metrics;
mod namespace;
mod network_stream;
mod operation;
mod operations;
mod options;
mod patches;
mod performer;
mod pool_wait;
mod proxy;
mod request;
mod request_arguments;
mod request_defaults;
mod response;
mod signals;
mod ssl;
mod ssl_calls;
mod streams;
mod thread_driver;
mod timings;
mod tls;
mod tls_object;
mod tracer;
mod upload_source;
mod values;

use pyo3::prelude::*;

/// The native part of `httpcore_rs`. Its names are internal: programs use those that `httpcore_rs` exports.
#[pymodule(name = "_engine", gil_used = false)]
mod engine_module {
    #[pymodule_export]
    use super::client::Engine;
    #[pymodule_export]
    use super::connect_policy::PublicAddressesOnly;
    #[pymodule_export]
    use super::connection::Connection;
    #[pymodule_export]
    use super::host::Host;
    #[pymodule_export]
    use super::httpx::HttpxModels;
    #[pymodule_export]
    use super::network_stream::{AsyncNetworkStream, NetworkStream};
    #[pymodule_export]
    use super::operation::Operation;
    #[pymodule_export]
    use super::request_defaults::SharedDeadline;
    #[pymodule_export]
    use super::streams::{AsyncResponseStream, ResponseStream};
    #[pymodule_export]
    use super::timings::ResponseTimings;
    #[pymodule_export]
    use super::tls::TLSConfig;
    #[pymodule_export]
    use super::tls_object::TLSObject;

    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        super::interpreter::refuse_subinterpreters(module.py())
    }

    /// Tells the engine that this process is a forked child. It is registered with `os.register_at_fork()`.
    #[pyfunction]
    fn forked(py: Python<'_>) {
        crate::fork::forked();
        super::signals::forked(py);
    }

    /// Tells the engine which thread runs signal handlers. `ident` is its `threading.get_ident()`.
    #[pyfunction]
    fn set_main_thread(ident: u64) {
        super::signals::set_main_thread(ident);
    }

    /// Returns scheme, host, port and target of a URL, or `None` for one of an unusual form: `pool.request()` makes an
    /// `httpcore.URL` of that.
    #[pyfunction]
    fn read_url(url: &str) -> Option<(&str, &str, Option<u16>, std::borrow::Cow<'_, str>)> {
        let url = crate::message::UsualUrl::read(url.as_bytes())?;
        Some((url.scheme.as_str(), url.host, url.port, url.target))
    }

    /// Returns the upper bounds of the buckets of histograms, in seconds: of those of connections' lifetimes, or of the others.
    #[pyfunction]
    fn histogram_bounds(are_for_lifetimes: bool) -> Vec<f64> {
        super::metrics::bounds(are_for_lifetimes)
    }

    /// Returns whether `handle_request()` of httpcore's classes for threads, or `handle_async_request()` of those for event loops, is
    /// patched in the package that the request belongs to.
    #[pyfunction]
    fn is_patched(request: &Bound<'_, PyAny>, is_async: bool) -> PyResult<bool> {
        super::namespace::Namespace::of(request)?.is_patched(request.py(), is_async)
    }

    /// Returns whether the body of a request is there in full, as `bytes` in one of the `ByteStream` classes.
    #[pyfunction]
    fn is_whole(stream: &Bound<'_, PyAny>) -> PyResult<bool> {
        Ok(super::request::inline(stream)?.is_some())
    }

    /// Tells the engine that `select.select` is monkey-patched: threads wait by calling it from now on.
    #[pyfunction]
    fn set_green() {
        super::greenlets::set_green();
    }
}
