//! The body of a request on its way into h2, as far as the peer takes it.

use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::SendStream;
use http::HeaderMap;

use crate::error::{Error, Kind};
use crate::message::{Content, Framing, Request};
use crate::origin::Origin;
use crate::timeout::Seconds;

pub struct Upload {
    send: SendStream<Bytes>,
    chunk: Bytes,
    has_ended: bool,
    /// Whether there may be fields behind the body.
    has_trailers: bool,
    trailers: Option<HeaderMap>,
}

/// What an upload needs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    Nothing,
    /// That the peer takes more.
    Room,
    Chunk,
    Trailers,
}

impl Upload {
    /// Whether anything follows the head. Without a length or a coding there is no body, whatever the caller has of it: as httpcore.
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

    /// The next chunk; `None` at the end.
    pub fn push(&mut self, chunk: Option<Bytes>) {
        match chunk {
            Some(chunk) => self.chunk = chunk,
            None => self.has_ended = true,
        }
    }

    pub fn set_trailers(&mut self, trailers: HeaderMap) {
        // Without any it is the body that ends the stream.
        self.has_trailers = !trailers.is_empty();
        self.trailers = Some(trailers);
    }

    /// A peer that takes no more is no error here: it may have answered, and the response says what there is to say.
    pub fn poll(&mut self, cx: &mut Context<'_>, sent: &mut u64) -> Needs {
        loop {
            if !self.chunk.is_empty() {
                self.send.reserve_capacity(self.chunk.len());
                let capacity = self.send.capacity();
                if capacity == 0 {
                    match self.send.poll_capacity(cx) {
                        Poll::Ready(Some(Ok(_))) => continue,
                        Poll::Ready(_) => return Needs::Nothing,
                        Poll::Pending => return Needs::Room,
                    }
                }
                let part = self.chunk.split_to(capacity.min(self.chunk.len()));
                *sent += part.len() as u64;
                let is_last = self.chunk.is_empty() && self.has_ended && !self.has_trailers;
                if self.send.send_data(part, is_last).is_err() || is_last {
                    return Needs::Nothing;
                }
            } else if !self.has_ended {
                return Needs::Chunk;
            } else if !self.has_trailers {
                // An error means that the stream is closed already.
                let _ = self.send.send_data(Bytes::new(), true);
                return Needs::Nothing;
            } else if let Some(trailers) = self.trailers.take() {
                let _ = self.send.send_trailers(trailers);
                return Needs::Nothing;
            } else {
                return Needs::Trailers;
            }
        }
    }
}

/// The peer leaves no room.
pub fn took_nothing(origin: &Origin, timeout: Option<Duration>) -> Error {
    let limit = Seconds(timeout.unwrap_or_default());
    Error::new(Kind::WriteTimeout, format!("{origin} took no data for {limit} (write timeout)"))
}
