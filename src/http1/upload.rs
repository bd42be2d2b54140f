//! The request body on its way into hyper.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body, Frame};

use crate::error::{Error, Result};
use crate::lock::{Guard, lock};
use crate::message::Framing;

#[derive(Default)]
struct Queue {
    next: Option<Bytes>,
    trailers: Option<HeaderMap>,
    ended: bool,
    wanted: bool,
    chunked: bool,
}

/// hyper's end: a body that says when it needs more.
#[derive(Clone)]
pub struct OutgoingBody(Arc<Mutex<Queue>>);

impl OutgoingBody {
    fn queue(&self) -> Guard<'_, Queue> {
        lock(&self.0)
    }
}

impl Body for OutgoingBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Infallible>>> {
        let mut queue = self.queue();
        if let Some(chunk) = queue.next.take() {
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        if queue.ended
            && let Some(trailers) = queue.trailers.take()
        {
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        if queue.ended {
            return Poll::Ready(None);
        }
        queue.wanted = true;
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        let queue = self.queue();
        // A chunked body always has its last chunk to write, also when it is empty.
        queue.ended && queue.next.is_none() && !queue.chunked
    }
}

/// The exchange's end: it hands chunks in and holds the caller to the length he declared.
pub struct Uploader {
    upload: OutgoingBody,
    /// What may still come, if the length was declared.
    remaining: Option<u64>,
    /// The chunk that completes the declared length. It goes out when the caller has confirmed that nothing follows: a body
    /// that is too long must not reach the server as a complete one.
    last: Option<Bytes>,
}

impl Uploader {
    pub fn new(framing: Framing) -> Self {
        let queue = Queue { chunked: framing == Framing::Chunked, ..Queue::default() };
        let remaining = match framing {
            Framing::None => Some(0),
            Framing::Length(length) => Some(length),
            Framing::Chunked => None,
        };
        Self { upload: OutgoingBody(Arc::new(Mutex::new(queue))), remaining, last: None }
    }

    pub fn body(&self) -> OutgoingBody {
        self.upload.clone()
    }

    /// Whether hyper has asked for a chunk that it has not got.
    pub fn is_wanted(&self) -> bool {
        self.upload.queue().wanted
    }

    /// Whether hyper has everything.
    pub fn is_finished(&self) -> bool {
        let queue = self.upload.queue();
        queue.ended && queue.next.is_none() && queue.trailers.is_none()
    }

    /// The fields that follow the body. Only those can that were there when it began, or that `Trailer` has announced, and only
    /// behind a chunked body.
    pub fn set_trailers(&self, fields: &[(Bytes, Bytes)], announced: Option<&Bytes>) -> Result<()> {
        let mut queue = self.upload.queue();
        let mut trailers = HeaderMap::with_capacity(fields.len());
        for (name, value) in fields {
            let is_announced = announced.is_some_and(|names| {
                names.split(|&byte| byte == b',').any(|known| known.trim_ascii().eq_ignore_ascii_case(name))
            });
            if !queue.chunked || !is_announced {
                return Err(Error::local(format!(
                    "the trailer {} needs a chunked body, and to be known, or named by a Trailer header, when that begins",
                    name.escape_ascii()
                )));
            }
            let name = HeaderName::from_bytes(name).map_err(|_| Error::local("Illegal trailer name"))?;
            let value = HeaderValue::from_bytes(value).map_err(|_| Error::local("Illegal trailer value"))?;
            trailers.append(name, value);
        }
        queue.trailers = (!trailers.is_empty()).then_some(trailers);
        Ok(())
    }

    pub fn push(&mut self, chunk: Bytes) -> Result<()> {
        if let Some(remaining) = &mut self.remaining {
            *remaining = remaining
                .checked_sub(chunk.len() as u64)
                .ok_or_else(|| Error::local("Too much data for declared Content-Length"))?;
        }
        if chunk.is_empty() {
            return Ok(());
        }
        if self.remaining == Some(0) {
            self.last = Some(chunk);
            return Ok(());
        }
        let mut queue = self.upload.queue();
        queue.wanted = false;
        queue.next = Some(chunk);
        Ok(())
    }

    pub fn end(&mut self) -> Result<()> {
        if self.remaining.is_some_and(|remaining| remaining > 0) {
            return Err(Error::local("Too little data for declared Content-Length"));
        }
        let mut queue = self.upload.queue();
        queue.wanted = false;
        // A chunk that hyper has not taken yet stays: all of a chunked body may have come at once.
        if let Some(last) = self.last.take() {
            queue.next = Some(last);
        }
        queue.ended = true;
        Ok(())
    }
}
