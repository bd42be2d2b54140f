//! What an exchange needs from the interpreter, and how it asks for it.
//!
//! The engine never calls Python inside a poll. A future that needs the next chunk of the caller's body, or a name resolved,
//! leaves an [`Ask`] and returns `Pending`; the driver that polls it does what is asked, in the caller's own thread or task,
//! and polls again with the [`Answer`].

use std::any::Any;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;

use crate::connection::http2::Courier;
use crate::error::{Error, Result};
use crate::io::carrier::Handle;
use crate::lock::lock;
use crate::trace::{Event, Moment};

/// The caller's `network_backend`, which only the drivers know how to use.
pub type Backend = Arc<dyn Any + Send + Sync>;

pub enum Ask {
    /// The next chunk of the request body.
    Chunk,
    /// The fields that follow the request body.
    Trailers,
    /// That a task of its own sees to the rest of an upload.
    SendOff(Arc<Courier>),
    /// The addresses of a host name.
    Resolve { host: String, port: u16 },
    /// Nothing, but others should have a chance to run.
    Yield,
    /// That the caller's listener hears of a moment.
    Trace(Box<Moment>),
    /// A stream of the caller's backend: connected, or with TLS begun on the one it is given.
    Connect { backend: Backend, stream: Option<Handle>, event: Event },
    /// Some bytes of such a stream, none at its end.
    Read { stream: Handle, max_bytes: usize, timeout: Option<Duration> },
    /// All bytes sent on such a stream.
    Write { stream: Handle, bytes: Bytes, timeout: Option<Duration> },
    /// Whether an idle stream has anything to read.
    IsReadable(Handle),
    /// A pause, as the caller's backend makes it.
    Sleep { backend: Backend, delay: Duration },
}

pub enum Answer {
    /// `None` at the end of the body.
    Chunk(Option<Bytes>),
    Trailers(Vec<(Bytes, Bytes)>),
    Addresses(Vec<SocketAddr>),
    /// With the error of a moment of failure.
    Traced(Option<Error>),
    Stream(Handle),
    Data(Bytes),
    Readable(bool),
    /// There is nothing to say but that it is done.
    Done,
    /// It could not be done.
    Failed(Error),
}

#[derive(Default)]
struct Line {
    slot: Slot,
    interruption: Option<Error>,
}

#[derive(Default)]
enum Slot {
    #[default]
    Empty,
    Asked(Ask),
    Answered(Answer),
}

/// The line between one exchange and its driver; one question at a time.
#[derive(Clone, Default)]
pub struct Asker {
    line: Arc<Mutex<Line>>,
    traced: bool,
}

impl Asker {
    /// `traced`: whether somebody listens to the moments of the exchange.
    pub fn new(traced: bool) -> Self {
        Self { line: Arc::default(), traced }
    }

    pub fn is_traced(&self) -> bool {
        self.traced
    }

    pub async fn chunk(&self) -> Result<Option<Bytes>> {
        match self.ask(Ask::Chunk).await {
            Answer::Chunk(chunk) => Ok(chunk),
            other => Err(unexpected(other)),
        }
    }

    pub async fn trailers(&self) -> Result<Vec<(Bytes, Bytes)>> {
        match self.ask(Ask::Trailers).await {
            Answer::Trailers(fields) => Ok(fields),
            other => Err(unexpected(other)),
        }
    }

    pub async fn send_off(&self, courier: Arc<Courier>) -> Result<()> {
        match self.ask(Ask::SendOff(courier)).await {
            Answer::Done => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    pub async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>> {
        match self.ask(Ask::Resolve { host: host.to_owned(), port }).await {
            Answer::Addresses(addresses) => Ok(addresses),
            other => Err(unexpected(other)),
        }
    }

    pub async fn connect(&self, backend: Backend, stream: Option<Handle>, event: Event) -> Result<Handle> {
        match self.ask(Ask::Connect { backend, stream, event }).await {
            Answer::Stream(stream) => Ok(stream),
            other => Err(unexpected(other)),
        }
    }

    pub async fn is_readable(&self, stream: Handle) -> Result<bool> {
        match self.ask(Ask::IsReadable(stream)).await {
            Answer::Readable(readable) => Ok(readable),
            other => Err(unexpected(other)),
        }
    }

    pub async fn sleep(&self, backend: Backend, delay: Duration) -> Result<()> {
        match self.ask(Ask::Sleep { backend, delay }).await {
            Answer::Done => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    pub async fn yield_now(&self) {
        self.ask(Ask::Yield).await;
    }

    /// The driver's side: what is asked, if anything is.
    pub fn take(&self) -> Option<Ask> {
        let slot = &mut self.line().slot;
        match std::mem::take(slot) {
            Slot::Asked(ask) => Some(ask),
            other => {
                *slot = other;
                None
            }
        }
    }

    /// The driver's side: the answer to what was taken.
    pub fn answer(&self, answer: Answer) {
        self.line().slot = Slot::Answered(answer);
    }

    pub async fn ask(&self, ask: Ask) -> Answer {
        self.post(ask);
        std::future::poll_fn(|_| self.take_answer().map_or(Poll::Pending, Poll::Ready)).await
    }

    /// Asks without waiting for the answer.
    pub fn post(&self, ask: Ask) {
        self.line().slot = Slot::Asked(ask);
    }

    pub fn take_answer(&self) -> Option<Answer> {
        let slot = &mut self.line().slot;
        match std::mem::take(slot) {
            Slot::Answered(answer) => Some(answer),
            other => {
                *slot = other;
                None
            }
        }
    }

    /// The driver's side: the caller does not wait any longer. A traced exchange ends with this error, so that the listener hears
    /// of it; what was asked is forgotten.
    pub fn interrupt(&self, error: Error) {
        *self.line() = Line { slot: Slot::Empty, interruption: Some(error) };
    }

    pub fn take_interruption(&self) -> Option<Error> {
        self.line().interruption.take()
    }

    /// Does `work` until it is interrupted, as only a traced exchange is.
    pub async fn interruptible<T>(&self, mut work: Pin<&mut impl Future<Output = Result<T>>>) -> Result<T> {
        std::future::poll_fn(|cx| {
            if self.traced
                && let Some(error) = self.take_interruption()
            {
                return Poll::Ready(Err(error));
            }
            work.as_mut().poll(cx)
        })
        .await
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        lock(&self.line)
    }
}

fn unexpected(answer: Answer) -> Error {
    match answer {
        Answer::Failed(error) => error,
        _ => mismatch(),
    }
}

pub fn mismatch() -> Error {
    Error::new(crate::error::Kind::Internal, "the driver answered another question than the one asked")
}
