//! Effects and their replies.
//!
//! The engine never calls Python inside a poll. An operation that needs Python (for the next chunk of the request body, to resolve a
//! name) requests an [`Effect`] and returns `Pending`. Its driver takes the effect, has it carried out in the thread or task that awaits
//! the operation, and polls again.
//!
//! Rules:
//! * Each effect carries its own [`Reply`], whose type says what the answer is.
//! * One effect at a time: the next one is requested when the reply to the last has been taken or is not wanted any more.
//! * The reply to an effect that raises an exception is that exception, as an [`Error`]. Where the operation cannot go on, the driver
//!   drops it, or interrupts it ([`EffectChannel::interrupt`]) so that its trace callback is told first.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use bytes::Bytes;

use super::{Event, ExternalHandle, PoolWait, TraceEvent, UserCallback};
use crate::error::{Error, Result};
use crate::lock::lock;
use crate::message::ResponseHead;
use crate::timeout::Deadline;

/// A user-supplied `network_backend`, which only the drivers know how to use.
pub type Backend = Arc<dyn Any + Send + Sync>;

/// A callable of the user's that is called for connections, which only the drivers know how to call.
pub type Callback = Arc<dyn Any + Send + Sync>;

/// A client certificate that such a callable has chosen, which only the layer of TLS knows how to use.
pub type Opaque = Arc<dyn Any + Send + Sync>;

/// Header fields: names and values.
pub type Fields = Vec<(Bytes, Bytes)>;

/// A request of an operation for something that only Python can do, with the place for the reply.
///
/// `src/python/effects.rs` turns each of them into a call or an awaitable.
pub enum Effect {
    /// Answered by the iterator of the request body: the next chunk, `None` at the end.
    NextChunk(Reply<Option<Bytes>>),
    /// Answered by the iterator of the request body: the chunks that it has at hand, up to about `limit` bytes of them.
    ReadyChunks { limit: usize, reply: Reply<ReadyChunks> },
    /// Answered by the `trailers` extension of the request: the fields that follow the body.
    Trailers(Reply<Fields>),
    /// Answered by the `informational` extension of the request, a callback.
    Informational { head: Box<ResponseHead>, reply: Reply<()> },
    /// Answered by the event loop, which has begun a task for work that goes on beside the operation.
    Spawn { task: Arc<dyn Background>, reply: Reply<()> },
    /// Answered by Python's resolver, or by that of the user: the addresses of a host name.
    Resolve { host: String, port: u16, resolver: Option<Callback>, reply: Reply<Vec<SocketAddr>> },
    /// Answered by the user's callback for a proxy that wants authentication: the fields of the next request for a tunnel, or `None` to
    /// give up.
    ProxyAuthenticate { callback: Callback, challenge: Box<ProxyChallenge>, reply: Reply<Option<Fields>> },
    /// Answered by the user's connect policy: for each address, why it may not be connected to, if it may not.
    CheckAddresses { policy: Callback, query: Box<PolicyQuery>, reply: Reply<Vec<Option<PolicyRefusal>>> },
    /// Answered by Python's `socket` module: what has been replaced there.
    SocketPatches(Reply<SocketPatches>),
    /// Answered by the user's function: the client certificate for the handshake with a host, if there is one.
    ChooseIdentity { chooser: Callback, host: String, reply: Reply<Option<Opaque>> },
    /// Answered when other tasks or threads had a chance to run.
    Yield(Reply<()>),
    /// Answered when the trace callback and the loggers have the event. The reply to a failure is its error, as the callback saw it.
    Trace { trace_event: Box<TraceEvent>, reply: Reply<Option<Error>> },
    /// Answered by the user's backend: a stream that is connected, or with `stream` one that has TLS on that.
    Connect { backend: Backend, stream: Option<ExternalHandle>, event: Event, reply: Reply<ExternalHandle> },
    /// Answered by an external stream: up to `max_bytes`, none at its end.
    Read { stream: ExternalHandle, max_bytes: usize, timeout: Option<Duration>, reply: Reply<Bytes> },
    /// Answered by an external stream that has sent all of `bytes`.
    Write { stream: ExternalHandle, bytes: Bytes, timeout: Option<Duration>, reply: Reply<()> },
    /// Answered by an idle external stream: `true` if a read would return at once.
    IsReadable { stream: ExternalHandle, reply: Reply<bool> },
    /// Answered when the external streams that were dropped are closed: until then they count as open connections for their servers.
    CloseDropped(Reply<()>),
    /// Answered when the log and the callback have the report.
    PoolWait { wait: Box<PoolWait>, callback: Option<UserCallback>, reply: Reply<()> },
    /// Answered by the user's backend after a pause.
    Sleep { backend: Backend, delay: Duration, reply: Reply<()> },
}

