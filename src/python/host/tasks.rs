//! The tasks of one event loop that wait for the engine, and their wake-ups.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Wake, Waker};
use std::time::Instant;

use pyo3::prelude::*;
use slab::Slab;

use crate::io::reactor::{Reactor, Running};
use crate::io::timers::TimerKey;
use crate::lock::{Lockless, Rank, RankedMutex, lock};
use crate::operation::StreamOwner;
use crate::tls::python_ssl;

/// The state that a host shares with its tasks.
pub struct HostState {
    pub reactor: Arc<Reactor>,
    /// Closes the external streams that were made on the loop.
    pub owner: Arc<StreamOwner>,
    /// Tasks that were woken on the loop's thread while the engine runs there.
    pub(super) woken_here: RankedMutex<Vec<WokenTask>>,
    /// Tasks that were woken by other threads, or between two runs of the engine.
    pub(super) woken_elsewhere: Mutex<Vec<WokenTask>>,
    /// The objects by which parked tasks are resumed. The loop owns the host and the host owns these objects, so that a task
    /// without any other reference lives as long as its loop.
    pub(super) parked: Mutex<Slab<Py<PyAny>>>,
}

/// A task for which the loop has something to do.
pub(super) enum WokenTask {
    Resume(Arc<Task>),
    Cancel(Arc<Canceller>),
}

impl HostState {
    pub(super) fn new(reactor: Arc<Reactor>, owner: Arc<StreamOwner>) -> Self {
        Self {
            reactor,
            owner,
            woken_here: RankedMutex::new(Rank::WokenTasks, Vec::new()),
            woken_elsewhere: Mutex::default(),
            parked: Mutex::default(),
        }
    }

    /// Begins a run of the engine on the loop's thread.
    pub fn enter(&self) -> Running<'_> {
        self.reactor.enter()
    }

    /// Queues a task. It is resumed at the end of the engine's run on the loop's thread, or at the loop's next turn.
    fn add(&self, woken: WokenTask) {
        if self.reactor.is_running_here() {
            self.woken_here.lock().push(woken);
        } else {
            lock(&self.woken_elsewhere).push(woken);
            self.reactor.notify();
        }
    }

    fn take_parked(&self, key: Option<usize>) -> Option<Py<PyAny>> {
        let key = key?;
        lock(&self.parked).try_remove(key)
    }

    /// Has the loop call `turn()` for the external streams that no operation closes at its end, and for the steps of TLS that
    /// none takes.
    pub(super) fn leave_rest_to_turn(&self) {
        if !self.owner.is_empty() || python_ssl::has_steps() {
            self.reactor.notify();
        }
    }
}

/// Cancels a task that the engine has spawned, when it is woken.
pub(super) struct Canceller {
    host: Arc<HostState>,
    pub(super) cancel: Py<PyAny>,
    _lockless: Lockless,
}

impl Canceller {
    pub(super) fn new(host: &Arc<HostState>, cancel: Py<PyAny>) -> Self {
        Self { host: Arc::clone(host), cancel, _lockless: Lockless }
    }
}

impl Wake for Canceller {
    fn wake(self: Arc<Self>) {
        let host = Arc::clone(&self.host);
        host.add(WokenTask::Cancel(self));
    }
}

const POLLING: u8 = 0;
const PARKED: u8 = 1;
const WOKEN: u8 = 2;

/// The waker of one operation that a task of the loop awaits.
pub struct Task {
    host: Arc<HostState>,
    state: AtomicU8,
    /// The key in [`HostState::parked`] of the object by which the task is resumed.
    waiter: Mutex<Option<usize>>,
    timer: RankedMutex<Option<TimerKey>>,
    /// The task itself, as the waker of its timer.
    this: Weak<Self>,
}

