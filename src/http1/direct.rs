//! The exchange of a request without a body, up to the head of the response: hyper has nothing to do for it.
//!
//! The engine writes the head of the request as it is, and reads that of the response. Most responses are small and arrive whole, with
//! their heads. If nothing but one plain `Content-Length` frames such a response ([`Http1Head::plain_length`]), its body is handed
//! over as it is. For any other one hyper is told of the request, whose head is not written a second time ([`Outbound::Replaced`]), and
//! reads the response as if it had sent the request.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body as _, Incoming};
use tokio::io::AsyncWrite;

use super::outbound::Outbound;
use super::wire::Http1Wire;

/// The body of a response.
pub enum Http1Incoming {
    /// It has arrived whole; `None` once it was read.
    Whole(Option<Bytes>),
    /// It is read by hyper.
    Hyper(Incoming),
}

impl Http1Incoming {
    /// Returns the body that has arrived whole.
    pub fn whole(body: Bytes) -> Self {
        Self::Whole((!body.is_empty()).then_some(body))
    }

    /// Returns whether the whole body is here.
    pub fn is_whole(&self) -> bool {
        matches!(self, Self::Whole(_))
    }

    /// Returns whether all bytes of a body with a known length have been read.
    pub fn is_at_end(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_none(),
            Self::Hyper(body) => body.is_end_stream(),
        }
    }
}

impl Http1Wire {
    /// Returns whether a request without a body can be sent without hyper. What is read from an external stream is requested for hyper.
    pub fn takes_direct(&mut self) -> bool {
        self.stream().external().is_none()
    }

    /// Goes on as if the head of the request had been sent: it went out as early data of TLS.
    pub fn skip_head(&mut self) {
        if let Outbound::Head(head) = &self.outbound {
            self.written = head.rest().len() as u64;
            self.outbound = Outbound::Replaced;
        }
    }

    /// Sends the head of the request. Is ready as well when that has failed.
    pub fn poll_send_head(&mut self) -> Poll<()> {
        let poll = self.poll_write_head();
        self.record_write(poll, ()).map(drop)
    }

    fn poll_write_head(&mut self) -> Poll<io::Result<()>> {
        let mut cx = Context::from_waker(&self.waker);
        while let Outbound::Head(head) = &mut self.outbound {
            let sent = ready!(Pin::new(&mut self.stream).poll_write(&mut cx, head.rest()))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += sent as u64;
            if head.advance(sent, &[]).is_some() {
                self.outbound = Outbound::Replaced;
            }
        }
        Pin::new(&mut self.stream).poll_flush(&mut cx)
    }

    /// Takes the body of a response that has arrived whole. The exchange is complete then.
    pub fn take_whole(&mut self) -> Option<Bytes> {
        self.whole.take()
    }

    /// Ends an exchange that hyper had no part in. Returns `false` if hyper had one.
    pub fn end_direct(&mut self) -> bool {
        self.outbound.end_replaced()
    }
}