/// The addresses of a host that a connect policy is asked about.
pub struct PolicyQuery {
    pub host: String,
    pub port: u16,
    /// The origin of the request, as text.
    pub origin: String,
    /// The host is a proxy, and not the origin.
    pub is_proxy: bool,
    pub addresses: Vec<IpAddr>,
}

/// The response of a proxy that wants authentication (407).
pub struct ProxyChallenge {
    /// The proxy and the origin, as text.
    pub proxy: String,
    pub origin: String,
    pub head: ResponseHead,
    /// The number of the response on this connection, from 1 on.
    pub round: usize,
}

/// The answer of a connect policy that refuses an address.
pub struct PolicyRefusal {
    /// Text about the address, possibly none.
    pub reason: String,
    /// The exception that the policy raised.
    pub cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The reason, behind the address.
impl fmt::Display for PolicyRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.reason.is_empty() { Ok(()) } else { write!(f, " ({})", self.reason) }
    }
}

/// The parts of Python's `socket` module that a program has replaced, with a guard or a recorder for example.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SocketPatches {
    #[default]
    Nothing,
    /// The lookup of names, which is then asked for addresses as well.
    Lookups,
    /// The class of sockets, or a function that connects one. The engine may not open sockets then.
    Sockets,
}

/// The chunks of a request body that are at hand.
pub enum ReadyChunks {
    /// If `is_awaited`, the iterator waits before it yields another one. It is in the middle of that wait: [`EffectChannel::chunk`] is
    /// the next effect that the operation requests, and nothing else suspends it before.
    Some { chunks: Vec<Bytes>, is_awaited: bool },
    /// The iterator has ended.
    End,
    /// The iterator cannot be asked for this.
    Unknown,
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

/// The reply to one effect: set by the driver, taken by the operation. Dropping either end has no effect on the other.
pub struct Reply<T>(Arc<ReplyCell<T>>);

struct ReplyCell<T> {
    reply: Mutex<Option<Result<T>>>,
    is_begun: AtomicBool,
}

/// The other end of the same reply.
impl<T> Clone for Reply<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Reply<T> {
    fn default() -> Self {
        Self(Arc::new(ReplyCell { reply: Mutex::default(), is_begun: AtomicBool::new(false) }))
    }
}

impl<T> Reply<T> {
    pub fn set(&self, reply: Result<T>) {
        let before = lock(&self.0.reply).replace(reply);
        // It may hold objects whose end takes other locks.
        drop(before);
    }

    pub fn take(&self) -> Option<Result<T>> {
        lock(&self.0.reply).take()
    }

    /// The driver's side: marks the effect as begun. From now on it may have been carried out, or a part of it.
    pub fn begin(&self) {
        self.0.is_begun.store(true, Ordering::Release);
    }

    /// Returns whether the driver has begun to carry the effect out.
    pub fn is_begun(&self) -> bool {
        self.0.is_begun.load(Ordering::Acquire)
    }
}

/// The timeout of a part of an operation.
#[derive(Clone, Copy)]
pub struct PartTimeout {
    pub limit: Option<Duration>,
    /// It is the time to the deadline of the operation.
    is_deadline: bool,
}

impl PartTimeout {
    /// Returns the error of the part, marked if it is a timeout that the deadline has set. The clock that has measured it may be ahead
    /// of the engine's, for which the deadline is still to come.
    pub fn attribute(self, error: Error) -> Error {
        if self.is_deadline && error.is_timeout() { error.by_deadline() } else { error }
    }
}

/// The messages that each side of a channel has left for the other.
#[derive(Default)]
struct Mailbox {
    /// For the driver.
    effect: Option<Effect>,
    /// For the operation.
    interruption: Option<Error>,
}

/// The channel between one operation and its driver.
#[derive(Clone, Default)]
pub struct EffectChannel {
    mailbox: Arc<Mutex<Mailbox>>,
    traced: bool,
    traces_all: bool,
    /// The end of the operation, whatever it does.
    deadline: Option<Deadline>,
}

impl EffectChannel {
    /// Returns a channel for an operation; `traced` if its trace events are reported.
    pub fn new(traced: bool) -> Self {
        Self { mailbox: Arc::default(), traced, traces_all: false, deadline: None }
    }

