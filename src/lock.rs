//! Locks and their order.
//!
//! Two kinds of mutex are used:
//!
//! * A **leaf** is a plain [`Mutex`], taken with [`lock`]. No other lock is taken while it is held.
//! * A [`RankedMutex`] has a [`Rank`]. While it is held, leaves and mutexes of later ranks may be taken.
//!
//! So the variants of [`Rank`], from first to last, are the lock order of the crate, and two threads cannot wait for each other.
//! Debug builds assert the order at each acquisition: a violation panics even if no other thread is there to make it a deadlock.
//! Release builds hold no ranks and check nothing.
//!
//! Locks of libraries are not ranked. h2 has one for each connection: it is taken under [`Rank::Http2Protocol`] or
//! [`Rank::Http2Sender`], and h2 takes [`Rank::Wire`] and calls wakers under it. A waker takes leaves, and no rank before
//! [`Rank::TaskTimer`].
//!
//! No lock is held where Python may run, or where a thread attaches itself to the interpreter. A thread that waits for a mutex while it
//! is attached holds up every other thread that wants the interpreter lock, and in a free-threaded build a garbage collection, which
//! waits until all attached threads have stopped. If the holder of the mutex waited for either, none of them would go on.
//! [`assert_none_held`] and [`Lockless`] assert this in debug builds.
//!
//! A lock is taken also if its last holder panicked: a panic is an error of one exchange and not the end of the others.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

/// The lock order: what is taken first comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// The body of a response, while it is read or closed. Ending a response gives its connection back to the pool.
    ResponseBody,
    /// The slot that a connection object of Python holds.
    HeldSlot,
    /// The state of a pool.
    Pool,
    /// The state of a task that sends the body of an HTTP/2 request.
    UploadTask,
    /// h2's connection: its codec, windows and pings.
    Http2Protocol,
    /// The h2 sender that requests are cloned from.
    Http2Sender,
    /// The stream of an HTTP connection and the bytes on their way.
    Wire,
    /// The exchanges that wait on an HTTP/2 connection, and which of them reads it.
    LeaderFollowers,
    /// The buffers of a TLS session of Python's `ssl`. Those of a session inside another one are taken before those of the outer
    /// session, which carries it: the only rank that may be taken while it is held.
    TlsBuffers,
    /// The poller of an event loop. Wakers are called under it.
    Poller,
    /// The timer of a task of an event loop.
    TaskTimer,
    /// The woken tasks that an event loop resumes before it goes on.
    WokenTasks,
    /// Any other lock.
    Leaf,
}

impl Rank {
    /// Returns whether a lock of the rank `next` may be taken while one of this rank is held.
    #[cfg(debug_assertions)]
    fn allows(self, next: Self) -> bool {
        self < next || (self == next && self == Self::TlsBuffers)
    }
}

/// Takes a leaf, also if its last holder panicked.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> Guard<'_, T> {
    Guard::wait_for(mutex, Rank::Leaf)
}

/// Asserts in debug builds that this thread holds no lock: it is about to run Python, or to attach itself to the interpreter.
pub fn assert_none_held() {
    #[cfg(debug_assertions)]
    HeldRank::assert_none();
}

/// A field of an object whose drop may run Python: its own drop asserts in debug builds that no lock is held.
#[derive(Debug, Default)]
pub struct Lockless;

#[cfg(debug_assertions)]
impl Drop for Lockless {
    fn drop(&mut self) {
        // A second panic would abort the process.
        if !std::thread::panicking() {
            HeldRank::assert_none();
        }
    }
}

/// A mutex under which other locks may be taken.
pub struct RankedMutex<T> {
    #[cfg(debug_assertions)]
    rank: Rank,
    mutex: Mutex<T>,
}

impl<T> RankedMutex<T> {
    #[cfg_attr(not(debug_assertions), expect(unused_variables, reason = "release builds check no ranks"))]
    pub fn new(rank: Rank, value: T) -> Self {
        Self {
            #[cfg(debug_assertions)]
            rank,
            mutex: Mutex::new(value),
        }
    }

    /// Takes the lock, also if its last holder panicked.
    pub fn lock(&self) -> Guard<'_, T> {
        Guard::wait_for(&self.mutex, self.rank())
    }

    /// Takes the lock if it is free and its last holder has not panicked. It waits for nothing, so that the order does not matter.
    pub fn try_lock(&self) -> Option<Guard<'_, T>> {
        match self.mutex.try_lock() {
            Ok(guard) => Some(Guard { guard, _held: HeldRank::push(self.rank()) }),
            Err(TryLockError::Poisoned(_) | TryLockError::WouldBlock) => None,
        }
    }

    /// Takes the lock if it is free, also if its last holder panicked.
    pub fn lock_if_free(&self) -> Option<Guard<'_, T>> {
        let guard = match self.mutex.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(Guard { guard, _held: HeldRank::push(self.rank()) })
    }

    pub fn into_inner(self) -> T {
        self.mutex.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(debug_assertions)]
    fn rank(&self) -> Rank {
        self.rank
    }

    #[cfg(not(debug_assertions))]
    #[expect(clippy::unused_self, reason = "release builds hold no ranks")]
    fn rank(&self) -> Rank {
        Rank::Leaf
    }
}

/// A lock that is held, until this is dropped.
pub struct Guard<'a, T: ?Sized> {
    guard: MutexGuard<'a, T>,
    _held: HeldRank,
}

impl<'a, T: ?Sized> Guard<'a, T> {
    #[expect(clippy::disallowed_methods, reason = "the one place that waits for a mutex")]
    fn wait_for(mutex: &'a Mutex<T>, rank: Rank) -> Self {
        let held = HeldRank::push_in_order(rank);
        Self { guard: mutex.lock().unwrap_or_else(PoisonError::into_inner), _held: held }
    }
}

