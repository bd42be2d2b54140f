//! What ends the sleep of a thread that polls descriptors, when another thread has something for it.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// A pipe with at most one byte in it. Whoever sleeps on it silences it afterwards.
pub struct Bell {
    reader: PipeReader,
    writer: PipeWriter,
    is_ringing: AtomicBool,
}

impl Bell {
    pub fn new() -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        Ok(Self { reader, writer, is_ringing: AtomicBool::new(false) })
    }

    /// Turns its descriptor readable.
    pub fn ring(&self) {
        if !self.is_ringing.swap(true, Ordering::AcqRel) {
            // There is room for one byte, and the reader is held: neither does it block nor raise SIGPIPE.
            let _ = (&self.writer).write(&[0]);
        }
    }

    /// To be called when its descriptor was found readable: takes the byte out.
    pub fn silence(&self) {
        let _ = (&self.reader).read(&mut [0]);
        self.is_ringing.store(false, Ordering::Release);
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    fn is_heard(bell: &Bell) -> bool {
        let mut descriptors = [PollFd::new(bell, PollFlags::IN)];
        poll(&mut descriptors, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ready| ready == 1)
    }

    #[test]
    fn it_rings_until_it_is_silenced() -> io::Result<()> {
        let bell = Bell::new()?;
        for _ in 0..2 {
            assert!(!is_heard(&bell));
            bell.ring();
            bell.ring();
            assert!(is_heard(&bell));
            bell.silence();
        }
        assert!(!is_heard(&bell));
        Ok(())
    }
}
