//! Heads and bodies of requests and responses: pure, without I/O.
//!
//! A request is checked when it is made and written out once, as bytes of HTTP/1.1; the head for HTTP/2 is derived from those bytes. A
//! response head of HTTP/1.1 keeps the bytes that the server sent.

mod http1_head;
mod http2_head;
mod request;
mod response;
mod trailers;
mod url;

pub use self::http1_head::{BLANK_LINE, Http1Head, MAX_HEAD};
pub use self::http2_head::{Http2Head, http2_request, http2_trailers};
pub use self::request::{Content, Framing, HeadWriter, Method, Request, RequestHead, check_trailers};
pub use self::response::ResponseHead;
pub use self::trailers::trailer_pairs;
pub use self::url::UsualUrl;