    /// Returns the channel of a traced operation that also reports the events that httpcore does not have.
    #[must_use]
    pub fn tracing_all(self) -> Self {
        Self { traces_all: self.traced, ..self }
    }

    /// Returns whether events are reported that httpcore does not have.
    pub fn traces_all(&self) -> bool {
        self.traces_all
    }

    /// Returns the channel of an operation that has to end at a deadline.
    #[must_use]
    pub fn until(self, deadline: Option<Deadline>) -> Self {
        Self { deadline, ..self }
    }

    pub fn deadline(&self) -> Option<&Deadline> {
        self.deadline.as_ref()
    }

    /// Returns the deadline if it has passed.
    pub fn passed_deadline(&self) -> Option<&Deadline> {
        self.deadline.as_ref().filter(|deadline| deadline.has_passed())
    }

    /// Returns the timeout of a part of the operation: it ends at the deadline, if that comes first.
    pub fn limited(&self, timeout: Option<Duration>) -> PartTimeout {
        match self.deadline.as_ref().map(Deadline::remaining) {
            Some(remaining) if timeout.is_none_or(|timeout| remaining <= timeout) => {
                PartTimeout { limit: Some(remaining), is_deadline: true }
            }
            _ => PartTimeout { limit: timeout, is_deadline: false },
        }
    }

    pub fn is_traced(&self) -> bool {
        self.traced
    }

    // The effects that are waited for at once.

    pub async fn chunk(&self) -> Result<Option<Bytes>> {
        self.request(Effect::NextChunk).await
    }

    pub async fn ready_chunks(&self, limit: usize) -> Result<ReadyChunks> {
        self.request(|reply| Effect::ReadyChunks { limit, reply }).await
    }

    pub async fn trailers(&self) -> Result<Fields> {
        self.request(Effect::Trailers).await
    }

    pub async fn informational(&self, head: ResponseHead) -> Result<()> {
        self.request(|reply| Effect::Informational { head: Box::new(head), reply }).await
    }

    pub async fn spawn(&self, task: Arc<dyn Background>) -> Result<()> {
        self.request(|reply| Effect::Spawn { task, reply }).await
    }

    pub async fn resolve(&self, host: &str, port: u16, resolver: Option<Callback>) -> Result<Vec<SocketAddr>> {
        self.request(|reply| Effect::Resolve { host: host.to_owned(), port, resolver, reply }).await
    }

    pub async fn socket_patches(&self) -> Result<SocketPatches> {
        self.request(Effect::SocketPatches).await
    }