impl<T: ?Sized> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T: ?Sized> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

/// One rank among those that this thread holds. Release builds keep nothing.
struct HeldRank {
    #[cfg(debug_assertions)]
    rank: Rank,
}

#[cfg(debug_assertions)]
thread_local! {
    /// The ranks that this thread holds.
    static HELD: std::cell::RefCell<Vec<Rank>> = const { std::cell::RefCell::new(Vec::new()) };
}

#[cfg(debug_assertions)]
impl HeldRank {
    /// Adds a rank that is about to be waited for.
    fn push_in_order(rank: Rank) -> Self {
        let before = HELD.try_with(|held| held.borrow().iter().copied().find(|before| !before.allows(rank)));
        if let Ok(Some(before)) = before {
            debug_assert!(false, "lock order: {rank:?} is taken while {before:?} is held");
        }
        Self::push(rank)
    }

    fn assert_none() {
        // At the end of a thread its list may be gone.
        let first = HELD.try_with(|held| held.borrow().first().copied());
        if let Ok(Some(first)) = first {
            debug_assert!(false, "lock order: Python may run while {first:?} is held");
        }
    }

    /// Adds a rank that was taken without waiting.
    fn push(rank: Rank) -> Self {
        // At the end of a thread its list may be gone.
        let _ = HELD.try_with(|held| held.borrow_mut().push(rank));
        Self { rank }
    }
}

#[cfg(debug_assertions)]
impl Drop for HeldRank {
    fn drop(&mut self) {
        let _ = HELD.try_with(|held| {
            let mut held = held.borrow_mut();
            if let Some(index) = held.iter().rposition(|rank| *rank == self.rank) {
                held.remove(index);
            }
        });
    }
}

#[cfg(not(debug_assertions))]
impl HeldRank {
    fn push_in_order(_: Rank) -> Self {
        Self {}
    }

    fn push(_: Rank) -> Self {
        Self {}
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    fn panics(action: impl FnOnce()) -> bool {
        catch_unwind(AssertUnwindSafe(action)).is_err()
    }

    #[test]
    fn later_ranks_and_leaves_may_be_taken_under_earlier_ones() {
        let (pool, wire, leaf) = (RankedMutex::new(Rank::Pool, 1), RankedMutex::new(Rank::Wire, 2), Mutex::new(3));
        let sum = *pool.lock() + *wire.lock() + *lock(&leaf);
        assert_eq!(sum, 6);
    }

    #[test]
    fn an_earlier_rank_under_a_later_one_panics() {
        let (pool, wire) = (RankedMutex::new(Rank::Pool, ()), RankedMutex::new(Rank::Wire, ()));
        let held = wire.lock();
        assert!(panics(|| drop(pool.lock())));
        drop(held);
        assert!(!panics(|| drop(pool.lock())), "the panic left no rank behind");
    }

    #[test]
    fn one_rank_twice_panics() {
        let (first, second) = (RankedMutex::new(Rank::Wire, ()), RankedMutex::new(Rank::Wire, ()));
        let _held = first.lock();
        assert!(panics(|| drop(second.lock())));
    }

    #[test]
    fn nothing_is_taken_under_a_leaf() {
        let (first, second) = (Mutex::new(()), Mutex::new(()));
        let poller = RankedMutex::new(Rank::Poller, ());
        let _held = lock(&first);
        assert!(panics(|| drop(lock(&second))));
        assert!(panics(|| drop(poller.lock())));
    }

    #[test]
    fn sessions_inside_each_other_are_taken_one_after_another() {
        let (inner, outer) = (RankedMutex::new(Rank::TlsBuffers, ()), RankedMutex::new(Rank::TlsBuffers, ()));
        let _inner = inner.lock();
        let _outer = outer.lock();
    }

    #[test]
    fn guards_may_be_dropped_in_any_order() {
        let (pool, wire) = (RankedMutex::new(Rank::Pool, ()), RankedMutex::new(Rank::Wire, ()));
        let (first, second) = (pool.lock(), wire.lock());
        drop(first);
        assert!(panics(|| drop(pool.lock())), "the wire is still held");
        drop(second);
        drop(pool.lock());
    }

    #[test]
    fn trying_needs_no_order() {
        let (pool, wire) = (RankedMutex::new(Rank::Pool, ()), RankedMutex::new(Rank::Wire, ()));
        let _wire = wire.lock();
        let tried = pool.try_lock();
        assert!(tried.is_some());
        assert!(pool.try_lock().is_none() && pool.lock_if_free().is_none());
        drop(tried);
        assert!(pool.lock_if_free().is_some());
    }

    #[test]
    fn python_does_not_run_under_a_lock() {
        let (wire, leaf) = (RankedMutex::new(Rank::Wire, ()), Mutex::new(()));
        assert_none_held();
        for held in [wire.lock(), lock(&leaf)] {
            assert!(panics(assert_none_held));
            assert!(panics(|| drop(Lockless)));
            drop(held);
        }
        let tried = wire.try_lock();
        assert!(panics(assert_none_held));
        drop(tried);
        drop(Lockless);
    }

    #[test]
    fn a_panic_does_not_close_a_lock() {
        let wire = RankedMutex::new(Rank::Wire, 1);
        assert!(panics(|| {
            let _held = wire.lock();
            panic!("while the lock is held");
        }));
        assert_eq!(*wire.lock(), 1);
        assert!(wire.lock_if_free().is_some() && wire.try_lock().is_none());
    }
}
