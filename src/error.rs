//! The one error type of the engine: a kind, a message and a cause.
//!
//! Errors are data. Code branches on [`Kind`], never on the text. The text is for people: it names the phase, the peer and, where a
//! limit was exceeded, the limit. `python::errors` is the only place that turns an error into an exception.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::io;

use crate::origin::Origin;

/// One kind per exception of httpcore that the engine can raise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    ConnectError,
    ConnectTimeout,
    ReadError,
    ReadTimeout,
    WriteError,
    WriteTimeout,
    PoolTimeout,
    RemoteProtocolError,
    LocalProtocolError,
    UnsupportedProtocol,
    ProxyError,
    /// A single connection cannot take a request now.
    ConnectionNotAvailable,
    /// An exception of the user's code, which passes through unchanged.
    Raised,
    /// A fault of the engine: a caught panic. It becomes a `RuntimeError`.
    Internal,
}

impl Kind {
    /// All kinds, in the order of their numbers: first those that httpcore has an exception for.
    pub const ALL: [Self; 14] = [
        Self::ConnectError,
        Self::ConnectTimeout,
        Self::ReadError,
        Self::ReadTimeout,
        Self::WriteError,
        Self::WriteTimeout,
        Self::PoolTimeout,
        Self::RemoteProtocolError,
        Self::LocalProtocolError,
        Self::UnsupportedProtocol,
        Self::ProxyError,
        Self::ConnectionNotAvailable,
        Self::Raised,
        Self::Internal,
    ];

    /// The kinds that httpcore has an exception for, besides `ConnectionNotAvailable`.
    pub const OF_HTTPCORE: &'static [Self] = Self::ALL.split_at(Self::ConnectionNotAvailable as usize).0;
}

/// An error: its kind, its message and the error that caused it.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    message: Cow<'static, str>,
    source: Option<Box<dyn StdError + Send + Sync>>,
    is_repeated: bool,
    is_by_deadline: bool,
}

impl Error {
    pub fn new(kind: Kind, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, message: message.into(), source: None, is_repeated: true, is_by_deadline: false }
    }

    /// Returns the same error with its cause, which becomes the `__cause__` of the exception.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Returns the same error of a connect that another attempt would not change.
    #[must_use]
    pub fn not_repeated(mut self) -> Self {
        self.is_repeated = false;
        self
    }

    /// Returns the same timeout, of a limit that was as long as the time to the deadline of the operation. No other attempt follows it.
    #[must_use]
    pub fn by_deadline(mut self) -> Self {
        self.is_by_deadline = true;
        self.not_repeated()
    }

    pub fn remote(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::RemoteProtocolError, message)
    }

    pub fn local(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::LocalProtocolError, message)
    }

    /// Returns the same error of a response, with its origin at the end of the message.
    #[must_use]
    pub fn sent_by(mut self, origin: &Origin) -> Self {
        self.message = format!("{} (from {origin})", self.message).into();
        self
    }

    /// Returns the error of a request over one certain connection, which cannot take it.
    pub fn not_available(origin: &Origin) -> Self {
        let message = format!("the connection to {origin} takes no request now: it is in use, or closed");
        Self::new(Kind::ConnectionNotAvailable, message)
    }

    /// Returns the error of a server that ended the stream before its response. The text is httpcore's.
    pub fn disconnected() -> Self {
        Self::remote("Server disconnected without sending a response.")
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub fn message(&self) -> &str {
        &self.message
    }

    /// Takes the cause. An exception of Python travels in here, and is put back as `__cause__`.
    pub fn into_source(self) -> Option<Box<dyn StdError + Send + Sync>> {
        self.source
    }

    /// Returns whether a limit of time has ended an operation.
    pub fn is_timeout(&self) -> bool {
        matches!(self.kind, Kind::ConnectTimeout | Kind::ReadTimeout | Kind::WriteTimeout | Kind::PoolTimeout)
    }

    /// Returns whether the deadline of the operation had set the limit of this timeout.
    pub fn is_by_deadline(&self) -> bool {
        self.is_by_deadline
    }

    /// Returns whether httpcore repeats a connect that ended with this error (`retries=`).
    pub fn is_failed_connect(&self) -> bool {
        self.is_repeated && matches!(self.kind, Kind::ConnectError | Kind::ConnectTimeout)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

/// An error of the operating system, formatted as Python does it: `[Errno 111] Connection refused`, `[WinError 10061] No connection
/// could be made because the target machine actively refused it`.
pub struct OsError<'a>(pub &'a io::Error);

impl OsError<'_> {
    /// Returns the text without the number.
    pub fn text(&self) -> String {
        let text = self.0.to_string();
        let Some(end) = text.rfind(" (os error") else { return text };
        let text = &text[..end];
        // As Python does it.
        if cfg!(windows) { text.trim_end_matches(['.', ' ', '\r', '\n']).to_owned() } else { text.to_owned() }
    }
}

impl fmt::Display for OsError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.raw_os_error() {
            Some(number) => {
                write!(f, "[{} {number}] {}", if cfg!(windows) { "WinError" } else { "Errno" }, self.text())
            }
            None => self.0.fmt(f),
        }
    }
}

pub type Result<T> = std::result::Result<T, Error>;
