//! An upload that a task of its own carries out.
//!
//! On an event loop the response can be received while the caller's iterator is being awaited, so that what it yields may depend on
//! what the server has answered so far: the exchange waits for the response, and the courier for the iterator and for room.

use std::future::Future;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;

use super::connection::Http2;
use super::upload::{Needs, Upload, took_nothing};
use crate::error::{Error, Result};
use crate::fork::Generation;
use crate::io::progress::ProgressTimer;
use crate::lock::{Guard, Rank, RankedMutex};
use crate::message::http2_trailers;
use crate::operation::{Background, EffectChannel, YieldBudget};

/// Shared by the exchange and the task.
pub struct UploadTask {
    state: RankedMutex<UploadState>,
    write_timeout: Option<Duration>,
}

struct UploadState {
    /// `None` when there is nothing left to do.
    work: Option<UploadWork>,
    failure: Option<Error>,
    /// Told when there is nothing left to do.
    exchange: Option<Waker>,
    /// Ends what the task waits for.
    cancel: Option<Waker>,
}

struct UploadWork {
    // Left as it is in a forked child.
    upload: ManuallyDrop<Upload>,
    generation: Generation,
    connection: Arc<Http2>,
    sent: u64,
    progress_timer: ProgressTimer,
}

impl UploadTask {
    pub fn new(upload: Upload, connection: &Arc<Http2>, write_timeout: Option<Duration>) -> Arc<Self> {
        let work = UploadWork {
            upload: ManuallyDrop::new(upload),
            generation: Generation::current(),
            connection: Arc::clone(connection),
            sent: 0,
            progress_timer: ProgressTimer::default(),
        };
        let state = UploadState { work: Some(work), failure: None, exchange: None, cancel: None };
        Arc::new(Self { state: RankedMutex::new(Rank::UploadTask, state), write_timeout })
    }

    async fn send_chunks(&self, effects: &EffectChannel) -> Result<()> {
        let mut yield_budget = YieldBudget::default();
        loop {
            match std::future::poll_fn(|cx| self.poll_work(cx)).await? {
                Needs::Chunk => {
                    let chunk = effects.chunk().await?;
                    let length = chunk.as_ref().map_or(0, Bytes::len);
                    self.with_upload(|upload| upload.push(chunk));
                    yield_budget.spend(length, effects).await?;
                }
                Needs::Trailers => {
                    let trailers = http2_trailers(&effects.trailers().await?)?;
                    self.with_upload(|upload| upload.set_trailers(trailers));
                }
                Needs::Room | Needs::Nothing => return Ok(()),
            }
        }
    }

    /// Sends what there is; `Nothing` when all of it is out, or nobody wants it any more.
    fn poll_work(&self, cx: &mut Context<'_>) -> Poll<Result<Needs>> {
        let mut state = self.state();
        let Some(UploadWork { upload, connection, sent, progress_timer, .. }) = &mut state.work else {
            return Poll::Ready(Ok(Needs::Nothing));
        };
        match upload.poll(cx, sent) {
            Needs::Room => {
                if progress_timer.is_over(connection.progress(*sent), self.write_timeout) {
                    return Poll::Ready(Err(took_nothing(&connection.origin, self.write_timeout)));
                }
                Poll::Pending
            }
            Needs::Nothing => {
                drop(finish(state));
                Poll::Ready(Ok(Needs::Nothing))
            }
            needs => {
                *progress_timer = ProgressTimer::default();
                Poll::Ready(Ok(needs))
            }
        }
    }

    fn with_upload(&self, change: impl FnOnce(&mut Upload)) {
        if let Some(work) = &mut self.state().work {
            change(&mut work.upload);
        }
    }

    /// The exchange's side: whether there is nothing left to do. If there is, it is told when that has changed.
    pub fn poll_done(&self, cx: &Context<'_>) -> Poll<Result<()>> {
        let mut state = self.state();
        if let Some(failure) = state.failure.take() {
            return Poll::Ready(Err(failure));
        }
        if state.work.is_none() {
            return Poll::Ready(Ok(()));
        }
        if !state.exchange.as_ref().is_some_and(|exchange| exchange.will_wake(cx.waker())) {
            state.exchange = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// The exchange is over: nobody wants the rest.
    pub fn cancel(&self) {
        let mut state = self.state();
        let cancel = state.cancel.take();
        state.exchange = None;
        drop(finish(state));
        if let Some(cancel) = cancel {
            cancel.wake();
        }
    }

    fn state(&self) -> Guard<'_, UploadState> {
        self.state.lock()
    }
}

impl Background for UploadTask {
    /// If the work fails, the exchange does.
    fn run(self: Arc<Self>, effects: EffectChannel) -> Pin<Box<dyn Future<Output = Result<()>> + Send>> {
        Box::pin(async move {
            if let Err(error) = self.send_chunks(&effects).await {
                self.fail(error);
            }
            Ok(())
        })
    }

    fn fail(&self, error: Error) {
        let mut state = self.state();
        if state.work.is_some() {
            state.failure = Some(error);
        }
        drop(finish(state));
    }

    fn cancel_with(&self, cancel: Waker) {
        let mut state = self.state();
        if state.work.is_some() {
            state.cancel = Some(cancel);
        }
    }
}

/// Nothing is left to do, and the exchange is told. What is returned is dropped without the lock.
fn finish(mut state: Guard<'_, UploadState>) -> Option<UploadWork> {
    let (work, exchange) = (state.work.take(), state.exchange.take());
    state.cancel = None;
    drop(state);
    if let Some(exchange) = exchange {
        exchange.wake();
    }
    work
}

impl Drop for UploadWork {
    fn drop(&mut self) {
        if self.generation.is_current() {
            // SAFETY: `upload` is not used after this, and `drop` runs once.
            unsafe { ManuallyDrop::drop(&mut self.upload) };
        }
    }
}
