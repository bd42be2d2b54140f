//! HTTP/1.1 on hyper's connection, polled by the exchange on it.
//!
//! Cancelling: dropping a future or a body in the middle of an exchange drops the connection, which closes its socket there and
//! then. Only a connection whose exchange is complete goes back to the pool.

mod chunks;
mod connection;
mod polling;
#[cfg(test)]
mod tests;
mod upload;
mod wire;

pub use self::connection::{BodyFault, Http1, Http1Failure, Http1Response};
pub use self::wire::{Http1Wire, Http1WireHandle};
