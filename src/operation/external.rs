//! External streams: those that a user's `network_backend` made, whose methods only a driver can call.
//!
//! Closing such a stream takes Python, and may have to be awaited, so that a destructor cannot do it. Each stream therefore has an owner:
//! the event loop that it was made on or, for threads, its pool. A stream that is dropped is queued with its owner, which closes it
//! (*deferred close*): a loop in its next turn, a pool at the end of its next call, and both before that with the operation that
//! dropped the stream.

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

use super::{EffectChannel, Traffic};
use crate::error::Result;
use crate::lock::lock;

/// An external stream, as far as the engine knows it.
pub trait ExternalStream: Any + Send + Sync {
    /// Returns whether its methods have to be awaited.
    fn is_async(&self) -> bool;

    /// Returns whether its TLS has chosen HTTP/2.
    fn has_chosen_http2(&self) -> bool;

    /// Returns whether threads use it. The exception of a signal handler can interrupt a thread at any point, also when a read has taken
    /// bytes from the stream; tasks and greenlets are cancelled only where they wait.
    fn is_for_threads(&self) -> bool;
}

/// A handle on an external stream. Dropping it does not close the stream.
#[derive(Clone)]
pub struct ExternalHandle(Arc<OwnedStream>);

impl std::fmt::Debug for ExternalHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ExternalHandle")
    }
}

impl ExternalHandle {
    pub fn new(stream: Arc<dyn ExternalStream>, owner: &Arc<StreamOwner>) -> Self {
        let closing = AtomicBool::new(false);
        Self(Arc::new(OwnedStream { stream, owner: Arc::clone(owner), closing, traffic: Traffic::default() }))
    }

    pub fn stream(&self) -> &dyn ExternalStream {
        &*self.0.stream
    }

    pub fn owner(&self) -> &StreamOwner {
        &self.0.owner
    }

    /// Returns the counters of the bytes that went over the stream.
    pub fn traffic(&self) -> &Traffic {
        &self.0.traffic
    }

    /// Ends the owner's duty to close the stream: it has become part of another one, which is closed in its place.
    pub fn release(&self) {
        self.0.closing.store(true, Ordering::Release);
    }

    /// Leaves the stream to its owner to be closed, unless that was done before.
    pub fn close_later(&self) {
        let OwnedStream { stream, owner, closing, .. } = &*self.0;
        if !closing.swap(true, Ordering::AcqRel) {
            owner.add(|dropped| dropped.streams.push(Arc::clone(stream)));
        }
    }
}

/// A stream and its owner, to which the stream goes when the last handle is dropped: that may happen under a lock, where the last
/// reference to an object of Python's must not be dropped.
struct OwnedStream {
    stream: Arc<dyn ExternalStream>,
    owner: Arc<StreamOwner>,
    /// The owner has been told to close it, or another stream is closed in its place. It is closed once.
    closing: AtomicBool,
    traffic: Traffic,
}

impl Drop for OwnedStream {
    fn drop(&mut self) {
        self.owner.keep(Arc::clone(&self.stream));
    }
}

/// The owner of external streams, with those that were dropped, by any thread, and are not closed yet.
pub struct StreamOwner {
    /// The number of the loop; 0 for a pool.
    id: u64,
    event_loop: Option<Weak<dyn OwnerLoop>>,
    /// Saves taking the lock if nothing was dropped.
    is_empty: AtomicBool,
    dropped: Mutex<Dropped>,
}

/// The event loop that owns external streams.
pub trait OwnerLoop: Send + Sync {
    /// Returns whether the engine runs for the loop on this thread, now.
    fn is_running_here(&self) -> bool;

    /// Lets the loop have a turn, from any thread.
    fn notify(&self);
}

/// The work that was left to an owner and is not done yet.
#[derive(Default)]
pub struct Dropped {
    /// Done before the streams are closed.
    pub resets: Vec<Arc<dyn DeferredWork>>,
    pub streams: Vec<Arc<dyn ExternalStream>>,
    /// Those without a handle, kept until no lock is held.
    unused: Vec<Arc<dyn ExternalStream>>,
}

/// Bytes that have still to be sent over an external stream, to which only a driver can write: the reset of an HTTP/2 stream.
pub trait DeferredWork: Send + Sync {
    /// Returns whether the methods of the external stream have to be awaited.
    fn is_async(&self) -> bool;

    /// Sends them, if the connection is still there.
    fn send(self: Arc<Self>, effects: EffectChannel) -> Pin<Box<dyn Future<Output = Result<()>> + Send>>;
}

impl StreamOwner {
    /// Returns an owner for a pool, whose calls close what was dropped.
    pub fn pool() -> Arc<Self> {
        Arc::new(Self::new(0, None))
    }

    /// Returns an owner for an event loop, which is notified.
    pub fn event_loop(id: u64, event_loop: Weak<dyn OwnerLoop>) -> Arc<Self> {
        Arc::new(Self::new(id, Some(event_loop)))
    }

    fn new(id: u64, event_loop: Option<Weak<dyn OwnerLoop>>) -> Self {
        Self { id, event_loop, is_empty: AtomicBool::new(true), dropped: Mutex::default() }
    }

    /// Returns whether operations of a loop (0: of threads) can use its streams.
    pub fn serves(&self, id: u64) -> bool {
        self.id == 0 || self.id == id
    }

    pub fn is_empty(&self) -> bool {
        self.is_empty.load(Ordering::Acquire)
    }

