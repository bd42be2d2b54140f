//! The times of one request, noted as they happen.
//!
//! The engine sets marks without a lock, and others read them at any time: the pool for its metrics, and Python for the `timings` of a
//! response, also while the request is under way.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The instant that marks count from: before any that is marked.
static BASE: LazyLock<Instant> = LazyLock::new(|| {
    let now = Instant::now();
    now.checked_sub(Duration::from_secs(60)).unwrap_or(now)
});

/// The events in the life of a request that are noted. Those in pairs have a beginning and an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The pool has got the request.
    Started,
    /// The last attempt has asked for a connection.
    Queued,
    /// It has got one, or the right to make one.
    Acquired,
    DnsBegun,
    DnsEnded,
    ConnectBegun,
    ConnectEnded,
    /// The handshake with a proxy, TLS with it included.
    ProxyBegun,
    ProxyEnded,
    /// TLS with the origin.
    TlsBegun,
    TlsEnded,
    /// The request is out.
    Sent,
    /// The head of the response has arrived.
    FirstByte,
    /// The response was read to its end, or the request has ended in another way.
    Ended,
}

const MARKS: usize = Mark::Ended as usize + 1;

/// A part of a request with a beginning and an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    Waiting,
    Dns,
    Connect,
    Proxy,
    Tls,
    /// From the start.
    ToFirstByte,
    /// From the start.
    Total,
}

impl Span {
    /// Returns the marks at both ends.
    pub fn ends(self) -> (Mark, Mark) {
        match self {
            Self::Waiting => (Mark::Queued, Mark::Acquired),
            Self::Dns => (Mark::DnsBegun, Mark::DnsEnded),
            Self::Connect => (Mark::ConnectBegun, Mark::ConnectEnded),
            Self::Proxy => (Mark::ProxyBegun, Mark::ProxyEnded),
            Self::Tls => (Mark::TlsBegun, Mark::TlsEnded),
            Self::ToFirstByte => (Mark::Started, Mark::FirstByte),
            Self::Total => (Mark::Started, Mark::Ended),
        }
    }
}

/// The stage of a request that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It waits in the pool.
    Waiting,
    Connecting,
    Sending,
    /// It waits for the head of the response.
    Responding,
    /// The body of the response is being read, or the program has yet to read it.
    Reading,
}

/// The marks of one request. All times are nanoseconds since [`BASE`], plus one: 0 is an event that has not happened.
#[derive(Debug, Default)]
pub struct Timings {
    marks: [AtomicU64; MARKS],
    /// The number of times that the request was sent, or begun to be sent.
    attempts: AtomicU32,
    /// The last attempt was on a connection that had served another request.
    is_reused: AtomicBool,
}

impl Timings {
    pub fn mark(&self, mark: Mark, now: Instant) {
        self.set(mark, ticks(now));
    }

    pub fn mark_now(&self, mark: Mark) {
        self.mark(mark, Instant::now());
    }

    /// An attempt to get a connection begins. The first one starts the request.
    pub fn begin(&self, now: Instant) {
        let now = ticks(now);
        if self.get(Mark::Started) == 0 {
            self.set(Mark::Started, now);
        }
        self.set(Mark::Queued, now);
        self.set(Mark::Acquired, 0);
    }

    /// The attempt has got a connection, or the right to make one, without waiting.
    pub fn acquired_at_once(&self) {
        self.set(Mark::Acquired, self.get(Mark::Queued));
    }

    /// The request is sent on a connection: for the first time, or again. Everything that sends a request once more calls this, so that
    /// the metrics count it as replayed.
    pub fn begin_attempt(&self, is_reused: bool) {
        // One task at a time sends the request.
        self.attempts.store(self.attempts() + 1, Ordering::Relaxed);
        self.is_reused.store(is_reused, Ordering::Relaxed);
        self.set(Mark::Sent, 0);
        self.set(Mark::FirstByte, 0);
    }

    pub fn attempts(&self) -> u32 {
        self.attempts.load(Ordering::Relaxed)
    }

    pub fn is_reused(&self) -> bool {
        self.is_reused.load(Ordering::Relaxed)
    }

