//! Early data (0-RTT) of TLS 1.3: a request that is sent with the first flight of a resumed session.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use rustls::ClientConnection;

/// A request that may be sent before the handshake is complete, if the server's ticket permits it.
#[derive(Clone, Copy)]
pub struct EarlyData<'a> {
    pub bytes: &'a Bytes,
    /// Set when the bytes have been handed to a session. A request tries early data once (RFC 8470, 5.2).
    pub is_tried: &'a AtomicBool,
}

impl EarlyData<'_> {
    /// Returns whether the bytes were handed to a session.
    pub fn is_tried(&self) -> bool {
        self.is_tried.load(Ordering::Relaxed)
    }

    /// Hands the bytes to a session whose handshake has not begun. Returns whether they go out with its first flight: all of them or
    /// none. After an error the session is of no use, since a part of them cannot be taken back.
    pub(super) fn write(self, session: &mut ClientConnection) -> io::Result<bool> {
        session.set_buffer_limit(None);
        let Some(mut writer) = session.early_data().filter(|writer| writer.bytes_left() >= self.bytes.len()) else {
            return Ok(false);
        };
        self.is_tried.store(true, Ordering::Relaxed);
        writer.write_all(self.bytes).map(|()| true)
    }
}
