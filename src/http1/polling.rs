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

use super::upload::{OutgoingBody, Uploader};
use super::wire::Http1WireHandle;
use crate::error::Error;
use crate::io::progress::ProgressTimer;
use crate::message::trailer_pairs;
use crate::operation::EffectChannel;
use crate::origin::Origin;

/// What a poll of an exchange came to.
pub enum Http1Step {
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
pub struct HyperDriver<'a> {
    pub hyper: &'a mut http1::Connection<Http1WireHandle, OutgoingBody>,
    pub ended: &'a mut bool,
    pub wire: &'a Http1WireHandle,
    pub flag: &'a Flag,
    pub waker: &'a Waker,
    pub trailers: &'a mut Vec<(Bytes, Bytes)>,
}

impl HyperDriver<'_> {
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
pub struct Http1Exchange {
    /// The request is out, or cannot be sent any further.
    pub sent: bool,
    /// Stop when it is, to report it.
    pub pause: bool,
    pub progress_timer: ProgressTimer,
    pub write_timeout: Option<Duration>,
    pub read_timeout: Option<Duration>,
}

impl Http1Exchange {
    pub fn poll(
        &mut self,
        cx: &Context<'_>,
        driver: &mut HyperDriver<'_>,
        uploader: &Uploader,
        mut response: Pin<&mut impl Future<Output = hyper::Result<http::Response<Incoming>>>>,
        effects: &EffectChannel,
    ) -> Poll<Http1Step> {
        {
            let mut wire = driver.wire.lock();
            wire.set_waker(cx.waker());
            wire.hear();
        }
        loop {
            let news = driver.poll_hyper();
            let (faulty, failed, blocked, upgraded) = {
                let wire = driver.wire.lock();
                (wire.has_fault(), wire.has_write_failed(), wire.is_write_blocked(), wire.is_upgraded())
            };
            if faulty {
                return Poll::Ready(Http1Step::Failed(None));
            }
            if !self.sent {
                if failed || (uploader.is_finished() && !blocked) {
                    // From here on hyper may read: not before, since nothing has waited for bytes until now.
                    self.sent = true;
                    self.progress_timer = ProgressTimer::default();
                    driver.wire.lock().allow_reads();
                    if self.pause {
                        return Poll::Ready(Http1Step::Sent);
                    }
                    continue;
                }
                if uploader.is_wanted() && !blocked {
                    return Poll::Ready(Http1Step::WantsChunk);
                }
            }
            if upgraded {
                return Poll::Ready(Http1Step::Upgraded);
            }
            match response.as_mut().poll(&mut Context::from_waker(driver.waker)) {
                Poll::Ready(Ok(response)) => return Poll::Ready(Http1Step::Response(response)),
                Poll::Ready(Err(error)) => return Poll::Ready(Http1Step::Failed(Some(error))),
                Poll::Pending if !news => break,
                Poll::Pending => {}
            }
        }
        let timeout = if self.sent { self.read_timeout } else { self.write_timeout };
        let mut wire = driver.wire.lock();
        if self.progress_timer.is_over(wire.moved(), timeout) {
            return Poll::Ready(Http1Step::TimedOut);
        }
        wire.ask(effects, self.read_timeout, self.write_timeout);
        Poll::Pending
    }

    pub fn timed_out(&self, origin: &Origin) -> Error {
        if self.sent {
            Error::no_response(origin, self.read_timeout)
        } else {
            Error::took_no_data(origin, self.write_timeout)
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
