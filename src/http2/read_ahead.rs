//! Reading more from a socket than h2 asks for.
//!
//! h2 asks for a few kilobytes at a time, and each read would be a system call. While the socket has more than that, it is read in
//! large pieces, and h2 gets its bytes from a buffer.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

use crate::io::socket::Socket;

/// The size of a large read, in bytes.
const READ_AHEAD: usize = 128 * 1024;

/// Bytes that were read from a socket and have not been passed on yet.
#[derive(Default)]
pub struct ReadAhead {
    /// Allocated before the first large read, and freed before the next small one.
    buffer: Box<[u8]>,
    unread: Range<usize>,
    /// The last read gave all that was asked for, so that there is probably more.
    is_worthwhile: bool,
}

impl ReadAhead {
    pub fn poll_read(
        &mut self,
        socket: &mut Socket,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let wanted = buf.remaining();
        if self.unread.is_empty() {
            if !self.is_worthwhile {
                self.buffer = Box::default();
                ready!(Pin::new(socket).poll_read(cx, buf))?;
                self.is_worthwhile = buf.remaining() == 0;
                return Poll::Ready(Ok(()));
            }
            if self.buffer.is_empty() {
                self.buffer = vec![0; READ_AHEAD].into_boxed_slice();
            }
            let mut ahead = ReadBuf::new(&mut self.buffer);
            ready!(Pin::new(socket).poll_read(cx, &mut ahead))?;
            self.unread = 0..ahead.filled().len();
            self.is_worthwhile = self.unread.len() >= wanted;
        }
        let length = wanted.min(self.unread.len());
        buf.put_slice(&self.buffer[self.unread.start..][..length]);
        self.unread.start += length;
        Poll::Ready(Ok(()))
    }
}
