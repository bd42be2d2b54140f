//! hyper's connection, polled in turn with a request or a response body on it.
//!
//! Both halves get a waker that only sets a [`Flag`]: they wake each other in the same thread, so "woken" means "poll again".

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::client::conn::http1;

use super::upload::{Upload, Uploader};
use super::wire::WireHandle;
use crate::error::{Error, Kind};
use crate::io::progress::Stall;
use crate::message::trailer_pairs;
use crate::operation::Asker;
use crate::origin::Origin;
use crate::timeout::Seconds;

/// What a poll of an exchange came to.
pub enum Step {
    WantsChunk,
    /// The request is out. Only a traced exchange stops here.
    Sent,
    Response(http::Response<Incoming>),
    Upgraded,
    /// With hyper's word, unless the fault is not one that it sees.
    Failed(Option<hyper::Error>),
    TimedOut,
}

/// hyper's connection, borrowed for polling beside its request or response.
pub struct Engine<'a> {
    pub hyper: &'a mut http1::Connection<WireHandle, Upload>,
    pub ended: &'a mut bool,
    pub wire: &'a WireHandle,
    pub flag: &'a Flag,
    pub waker: &'a Waker,
    pub trailers: &'a mut Vec<(Bytes, Bytes)>,
}

impl Engine<'_> {
    /// Lets hyper do what it can; whether it has news for the other half.
    pub fn poll_hyper(&mut self) -> bool {
        if *self.ended {
            return false;
        }
        self.flag.0.store(false, Ordering::Relaxed);
        // Errors reach the request or the body.
        *self.ended = Pin::new(&mut *self.hyper).poll(&mut Context::from_waker(self.waker)).is_ready();
        *self.ended || self.flag.0.load(Ordering::Relaxed)
    }

    pub fn poll_body(&mut self, body: &mut Incoming) -> Poll<Option<std::result::Result<Bytes, hyper::Error>>> {
        let mut cx = Context::from_waker(self.waker);
        loop {
            match Pin::new(&mut *body).poll_frame(&mut cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(chunk) => return Poll::Ready(Some(Ok(chunk))),
                    Err(frame) => {
                        if let Ok(trailers) = frame.into_trailers() {
                            *self.trailers = trailer_pairs(&trailers);
                        }
                    }
                },
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

/// Sending a request and waiting for its response.
pub struct Sending {
    /// The request is out, or cannot be sent any further.
    pub sent: bool,
    /// Stop when it is, to report it.
    pub pause: bool,
    pub stall: Stall,
    pub write_timeout: Option<Duration>,
    pub read_timeout: Option<Duration>,
}

impl Sending {
    pub fn poll(
        &mut self,
        cx: &Context<'_>,
        engine: &mut Engine<'_>,
        uploader: &Uploader,
        mut response: Pin<&mut impl Future<Output = hyper::Result<http::Response<Incoming>>>>,
        asker: &Asker,
    ) -> Poll<Step> {
        {
            let mut wire = engine.wire.lock();
            wire.set_waker(cx.waker());
            wire.hear();
        }
        loop {
            let news = engine.poll_hyper();
            let (faulty, failed, blocked, upgraded) = {
                let wire = engine.wire.lock();
                (wire.has_fault(), wire.has_write_failed(), wire.is_write_blocked(), wire.is_upgraded())
            };
            if faulty {
                return Poll::Ready(Step::Failed(None));
            }
            if !self.sent {
                if failed || (uploader.is_finished() && !blocked) {
                    // From here on hyper may read: not before, since nothing has waited for bytes until now.
                    self.sent = true;
                    self.stall = Stall::default();
                    engine.wire.lock().open_gate();
                    if self.pause {
                        return Poll::Ready(Step::Sent);
                    }
                    continue;
                }
                if uploader.is_wanted() && !blocked {
                    return Poll::Ready(Step::WantsChunk);
                }
            }
            if upgraded {
                return Poll::Ready(Step::Upgraded);
            }
            match response.as_mut().poll(&mut Context::from_waker(engine.waker)) {
                Poll::Ready(Ok(response)) => return Poll::Ready(Step::Response(response)),
                Poll::Ready(Err(error)) => return Poll::Ready(Step::Failed(Some(error))),
                Poll::Pending if !news => break,
                Poll::Pending => {}
            }
        }
        let timeout = if self.sent { self.read_timeout } else { self.write_timeout };
        let mut wire = engine.wire.lock();
        if self.stall.is_over(wire.moved(), timeout) {
            return Poll::Ready(Step::TimedOut);
        }
        wire.ask(asker, self.read_timeout, self.write_timeout);
        Poll::Pending
    }

    pub fn timed_out(&self, origin: &Origin) -> Error {
        if self.sent {
            let limit = Seconds(self.read_timeout.unwrap_or_default());
            Error::new(Kind::ReadTimeout, format!("no response from {origin} within {limit} (read timeout)"))
        } else {
            let limit = Seconds(self.write_timeout.unwrap_or_default());
            Error::new(Kind::WriteTimeout, format!("{origin} took no data for {limit} (write timeout)"))
        }
    }
}

/// Remembers that it was woken.
#[derive(Default)]
pub struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}
