//! Heads and bodies of requests and responses: pure, without I/O.

mod http1_head;
mod http2_head;
mod request;
mod response;
mod trailers;

pub use self::http1_head::{BLANK_LINE, Http1Head, MAX_HEAD};
pub use self::http2_head::{Http2Head, http2_request, http2_trailers};
pub use self::request::{Content, Framing, HeadWriter, Method, Request, RequestHead, check_trailers};
pub use self::response::ResponseHead;
pub use self::trailers::trailer_pairs;
