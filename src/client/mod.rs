//! Requests and responses over the connections of a pool.
//!
//! This layer ties the others together: it reserves a slot, connects, sends, retries, and gives the slot back when the response is over.

mod body;
mod connection;
mod early;
mod http1_body;
mod replay;
mod send;
mod stream_view;
#[cfg(test)]
mod tests;
mod waiting;

pub use self::body::{Chunk, ResponseBody};
pub use self::connection::{Client, HttpConnection, WaitReports, idle_external_stream, share};
pub use self::replay::Replay;
pub use self::send::{Collect, ConnectionChoice, Fetched, Response, fetch, start};
pub use self::stream_view::StreamView;
