//! Waiting where sockets are monkey-patched (gevent, eventlet): threads are greenlets, and must not block their thread.
//!
//! A greenlet does not sleep in `poll(2)`. Its wait is an effect: `httpcore_rs._effects.wait` calls the patched `select`, and
//! other greenlets run meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use crate::io::notifier::Notifier;
use crate::io::parker::{BLIND, Parker};
use crate::io::sleep::sleep;
use crate::io::source::Direction;
use crate::io::strand;
use crate::io::sys::RawDescriptor;
use crate::io::wait_set::WaitSet;

/// Set if sockets are monkey-patched in this process.
static IS_GREEN: AtomicBool = AtomicBool::new(false);

/// Has threads wait by the patched `select` from now on.
pub fn set_green() {
    IS_GREEN.store(true, Ordering::Relaxed);
}

/// Returns whether threads wait by the patched `select`.
pub fn is_green() -> bool {
    IS_GREEN.load(Ordering::Relaxed)
}

/// The waits of one greenlet.
pub struct Greenlet {
    strand: u64,
    /// The wake-up pipe of this greenlet, made when a wait first needs one.
    notifier: Option<Arc<Notifier>>,
    waiting: Option<WaitSet>,
}

/// The arguments of `select`: descriptors, and a timeout in seconds.
#[derive(Default)]
pub struct SelectArguments {
    pub readers: Vec<RawDescriptor>,
    pub writers: Vec<RawDescriptor>,
    pub timeout: Option<f64>,
}

impl Greenlet {
    pub fn new() -> Self {
        // The operating system's numbers of threads are smaller.
        static NEXT: AtomicU64 = AtomicU64::new(1 << 63);
        Self { strand: NEXT.fetch_add(1, Ordering::Relaxed), notifier: None, waiting: None }
    }

    /// Called before polls: marks the sources that have become ready during the wait.
    pub fn begin(&mut self) {
        strand::set_strand(self.strand);
        if let Some(mut wait_set) = self.waiting.take() {
            wait_set.deadline = Some(Instant::now());
            // After an error no source is marked, and the next wait ends at once.
            let _ = sleep(&wait_set, self.notifier.as_ref());
        }
    }

    /// Called before a wait. Returns `false` if the greenlet has been woken already.
    pub fn prepare(&mut self, mut wait_set: WaitSet, parker: &Parker) -> bool {
        if (wait_set.waits_for_waker || wait_set.interests.is_empty()) && self.notifier.is_none() {
            self.notifier = Notifier::new().ok().map(Arc::new);
            if self.notifier.is_none() {
                wait_set.wake_at(Instant::now() + BLIND);
            }
        }
        if let Some(notifier) = &self.notifier {
            parker.wake_through(Arc::clone(notifier));
        }
        self.waiting = Some(wait_set);
        !parker.is_woken()
    }

    /// Returns the arguments for the wait that was prepared.
    pub fn select_arguments(&self) -> SelectArguments {
        let mut arguments = SelectArguments::default();
        let Some(wait_set) = &self.waiting else { return arguments };
        for (source, direction) in &wait_set.interests {
            match direction {
                Direction::Read => arguments.readers.push(source.descriptor()),
                Direction::Write => arguments.writers.push(source.descriptor()),
            }
        }
        arguments.readers.extend(self.notifier.as_ref().map(|notifier| notifier.descriptor()));
        arguments.timeout =
            wait_set.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()).as_secs_f64());
        arguments
    }
}