    /// Returns the duration of a part of the request, if that has ended.
    pub fn duration(&self, span: Span) -> Option<Duration> {
        self.nanos(span).map(Duration::from_nanos)
    }

    /// Returns the same in nanoseconds.
    pub fn nanos(&self, span: Span) -> Option<u64> {
        let (begin, end) = span.ends();
        self.since(begin, end)
    }

    /// Returns how long after the start an event happened, if it has.
    pub fn after_start(&self, mark: Mark) -> Option<Duration> {
        self.since(Mark::Started, mark).map(Duration::from_nanos)
    }

    /// Returns how long ago an event happened, if it has.
    pub fn ago(&self, mark: Mark, now: Instant) -> Option<Duration> {
        match self.get(mark) {
            0 => None,
            at => Some(Duration::from_nanos(ticks(now).saturating_sub(at))),
        }
    }

    pub fn has(&self, mark: Mark) -> bool {
        self.get(mark) != 0
    }

    /// Returns what the request is doing.
    pub fn stage(&self) -> Stage {
        if !self.has(Mark::Acquired) {
            Stage::Waiting
        } else if self.has(Mark::FirstByte) {
            Stage::Reading
        } else if self.has(Mark::Sent) {
            Stage::Responding
        } else if self.attempts() > 0 {
            Stage::Sending
        } else {
            Stage::Connecting
        }
    }

    fn since(&self, begin: Mark, end: Mark) -> Option<u64> {
        let (begin, end) = (self.get(begin), self.get(end));
        // An attempt that failed may have begun a part after the end of the last one.
        (begin > 0 && end >= begin).then(|| end - begin)
    }

    fn get(&self, mark: Mark) -> u64 {
        self.marks[mark as usize].load(Ordering::Relaxed)
    }

    fn set(&self, mark: Mark, ticks: u64) {
        self.marks[mark as usize].store(ticks, Ordering::Relaxed);
    }
}

fn ticks(now: Instant) -> u64 {
    let since = now.saturating_duration_since(*BASE);
    since.as_secs() * 1_000_000_000 + u64::from(since.subsec_nanos()) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_part_has_a_duration_when_it_has_ended() {
        let (timings, now) = (Timings::default(), Instant::now());
        timings.begin(now);
        assert_eq!((timings.duration(Span::Waiting), timings.stage()), (None, Stage::Waiting));
        timings.mark(Mark::Acquired, now + SECOND);
        assert_eq!((timings.duration(Span::Waiting), timings.stage()), (Some(SECOND), Stage::Connecting));
        timings.begin_attempt(false);
        assert_eq!(timings.stage(), Stage::Sending);
        timings.mark(Mark::Sent, now + SECOND);
        assert_eq!(timings.stage(), Stage::Responding);
        timings.mark(Mark::FirstByte, now + 2 * SECOND);
        assert_eq!((timings.duration(Span::ToFirstByte), timings.stage()), (Some(2 * SECOND), Stage::Reading));
        assert_eq!(timings.ago(Mark::FirstByte, now + 5 * SECOND), Some(3 * SECOND));
        assert_eq!((timings.duration(Span::Total), timings.ago(Mark::Ended, now)), (None, None));
    }

    #[test]
    fn another_attempt_begins_anew_but_the_start_stays() {
        let (timings, now) = (Timings::default(), Instant::now());
        timings.begin(now);
        timings.mark(Mark::Acquired, now);
        timings.begin_attempt(true);
        timings.mark(Mark::Sent, now);
        timings.mark(Mark::DnsBegun, now);
        timings.mark(Mark::DnsEnded, now + SECOND);
        timings.begin(now + 2 * SECOND);
        timings.mark(Mark::DnsBegun, now + 2 * SECOND);
        assert_eq!(timings.duration(Span::Dns), None, "it has begun again");
        timings.begin_attempt(false);
        assert_eq!((timings.attempts(), timings.is_reused(), timings.has(Mark::Sent)), (2, false, false));
        assert_eq!(timings.ago(Mark::Started, now + 2 * SECOND), Some(2 * SECOND));
    }
}
