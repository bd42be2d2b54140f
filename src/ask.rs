//! What an exchange needs from the interpreter, and how it asks for it.
//!
//! The engine never calls Python inside a poll. A future that needs the next chunk of the caller's body, or a name resolved,
//! leaves an [`Ask`] and returns `Pending`; the driver that polls it does what is asked, in the caller's own thread or task,
//! and polls again with the [`Answer`].

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::lock::lock;
use crate::trace::Moment;

#[derive(Debug)]
pub enum Ask {
    /// The next chunk of the request body.
    Chunk,
    /// The addresses of a host name.
    Resolve { host: String, port: u16 },
    /// Nothing, but others should have a chance to run.
    Yield,
    /// That the caller's listener hears of a moment.
    Trace(Moment),
}

#[derive(Debug)]
pub enum Answer {
    /// `None` at the end of the body.
    Chunk(Option<Bytes>),
    Addresses(Result<Vec<SocketAddr>>),
    Yielded,
    /// With the error of a moment of failure.
    Traced(Option<Error>),
}

#[derive(Debug, Default)]
enum Slot {
    #[default]
    Empty,
    Asked(Ask),
    Answered(Answer),
}

/// The line between one exchange and its driver; one question at a time.
#[derive(Clone, Debug, Default)]
pub struct Asker {
    slot: Arc<Mutex<Slot>>,
    traced: bool,
}

impl Asker {
    /// `traced`: whether somebody listens to the moments of the exchange.
    pub fn new(traced: bool) -> Self {
        Self { slot: Arc::default(), traced }
    }

    pub fn is_traced(&self) -> bool {
        self.traced
    }

    pub async fn chunk(&self) -> Result<Option<Bytes>> {
        match self.ask(Ask::Chunk).await {
            Answer::Chunk(chunk) => Ok(chunk),
            _ => Err(mismatch()),
        }
    }

    pub async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>> {
        match self.ask(Ask::Resolve { host: host.to_owned(), port }).await {
            Answer::Addresses(addresses) => addresses,
            _ => Err(mismatch()),
        }
    }

    pub async fn yield_now(&self) {
        self.ask(Ask::Yield).await;
    }

    /// The driver's side: what is asked, if anything is.
    pub fn take(&self) -> Option<Ask> {
        let mut slot = self.slot();
        match std::mem::take(&mut *slot) {
            Slot::Asked(ask) => Some(ask),
            other => {
                *slot = other;
                None
            }
        }
    }

    /// The driver's side: the answer to what was taken.
    pub fn answer(&self, answer: Answer) {
        *self.slot() = Slot::Answered(answer);
    }

    pub async fn ask(&self, ask: Ask) -> Answer {
        *self.slot() = Slot::Asked(ask);
        std::future::poll_fn(|_| {
            let mut slot = self.slot();
            match std::mem::take(&mut *slot) {
                Slot::Answered(answer) => Poll::Ready(answer),
                other => {
                    *slot = other;
                    Poll::Pending
                }
            }
        })
        .await
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        lock(&self.slot)
    }
}

pub fn mismatch() -> Error {
    Error::new(crate::error::Kind::Internal, "the driver answered another question than the one asked")
}
