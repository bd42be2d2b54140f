//! Flow control: how much the peer may send ahead of what is read, for each response and for all of them (RFC 9113, 5.2).
//!
//! 1. An unread response never stops another one: the windows of all streams together fit into the connection's.
//! 2. The connection's window is bounded, and with it the memory that a peer can make this process use.
//!
//! Both together leave little for each of a hundred streams. Therefore a stream begins with a small window, which grows while
//! responses are read, and shrinks when there are more of them at a time. See
//! `docs/decisions/0011-http2-flow-control.md`.

use super::protocol::{H2Connection, Usage};

/// The window of a stream at the beginning, and while there are many streams, in bytes.
pub const SMALLEST: u32 = 256 * 1024;
/// The largest window of a stream: enough for 1 Gbit/s at 60 ms.
const LARGEST: u32 = 8 * 1024 * 1024;
/// The sum up to which the windows of all streams grow.
const SHARED: u32 = LARGEST;
/// The window of the connection: the unread data of all responses. A peer that fills every window as soon as it can gets 57 MiB of
/// it (see the tests).
pub const CONNECTION: u32 = 64 * 1024 * 1024;
/// Added to the connection's window if those of the streams were reduced late.
const RESERVE: u32 = 32 * 1024 * 1024;
/// The factor by which a window grows, once as many bytes were read as it admits.
const GROWTH: u32 = 4;
/// The budget for framing, as h2 counts it: 256 bytes for a frame, less its content, until that is read.
pub const SMALL_FRAMES: usize = 8 * 1024 * 1024;

/// The windows that were announced to the peer.
pub struct Windows {
    stream: u32,
    /// The bytes that had been read when `stream` was announced.
    read_before: u64,
    /// Streams were opened while the peer had not acknowledged the previous window.
    is_late: bool,
    has_reserve: bool,
}

impl Windows {
    pub fn new() -> Self {
        Self { stream: SMALLEST, read_before: 0, is_late: false, has_reserve: false }
    }

    /// Changes the windows if they do not fit the usage of the connection.
    pub fn adjust(&mut self, connection: &mut H2Connection, usage: Usage) {
        if usage.exchanges == 0 {
            if self.has_reserve {
                connection.set_target_window_size(CONNECTION);
                self.has_reserve = false;
            }
            return;
        }
        let window = next(self.stream, usage.exchanges, usage.bytes_read - self.read_before);
        if window == self.stream {
            return;
        }
        // Refused until the peer has acknowledged the previous settings.
        if connection.set_initial_window_size(window).is_err() {
            self.is_late |= window < self.stream;
            return;
        }
        if self.is_late && window < self.stream {
            // The streams that were opened meanwhile may have used up the connection's window. The reserve admits what each of them
            // may still receive.
            connection.set_target_window_size(CONNECTION + RESERVE);
            self.has_reserve = true;
        }
        *self = Self { stream: window, read_before: usage.bytes_read, is_late: false, ..*self };
    }
}

/// Returns the window that streams should have, after `read` bytes were read with the current one.
fn next(current: u32, exchanges: usize, read: u64) -> u32 {
    let count = u32::try_from(exchanges).unwrap_or(u32::MAX).clamp(1, 1 << 16);
    let fitting = (SHARED / count.next_power_of_two()).clamp(SMALLEST, LARGEST);
    // It shrinks later than it grows; otherwise it would change with every request.
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

    /// The worst case within the rules: each response is read until the window has its largest size, and no further.
    #[test]
    fn unread_responses_do_not_use_up_the_window_of_the_connection() {
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
