//! Sleeping in `poll(2)`: how a thread without an event loop waits.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::notifier::Notifier;
use super::source::Direction;
use super::wait_set::WaitSet;

/// What ended a sleep.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum WakeCause {
    /// Python may have a signal handler to run.
    BySignal,
    /// What it slept for, or its deadline.
    Otherwise,
}

/// Sleeps until something that `park` waits for has happened, the bell rings, or a signal arrives.
pub fn sleep(park: &WaitSet, bell: Option<&Notifier>) -> io::Result<WakeCause> {
    // One exchange waits for one socket, or a few while it races addresses.
    let mut descriptors: Vec<PollFd<'_>> = Vec::with_capacity(park.interests.len() + 1);
    for (socket, direction) in &park.interests {
        let flags = match direction {
            Direction::Read => PollFlags::IN,
            Direction::Write => PollFlags::OUT,
        };
        descriptors.push(PollFd::from_borrowed_fd(socket.as_fd(), flags));
    }
    if let Some(bell) = bell {
        descriptors.push(PollFd::from_borrowed_fd(bell.as_fd(), PollFlags::IN));
    }
    let timeout = park.deadline.map(|deadline| timespec(deadline.saturating_duration_since(Instant::now())));
    match poll(&mut descriptors, timeout.as_ref()) {
        Ok(_) => {}
        Err(Errno::INTR) => return Ok(WakeCause::BySignal),
        Err(error) => return Err(error.into()),
    }
    for ((socket, _), descriptor) in park.interests.iter().zip(&descriptors) {
        let events = descriptor.revents();
        let closed = events.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL);
        let readable = events.contains(PollFlags::IN) || closed;
        let writable = events.contains(PollFlags::OUT) || closed;
        if readable || writable {
            socket.set_ready(readable, writable, closed);
        }
    }
    let is_notified = descriptors.get(park.interests.len()).is_some_and(|bell| !bell.revents().is_empty());
    match bell {
        Some(bell) if is_notified && bell.drain() => Ok(WakeCause::BySignal),
        _ => Ok(WakeCause::Otherwise),
    }
}

/// Rounded up to the next millisecond, the resolution of `poll(2)` where there is no `ppoll`: never early, never a busy loop.
fn timespec(duration: Duration) -> Timespec {
    let millis = duration.as_nanos().div_ceil(1_000_000);
    let millis = u64::try_from(millis).unwrap_or(u64::MAX).min(u64::from(u32::MAX));
    Timespec { tv_sec: (millis / 1000).cast_signed() as _, tv_nsec: ((millis % 1000) * 1_000_000).cast_signed() as _ }
}
