//! Two connected ends that wake a sleeper: a pipe, or a pair of sockets where a sleep takes nothing else.

use std::io::{self, Read, Write};

use super::{RawDescriptor, WakeReader, WakeWriter, reader_descriptor, wake_ends, writer_number};

/// Ends the sleep of the thread that polls its reading end. Neither end blocks.
pub struct WakePair {
    pub(super) reader: WakeReader,
    writer: WakeWriter,
}

impl WakePair {
    pub fn new() -> io::Result<Self> {
        let (reader, writer) = wake_ends()?;
        Ok(Self { reader, writer })
    }

    /// Makes the reading end readable.
    pub fn wake(&self) {
        self.write(0);
    }

    /// Writes a byte, as a signal handler does: the number of its signal.
    pub fn write(&self, byte: u8) {
        // Without room for one more byte the other end is readable already. The reader is held: no SIGPIPE.
        let _ = (&self.writer).write(&[byte]);
    }

    /// Reads what was written, up to the length of `buffer`, and returns how many bytes that were.
    pub fn read(&self, buffer: &mut [u8]) -> usize {
        (&self.reader).read(buffer).unwrap_or_default()
    }

    /// Returns the end that signal handlers write to, as the argument of `signal.set_wakeup_fd()`.
    pub fn writer(&self) -> i64 {
        writer_number(&self.writer)
    }

    /// Returns the end that becomes readable.
    pub fn reader(&self) -> RawDescriptor {
        reader_descriptor(&self.reader)
    }
}
