//! A notifier ends the sleep of a thread that polls descriptors, when another thread or a signal handler has something for it.
//!
//! [`notify`](Notifier::notify) makes the notifier's descriptor readable and writes no second byte until the sleeping thread has
//! called [`drain`](Notifier::drain). Python's signal handler writes to the same pipe: the number of the signal, which is never 0.
//! Dropping the notifier closes the pipe.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;

use super::sys::{RawDescriptor, WakePair};
use crate::fork::Generation;

pub struct Notifier {
    wake_pair: WakePair,
    is_notified: AtomicBool,
}

thread_local! {
    static OF_THIS_THREAD: RefCell<Option<(Generation, Arc<Notifier>)>> = const { RefCell::new(None) };
}

impl Notifier {
    pub fn new() -> io::Result<Self> {
        Ok(Self { wake_pair: WakePair::new()?, is_notified: AtomicBool::new(false) })
    }

    /// Returns the notifier of the calling thread, which is made once and lives as long as the thread. A forked child makes its
    /// own: the pipe is shared with the parent.
    pub fn of_this_thread() -> io::Result<Arc<Self>> {
        let generation = Generation::current();
        OF_THIS_THREAD.with_borrow_mut(|known| match known {
            Some((made, notifier)) if *made == generation => Ok(Arc::clone(notifier)),
            _ => {
                let notifier = Arc::new(Self::new()?);
                *known = Some((generation, Arc::clone(&notifier)));
                Ok(notifier)
            }
        })
    }

    /// Makes the descriptor readable.
    pub fn notify(&self) {
        if self.mark() {
            self.write();
        }
    }

    /// Notes that a byte is on its way. Returns whether it has to be written.
    pub(super) fn mark(&self) -> bool {
        !self.is_notified.swap(true, Ordering::AcqRel)
    }

    pub(super) fn write(&self) {
        self.wake_pair.wake();
    }

    /// Empties the pipe when its descriptor was found readable. Returns whether a signal had been written to it.
    pub fn drain(&self) -> bool {
        !self.take_signals().is_empty()
    }

    /// Empties the pipe, and returns the numbers of the signals that were written to it.
    pub fn take_signals(&self) -> Vec<u8> {
        let mut bytes = [0; 64];
        let length = self.read(&mut bytes);
        self.unmark();
        bytes[..length].iter().copied().filter(|&byte| byte != 0).collect()
    }

    pub(super) fn read(&self, bytes: &mut [u8]) -> usize {
        self.wake_pair.read(bytes)
    }

    /// Lets the next notification write again.
    pub(super) fn unmark(&self) {
        self.is_notified.store(false, Ordering::Release);
    }

    /// Returns the descriptor that signal handlers write to, as the argument of `signal.set_wakeup_fd()`.
    pub fn writer(&self) -> i64 {
        self.wake_pair.writer()
    }

    /// Returns the descriptor that becomes readable.
    pub fn descriptor(&self) -> RawDescriptor {
        self.wake_pair.reader()
    }

    pub(super) fn wake_pair(&self) -> &WakePair {
        &self.wake_pair
    }
}

impl Wake for Notifier {
    fn wake(self: Arc<Self>) {
        self.notify();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.notify();
    }
}

#[cfg(test)]
mod tests {
    use super::super::sys::PollSet;
    use super::*;
    use std::time::Duration;

    fn is_readable(notifier: &Notifier) -> bool {
        let mut set = PollSet::with_capacity(1);
        set.add_wake_pair(notifier.wake_pair());
        assert!(set.wait(Some(Duration::ZERO)).expect("poll(2) works"));
        set.readiness(0).readable
    }

    #[test]
    fn a_notification_lasts_until_it_is_drained() -> io::Result<()> {
        let notifier = Notifier::new()?;
        for _ in 0..2 {
            assert!(!is_readable(&notifier));
            notifier.notify();
            notifier.notify();
            assert!(is_readable(&notifier));
            assert!(!notifier.drain());
        }
        assert!(!is_readable(&notifier));
        Ok(())
    }

    #[test]
    fn signals_are_told_from_notifications() -> io::Result<()> {
        let notifier = Notifier::new()?;
        notifier.notify();
        notifier.wake_pair().write(2);
        assert_eq!(notifier.take_signals(), [2]);
        assert!(!is_readable(&notifier));
        Ok(())
    }

    #[test]
    fn a_thread_keeps_its_notifier() -> io::Result<()> {
        let here = Notifier::of_this_thread()?;
        assert!(Arc::ptr_eq(&here, &Notifier::of_this_thread()?));
        let other = std::thread::spawn(Notifier::of_this_thread).join().expect("a thread that ends")?;
        assert!(!Arc::ptr_eq(&here, &other));
        Ok(())
    }
}
