//! How much the peer may send ahead of what is read, for each response and for all of them (RFC 9113, 5.2).
//!
//! Rule 1: an unread response never stops another. So the windows of the streams together fit into the connection's.
//! Rule 2: the connection's window is bounded, and with it what a peer can make this process hold.
//!
//! Both leave little for each of a hundred streams. So streams begin with a small window, which grows while responses are read and
//! shrinks when there are more of them at a time. See `docs/decisions/0011-http2-flow-control.md`.

use bytes::Bytes;
use h2::client::Connection;

use super::wire::Http2WireHandle;

/// A stream's window at the beginning, and with many streams at a time, in bytes.
pub const SMALLEST: u32 = 256 * 1024;
/// A stream's window at most: enough for 1 Gbit/s at 60 ms.
const LARGEST: u32 = 8 * 1024 * 1024;
/// What the windows of all streams grow to together.
const SHARED: u32 = LARGEST;
/// What all responses together may have waiting. A peer that fills every window as soon as it can gets 57 MiB (see the tests).
pub const CONNECTION: u32 = 64 * 1024 * 1024;
/// What is added to the connection's window if those of the streams shrank late.
const RESERVE: u32 = 32 * 1024 * 1024;
/// A window grows by this factor, once as much was read as it admits.
const GROWTH: u32 = 4;
/// What framing may cost, in h2's measure: 256 bytes for a frame, less its content, until that is read.
pub const SMALL_FRAMES: usize = 8 * 1024 * 1024;

/// The windows that the peer was told.
pub struct Windows {
    stream: u32,
    /// What had been read when that was told.
    read_before: u64,
    /// Streams were opened while the peer was still to acknowledge the window before.
    is_late: bool,
    has_reserve: bool,
}

impl Windows {
    pub fn new() -> Self {
        Self { stream: SMALLEST, read_before: 0, is_late: false, has_reserve: false }
    }

    /// Changes the windows if it is time to, with so many exchanges under way and so many bytes read of all responses until now.
    pub fn adjust(&mut self, connection: &mut Connection<Http2WireHandle, Bytes>, exchanges: usize, read: u64) {
        if exchanges == 0 {
            if self.has_reserve {
                connection.set_target_window_size(CONNECTION);
                self.has_reserve = false;
            }
            return;
        }
        let window = next(self.stream, exchanges, read - self.read_before);
        if window == self.stream {
            return;
        }
        // Refused until the peer has acknowledged the settings before.
        if connection.set_initial_window_size(window).is_err() {
            self.is_late |= window < self.stream;
            return;
        }
        if self.is_late && window < self.stream {
            // The streams that were opened meanwhile may have taken all of the connection's window. Now there is room again for as
            // much as each may still have.
            connection.set_target_window_size(CONNECTION + RESERVE);
            self.has_reserve = true;
        }
        *self = Self { stream: window, read_before: read, is_late: false, ..*self };
    }
}

/// The window that a stream should have.
fn next(current: u32, exchanges: usize, read: u64) -> u32 {
    let count = u32::try_from(exchanges).unwrap_or(u32::MAX).clamp(1, 1 << 16);
    let fitting = (SHARED / count.next_power_of_two()).clamp(SMALLEST, LARGEST);
    // It shrinks later than it grows, or it would change with every request.
    let is_too_large = current > SMALLEST && u64::from(current) * u64::from(count) > 2 * u64::from(SHARED);
    if is_too_large {
        fitting
    } else if read >= u64::from(current) {
        current.saturating_mul(GROWTH).min(fitting).max(current)
    } else {
        current
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u32 = 1024 * 1024;

    #[test]
    fn a_window_grows_with_what_is_read() {
        assert_eq!(next(SMALLEST, 1, u64::from(SMALLEST) - 1), SMALLEST);
        assert_eq!(next(SMALLEST, 1, u64::from(SMALLEST)), MIB);
        assert_eq!(next(MIB, 1, u64::from(MIB)), 4 * MIB);
        assert_eq!(next(4 * MIB, 1, u64::MAX), LARGEST);
        assert_eq!(next(LARGEST, 1, u64::MAX), LARGEST);
        assert_eq!(next(SMALLEST, 100, u64::MAX), SMALLEST);
    }

    #[test]
    fn a_window_shrinks_when_there_are_more_streams() {
        assert_eq!(next(LARGEST, 2, 0), LARGEST);
        assert_eq!(next(LARGEST, 3, 0), 2 * MIB);
        assert_eq!(next(LARGEST, 100, 0), SMALLEST);
        assert_eq!(next(2 * MIB, 8, u64::MAX), 2 * MIB);
        assert_eq!(next(2 * MIB, 9, 0), MIB / 2);
    }

    /// The worst that a peer can do within the rules: each response is read until the window is as large as it gets, and no further.
    #[test]
    fn what_is_not_read_leaves_room_for_what_is() {
        let (mut window, mut held) = (SMALLEST, 0);
        for exchanges in 1..=100 {
            window = next(window, exchanges, 0);
            while next(window, exchanges, u64::MAX) > window {
                window = next(window, exchanges, u64::MAX);
            }
            held += window;
        }
        assert!(held <= CONNECTION, "{held}");
        const { assert!(100 * SMALLEST <= RESERVE) };
    }
}
