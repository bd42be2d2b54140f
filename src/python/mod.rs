//! What Python sees. The only place that knows pyo3: thin classes over the engine, the two drivers that run an exchange (a thread
//! in [`sync_driver`], an event loop's task in [`async_driver`]), and one file each for errors, requests and responses.

mod async_driver;
mod backend;
mod body;
mod connection;
mod engine;
mod errors;
mod host;
mod listener;
mod namespace;
mod network_stream;
mod proxy;
mod request;
mod response;
mod sync_driver;
mod tls;

use pyo3::prelude::*;

/// The native part of `httpcore_rs`; use the names that `httpcore_rs` exports.
#[pymodule(name = "_engine", gil_used = true)]
mod engine_module {
    #[pymodule_export]
    use super::async_driver::Exchange;
    #[pymodule_export]
    use super::body::{AsyncResponseStream, Completed, ResponseStream};
    #[pymodule_export]
    use super::connection::Connection;
    #[pymodule_export]
    use super::engine::Engine;
    #[pymodule_export]
    use super::host::Host;
    #[pymodule_export]
    use super::network_stream::{AsyncNetworkStream, NetworkStream};
    #[pymodule_export]
    use super::tls::TLSConfig;

    use pyo3::prelude::*;

    /// Tells the engine that this process is a forked child. Registered with `os.register_at_fork`.
    #[pyfunction]
    fn forked() {
        crate::fork::forked();
    }
}
