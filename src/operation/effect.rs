//! The contract between an operation and its driver: effects and their replies.
//!
//! The engine never calls Python inside a poll. An operation that needs something of Python's (the next chunk of the
//! request body, a name resolved) posts an [`Effect`] and returns `Pending`. Its driver takes the effect, has it carried out
//! in the thread or task that awaits the operation, and polls again. Each effect carries the place for its own [`Reply`], so
//! that a reply cannot be of another kind than the effect asked for.

use std::any::Any;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use bytes::Bytes;

use super::{Event, ExternalHandle, TraceEvent};
use crate::error::{Error, Result};
use crate::lock::lock;

/// A user-supplied `network_backend`, which only the drivers know how to use.
pub type Backend = Arc<dyn Any + Send + Sync>;

/// Header fields: names and values.
pub type Fields = Vec<(Bytes, Bytes)>;

/// Something that the engine needs of Python, and the place for the reply.
pub enum Effect {
    /// The next chunk of the request body; `None` at its end.
    NextChunk(Reply<Option<Bytes>>),
    /// The fields that follow the request body.
    Trailers(Reply<Fields>),
    /// A task of its own for work that goes on beside the operation.
    Spawn { task: Arc<dyn Background>, reply: Reply<()> },
    /// The addresses of a host name.
    Resolve { host: String, port: u16, reply: Reply<Vec<SocketAddr>> },
    /// A chance for other tasks to run.
    Yield(Reply<()>),
    /// A trace event for the callback and the logs. The reply to a failure is its error, as the callback saw it.
    Trace { trace_event: Box<TraceEvent>, reply: Reply<Option<Error>> },
    /// A stream of the backend: connected, or with TLS begun on `stream`.
    Connect { backend: Backend, stream: Option<ExternalHandle>, event: Event, reply: Reply<ExternalHandle> },
    /// Up to `max_bytes` of an external stream, none at its end.
    Read { stream: ExternalHandle, max_bytes: usize, timeout: Option<Duration>, reply: Reply<Bytes> },
    /// All of `bytes` sent on an external stream.
    Write { stream: ExternalHandle, bytes: Bytes, timeout: Option<Duration>, reply: Reply<()> },
    /// Whether an idle external stream has anything to read.
    IsReadable { stream: ExternalHandle, reply: Reply<bool> },
    /// The external streams closed that were dropped: they still count as open connections for their servers.
    CloseDropped(Reply<()>),
    /// A pause made by the backend.
    Sleep { backend: Backend, delay: Duration, reply: Reply<()> },
}

/// Work that an operation leaves to a task of its own.
pub trait Background: Send + Sync {
    /// Returns the work; it requests its effects through a channel of its own.
    fn run(self: Arc<Self>, effects: EffectChannel) -> Pin<Box<dyn Future<Output = Result<()>> + Send>>;

    /// Called if the task ends with an exception of Python's: the operation fails with it.
    fn fail(&self, error: Error);

    /// Sets what cancels the task, for the case that the operation ends first.
    fn cancel_with(&self, cancel: Waker);
}

/// Where the reply to one effect is left by the driver and found by the operation.
pub struct Reply<T>(Arc<Place<T>>);

struct Place<T> {
    reply: Mutex<Option<Result<T>>>,
    is_begun: AtomicBool,
}

impl<T> Clone for Reply<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Reply<T> {
    fn default() -> Self {
        Self(Arc::new(Place { reply: Mutex::default(), is_begun: AtomicBool::new(false) }))
    }
}

impl<T> Reply<T> {
    pub fn set(&self, reply: Result<T>) {
        *lock(&self.0.reply) = Some(reply);
    }

    pub fn take(&self) -> Option<Result<T>> {
        lock(&self.0.reply).take()
    }

    /// The driver's side: from now on the effect may have been carried out, or a part of it.
    pub fn begin(&self) {
        self.0.is_begun.store(true, Ordering::Release);
    }

    pub fn is_begun(&self) -> bool {
        self.0.is_begun.load(Ordering::Acquire)
    }
}

#[derive(Default)]
struct Line {
    effect: Option<Effect>,
    interruption: Option<Error>,
}

/// The line between one operation and its driver; one effect at a time.
#[derive(Clone, Default)]
pub struct EffectChannel {
    line: Arc<Mutex<Line>>,
    traced: bool,
}

impl EffectChannel {
    /// `traced`: whether the trace events of the operation are reported.
    pub fn new(traced: bool) -> Self {
        Self { line: Arc::default(), traced }
    }

    pub fn is_traced(&self) -> bool {
        self.traced
    }

    pub async fn chunk(&self) -> Result<Option<Bytes>> {
        self.request(Effect::NextChunk).await
    }

    pub async fn trailers(&self) -> Result<Fields> {
        self.request(Effect::Trailers).await
    }

    pub async fn spawn(&self, task: Arc<dyn Background>) -> Result<()> {
        self.request(|reply| Effect::Spawn { task, reply }).await
    }

    pub async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>> {
        self.request(|reply| Effect::Resolve { host: host.to_owned(), port, reply }).await
    }

    pub async fn connect(
        &self,
        backend: Backend,
        stream: Option<ExternalHandle>,
        event: Event,
    ) -> Result<ExternalHandle> {
        self.request(|reply| Effect::Connect { backend, stream, event, reply }).await
    }

    pub async fn is_readable(&self, stream: ExternalHandle) -> Result<bool> {
        self.request(|reply| Effect::IsReadable { stream, reply }).await
    }

    pub async fn close_dropped(&self) -> Result<()> {
        self.request(Effect::CloseDropped).await
    }

    pub async fn sleep(&self, backend: Backend, delay: Duration) -> Result<()> {
        self.request(|reply| Effect::Sleep { backend, delay, reply }).await
    }

    pub async fn yield_now(&self) -> Result<()> {
        self.request(Effect::Yield).await
    }

    /// Posts an effect and waits for its reply.
    pub async fn request<T>(&self, effect: impl FnOnce(Reply<T>) -> Effect) -> Result<T> {
        let reply = self.post(effect);
        std::future::poll_fn(|_| reply.take().map_or(Poll::Pending, Poll::Ready)).await
    }

    /// Posts an effect without waiting for its reply.
    pub fn post<T>(&self, effect: impl FnOnce(Reply<T>) -> Effect) -> Reply<T> {
        let reply = Reply::default();
        lock(&self.line).effect = Some(effect(reply.clone()));
        reply
    }

    /// The driver's side: the effect that was posted, if there is one.
    pub fn take(&self) -> Option<Effect> {
        lock(&self.line).effect.take()
    }

    /// The driver's side: the operation is given up with `error`. A traced operation ends with this error, so that its
    /// callback is told; the effect that was posted is forgotten.
    pub fn interrupt(&self, error: Error) {
        *lock(&self.line) = Line { effect: None, interruption: Some(error) };
    }

    pub fn take_interruption(&self) -> Option<Error> {
        lock(&self.line).interruption.take()
    }

    /// Runs `work` until it is interrupted, as only a traced operation is.
    pub async fn interruptible<T>(&self, mut work: Pin<&mut impl Future<Output = Result<T>>>) -> Result<T> {
        std::future::poll_fn(|cx| {
            if self.traced
                && let Some(error) = self.take_interruption()
            {
                return Poll::Ready(Err(error));
            }
            work.as_mut().poll(cx)
        })
        .await
    }
}