    /// Takes the work for the streams whose methods are awaited, or for the others.
    pub fn take(&self, is_async: bool) -> Dropped {
        if self.is_empty() {
            return Dropped::default();
        }
        let mut dropped = lock(&self.dropped);
        let taken = Dropped {
            resets: dropped.resets.extract_if(.., |reset| reset.is_async() == is_async).collect(),
            streams: dropped.streams.extract_if(.., |stream| stream.is_async() == is_async).collect(),
            unused: std::mem::take(&mut dropped.unused),
        };
        self.is_empty.store(dropped.is_empty(), Ordering::Release);
        taken
    }

    fn keep(&self, unused: Arc<dyn ExternalStream>) {
        lock(&self.dropped).unused.push(unused);
        self.is_empty.store(false, Ordering::Release);
    }

    /// Adds work, and notifies the event loop. A loop that runs the engine on this thread looks for itself afterwards.
    pub fn add(&self, add: impl FnOnce(&mut Dropped)) {
        add(&mut lock(&self.dropped));
        self.is_empty.store(false, Ordering::Release);
        if let Some(event_loop) = self.event_loop.as_ref().and_then(Weak::upgrade)
            && !event_loop.is_running_here()
        {
            event_loop.notify();
        }
    }
}

impl Dropped {
    pub fn is_empty(&self) -> bool {
        self.resets.is_empty() && self.streams.is_empty()
    }

    pub fn append(&mut self, mut other: Self) {
        self.resets.append(&mut other.resets);
        self.streams.append(&mut other.streams);
        self.unused.append(&mut other.unused);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::testing::ExternalStub;

    struct OwnedReset {
        is_async: bool,
    }

    impl DeferredWork for OwnedReset {
        fn is_async(&self) -> bool {
            self.is_async
        }

        fn send(self: Arc<Self>, _: EffectChannel) -> Pin<Box<dyn Future<Output = Result<()>> + Send>> {
            Box::pin(std::future::ready(Ok(())))
        }
    }

    #[derive(Default)]
    struct TestLoop {
        is_running_here: AtomicBool,
        notified: AtomicUsize,
    }

    impl OwnerLoop for TestLoop {
        fn is_running_here(&self) -> bool {
            self.is_running_here.load(Ordering::SeqCst)
        }

        fn notify(&self) {
            self.notified.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn handle(owner: &Arc<StreamOwner>, is_async: bool) -> ExternalHandle {
        ExternalHandle::new(Arc::new(ExternalStub { is_async, ..ExternalStub::default() }), owner)
    }

    #[test]
    fn a_stream_is_closed_once() {
        let owner = StreamOwner::pool();
        let first = handle(&owner, false);
        let second = first.clone();
        assert!(owner.is_empty());
        first.close_later();
        second.close_later();
        assert!(!owner.is_empty());
        assert_eq!(owner.take(false).streams.len(), 1);
        assert!(owner.is_empty());
        let stream = Arc::downgrade(&first.0.stream);
        drop((first, second));
        assert!(stream.upgrade().is_some(), "kept where a lock may be held");
        assert!(owner.take(false).is_empty());
        assert!(stream.upgrade().is_none());
    }

    #[test]
    fn a_released_stream_is_not_closed() {
        let owner = StreamOwner::pool();
        let stream = handle(&owner, false);
        stream.release();
        stream.close_later();
        assert!(owner.take(false).is_empty());
    }

    #[test]
    fn work_is_taken_by_those_who_can_do_it() {
        let owner = StreamOwner::pool();
        for is_async in [true, false] {
            handle(&owner, is_async).close_later();
            owner.add(|dropped| dropped.resets.push(Arc::new(OwnedReset { is_async })));
        }
        let taken = owner.take(true);
        assert!(
            taken.streams.iter().all(|stream| stream.is_async()) && taken.resets.iter().all(|reset| reset.is_async())
        );
        assert_eq!((taken.streams.len(), taken.resets.len()), (1, 1));
        assert!(!owner.is_empty(), "the work of threads is left");
        let mut rest = owner.take(false);
        assert!(owner.is_empty());
        rest.append(taken);
        assert_eq!((rest.streams.len(), rest.resets.len()), (2, 2));
    }

    #[test]
    fn a_loop_is_notified_unless_it_runs_the_engine_here() {
        let event_loop = Arc::<TestLoop>::default();
        let weak: Weak<dyn OwnerLoop> = Arc::<TestLoop>::downgrade(&event_loop);
        let owner = StreamOwner::event_loop(7, weak);
        handle(&owner, true).close_later();
        assert_eq!(event_loop.notified.load(Ordering::SeqCst), 1);
        event_loop.is_running_here.store(true, Ordering::SeqCst);
        handle(&owner, true).close_later();
        assert_eq!(event_loop.notified.load(Ordering::SeqCst), 1);
        drop(event_loop);
        handle(&owner, true).close_later();
        assert_eq!(owner.take(true).streams.len(), 3, "also of a loop that is gone");
    }

    #[test]
    fn streams_of_a_pool_serve_all_and_those_of_a_loop_itself() {
        let weak: Weak<dyn OwnerLoop> = Weak::<TestLoop>::new();
        let (pool, event_loop) = (StreamOwner::pool(), StreamOwner::event_loop(7, weak));
        assert!(pool.serves(0) && pool.serves(7));
        assert!(event_loop.serves(7) && !event_loop.serves(0) && !event_loop.serves(8));
    }
}
