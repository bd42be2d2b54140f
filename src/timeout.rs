//! httpcore's four timeouts. Each bounds one operation (one connect, one read, one write, one wait for the pool), none of
//! them the whole request: a slow stream that moves is never cut.

use std::fmt;
use std::time::Duration;

/// The `timeout` extension of a request; `None` waits for ever.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timeouts {
    pub connect: Option<Duration>,
    pub read: Option<Duration>,
    pub write: Option<Duration>,
    pub pool: Option<Duration>,
}

/// A duration as error messages tell it: `5.0 s`, `0.25 s`.
pub struct Seconds(pub Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} s", self.0.as_secs_f64())
    }
}
