//! The body of a request on its way into h2, as far as the peer's flow control allows.

use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::SendStream;
use http::HeaderMap;

use crate::error::{Error, Kind};
use crate::message::{Content, Framing, Request};
use crate::origin::Origin;
use crate::timeout::Seconds;

/// A request without its head: what is left of the current chunk, and what follows it.
pub struct Upload {
    send: SendStream<Bytes>,
    chunk: Bytes,
    /// There are no more chunks.
    has_ended: bool,
    /// Fields may follow the body.
    has_trailers: bool,
    trailers: Option<HeaderMap>,
}

/// The parts of a request that an upload asks the caller for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    Chunk,
    Trailers,
}

/// The outcome of a poll of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UploadPoll {
    /// All is sent, or the peer wants no more of it.
    Done,
    /// The peer's window is full.
    Blocked,
    Needs(Input),
}

impl Upload {
    /// Returns whether anything follows the head. As in httpcore, a request without `Content-Length` and `Transfer-Encoding` has no
    /// body, even if the caller passes one.
    pub fn is_needed(request: &Request) -> bool {
        request.head.framing != Framing::None || request.has_trailers
    }

    pub fn new(send: SendStream<Bytes>, request: &Request) -> Self {
        let (chunk, has_ended) = match &request.content {
            Content::Inline(content) => (content.clone(), true),
            Content::Streamed => (Bytes::new(), request.head.framing == Framing::None),
        };
        Self { send, chunk, has_ended, has_trailers: request.has_trailers, trailers: None }
    }

    /// Sets the next chunk; `None` ends the body.
    pub fn push(&mut self, chunk: Option<Bytes>) {
        match chunk {
            Some(chunk) => self.chunk = chunk,
            None => self.has_ended = true,
        }
    }

    pub fn set_trailers(&mut self, trailers: HeaderMap) {
        // If there are none, the body ends the stream.
        self.has_trailers = !trailers.is_empty();
        self.trailers = Some(trailers);
    }

    /// Sends what there is, and adds it to `sent`.
    ///
    /// A closed stream is not an error here: the peer may have answered early, and then the exchange finds its response.
    pub fn poll(&mut self, cx: &mut Context<'_>, sent: &mut u64) -> UploadPoll {
        loop {
            if !self.chunk.is_empty() {
                self.send.reserve_capacity(self.chunk.len());
                let capacity = self.send.capacity();
                if capacity == 0 {
                    match self.send.poll_capacity(cx) {
                        Poll::Ready(Some(Ok(_))) => continue,
                        Poll::Ready(_) => return UploadPoll::Done,
                        Poll::Pending => return UploadPoll::Blocked,
                    }
                }
                let part = self.chunk.split_to(capacity.min(self.chunk.len()));
                *sent += part.len() as u64;
                let is_last = self.chunk.is_empty() && self.has_ended && !self.has_trailers;
                if self.send.send_data(part, is_last).is_err() || is_last {
                    return UploadPoll::Done;
                }
            } else if !self.has_ended {
                return UploadPoll::Needs(Input::Chunk);
            } else if !self.has_trailers {
                // An error means that the stream is closed already.
                let _ = self.send.send_data(Bytes::new(), true);
                return UploadPoll::Done;
            } else if let Some(trailers) = self.trailers.take() {
                let _ = self.send.send_trailers(trailers);
                return UploadPoll::Done;
            } else {
                return UploadPoll::Needs(Input::Trailers);
            }
        }
    }
}

/// Returns the error of an upload that the peer's flow control has stopped for too long.
pub fn took_nothing(origin: &Origin, timeout: Option<Duration>) -> Error {
    let limit = Seconds(timeout.unwrap_or_default());
    Error::new(Kind::WriteTimeout, format!("{origin} took no data for {limit} (write timeout)"))
}
