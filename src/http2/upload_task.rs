//! An upload that a task of its own carries out.
//!
//! On an event loop the response can be received while the caller's iterator is being awaited, so that what it yields may depend on
//! what the server has answered so far: the exchange waits for the response, and the courier for the iterator and for room.

use std::future::Future;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;

use super::connection::Http2;
use super::upload::{Needs, Upload, took_nothing};
use crate::error::{Error, Result};
use crate::fork::Generation;
use crate::io::progress::Stall;
use crate::lock::lock;
use crate::message::http2_trailers;
use crate::operation::{Asker, Background, YieldBudget};

/// Shared by the exchange and the task.
pub struct Courier {
    state: Mutex<State>,
    write_timeout: Option<Duration>,
}

struct State {
    /// `None` when there is nothing left to do.
    load: Option<Load>,
    failure: Option<Error>,
    /// Told when there is nothing left to do.
    exchange: Option<Waker>,
    /// Ends what the task waits for.
    cancel: Option<Waker>,
}

struct Load {
    // Left as it is in a forked child.
    upload: ManuallyDrop<Upload>,
    generation: Generation,
    connection: Arc<Http2>,
    sent: u64,
    stall: Stall,
}

impl Courier {
    pub fn new(upload: Upload, connection: &Arc<Http2>, write_timeout: Option<Duration>) -> Arc<Self> {
        let load = Load {
            upload: ManuallyDrop::new(upload),
            generation: Generation::current(),
            connection: Arc::clone(connection),
            sent: 0,
            stall: Stall::default(),
        };
        let state = State { load: Some(load), failure: None, exchange: None, cancel: None };
        Arc::new(Self { state: Mutex::new(state), write_timeout })
    }

    async fn carry_chunks(&self, asker: &Asker) -> Result<()> {
        let mut stretch = YieldBudget::default();
        loop {
            match std::future::poll_fn(|cx| self.poll_load(cx)).await? {
                Needs::Chunk => {
                    let chunk = asker.chunk().await?;
                    let length = chunk.as_ref().map_or(0, Bytes::len);
                    self.with_upload(|upload| upload.push(chunk));
                    stretch.spend(length, asker).await?;
                }
                Needs::Trailers => {
                    let trailers = http2_trailers(&asker.trailers().await?)?;
                    self.with_upload(|upload| upload.set_trailers(trailers));
                }
                Needs::Room | Needs::Nothing => return Ok(()),
            }
        }
    }

    /// Sends what there is; `Nothing` when all of it is out, or nobody wants it any more.
    fn poll_load(&self, cx: &mut Context<'_>) -> Poll<Result<Needs>> {
        let mut state = self.state();
        let Some(Load { upload, connection, sent, stall, .. }) = &mut state.load else {
            return Poll::Ready(Ok(Needs::Nothing));
        };
        match upload.poll(cx, sent) {
            Needs::Room => {
                if stall.is_over(connection.progress(*sent), self.write_timeout) {
                    return Poll::Ready(Err(took_nothing(&connection.origin, self.write_timeout)));
                }
                Poll::Pending
            }
            Needs::Nothing => {
                drop(unload(state));
                Poll::Ready(Ok(Needs::Nothing))
            }
            needs => {
                *stall = Stall::default();
                Poll::Ready(Ok(needs))
            }
        }
    }

    fn with_upload(&self, change: impl FnOnce(&mut Upload)) {
        if let Some(load) = &mut self.state().load {
            change(&mut load.upload);
        }
    }

    /// The exchange's side: whether there is nothing left to do. If there is, it is told when that has changed.
    pub fn poll_done(&self, cx: &Context<'_>) -> Poll<Result<()>> {
        let mut state = self.state();
        if let Some(failure) = state.failure.take() {
            return Poll::Ready(Err(failure));
        }
        if state.load.is_none() {
            return Poll::Ready(Ok(()));
        }
        if !state.exchange.as_ref().is_some_and(|exchange| exchange.will_wake(cx.waker())) {
            state.exchange = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// The exchange is over: nobody wants the rest.
    pub fn dismiss(&self) {
        let mut state = self.state();
        let cancel = state.cancel.take();
        state.exchange = None;
        drop(unload(state));
        if let Some(cancel) = cancel {
            cancel.wake();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Background for Courier {
    /// If the work fails, the exchange does.
    fn run(self: Arc<Self>, asker: Asker) -> Pin<Box<dyn Future<Output = Result<()>> + Send>> {
        Box::pin(async move {
            if let Err(error) = self.carry_chunks(&asker).await {
                self.fail(error);
            }
            Ok(())
        })
    }

    fn fail(&self, error: Error) {
        let mut state = self.state();
        if state.load.is_some() {
            state.failure = Some(error);
        }
        drop(unload(state));
    }

    fn cancel_with(&self, cancel: Waker) {
        let mut state = self.state();
        if state.load.is_some() {
            state.cancel = Some(cancel);
        }
    }
}

/// Nothing is left to do, and the exchange is told. What is returned is dropped without the lock.
fn unload(mut state: MutexGuard<'_, State>) -> Option<Load> {
    let (load, exchange) = (state.load.take(), state.exchange.take());
    state.cancel = None;
    drop(state);
    if let Some(exchange) = exchange {
        exchange.wake();
    }
    load
}

impl Drop for Load {
    fn drop(&mut self) {
        if self.generation.is_current() {
            // SAFETY: `upload` is not used after this, and `drop` runs once.
            unsafe { ManuallyDrop::drop(&mut self.upload) };
        }
    }
}
