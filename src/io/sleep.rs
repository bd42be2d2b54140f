//! Sleeping on descriptors: how a thread without an event loop waits.

use std::io;
use std::time::Instant;

use super::notifier::Notifier;
use super::sys::PollSet;
use super::wait_set::WaitSet;

/// The end of a sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WakeCause {
    /// A signal has arrived: Python may have a handler to run.
    BySignal,
    /// A socket is ready, the notifier was notified or the deadline has passed.
    Otherwise,
}

/// Sleeps until something that `wait_set` names has happened, `notifier` is notified, or a signal arrives. The readiness of the sockets
/// is recorded in them; a notifier is drained.
pub fn sleep(wait_set: &WaitSet, notifier: Option<&Notifier>) -> io::Result<WakeCause> {
    let interests = &wait_set.interests;
    // One exchange waits for one socket, or a few while it races addresses.
    let mut set = PollSet::with_capacity(interests.len() + 1);
    for (source, direction) in interests {
        set.add_socket(source.socket(), *direction);
    }
    if let Some(notifier) = notifier {
        set.add_wake_pair(notifier.wake_pair());
    }
    let timeout = wait_set.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    if !set.wait(timeout)? {
        return Ok(WakeCause::BySignal);
    }
    for (index, (source, _)) in interests.iter().enumerate() {
        let readiness = set.readiness(index);
        if readiness.readable || readiness.writable {
            source.set_ready(readiness);
        }
    }
    match notifier {
        Some(notifier) if set.readiness(interests.len()).readable && notifier.drain() => Ok(WakeCause::BySignal),
        _ => Ok(WakeCause::Otherwise),
    }
}