    pub async fn choose_identity(&self, chooser: Callback, host: &str) -> Result<Option<Opaque>> {
        self.request(|reply| Effect::ChooseIdentity { chooser, host: host.to_owned(), reply }).await
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

    pub async fn report_wait(&self, wait: PoolWait, callback: Option<UserCallback>) -> Result<()> {
        self.request(|reply| Effect::PoolWait { wait: Box::new(wait), callback, reply }).await
    }

    pub async fn yield_now(&self) -> Result<()> {
        self.request(Effect::Yield).await
    }

    // The operation's side.

    /// Requests an effect and waits for its reply.
    pub async fn request<T>(&self, effect: impl FnOnce(Reply<T>) -> Effect) -> Result<T> {
        let reply = self.post(effect);
        std::future::poll_fn(|_| reply.take().map_or(Poll::Pending, Poll::Ready)).await
    }

    /// Requests an effect without waiting for its reply.
    pub fn post<T>(&self, effect: impl FnOnce(Reply<T>) -> Effect) -> Reply<T> {
        let reply = Reply::default();
        let effect = effect(reply.clone());
        let before = lock(&self.mailbox).effect.replace(effect);
        // An effect may hold objects whose end takes other locks.
        drop(before);
        reply
    }

    // The driver's side.

    /// Takes the effect that was requested, if there is one.
    pub fn take(&self) -> Option<Effect> {
        lock(&self.mailbox).effect.take()
    }

    /// Gives the operation up. A traced operation then ends with `error`, so that its callback is told. An effect that
    /// was requested is dropped.
    pub fn interrupt(&self, error: Error) {
        let before = std::mem::replace(&mut *lock(&self.mailbox), Mailbox { effect: None, interruption: Some(error) });
        drop(before);
    }

    /// Takes the error with which the driver has given the operation up, if it has.
    pub fn take_interruption(&self) -> Option<Error> {
        lock(&self.mailbox).interruption.take()
    }

    /// Runs `work` until the driver interrupts it, which it does with traced operations only.
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

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Context;

    use super::*;
    use crate::error::Kind;

    fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn an_operation_goes_on_with_the_reply() {
        let effects = EffectChannel::default();
        let mut resolving = pin!(effects.resolve("example.com", 443, None));
        assert!(poll(resolving.as_mut()).is_pending());
        let Some(Effect::Resolve { host, port, reply, .. }) = effects.take() else {
            panic!("a name is to be resolved")
        };
        assert_eq!((host.as_str(), port), ("example.com", 443));
        assert!(effects.take().is_none(), "an effect is taken once");
        assert!(poll(resolving.as_mut()).is_pending(), "there is no reply yet");
        let address = ([127, 0, 0, 1], 443).into();
        reply.set(Ok(vec![address]));
        assert!(matches!(poll(resolving), Poll::Ready(Ok(addresses)) if addresses == [address]));
    }

    #[test]
    fn an_exception_is_the_reply_to_its_effect() {
        let effects = EffectChannel::default();
        let mut chunk = pin!(effects.chunk());
        assert!(poll(chunk.as_mut()).is_pending());
        let Some(Effect::NextChunk(reply)) = effects.take() else { panic!("a chunk is wanted") };
        reply.set(Err(Error::new(Kind::Raised, "of the iterator")));
        assert!(matches!(poll(chunk), Poll::Ready(Err(error)) if error.kind() == Kind::Raised));
    }

    #[test]
    fn a_reply_is_taken_once_and_knows_whether_it_was_begun() {
        let (here, there) = {
            let reply = Reply::<()>::default();
            (reply.clone(), reply)
        };
        assert!(here.take().is_none() && !here.is_begun());
        there.begin();
        there.set(Ok(()));
        assert!(here.is_begun());
        assert!(here.take().is_some() && here.take().is_none());
    }

    #[test]
    fn an_operation_that_is_gone_gets_no_reply() {
        let effects = EffectChannel::default();
        {
            let chunk = pin!(effects.chunk());
            assert!(poll(chunk).is_pending());
        }
        let Some(Effect::NextChunk(reply)) = effects.take() else { panic!("the effect outlives the future") };
        reply.set(Ok(None));
        let mut next = pin!(effects.yield_now());
        assert!(poll(next.as_mut()).is_pending(), "the next effect has a reply of its own");
        let Some(Effect::Yield(reply)) = effects.take() else { panic!("other tasks are to run") };
        reply.set(Ok(()));
        assert!(matches!(poll(next), Poll::Ready(Ok(()))));
    }

    #[test]
    fn a_traced_operation_ends_with_the_interruption() {
        let effects = EffectChannel::new(true);
        let mut work = pin!(effects.chunk());
        let mut traced = pin!(effects.interruptible(work.as_mut()));
        assert!(poll(traced.as_mut()).is_pending());
        effects.interrupt(Error::new(Kind::Raised, "cancelled"));
        assert!(effects.take().is_none(), "the effect is dropped");
        assert!(matches!(poll(traced), Poll::Ready(Err(error)) if error.message() == "cancelled"));
        assert!(effects.take_interruption().is_none());
    }

    #[test]
    fn an_interruption_is_kept_while_the_operation_goes_on() {
        for traced in [true, false] {
            let effects = EffectChannel::new(traced);
            effects.interrupt(Error::new(Kind::Raised, "cancelled"));
            let mut next = pin!(effects.yield_now());
            assert!(poll(next.as_mut()).is_pending());
            assert!(effects.take().is_some());
            assert!(effects.take_interruption().is_some(), "for the driver, if no span has taken it");
        }
    }

    #[test]
    fn an_operation_that_is_not_traced_ignores_interruptions() {
        let effects = EffectChannel::default();
        effects.interrupt(Error::new(Kind::Raised, "cancelled"));
        let work = pin!(std::future::ready(Ok(1)));
        assert!(matches!(poll(pin!(effects.interruptible(work))), Poll::Ready(Ok(1))));
    }
}
