//! httpcore's connection pools with the engine in Rust.
//!
//! A request's way through the crate, and where each part lives:
//!
//! | module | what it is |
//! |---|---|
//! | [`python`] | what Python sees; the only place that knows pyo3. Drives an exchange from a thread or an event loop |
//! | [`request`], [`response`] | a request, checked and written out once; the head of its response |
//! | [`exchange`] | one request from the pool to its response |
//! | [`pool`] | who may use which connection, and who waits |
//! | [`connection`] | making connections, HTTP/1.1 and HTTP/2 on them |
//! | [`proxy`] | forwarding, tunnels, SOCKS |
//! | [`tls`] | rustls: trust, identity, handshake |
//! | [`io`] | sockets, readiness, deadlines |
//! | [`ask`] | what an exchange needs of the interpreter while it runs |
//! | [`trace`] | the moments that a caller can follow |
//! | [`fork`] | telling a forked child from its parent |
//! | [`origin`], [`timeout`], [`stall`], [`error`], [`lock`] | the vocabulary |

mod ask;
mod connection;
mod error;
mod exchange;
mod fork;
mod io;
mod lock;
mod origin;
mod pool;
mod proxy;
mod python;
mod request;
mod response;
mod stall;
mod timeout;
mod tls;
mod trace;
