//! An upload in a task of its own.
//!
//! On an event loop a response can be received while the iterator of the request body is being awaited, so that what the iterator
//! yields may depend on what the server has answered so far: the exchange waits for the response, and the upload task for the iterator
//! and the peer's window.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;

use super::connection::Http2;
use super::upload::{Input, Upload, UploadPoll, took_nothing};
use crate::error::{Error, Result};
use crate::fork::DropIfCurrent;
use crate::io::progress::ProgressTimer;
use crate::lock::{Guard, Rank, RankedMutex};
use crate::message::http2_trailers;
use crate::operation::{Background, EffectChannel, YieldBudget};

/// An upload that an exchange shares with the task that carries it out.
pub struct UploadTask {
    state: RankedMutex<UploadState>,
    write_timeout: Option<Duration>,
}

enum UploadState {
    Running(RunningUpload),
    /// All is sent, or the exchange has ended, or it knows of the failure.
    Done,
    /// The exchange fails with this error.
    Failed(Error),
}

struct RunningUpload {
    upload: DropIfCurrent<Upload>,
    connection: Arc<Http2>,
    sent: u64,
    progress_timer: ProgressTimer,
    /// Wakes the exchange when the upload has ended.
    exchange: Option<Waker>,
    /// Ends what the task waits for.
    cancel: Option<Waker>,
}

impl UploadTask {
    pub fn new(upload: Upload, connection: &Arc<Http2>, write_timeout: Option<Duration>) -> Arc<Self> {
        let running = RunningUpload {
            upload: DropIfCurrent::new(upload),
            connection: Arc::clone(connection),
            sent: 0,
            progress_timer: ProgressTimer::default(),
            exchange: None,
            cancel: None,
        };
        Arc::new(Self { state: RankedMutex::new(Rank::UploadTask, UploadState::Running(running)), write_timeout })
    }

    async fn send_chunks(&self, effects: &EffectChannel) -> Result<()> {
        let mut yield_budget = YieldBudget::default();
        while let Some(input) = std::future::poll_fn(|cx| self.poll_upload(cx)).await? {
            match input {
                Input::Chunk => {
                    let chunk = effects.chunk().await?;
                    let length = chunk.as_ref().map_or(0, Bytes::len);
                    self.with_upload(|upload| upload.push(chunk));
                    yield_budget.spend(length, effects).await?;
                }
                Input::Trailers => {
                    let trailers = http2_trailers(&effects.trailers().await?)?;
                    self.with_upload(|upload| upload.set_trailers(trailers));
                }
            }
        }
        Ok(())
    }

    /// Sends what there is. Returns what is needed next; `None` when nothing is left to do.
    fn poll_upload(&self, cx: &mut Context<'_>) -> Poll<Result<Option<Input>>> {
        let mut state = self.state();
        let UploadState::Running(RunningUpload { upload, connection, sent, progress_timer, .. }) = &mut *state else {
            return Poll::Ready(Ok(None));
        };
        match upload.poll(cx, sent) {
            UploadPoll::Blocked => {
                if progress_timer.is_over(connection.progress(*sent), self.write_timeout) {
                    return Poll::Ready(Err(took_nothing(&connection.origin, self.write_timeout)));
                }
                Poll::Pending
            }
            UploadPoll::Done => {
                end(state, UploadState::Done);
                Poll::Ready(Ok(None))
            }
            UploadPoll::Needs(input) => {
                *progress_timer = ProgressTimer::default();
                Poll::Ready(Ok(Some(input)))
            }
        }
    }

    fn with_upload(&self, change: impl FnOnce(&mut Upload)) {
        if let UploadState::Running(running) = &mut *self.state() {
            change(&mut running.upload);
        }
    }

    /// Polls for the end of the upload, or the error with which the exchange fails.
    pub fn poll_done(&self, cx: &Context<'_>) -> Poll<Result<()>> {
        let mut state = self.state();
        if let UploadState::Running(running) = &mut *state {
            if !running.exchange.as_ref().is_some_and(|exchange| exchange.will_wake(cx.waker())) {
                running.exchange = Some(cx.waker().clone());
            }
            return Poll::Pending;
        }
        match std::mem::replace(&mut *state, UploadState::Done) {
            UploadState::Failed(error) => Poll::Ready(Err(error)),
            UploadState::Running(_) | UploadState::Done => Poll::Ready(Ok(())),
        }
    }

    /// Gives up the rest of the upload, because the exchange has ended.
    pub fn cancel(&self) {
        let mut state = self.state();
        let UploadState::Running(running) = &mut *state else { return };
        running.exchange = None;
        let cancel = running.cancel.take();
        end(state, UploadState::Done);
        if let Some(cancel) = cancel {
            cancel.wake();
        }
    }

    fn state(&self) -> Guard<'_, UploadState> {
        self.state.lock()
    }
}

impl Background for UploadTask {
    fn run(self: Arc<Self>, effects: EffectChannel) -> Pin<Box<dyn Future<Output = Result<()>> + Send>> {
        Box::pin(async move {
            if let Err(error) = self.send_chunks(&effects).await {
                self.fail(error);
            }
            Ok(())
        })
    }

    fn fail(&self, error: Error) {
        end(self.state(), UploadState::Failed(error));
    }

    fn cancel_with(&self, cancel: Waker) {
        if let UploadState::Running(running) = &mut *self.state() {
            running.cancel = Some(cancel);
        }
    }
}

/// Ends an upload that runs, and wakes its exchange. The upload is dropped without the lock.
fn end(mut state: Guard<'_, UploadState>, outcome: UploadState) {
    if !matches!(*state, UploadState::Running(_)) {
        // Before `outcome`, which may hold an exception.
        drop(state);
        return;
    }
    let before = std::mem::replace(&mut *state, outcome);
    drop(state);
    if let UploadState::Running(mut running) = before
        && let Some(exchange) = running.exchange.take()
    {
        exchange.wake();
    }
}
