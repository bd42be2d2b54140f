//! httpcore's four timeouts, and the deadline of a request. Each timeout bounds one operation (one connect, one read, one write, one
//! wait for the pool), none of them the whole request: a slow stream that moves is never cut. The deadline bounds all of them together.

use std::fmt;
use std::time::{Duration, Instant};

use crate::error::{Error, Kind};
use crate::origin::Origin;

/// The `timeout` extension of a request; `None` waits for ever.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timeouts {
    pub connect: Option<Duration>,
    pub read: Option<Duration>,
    pub write: Option<Duration>,
    pub pool: Option<Duration>,
    pub deadline: Option<Deadline>,
}

/// The end of a request as a whole, its response body included (`total`). It is set once and does not move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    at: Instant,
    /// The limit as it was given, for messages.
    total: Duration,
}

impl Deadline {
    /// Returns the end of a limit that begins now; `None` if it is too long to have an end.
    pub fn after(total: Duration) -> Option<Self> {
        let at = Instant::now().checked_add(total)?;
        Some(Self { at, total })
    }

    pub fn at(&self) -> Instant {
        self.at
    }

    pub fn total(&self) -> Duration {
        self.total
    }

    pub fn has_passed(&self) -> bool {
        Instant::now() >= self.at
    }

    /// Returns the time that is left.
    pub fn remaining(&self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    /// Returns the error of a request that the deadline has ended. `what` is the part of it that was not finished.
    pub fn error(&self, kind: Kind, what: impl fmt::Display) -> Error {
        Error::new(kind, format!("{what} within {} (total timeout)", Seconds(self.total)))
    }
}

/// The errors of a read or a write on which nothing has moved for as long as its timeout allows.
impl Error {
    pub fn no_response(origin: &Origin, timeout: Option<Duration>) -> Self {
        let limit = Seconds(timeout.unwrap_or_default());
        Self::new(Kind::ReadTimeout, format!("no response from {origin} within {limit} (read timeout)"))
    }

    pub fn no_more_of_the_body(origin: &Origin, timeout: Option<Duration>) -> Self {
        let limit = Seconds(timeout.unwrap_or_default());
        let message = format!("no more of the response body from {origin} within {limit} (read timeout)");
        Self::new(Kind::ReadTimeout, message)
    }

    pub fn sent_no_data(origin: &Origin, timeout: Option<Duration>) -> Self {
        let limit = Seconds(timeout.unwrap_or_default());
        Self::new(Kind::ReadTimeout, format!("{origin} sent no data within {limit} (read timeout)"))
    }

    pub fn took_no_data(origin: &Origin, timeout: Option<Duration>) -> Self {
        let limit = Seconds(timeout.unwrap_or_default());
        Self::new(Kind::WriteTimeout, format!("{origin} took no data for {limit} (write timeout)"))
    }
}

/// A duration as error messages show it: `5.0 s`, `0.25 s`.
pub struct Seconds(pub Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} s", self.0.as_secs_f64())
    }
}
