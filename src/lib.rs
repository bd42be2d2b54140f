//! httpcore's connection pools with the engine in Rust.
//!
//! The crate is built in layers. Each of them knows those below it, as `scripts/check` holds:
//!
//! | layer | what it is |
//! |---|---|
//! | [`python`] | what Python sees; the only place that knows pyo3. Drives operations from a thread or an event loop |
//! | [`client`] | one request from the pool to its response; retries, bodies, upgraded streams |
//! | [`connect`] | making connections: addresses, proxies, handshakes |
//! | [`http1`], [`http2`] | the protocols, each on a stream |
//! | [`tls`] | TLS sessions as layers on a stream; trust |
//! | [`io`] | sockets, readiness, deadlines, waiting |
//! | [`operation`] | the contract with a driver: effects and replies, trace events |
//! | [`pool`] | routes, slots and waiters: pure logic |
//! | [`message`] | request and response heads: pure |
//! | [`error`], [`origin`], [`timeout`], [`timings`], [`fork`], [`lock`] | the vocabulary |

mod client;
mod connect;
mod error;
mod fork;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod http1;
mod http2;
mod io;
mod lock;
mod message;
mod operation;
mod origin;
mod pool;
mod python;
#[cfg(test)]
mod testing;
mod timeout;
mod timings;
mod tls;

/// The memory of the engine, in builds with the feature `mimalloc`.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
