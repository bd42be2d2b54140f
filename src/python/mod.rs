//! What Python sees. The only place that knows pyo3: thin classes over the engine, the driver that runs operations in threads
//! and tasks ([`operation`]), effects as Python carries them out ([`effects`]), and one file each for errors, requests and
//! responses.

mod addresses;
mod arguments;
mod backend;
mod callbacks;
mod calls;
mod client;
mod closing;
mod connected_stream;
mod connection;
mod content;
mod effects;
mod engine;
mod errors;
mod execution;
mod external;
mod external_calls;
mod helpers;
mod host;
mod namespace;
mod network_stream;
mod operation;
mod operations;
mod options;
mod pending;
mod performer;
mod proxy;
mod request;
mod request_arguments;
mod response;
mod signals;
mod ssl;
mod streams;
mod thread_driver;
mod tls;
mod tracer;
mod upload_source;
mod values;

use pyo3::prelude::*;

/// The native part of `httpcore_rs`; use the names that `httpcore_rs` exports.
#[pymodule(name = "_engine", gil_used = true)]
mod engine_module {
    #[pymodule_export]
    use super::client::Engine;
    #[pymodule_export]
    use super::connection::Connection;
    #[pymodule_export]
    use super::host::Host;
    #[pymodule_export]
    use super::network_stream::{AsyncNetworkStream, NetworkStream};
    #[pymodule_export]
    use super::operation::Operation;
    #[pymodule_export]
    use super::streams::{AsyncResponseStream, ResponseStream};
    #[pymodule_export]
    use super::tls::TLSConfig;

    use pyo3::prelude::*;

    /// Tells the engine that this process is a forked child. Registered with `os.register_at_fork`.
    #[pyfunction]
    fn forked(py: Python<'_>) {
        crate::fork::forked();
        super::signals::forked(py);
    }

    /// Tells the engine which thread runs signal handlers, by the interpreter's number for it.
    #[pyfunction]
    fn set_main_thread(ident: u64) {
        super::signals::set_main_thread(ident);
    }

    /// Tells the engine that `select` is monkey-patched: threads then wait by it.
    #[pyfunction]
    fn set_green() {
        super::thread_driver::set_green();
    }
}
