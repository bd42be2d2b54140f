//! Requests and responses over the pool's connections.

mod body;
mod connection;
mod http1_body;
mod send;
mod upgraded;

pub use self::body::{Chunk, ResponseBody};
pub use self::connection::{Client, Connection, idle_external_stream, share};
pub use self::send::{Collect, Fetched, Place, Response, fetch, start};
pub use self::upgraded::Tap;