impl Task {
    pub fn new(host: &Arc<HostState>) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            host: Arc::clone(host),
            state: AtomicU8::new(POLLING),
            waiter: Mutex::default(),
            timer: RankedMutex::new(Rank::TaskTimer, None),
            this: this.clone(),
        })
    }

    /// Called before each poll, which sees everything that earlier wake-ups announced.
    pub fn begin_poll(&self) {
        self.state.swap(POLLING, Ordering::AcqRel);
        // The loop itself may have resumed the task: to cancel it.
        self.take_waiter();
    }

    /// Parks the task until it is woken. Returns `false` if it has been woken already.
    pub(super) fn park(&self, waiter: Py<PyAny>) -> bool {
        let key = lock(&self.host.parked).insert(waiter);
        *lock(&self.waiter) = Some(key);
        if self.state.compare_exchange(POLLING, PARKED, Ordering::AcqRel, Ordering::Acquire).is_err() {
            self.take_waiter();
            return false;
        }
        true
    }

    pub(super) fn take_waiter(&self) -> Option<Py<PyAny>> {
        let key = lock(&self.waiter).take();
        self.host.take_parked(key)
    }

    pub fn was_woken(&self) -> bool {
        self.state.load(Ordering::Acquire) == WOKEN
    }

    /// Called at the end of the operation: the task is not resumed any more.
    pub fn finish(&self) {
        self.state.store(POLLING, Ordering::Release);
        self.take_waiter();
        self.set_timer(None);
    }

    pub(super) fn set_timer(&self, deadline: Option<Instant>) {
        let mut timer = self.timer.lock();
        if timer.map(|key| key.0) == deadline {
            return;
        }
        if let Some(key) = timer.take() {
            self.host.reactor.remove_timer(key);
        }
        if let (Some(deadline), Some(this)) = (deadline, self.this.upgrade()) {
            *timer = Some(self.host.reactor.add_timer(deadline, Waker::from(this)));
        }
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        if self.state.swap(WOKEN, Ordering::AcqRel) != PARKED {
            return;
        }
        let host = Arc::clone(&self.host);
        host.add(WokenTask::Resume(self));
    }

    fn wake_by_ref(self: &Arc<Self>) {
        Arc::clone(self).wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::OwnerLoop;

    fn host() -> Arc<HostState> {
        let reactor = Arc::new(Reactor::new().expect("a poller"));
        let event_loop: Arc<dyn OwnerLoop> = Arc::<Reactor>::clone(&reactor);
        let owner = StreamOwner::event_loop(reactor.id(), Arc::downgrade(&event_loop));
        Arc::new(HostState::new(reactor, owner))
    }

    #[test]
    fn a_wake_up_during_a_poll_is_seen_after_it() {
        let task = Task::new(&host());
        task.begin_poll();
        assert!(!task.was_woken());
        Waker::from(Arc::clone(&task)).wake();
        assert!(task.was_woken());
        task.begin_poll();
        assert!(!task.was_woken());
    }

    #[test]
    fn only_a_parked_task_is_queued() {
        let host = host();
        let task = Task::new(&host);
        task.begin_poll();
        Waker::from(Arc::clone(&task)).wake();
        task.finish();
        Waker::from(task).wake();
        assert!(host.woken_here.lock().is_empty());
        assert!(lock(&host.woken_elsewhere).is_empty());
    }

    #[test]
    fn a_parked_task_is_queued_once_where_it_was_woken() {
        for is_here in [true, false] {
            let host = host();
            let task = Task::new(&host);
            task.state.store(PARKED, Ordering::Release);
            let running = is_here.then(|| host.enter());
            let waker = Waker::from(task);
            waker.wake_by_ref();
            waker.wake();
            assert_eq!(host.woken_here.lock().len(), usize::from(is_here));
            assert_eq!(lock(&host.woken_elsewhere).len(), usize::from(!is_here));
            drop(running);
        }
    }

    #[test]
    fn a_finished_task_has_no_timer() {
        let host = host();
        let task = Task::new(&host);
        let deadline = Instant::now() + std::time::Duration::from_secs(60);
        task.set_timer(Some(deadline));
        assert_eq!(host.reactor.expire(Instant::now()), Some(deadline));
        task.finish();
        assert_eq!(host.reactor.expire(Instant::now()), None);
    }
}
