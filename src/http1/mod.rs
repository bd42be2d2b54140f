//! HTTP/1.1 on hyper's connection, which the exchange on it polls.
//!
//! | file | what it holds |
//! |---|---|
//! | `connection` | a connection between exchanges, and the response body |
//! | `exchange` | a request on its way out, and the wait for its response |
//! | `direct` | a request without a body whose response arrives whole, without hyper |
//! | `expect` | informational responses, and requests that wait for one |
//! | `hyper_driver` | hyper's connection, and how it is polled |
//! | `wire` | the stream under hyper |
//! | `inbound`, `outbound`, `chunks` | what the wire does with the bytes: pure, without I/O |
//! | `upload` | the request body |
//!
//! Cancelling: dropping a future or a body in the middle of an exchange drops the connection, which closes its socket at once. Only a
//! connection whose exchange is complete returns to the pool.

mod backlog;
mod chunks;
mod connection;
mod direct;
mod exchange;
mod expect;
mod hyper_driver;
mod inbound;
mod outbound;
#[cfg(test)]
mod tests;
mod upload;
mod wire;

pub use self::connection::{BodyFault, Http1, Http1Response};
pub use self::direct::Http1Incoming;
pub use self::exchange::Http1Failure;
pub use self::wire::{Http1Wire, Http1WireHandle};
