//! External streams: those that a user's `network_backend` made, whose methods only a driver can call.
//!
//! A stream belongs to an owner, the event loop that it was made on or, for threads, its pool. A stream that is dropped is queued with
//! its owner, which closes it.

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

use super::EffectChannel;
use crate::error::Result;
use crate::lock::lock;

/// The caller's stream, as far as the engine knows it.
pub trait ExternalStream: Any + Send + Sync {
    /// Whether its methods have to be awaited.
    fn is_async(&self) -> bool;

    /// Whether its TLS has chosen HTTP/2.
    fn has_chosen_http2(&self) -> bool;

    /// Whether threads use it, which a signal handler can interrupt at any point: also when a read has taken bytes from the stream.
    /// Tasks and greenlets are cancelled where they wait.
    fn is_for_threads(&self) -> bool;
}

/// A share in an external stream.
#[derive(Clone)]
pub struct ExternalHandle {
    stream: Arc<dyn ExternalStream>,
    owner: Arc<StreamOwner>,
    /// Whether its owner has been told to close it. It is closed once.
    closing: Arc<AtomicBool>,
}

impl std::fmt::Debug for ExternalHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Handle")
    }
}

impl ExternalHandle {
    pub fn new(stream: Arc<dyn ExternalStream>, owner: &Arc<StreamOwner>) -> Self {
        Self { stream, owner: Arc::clone(owner), closing: Arc::default() }
    }

    pub fn stream(&self) -> &dyn ExternalStream {
        &*self.stream
    }

    pub fn owner(&self) -> &StreamOwner {
        &self.owner
    }

    /// The stream has become part of another one, which is closed in its place.
    pub fn release(&self) {
        self.closing.store(true, Ordering::Release);
    }

    /// Leaves the stream to its owner to be closed: closing takes Python, and may have to be awaited.
    pub fn close_later(&self) {
        if !self.closing.swap(true, Ordering::AcqRel) {
            self.owner.add(|dropped| dropped.streams.push(Arc::clone(&self.stream)));
        }
    }
}

/// Closes the external streams that were dropped, in whatever thread that was: the event loop that a stream was made on, or,
/// for threads, its pool.
pub struct StreamOwner {
    /// The number of the loop; 0 for a pool.
    id: u64,
    event_loop: Option<Weak<dyn OwnerLoop>>,
    /// Spares the lock where nothing was dropped.
    is_empty: AtomicBool,
    dropped: Mutex<Dropped>,
}

/// The event loop that owns external streams.
pub trait OwnerLoop: Send + Sync {
    /// Returns whether the engine runs for the loop on this thread, now.
    fn is_running_here(&self) -> bool;

    /// Gives the loop a turn, from any thread.
    fn notify(&self);
}

/// What an owner has to do, and has not done yet.
#[derive(Default)]
pub struct Dropped {
    /// Before their streams are closed.
    pub resets: Vec<Arc<dyn DeferredWork>>,
    pub streams: Vec<Arc<dyn ExternalStream>>,
}

/// The reset of a stream of HTTP/2 that has still to be sent over an external stream: only a driver can write to that.
pub trait DeferredWork: Send + Sync {
    fn is_async(&self) -> bool;

    /// Sends it, if the connection is still there.
    fn send(self: Arc<Self>, effects: EffectChannel) -> Pin<Box<dyn Future<Output = Result<()>> + Send>>;
}

impl StreamOwner {
    /// A pool, whose calls close what was dropped.
    pub fn pool() -> Arc<Self> {
        Arc::new(Self::new(0, None))
    }

    /// A loop, which is notified.
    pub fn event_loop(id: u64, event_loop: Weak<dyn OwnerLoop>) -> Arc<Self> {
        Arc::new(Self::new(id, Some(event_loop)))
    }

    fn new(id: u64, event_loop: Option<Weak<dyn OwnerLoop>>) -> Self {
        Self { id, event_loop, is_empty: AtomicBool::new(true), dropped: Mutex::default() }
    }

    /// Whether operations of a loop (0: of threads) can use its streams.
    pub fn serves(&self, id: u64) -> bool {
        self.id == 0 || self.id == id
    }

    pub fn is_empty(&self) -> bool {
        self.is_empty.load(Ordering::Acquire)
    }

    /// Takes what is to be closed, of the streams whose methods are awaited or of the others.
    pub fn take(&self, is_async: bool) -> Dropped {
        if self.is_empty() {
            return Dropped::default();
        }
        let mut dropped = lock(&self.dropped);
        let taken = Dropped {
            resets: dropped.resets.extract_if(.., |reset| reset.is_async() == is_async).collect(),
            streams: dropped.streams.extract_if(.., |stream| stream.is_async() == is_async).collect(),
        };
        self.is_empty.store(dropped.is_empty(), Ordering::Release);
        taken
    }

    pub fn add(&self, add: impl FnOnce(&mut Dropped)) {
        add(&mut lock(&self.dropped));
        self.is_empty.store(false, Ordering::Release);
        // The end of an operation looks for itself.
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
    }
}
