//! A wake-up pipe: what ends the sleep of a thread that polls descriptors, when another thread has something for it.

use std::cell::RefCell;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::fork::Generation;

/// A pipe. The thread that sleeps on it silences it afterwards.
pub struct Notifier {
    reader: PipeReader,
    writer: PipeWriter,
    is_notified: AtomicBool,
}

thread_local! {
    static OF_THIS_THREAD: RefCell<Option<(Generation, Arc<Notifier>)>> = const { RefCell::new(None) };
}

impl Notifier {
    pub fn new() -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        // Signal handlers write to it as well: they must not wait for room.
        rustix::io::ioctl_fionbio(&writer, true)?;
        rustix::io::ioctl_fionbio(&reader, true)?;
        Ok(Self { reader, writer, is_notified: AtomicBool::new(false) })
    }

    /// The bell of the calling thread: made once, and closed with the thread.
    pub fn of_this_thread() -> io::Result<Arc<Self>> {
        let generation = Generation::current();
        OF_THIS_THREAD.with_borrow_mut(|bell| match bell {
            Some((made, bell)) if *made == generation => Ok(Arc::clone(bell)),
            _ => {
                let new = Arc::new(Self::new()?);
                *bell = Some((generation, Arc::clone(&new)));
                Ok(new)
            }
        })
    }

    /// Turns its descriptor readable.
    pub fn notify(&self) {
        if !self.is_notified.swap(true, Ordering::AcqRel) {
            // If there is no room for one more byte, the descriptor is readable. The reader is held: no SIGPIPE.
            let _ = (&self.writer).write(&[0]);
        }
    }

    /// To be called when its descriptor was found readable: empties the pipe. Returns whether a signal was among what rang:
    /// Python's signal handler writes the signal's number.
    pub fn drain(&self) -> bool {
        !self.take_signals().is_empty()
    }

    /// Empties the pipe, and returns the numbers of the signals that were written to it.
    pub fn take_signals(&self) -> Vec<u8> {
        let mut bytes = [0; 64];
        let length = (&self.reader).read(&mut bytes).unwrap_or_default();
        self.is_notified.store(false, Ordering::Release);
        bytes[..length].iter().copied().filter(|&byte| byte != 0).collect()
    }

    /// Where signal handlers write to.
    pub fn writer(&self) -> RawFd {
        self.writer.as_raw_fd()
    }
}

impl AsFd for Notifier {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    fn is_heard(bell: &Notifier) -> bool {
        let mut descriptors = [PollFd::new(bell, PollFlags::IN)];
        poll(&mut descriptors, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ready| ready == 1)
    }

    #[test]
    fn it_rings_until_it_is_silenced() -> io::Result<()> {
        let bell = Notifier::new()?;
        for _ in 0..2 {
            assert!(!is_heard(&bell));
            bell.notify();
            bell.notify();
            assert!(is_heard(&bell));
            assert!(!bell.drain());
        }
        assert!(!is_heard(&bell));
        Ok(())
    }

    #[test]
    fn signals_are_told_from_rings() -> io::Result<()> {
        let bell = Notifier::new()?;
        bell.notify();
        (&bell.writer).write_all(&[2])?;
        assert!(bell.drain());
        assert!(!is_heard(&bell));
        Ok(())
    }

    #[test]
    fn a_thread_keeps_its_bell() -> io::Result<()> {
        assert!(Arc::ptr_eq(&Notifier::of_this_thread()?, &Notifier::of_this_thread()?));
        Ok(())
    }
}
