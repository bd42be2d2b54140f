//! Sleeping on descriptors: how a thread without an event loop waits.

use std::io;
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use super::notifier::Notifier;
use super::source::{Direction, READABLE, WRITABLE};
use super::sys::{PollSet, SHUTDOWN_ENDS_POLLS};
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
pub fn sleep(wait_set: &WaitSet, notifier: Option<&Arc<Notifier>>) -> io::Result<WakeCause> {
    if SHUTDOWN_ENDS_POLLS {
        return poll(wait_set, notifier);
    }
    // What shuts a socket down wakes what waits for it: here the notifier.
    let waker = notifier.map(|notifier| Waker::from(Arc::clone(notifier)));
    let mut is_ready = false;
    for (source, direction) in &wait_set.interests {
        if let Some(waker) = &waker {
            source.register(*direction, waker);
        }
        // It may have been shut down before.
        is_ready |= source.is(if *direction == Direction::Read { READABLE } else { WRITABLE });
    }
    let cause = if is_ready { Ok(WakeCause::Otherwise) } else { poll(wait_set, notifier) };
    for (source, direction) in &wait_set.interests {
        source.unregister(*direction);
    }
    cause
}

fn poll(wait_set: &WaitSet, notifier: Option<&Arc<Notifier>>) -> io::Result<WakeCause> {
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

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::super::source::Source;
    use super::*;

    fn pair() -> (Arc<Source>, socket2::Socket) {
        let (here, peer) =
            socket2::Socket::pair(socket2::Domain::UNIX, socket2::Type::STREAM, None).expect("a pair of sockets");
        (Arc::new(Source::new(here)), peer)
    }

    fn readable(source: &Arc<Source>, deadline: Option<Instant>) -> WaitSet {
        WaitSet { interests: vec![(Arc::clone(source), Direction::Read)], deadline, ..WaitSet::default() }
    }

    /// A deadline in the far future, so that a sleep that does not end shows as a test that hangs.
    fn far() -> Option<Instant> {
        Instant::now().checked_add(Duration::from_secs(600))
    }

    #[test]
    fn a_deadline_ends_the_sleep() {
        let (source, _peer) = pair();
        let notifier = Arc::new(Notifier::new().expect("a pipe"));
        let deadline = Instant::now() + Duration::from_millis(5);
        let cause = sleep(&readable(&source, Some(deadline)), Some(&notifier)).expect("poll(2) works");
        assert_eq!(cause, WakeCause::Otherwise);
        assert!(Instant::now() >= deadline && !source.is(READABLE));
        sleep(&WaitSet { deadline: Some(deadline), ..WaitSet::default() }, None).expect("poll(2) works");
    }

    #[test]
    fn a_socket_ends_the_sleep_and_is_reported() {
        let (source, peer) = pair();
        let (other, _other_peer) = pair();
        peer.send(b"x").expect("room for a byte");
        let mut wait_set = readable(&other, far());
        wait_set.interests.push((Arc::clone(&source), Direction::Read));
        assert_eq!(sleep(&wait_set, None).expect("poll(2) works"), WakeCause::Otherwise);
        assert!(source.is(READABLE) && !other.is(READABLE));
    }

    #[test]
    fn a_notification_ends_the_sleep_and_is_drained() {
        let (source, _peer) = pair();
        let notifier = Arc::new(Notifier::new().expect("a pipe"));
        let other = Arc::clone(&notifier);
        let other = thread::spawn(move || other.notify());
        let cause = sleep(&readable(&source, far()), Some(&notifier)).expect("poll(2) works");
        other.join().expect("a thread that ends");
        assert_eq!(cause, WakeCause::Otherwise);
        assert!(!source.is(READABLE));
        let cause = sleep(&readable(&source, Some(Instant::now())), Some(&notifier)).expect("poll(2) works");
        assert_eq!((cause, notifier.take_signals()), (WakeCause::Otherwise, vec![]));
    }

    #[test]
    fn a_signal_ends_the_sleep_and_is_told_apart() {
        let (source, peer) = pair();
        let notifier = Arc::new(Notifier::new().expect("a pipe"));
        notifier.notify();
        notifier.wake_pair().write(2);
        peer.send(b"x").expect("room for a byte");
        let cause = sleep(&readable(&source, far()), Some(&notifier)).expect("poll(2) works");
        assert_eq!(cause, WakeCause::BySignal);
        assert!(source.is(READABLE), "what the sockets are ready for is not lost");
    }
}
