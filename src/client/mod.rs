//! Requests and responses over the pool's connections.

mod body;
mod connection;
mod http1_body;
mod send;
mod stream_view;

pub use self::body::{Chunk, ResponseBody};
pub use self::connection::{Client, HttpConnection, idle_external_stream, share};
pub use self::send::{Collect, ConnectionChoice, Fetched, Response, fetch, start};
pub use self::stream_view::StreamView;
