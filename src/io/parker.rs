//! The sleep of a thread while its future is pending, and the wake-up by another thread.
//!
//! A [`Parker`] is the waker of a future that a thread polls. Between two polls the thread sleeps: in `poll(2)` on the sockets of
//! its wait set, with the thread's notifier among the descriptors where another thread may have to end the sleep; or without a
//! descriptor, if it waits for a deadline or for another thread alone.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Wake;
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use super::notifier::Notifier;
use super::sleep::{WakeCause, sleep};
use super::sys::SHUTDOWN_ENDS_POLLS;
use super::wait_set::WaitSet;
use crate::error::{Error, Kind, Result};
use crate::lock::lock;

/// The pause between two polls of a thread that has no descriptor left to be woken by.
pub const BLIND: Duration = Duration::from_millis(5);

/// Wakes one thread. It is reset before each poll; a wake-up between the reset and the sleep ends the sleep at once.
#[derive(Default)]
pub struct Parker {
    is_woken: AtomicBool,
    sleeper: Mutex<Option<Sleeper>>,
}

/// The means to end the sleep of a thread.
enum Sleeper {
    Parked(Thread),
    AtNotifier(Arc<Notifier>),
}

impl Parker {
    /// Forgets the wake-ups so far. Called before each poll: what they announced is seen by that poll.
    pub fn reset(&self) {
        self.is_woken.swap(false, Ordering::AcqRel);
    }

    /// Returns whether a wake-up has come since the last reset.
    pub fn is_woken(&self) -> bool {
        self.is_woken.load(Ordering::Acquire)
    }

    /// Lets the next wake-up go to `notifier`.
    pub fn wake_through(&self, notifier: Arc<Notifier>) {
        self.set(Sleeper::AtNotifier(notifier));
    }

    /// Sleeps until a socket of the wait set is ready, a wake-up comes, the deadline has passed, or a signal arrives. May return
    /// early.
    ///
    /// `heeds_signals`: the thread's notifier is told of signals, so it is among the descriptors even if only sockets are
    /// waited for.
    pub fn sleep(&self, mut wait_set: WaitSet, heeds_signals: bool) -> Result<WakeCause> {
        if !heeds_signals && wait_set.interests.is_empty() {
            self.park(wait_set.deadline);
            return Ok(WakeCause::Otherwise);
        }
        // Sockets wake their own thread. Another thread wakes this one where it waits for the pool, or for a connection that is
        // shared or that the pool may close.
        let needs_notifier =
            wait_set.waits_for_waker || wait_set.interests.is_empty() || heeds_signals || !SHUTDOWN_ENDS_POLLS;
        let notifier = if needs_notifier { Notifier::of_this_thread().ok() } else { None };
        match &notifier {
            Some(notifier) => self.wake_through(Arc::clone(notifier)),
            None if needs_notifier => wait_set.wake_at(Instant::now() + BLIND),
            None => {}
        }
        if self.is_woken() {
            return Ok(WakeCause::Otherwise);
        }
        sleep(&wait_set, notifier.as_ref())
            .map_err(|error| Error::new(Kind::Internal, format!("poll(2) failed: {error}")).with_source(error))
    }

    fn mark_woken(&self) {
        self.is_woken.store(true, Ordering::Release);
    }

    fn end_sleep(&self) {
        match self.take_sleeper() {
            Some(Sleeper::Parked(thread)) => thread.unpark(),
            Some(Sleeper::AtNotifier(notifier)) => notifier.notify(),
            None => {}
        }
    }

    fn take_sleeper(&self) -> Option<Sleeper> {
        lock(&self.sleeper).take()
    }

    fn set(&self, sleeper: Sleeper) {
        *lock(&self.sleeper) = Some(sleeper);
    }

    /// Sleeps without a descriptor until a wake-up comes or the deadline has passed. May return early: a wake-up takes the
    /// sleeper first, so the next sleep has to set it again.
    fn park(&self, deadline: Option<Instant>) {
        self.set(Sleeper::Parked(thread::current()));
        if self.is_woken() {
            return;
        }
        match deadline {
            Some(deadline) => thread::park_timeout(deadline.saturating_duration_since(Instant::now())),
            None => thread::park(),
        }
    }
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.mark_woken();
        if !postpone(self) {
            self.end_sleep();
        }
    }
}

thread_local! {
    /// True while this thread postpones the end of sleeps; and the sleeps that it has still to end.
    static POSTPONED: RefCell<(bool, Vec<Arc<Parker>>)> = const { RefCell::new((false, Vec::new())) };
}

/// As long as it lives, wake-ups by this thread mark parkers as woken and end no sleep. Dropping it ends the sleeps.
///
/// A thread that wakes others while it holds locks would have them wait for these locks, each with two more system calls.
pub struct PostponedWakes {
    // It belongs to a thread.
    _not_send: PhantomData<*const ()>,
}

impl PostponedWakes {
    pub fn begin() -> Self {
        // At the end of a thread nothing is postponed.
        let _ = POSTPONED.try_with(|state| state.borrow_mut().0 = true);
        Self { _not_send: PhantomData }
    }
}

impl Drop for PostponedWakes {
    fn drop(&mut self) {
        let parkers = POSTPONED.try_with(|state| {
            let (postpones, parkers) = &mut *state.borrow_mut();
            *postpones = false;
            std::mem::take(parkers)
        });
        for parker in parkers.unwrap_or_default() {
            parker.end_sleep();
        }
    }
}

/// Notes that the sleep is to be ended later. Returns false if this thread does not postpone that.
fn postpone(parker: &Arc<Parker>) -> bool {
    let is_postponed = POSTPONED.try_with(|state| {
        let (postpones, parkers) = &mut *state.borrow_mut();
        if *postpones && !parkers.iter().any(|known| Arc::ptr_eq(known, parker)) {
            parkers.push(Arc::clone(parker));
        }
        *postpones
    });
    is_postponed.unwrap_or(false)
}

#[cfg(test)]
mod interleaving;

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    /// A wait set that ends in the far future, so that a lost wake-up shows as a test that hangs.
    fn far() -> WaitSet {
        WaitSet { deadline: Some(Instant::now() + Duration::from_secs(600)), ..WaitSet::default() }
    }

    #[test]
    fn a_wake_up_before_the_sleep_ends_it_at_once() {
        for heeds_signals in [false, true] {
            let parker = Arc::<Parker>::default();
            Waker::from(Arc::clone(&parker)).wake();
            parker.sleep(far(), heeds_signals).expect("no sleep at all");
            assert!(parker.is_woken());
            parker.reset();
            assert!(!parker.is_woken());
        }
    }

    #[test]
    fn another_thread_ends_the_sleep() {
        for heeds_signals in [false, true] {
            let parker = Arc::<Parker>::default();
            let waker = Waker::from(Arc::clone(&parker));
            let other = thread::spawn(move || {
                thread::sleep(Duration::from_millis(20));
                waker.wake();
            });
            while !parker.is_woken() {
                parker.sleep(far(), heeds_signals).expect("poll(2) works");
            }
            other.join().expect("the other thread ends");
        }
    }

    #[test]
    fn a_wake_up_can_be_postponed() {
        let parker = Arc::<Parker>::default();
        let notifier = Arc::new(Notifier::new().expect("a pipe"));
        let is_asleep = || lock(&parker.sleeper).is_some();
        parker.wake_through(Arc::clone(&notifier));
        let postponed = PostponedWakes::begin();
        for _ in 0..2 {
            Waker::from(Arc::clone(&parker)).wake();
            assert!(parker.is_woken() && is_asleep());
        }
        drop(postponed);
        assert!(!is_asleep(), "the notifier was notified");
        parker.wake_through(notifier);
        Waker::from(Arc::clone(&parker)).wake();
        assert!(!is_asleep(), "nothing is postponed any more");
    }

    #[test]
    fn a_deadline_ends_the_sleep() {
        for heeds_signals in [false, true] {
            let parker = Parker::default();
            let deadline = Instant::now() + Duration::from_millis(20);
            while Instant::now() < deadline {
                let wait_set = WaitSet { deadline: Some(deadline), ..WaitSet::default() };
                parker.sleep(wait_set, heeds_signals).expect("poll(2) works");
            }
            assert!(!parker.is_woken());
        }
    }
}
